"""Runs as the harness leaves them: a record whose metrics follow from the evidence beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.entries.entry import TrainingTable
from harness.metrics import METRICS_VERSION, RunScores
from harness.records.record import Record
from harness.records.run_key import RunKey
from harness.records.store import Store
from tests.metrics.oracles import Case, random_cases, scored
from tests.record_factory import record


def finished(record: Record) -> Record:
    """The record with everything that its run key is made of, and that key."""
    rule = TrainingTable().model_dump()
    entry = record.entry.model_copy(update={"checkpoint_rule": rule})
    known = record.model_copy(update={"entry": entry})
    return known.model_copy(update={"run_key": RunKey.of_record(known).hash}).sealed()


def save_run(root: Path, scores: RunScores, **changes: Any) -> Path:
    """Store a run of these scores; the path of its record.

    Args:
        root: the results folder.
        scores: from a real scorer, with intervals.
        changes: as `tests.record_factory.record` takes them.
    """
    anomalous = int(scores.evidence.test.is_anomalous.sum())
    told = {
        "pack__test_anomalous": anomalous,
        "pack__test_normal": len(scores.evidence.test.keys) - anomalous,
        "source__metrics": METRICS_VERSION,
    }
    made = record(metrics={}, **(told | changes))
    made = finished(
        made.model_copy(
            update={
                "metrics": list(scores.metrics),
                "maps": scores.maps,
                "warnings": list(scores.warnings),
            }
        )
    )
    store = Store(root)
    name = store.name_of(made)
    store.save(name, made, write_evidence=scores.evidence.save)
    return store.record_path(name)


@cache
def random_scores(dtype: type = np.float32, seed: int = 0, images: int = 6) -> RunScores:
    """A run with maps and masks."""
    rng = np.random.default_rng(seed)
    cases = random_cases(rng, images, dtype=dtype)
    return scored(cases, random_cases(rng, 4, dtype=dtype), intervals=True)


def scores_of(answers: Sequence[float], labels: Sequence[bool]) -> RunScores:
    """A run that sends scores alone."""
    cases = [
        Case(np.zeros((2, 2), bool), np.zeros((2, 2), np.float32), score=answer, is_anomalous=label)
        for answer, label in zip(answers, labels, strict=True)
    ]
    return scored(cases, intervals=True, maps=False, has_masks=False)
