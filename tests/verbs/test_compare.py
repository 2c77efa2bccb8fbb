"""`compare`: ranks from the evidence of real scorers, written as aggregates and read by the site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness import compare
from harness.board.comparison import comparison_path, read_comparisons
from harness.board.rows import summarise
from harness.common.errors import DataMissing, StoreUnusable
from harness.metrics import GroundTruth, RunScorer, TruthImage
from harness.records.record import Record
from harness.records.store import RunName, Store
from tests.record_factory import KNOWN

PATIENTS, IMAGES = 40, 400
Fill = Callable[..., Store]


def truth() -> GroundTruth:
    images = [
        TruthImage(
            key=f"test/{i:03}.png",
            is_anomalous=i % 2 == 1,
            group=f"patient-{i % PATIENTS}",
            subclass=None,
            image=lambda: np.zeros((4, 4), np.uint8),
            mask=None,
        )
        for i in range(IMAGES)
    ]
    return GroundTruth.compile(images, has_masks=False)


@pytest.fixture
def fill(tmp_path: Path, make_record: Callable[..., Record]) -> Fill:
    """A store with image-level runs: strength of the signal by entry, one run per seed."""

    def made(
        strengths: dict[str, float], seeds: Sequence[int] = (0, 1), **changes: object
    ) -> Store:
        store = Store(tmp_path / "results")
        ground = truth()
        for entry, strength in strengths.items():
            for seed in seeds:
                rng = np.random.default_rng([seed, len(entry)])
                scorer = RunScorer(ground, None, spool=tmp_path, maps=False)
                for key, label in zip(ground.keys, ground.is_anomalous, strict=True):
                    scorer.add("test", key, float(rng.normal(strength * label)), None)
                scores = scorer.finish()
                record = make_record(
                    entry=entry,
                    benchmark="rsna",
                    seed=seed,
                    metrics={},
                    pack__patients=PATIENTS,
                    **changes,
                ).model_copy(update={"metrics": list(scores.metrics)})
                store.save(
                    RunName("rsna", entry, seed), record, write_evidence=scores.evidence.save
                )
        return store

    return made


def test_a_real_lead_gets_its_rank_in_the_file_and_on_the_rows(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"strong": 2.0, "weak": 0.5, "weakest-like": 0.5})
    assert compare.main(["--results", str(store.root)], KNOWN) == 0
    out = capsys.readouterr().out
    assert "40 patients" in out
    comparison = read_comparisons(store.root)["rsna"]
    ranks = {
        name: standing.rank
        for name in ("strong", "weak", "weakest-like")
        if (standing := comparison.standing(name, "trained-here", "image_auroc", None))
    }
    assert ranks == {"strong": 1, "weak": 2, "weakest-like": 2}
    strong = comparison.standing("strong", "trained-here", "image_auroc", None)
    assert strong is not None
    assert strong.mean is not None
    assert strong.low is not None
    assert strong.high is not None
    assert strong.low < strong.mean < strong.high
    assert sum(strong.stability) == pytest.approx(1)
    assert strong.seeds == 2
    rows = summarise(store.records(), comparisons=read_comparisons(store.root))
    shown = {row.entry: metric.rank for row in rows if (metric := row.metric("image_auroc", None))}
    assert shown == ranks


def test_the_file_is_the_same_twice_and_holds_no_image_and_no_patient(fill: Fill) -> None:
    store = fill({"a": 1.0, "b": 0.5})
    path = comparison_path(store.root, "rsna")
    compare.main(["--results", str(store.root)], KNOWN)
    first = path.read_bytes()
    compare.main(["--results", str(store.root)], KNOWN)
    assert path.read_bytes() == first
    assert b"test/" not in first
    assert b"patient-" not in first


def test_runs_that_take_no_rank_are_compared_only_when_asked_and_never_written(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"a": 1.0, "b": 0.5}, params={"weights": "random"})
    with pytest.raises(DataMissing, match="--unranked"):
        compare.main(["--results", str(store.root)], KNOWN)
    assert compare.main(["--results", str(store.root), "--unranked"], KNOWN) == 0
    assert "1. a" in capsys.readouterr().out
    assert not comparison_path(store.root, "rsna").exists()


def test_runs_on_two_versions_of_a_pack_are_not_compared(fill: Fill) -> None:
    fill({"a": 1.0}, pack__version="rsna-000000000001")
    store = fill({"b": 0.5}, pack__version="rsna-000000000002")
    with pytest.raises(StoreUnusable, match="different packs"):
        compare.main(["--results", str(store.root)], KNOWN)


def test_changed_evidence_is_found(fill: Fill) -> None:
    store = fill({"a": 1.0, "b": 0.5})
    path = store.evidence_path(RunName("rsna", "a", 0))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match="evidence was changed"):
        compare.main(["--results", str(store.root)], KNOWN)
