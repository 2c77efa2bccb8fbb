"""A record's run done once more: the same to the last digit, or what differs is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import evaluate, rerun
from harness.benchmarks import demo_pack
from harness.common.errors import UsageError
from harness.entries.opening import open_entry
from harness.entries.submissions import find_archive
from harness.records.record import Record
from harness.records.run_key import RunKey
from harness.records.store import Store
from harness.running import recorded_entry, rerunning
from harness.trained.interrupted_training import hold
from tests.entries.test_submissions import source_folder, submit
from tests.paths import ENTRIES
from tests.publishing.pull_requests import git


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record of a run of the trainer as a process."""
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    options = ["--engine", "process", "--results", str(tmp_path / "r"), "--no-site"]
    options += ["--set", "steps=4", "--as", "mine", "--seed", "3"]
    assert evaluate.main([str(ENTRIES / "trainer"), *options]) == 0
    (path,) = Store(tmp_path / "r").record_paths()
    return path


def rewritten(path: Path, change) -> Path:
    """The record as it would stand there, had it said something else."""
    record = Record.model_validate_json(path.read_text())
    path.write_text(change(record).sealed().model_dump_json(indent=1))
    return path


def again(path: Path, *options: str) -> int:
    return rerun.main([str(path), "--entry", str(ENTRIES / "trainer"), *options])


def test_the_same_run_gives_the_same_answers_and_digits(recorded, capsys) -> None:
    before = recorded.read_bytes()
    assert again(recorded, "--json") == 0
    compared = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in compared][:2] == ["status", "answers"]
    assert len(compared) > 10
    assert all(each["is_same"] for each in compared)
    assert recorded.read_bytes() == before


@pytest.mark.parametrize("regime", ["few-shot", "unified"])
def test_a_run_of_another_regime_is_done_again_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, regime: str
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    options = ["--engine", "process", "--results", str(tmp_path / "r"), "--no-site", "--seed", "3"]
    asked, named = ["--train", "shots:2"], []
    if regime == "unified":
        suite, own = (
            tmp_path / "pair.toml",
            demo_pack(tmp_path / "cache", seed="x", name="own").root,
        )
        suite.write_text('name = "pair"\nmembers = ["demo", "own"]\n')
        asked = named = ["--suite", str(suite), "--pack", str(own)]
    assert evaluate.main([str(ENTRIES / "trainer"), *asked, "--set", "steps=4", *options]) == 0
    (path,) = Store(tmp_path / "r").record_paths()
    assert path.parent.parent.name in ("demo@shots-2", "pair@unified")
    capsys.readouterr()
    assert again(path, "--json", *named) == 0
    compared = {each["name"]: each["is_same"] for each in json.loads(capsys.readouterr().out)}
    assert all(compared.values())
    if regime == "unified":
        assert {"image_auroc (demo, image)", "image_auroc (own, image)"} < set(compared)
        assert {"image_auroc (mean, image)", "pooled_image_auroc (image)"} < set(compared)
        with pytest.raises(UsageError, match="there is no suite 'pair'"):
            again(path)


def test_what_was_accepted_of_a_pack_stands_in_the_record_and_is_accepted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    pack = tmp_path / "own"
    for number, place in enumerate(("train/good", "test/good", "test/good", "test/Ungood")):
        path = pack / place / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 50 * number, np.uint8)).save(path)
    (pack / "test/good/slice.dcm").write_bytes(b"x")
    options = ["--engine", "process", "--results", str(tmp_path / "r"), "--no-site"]
    options += ["--set", "steps=2", "--pack", str(pack), "--accept", "unread-formats"]
    assert evaluate.main([str(ENTRIES / "trainer"), *options]) == 0
    (path,) = Store(tmp_path / "r").record_paths()
    record = Record.model_validate_json(path.read_text())
    assert (record.pack.test_normal, record.pack.accepted) == (2, ("unread-formats",))
    assert again(path, "--pack", str(pack)) == 0
    assert "accepted (unread-formats): images in formats that are not read" in (
        capsys.readouterr().err
    )


