"""The way of a pack that says it is brain and is on no list: run, shown, listed, found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import compare, evaluate, pack
from harness import list as lists
from harness.benchmarks import BENCHMARKS, open_pack
from harness.benchmarks.known import known_line, known_releases
from harness.common.errors import DataMissing, StoreConflict, UsageError
from harness.common.statuses import Status
from harness.console.cli import Reporter
from harness.records.record import Record
from harness.records.store import Store
from harness.running.options import read_run_options
from harness.running.plan import RunPlan, plan_runs, run_all
from tests.benchmarks.conftest import pictures, write
from tests.paths import ENTRIES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write(root / "Brain", pictures())
    return root


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def arguments(data: Path, results: Path, *more: str) -> list[str]:
    return [
        str(ENTRIES / "honest"), "--data-root", str(data), "--engine", "process",
        "--results", str(results), *(more or ("--benchmark", "brain")),
    ]  # fmt: skip


Run = Callable[..., Record]


@pytest.fixture
def run(data: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*more: str, root: Path = data) -> Record:
        capsys.readouterr()
        assert evaluate.main([*arguments(root, results, *more), "--json"]) == 0
        (record,) = json.loads(capsys.readouterr().out)
        return Record.model_validate(record)

    return call


def listed(plan: RunPlan) -> RunPlan:
    """The same plan on the day after the pack's line was committed."""
    known = known_releases(known_line("brain", plan.requests[0].pack.digest))
    requests = tuple(
        replace(each, pack=replace(each.pack, name=known.name_of("brain", each.pack.digest)))
        for each in plan.requests
    )
    return replace(plan, requests=requests)


def test_it_is_run_and_shown_under_its_own_name_and_found_once_it_is_listed(
    data: Path, results: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run()
    digest = record.pack.digest
    assert digest is not None
    name = f"brain~{digest[7:13]}"
    assert (record.pack.benchmark, record.pack.base) == (name, "brain")
    assert record.pack.version == f"brain-{digest[7:19]}"
    assert "not a known release of brain" in (record.unranked_reason or "")
    assert not record.ranked
    path = results / name / "honest/seed-0.json"
    assert path.is_file()
    page = (results.parent / "site/entries/honest.html").read_text()
    assert "not a known release of brain" in page
    assert run("--benchmark", name) == record  # whoever copies the name from the table
    with pytest.raises(UsageError, match="not those of brain~000000"):
        run("--benchmark", "brain~000000")

    assert compare.main(["--results", str(results), "--unranked", "--benchmark", "brain"]) == 0
    assert f"{name}: over the same" in capsys.readouterr().out
    with pytest.raises(DataMissing, match="may take a rank"):
        compare.main(["--results", str(results)])
    assert lists.main(["runs", "--results", str(results), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert line["run"] == f"{name}/honest/seed-0"
    assert "not a known release of brain" in line["ranked"]

    plan = listed(plan_runs(read_run_options(arguments(data, results)), Reporter()))
    assert str(plan.requests[0].name) == "brain/honest/seed-0"
    assert list(run_all(plan)) == [record]  # it is not run again, and nothing moves
    assert path.is_file()
    assert not (results / "brain").exists()

    (again,) = run_all(replace(plan, place=replace(plan.place, retrain=True)))
    assert again == record  # it does not train
    path.write_text(failed(record).model_dump_json())
    (anew,) = run_all(plan)
    assert (anew.pack.benchmark, anew.run_key) == ("brain", record.run_key)
    assert anew.answers == record.answers
    assert [each.pack.benchmark for each in Store(results).records()] == ["brain"]
    assert list((results / "history" / name).rglob("seed-0.json"))


def failed(record: Record) -> Record:
    """The same run as one that failed."""
    outcome = record.outcome.model_copy(update={"status": Status.CRASHED})
    told = {"outcome": outcome, "metrics": [], "evidence": None}
    return Record.model_validate(record.model_copy(update=told).model_dump()).sealed()


def test_an_edited_groups_csv_makes_it_another_run(tmp_path: Path, run: Run) -> None:
    folder = write(tmp_path / "own/Brain", pictures())
    before = run(root=folder.parent)
    assert (before.pack.patients_digest or "").startswith("sha256:")
    keys = [each.relative_to(folder).as_posix() for each in (folder / "test").rglob("img/*.png")]
    rows = "".join(f"{key},p{number % 2}\n" for number, key in enumerate(sorted(keys)))
    (folder / "groups.csv").write_text(f"key,patient\n{rows}")
    told = rf"patients was {before.pack.patients_digest} and is sha256:"
    with pytest.raises(StoreConflict, match=told):
        run(root=folder.parent)
    after = run("--benchmark", "brain", "--replace", root=folder.parent)
    assert after.pack.version == before.pack.version
    assert after.run_key != before.run_key
    assert after.answers == before.answers
    assert (before.pack.patients, after.pack.patients) == (7, 2)


def test_what_a_maker_states_of_patients_is_in_the_record(tmp_path: Path, run: Run) -> None:
    folder = write(tmp_path / "ours", pictures())
    (folder / "pack.toml").write_text('patients = "independent"\n')
    part = run("--pack", str(folder)).pack
    assert (part.benchmark, part.base, part.patients) == ("ours", None, None)
    assert (part.patients_digest, part.patients_stated) == ("none", "independent")


def test_the_line_of_a_pack_is_all_that_the_verb_prints(
    data: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = open_pack(data / "Brain", results.parent / "cache", benchmark="brain")
    assert pack.main(["verify", "--known-line", str(data / "Brain")]) == 0
    told = capsys.readouterr()
    assert told.out == f'brain = ["{found.digest}"]\n'
    assert known_releases(told.out).has("brain", found.digest)
    assert (
        "3 training, 4 validation and 7 test images; the paper's Table 1 has 7500, 83" in told.err
    )
    assert f"it stands as {found.name}, unranked" in told.err
    assert not results.exists()  # no data card


def test_exactly_the_papers_counts_are_said_to_be_so(
    data: Path,
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = replace(BENCHMARKS["brain"], table1=(3, 4, 7))
    monkeypatch.setitem(BENCHMARKS, "brain", tiny)
    assert pack.main(["verify", "--known-line", str(data / "Brain")]) == 0
    told = capsys.readouterr().err
    assert "3 training, 4 validation and 7 test images: exactly the paper's Table 1" in told


def test_a_pack_of_ones_own_has_no_line(tmp_path: Path, results: Path) -> None:
    write(tmp_path / "ours", pictures())
    with pytest.raises(UsageError, match="ours is no benchmark that has releases"):
        pack.main(["verify", "--known-line", str(tmp_path / "ours")])
    assert not results.exists()
