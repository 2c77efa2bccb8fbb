"""`python -m harness.score`: old records come to today's intervals from their evidence alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness import score as verb
from harness.common.errors import DataMissing, StoreUnusable
from harness.metrics import METRICS_VERSION, RunScores
from harness.records.record import Record
from harness.records.store import HISTORY, Store, read_record
from harness.running.rescoring import renew
from tests.run_factory import save_run, scores_of


@pytest.fixture(scope="module")
def scores() -> RunScores:
    rng = np.random.default_rng(0)
    labels = rng.random(60) < 0.5
    return scores_of(rng.normal(size=60) + 2 * labels, labels)


def old_run(root: Path, scores: RunScores, **metrics: float) -> Path:
    """A record of metric definitions 1, whose intervals were others; `metrics` are its values."""
    path = save_run(root, scores, source__metrics="1")
    record = read_record(path)
    narrow = [
        metric.model_copy(
            update={"low": metric.value, "high": metric.value}
            | ({"value": metrics[metric.id]} if metric.id in metrics else {})
        )
        for metric in record.metrics
    ]
    older = record.model_copy(update={"metrics": narrow}).sealed()
    path.write_text(older.model_dump_json())
    return path


def image_metrics(record: Record) -> dict[str, tuple[float | None, ...]]:
    return {m.id: (m.value, m.low, m.high) for m in record.metrics if m.grid is None}


def test_old_intervals_are_renewed_from_the_evidence_and_values_stay(tmp_path, scores) -> None:
    path = old_run(tmp_path, scores)
    before = read_record(path)
    assert renew(path)
    after = read_record(path)
    assert after.metrics_version == METRICS_VERSION
    assert after.source == before.source
    assert after.run_key == before.run_key
    assert [m.value for m in after.metrics] == [m.value for m in before.metrics]
    wanted = {m.id: (m.value, m.low, m.high) for m in scores.metrics if m.grid is None}
    assert image_metrics(after) == wanted != image_metrics(before)
    kept = list((tmp_path / HISTORY).rglob("seed-*.json"))
    assert [read_record(each) for each in kept] == [before]
    assert not renew(path)


def test_metrics_that_came_since_are_added_to_an_old_record(tmp_path, scores) -> None:
    path = old_run(tmp_path, scores)
    record = read_record(path)
    new = {"dice_at_fpr", "iou_max", "pro_05", "aupimo"}
    known = [metric for metric in record.metrics if metric.id not in new]
    assert len(known) < len(record.metrics)
    older = record.model_copy(update={"metrics": known}).sealed()
    path.write_text(older.model_dump_json())
    assert renew(path)
    after = read_record(path).metrics
    assert [(m.id, m.grid, m.reason) for m in after] == [
        (m.id, m.grid, m.reason) for m in scores.metrics
    ]


def test_a_record_of_today_is_left_alone(tmp_path, scores) -> None:
    path = save_run(tmp_path, scores)
    content = path.read_bytes()
    assert not renew(path)
    assert path.read_bytes() == content


def test_a_value_that_does_not_follow_from_the_evidence_is_not_renewed(tmp_path, scores) -> None:
    path = old_run(tmp_path, scores, image_auroc=0.999)
    content = path.read_bytes()
    with pytest.raises(StoreUnusable, match="image_auroc") as caught:
        renew(path)
    assert "--replace" in str(caught.value.fix)
    assert path.read_bytes() == content
    assert not (tmp_path / HISTORY).exists()


def test_without_its_evidence_a_record_cannot_be_renewed(tmp_path, scores) -> None:
    path = old_run(tmp_path, scores)
    path.with_suffix(".evidence.npz").unlink()
    with pytest.raises(DataMissing):
        renew(path)


def test_the_verb_renews_and_then_finds_everything_right(tmp_path, scores, capsys) -> None:
    path = old_run(tmp_path, scores)
    assert verb.main(["--results", str(tmp_path), "--renew"]) == 0
    assert "1 of 1 records brought to today's metric definitions" in capsys.readouterr().out
    assert Store(tmp_path).record_paths() == [path]
    assert verb.main(["--results", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert all(row["agrees"] for row in rows)