def test_a_training_of_the_same_run_that_was_interrupted_is_not_gone_on_from(
    recorded, tmp_path, capsys
) -> None:
    key = RunKey.of_record(Record.model_validate_json(recorded.read_text()))
    with hold(tmp_path / "cache", key.training_hash, "left behind") as training:
        (training.written / "state").write_text("of another training")
        training.finish("finished")
    assert rerun.main([str(recorded)]) == 0
    assert "all the same to the last digit" in capsys.readouterr().out
    assert (training.written / "state").is_file()  # a later run may still want it


def test_another_last_digit_is_found_and_named(recorded, capsys) -> None:
    def change(record: Record) -> Record:
        first, *rest = record.metrics
        assert first.value is not None
        return record.model_copy(
            update={"metrics": [first.model_copy(update={"value": first.value + 1e-12}), *rest]}
        )

    assert again(rewritten(recorded, change)) == 4
    out = capsys.readouterr().out
    assert out.count("DIFFERS") == 1
    assert "1 of" in out


def test_other_answers_are_found_although_the_metrics_agree(recorded, capsys) -> None:
    other = "sha256:" + "0" * 64
    assert again(rewritten(recorded, lambda r: r.model_copy(update={"answers": other}))) == 4
    assert "answers" in next(
        line for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line
    )


def test_what_is_not_the_run_of_the_record_is_refused_with_the_difference(recorded) -> None:
    other = rewritten(
        recorded,
        lambda r: r.model_copy(
            update={
                "run_key": "sha256:" + "0" * 64,
                "pack": r.pack.model_copy(update={"version": "demo-000000000000"}),
            }
        ),
    )
    with pytest.raises(UsageError, match="pack was demo-000000000000"):
        again(other)


def test_another_sif_than_the_one_that_ran_is_refused_unless_any_is_taken(recorded) -> None:
    then = "sha256:" + "1" * 64

    def under_apptainer(record: Record) -> Record:
        return record.model_copy(update={"entry": record.entry.model_copy(update={"sif": then})})

    with pytest.raises(UsageError, match=then) as caught:
        again(rewritten(recorded, under_apptainer))
    assert "--any-sif" in caught.value.fix
    assert again(recorded, "--any-sif") == 0


def test_a_failed_run_has_nothing_to_compare(tmp_path, make_record) -> None:
    from harness.common.statuses import Status

    path = tmp_path / "seed-0.json"
    path.write_text(make_record(status=Status.CRASHED).model_dump_json())
    with pytest.raises(UsageError, match="nothing to compare"):
        rerun.main([str(path)])


def test_on_a_gpu_a_metric_may_differ_by_the_stated_tolerance(make_record) -> None:
    def with_auroc(value: float) -> Record:
        return make_record(metrics={("image_auroc", None): value}, interval=None)

    one = with_auroc(0.9)
    assert all(each.is_same for each in rerunning.compare_records(one, with_auroc(0.9 + 0.9e-3)))
    assert not all(
        each.is_same for each in rerunning.compare_records(one, with_auroc(0.9 + 1.1e-3))
    )


def test_a_bare_name_is_never_asked_for_anywhere(recorded, monkeypatch) -> None:
    """The folder lay outside the repository, and its name may be that of a public image."""

    def outside(record: Record) -> Record:
        told = record.entry.metadata | {"source": "trainer"}
        return record.model_copy(
            update={"entry": record.entry.model_copy(update={"metadata": told})}
        )

    path = rewritten(recorded, outside)
    monkeypatch.setattr(
        "harness.entries.opening.open_image",
        lambda text: pytest.fail(f"{text} was taken for an image"),
    )
    with pytest.raises(UsageError, match="outside the repository") as caught:
        rerun.main([str(path)])
    assert "--entry PATH" in caught.value.fix


def repository_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that the entry of a record is looked for in."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    monkeypatch.setattr(recorded_entry, "REPOSITORY", repository)
    monkeypatch.setattr(recorded_entry, "SUBMISSIONS", repository / "submissions")
    return repository


