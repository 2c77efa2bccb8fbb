"""A record's run done once more: the same to the last digit, or what differs is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import evaluate, rerun
from harness.common.errors import UsageError
from harness.records.record import Record
from harness.records.run_key import RunKey
from harness.records.store import Store
from harness.running import rerunning
from harness.trained.interrupted_training import hold
from tests.paths import ENTRIES


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