def test_a_folder_is_the_one_of_its_commit_whatever_stands_there_now(
    tmp_path, monkeypatch, make_record
) -> None:
    repository = repository_with(tmp_path, monkeypatch)
    folder = source_folder(repository / "baselines", "mine")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    record = make_record(
        entry="mine", entry__metadata={"source": "baselines/mine"},
        source__commit=git(repository, "rev-parse", "HEAD"),
    )  # fmt: skip
    assert recorded_entry.find_recorded(record, tmp_path / "w1") == str(folder)
    (folder / "model.py").write_text("class Model: 'another'\n")
    found = Path(recorded_entry.find_recorded(record, tmp_path / "w2"))
    assert found == tmp_path / "w2/baselines/mine"
    assert (found / "model.py").read_text() == "class Model: ...\n"
    shutil.rmtree(folder)
    assert recorded_entry.find_recorded(record, tmp_path / "w3") == str(
        tmp_path / "w3/baselines/mine"
    )
    changed = record.model_copy(
        update={
            "source": record.source.model_copy(update={"commit": record.source.commit + "+dirty"})
        }
    )
    with pytest.raises(UsageError, match="'baselines/mine' is not here"):
        recorded_entry.find_recorded(changed, tmp_path / "w4")
    away = make_record(entry="mine", entry__metadata={"source": "../../etc"})
    with pytest.raises(UsageError, match="outside the repository"):
        recorded_entry.find_recorded(away, tmp_path / "w5")


def test_a_submission_is_found_by_what_it_pinned_also_after_its_update(
    tmp_path, monkeypatch, make_record
) -> None:
    repository = repository_with(tmp_path, monkeypatch)
    store = tmp_path / "archives"
    store.mkdir()
    monkeypatch.setenv("BMAD_ARCHIVES", str(store))
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    path = submit(repository / "submissions", archive="e2-c.tar", archive_hash=one, content=one)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    record = make_record(
        entry="mine", entry__kind="submission", entry__image="sha256:" + "9" * 64,
        entry__metadata={"source": "e2-c.tar", "pinned": one},
        source__commit=git(repository, "rev-parse", "HEAD"),
    )  # fmt: skip
    assert recorded_entry.find_recorded(record, tmp_path / "w1") == str(path)
    path.unlink()
    submit(repository / "submissions", archive="e2-c.tar", archive_hash=two, content=two)
    (store / f"e2-c-{'1' * 12}.tar").write_bytes(b"the first")
    (store / "e2-c.tar").write_bytes(b"the second")
    found = recorded_entry.find_recorded(record, tmp_path / "w2")
    entry = open_entry(found)
    assert entry.table.pinned == one
    assert find_archive(entry.table, entry.submission).read_bytes() == b"the first"
    # where no file pins it any more: the archive of that name, then what the record itself pins
    lost = record.model_copy(update={"source": record.source.model_copy(update={"commit": None})})
    assert recorded_entry.find_recorded(lost, tmp_path / "w3") == str(store / "e2-c.tar")
    (store / "e2-c.tar").unlink()
    assert recorded_entry.find_recorded(lost, tmp_path / "w3") == "sha256:" + "9" * 64
    archive = make_record(entry="x", entry__kind="archive", entry__metadata={"source": "x.tar"})
    with pytest.raises(UsageError, match=r"'x\.tar' is not here") as caught:
        recorded_entry.find_recorded(archive, tmp_path / "w4")
    assert "BMAD_ARCHIVES" in caught.value.fix
    digest = "r.example/x@sha256:" + "3" * 64
    image = make_record(
        entry="x",
        entry__kind="image",
        entry__image_digest=digest,
        entry__metadata={"source": "x:1"},
    )
    assert recorded_entry.find_recorded(image, tmp_path / "w5") == digest  # not what x:1 is today
    bare = make_record(entry="x", entry__kind="image", entry__metadata={"source": "x:1"})
    with pytest.raises(UsageError, match="no digest, is not here"):
        recorded_entry.find_recorded(bare, tmp_path / "w6")
