"""The example's runs in other regimes: some of each, so that every page and mark is seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.board.example.methods import Method, generator
from harness.board.example.runs import SIX, metrics, record
from harness.board.few_shot_curves import few_shot_curves
from harness.board.rows import Row
from harness.board.siblings import MemberSpreads, SiblingDifference, sibling_differences
from harness.board.site_data import OtherRegimes
from harness.board.suite_rows import WholeRow, whole_rows
from harness.common.statuses import Status
from harness.records.members import MEAN, member_records
from harness.records.record import Record, content_hash
from harness.records.regime import SHOTS

SUITE = "unified-3"
MEMBERS = ("brain", "liver", "resc")
SEEDS = 3
FEW_SHOT = {"brain": 5, "oct2017": 3}
"""How many of the first methods have few-shot runs on a benchmark."""
UNIFIED = 6
"""How many have runs on the suite; the last of them has no one-class sibling."""
LOST_BY_ONE_MODEL = {"brain": 0.004, "liver": 0.05, "resc": 0.03}
"""What one model for all takes off the quality."""


def regime_records(invented: Sequence[Method]) -> Iterator[Record]:
    """Few-shot, unified with its siblings, and one method that declares itself zero-shot."""
    whole = [method for method in invented if not method.is_trivial]
    trivial = [method for method in invented if method.is_trivial]
    for benchmark, count in FEW_SHOT.items():
        for method in whole[:count]:
            for shots in SHOTS:
                yield from (_few_shot(method, benchmark, shots, seed) for seed in range(SEEDS))
    for place, method in enumerate(whole[:UNIFIED]):
        yield from (_unified(method, seed) for seed in range(SEEDS))
        for benchmark in MEMBERS if place < UNIFIED - 1 else ():
            yield from (_at_256(method, benchmark, seed) for seed in range(SEEDS))
    yield from (_unified(method, 0) for method in trivial[:1])
    for benchmark in ("brain", "resc"):
        yield _declared(whole[3], benchmark)


def example_regimes(records: Iterable[Record], usual: Iterable[Row]) -> OtherRegimes:
    """What the site shows of them, with invented spreads behind the differences.

    Args:
        records: those of `regime_records`, under known names.
        usual: one-class rows, for the right end of few-shot curves.
    """
    records = tuple(records)
    rows = whole_rows(records)
    return OtherRegimes(
        rows=rows,
        records=records,
        siblings={
            whole.key: _differences(whole, records)
            for whole in rows
            if whole.row.regime.name == "unified"
        },
        few_shot=few_shot_curves((*(w.row for w in rows if not w.members), *usual)),
    )


def _differences(whole: WholeRow, records: Sequence[Record]) -> tuple[SiblingDifference, ...]:
    mine = [each for each in records if each.entry.name == whole.row.entry]
    runs = [each for each in mine if each.is_of_suite]
    others = [each for each in mine if each.regime and each.regime.label == "one-class-256"]
    return sibling_differences(whole, runs, others, _spreads)


def _spreads(run: Record) -> Mapping[str, MemberSpreads]:
    """Moves of as many patients as the benchmark has, alike in all runs but for a part of their own."""
    from harness.metrics.jackknife import Spread
    from harness.metrics.table import RANKED

    found = {}
    for part in member_records(run):
        name, units = part.pack.benchmark, SIX[part.pack.benchmark][1]
        spreads = {}
        for metric in part.metrics:
            if metric.value is None or metric.high is None or metric.low is None:
                continue
            shared = generator("patients", name, metric.id).normal(0, 1, units)
            own = generator(run.run_key, name, metric.id).normal(0, 1, units)
            moves = (metric.high - metric.low) / 4 * (0.9 * shared + 0.3 * own) / units**0.5
            spreads[metric.id, metric.grid] = Spread(metric.value, moves, units, RANKED)
        found[name] = MemberSpreads(spreads, units)
    return found


def _few_shot(method: Method, benchmark: str, shots: int, seed: int) -> Record:
    is_applicable = (method.metadata["family"], shots) != ("flow", 1)
    luck = float(generator("draw", method.name, benchmark, shots, seed).normal(0, 0.03))
    return _record(
        method, benchmark, seed, f"shots-{shots}",
        regime={"name": "few-shot", "shots": shots, "of_unknown_patient": 0},
        outcome={} if is_applicable else {
            "status": Status.NOT_APPLICABLE, "detail": "1 training image, and a batch has 2", "answered": 0,
        },
        metrics=[
            _without_threshold(each)
            for each in metrics(method, benchmark, seed, 0.16 / shots**0.6 + luck / shots**0.5)
        ],
    )  # fmt: skip


def _without_threshold(metric: dict[str, Any]) -> dict[str, Any]:
    if metric["id"] not in ("dice_at_valid", "dice_at_fpr"):
        return metric
    bare = {name: metric[name] for name in ("id", "grid", "n")}
    return bare | {"value": None, "reason": "a few-shot run is given no labelled image"}


def _at_256(method: Method, benchmark: str, seed: int) -> Record:
    return _record(
        method, benchmark, seed, "256",
        regime={"name": "one-class", "delivery": "256"},
        metrics=metrics(method, benchmark, seed, 0.01),
    )  # fmt: skip


def _declared(method: Method, benchmark: str) -> Record:
    return _record(
        method, benchmark, 0, "zero-shot",
        track="open", ranked=False, unranked_reason="open track",
        regime={"name": "zero-shot", "is_declared": True}, training=None,
        metrics=metrics(method, benchmark, 0, 0.11),
    )  # fmt: skip


def _unified(method: Method, seed: int) -> Record:
    packs = [record(method, name, seed).pack.model_dump(mode="json") for name in MEMBERS]
    found = [
        each | {"member": name}
        for name in MEMBERS
        for each in metrics(method, name, seed, 0.01 + LOST_BY_ONE_MODEL[name])
    ]
    name = None if method.is_trivial else "unified"
    counts = ("train", "valid", "test_normal", "test_anomalous", "patients")
    return _record(
        method, SUITE, seed, "unified",
        regime={"name": name, "suite": SUITE, "delivery": "256"},
        pack={
            "benchmark": SUITE, "visibility": "open", "images_may_be_shown": False,
            **{count: sum(pack[count] for pack in packs) for count in counts},
        },
        members=packs,
        metrics=[*found, *_means(found), *_pooled(found)],
    )  # fmt: skip


def _means(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for key in dict.fromkeys((each["id"], each["grid"]) for each in found):
        values = [each for each in found if (each["id"], each["grid"]) == key]
        yield _over(key[0], key[1], values) | {"member": MEAN}


def _pooled(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for level, grid in (("image", None), ("pixel", "native")):
        own = [each for each in found if (each["id"], each["grid"]) == (f"{level}_auroc", grid)]
        yield _over(f"pooled_{level}_auroc", grid, own, lost=0.03)
        yield _over(f"pooled_{level}_auroc_across", grid, own, lost=0.045)


def _over(
    metric: str, grid: str | None, values: Sequence[dict[str, Any]], lost: float = 0.0
) -> dict[str, Any]:
    """One value over members: undefined where one of theirs is."""
    units = sum(each["n"] for each in values)
    told: dict[str, Any] = {"id": metric, "grid": grid, "n": units}
    if any(each["value"] is None for each in values):
        return told | {"value": None, "reason": values[0]["reason"]}
    value = float(np.mean([each["value"] for each in values])) - lost
    half = float(np.mean([each["high"] - each["low"] for each in values])) / 3
    return told | {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def _record(method: Method, benchmark: str, seed: int, label: str, **changes: Any) -> Record:
    parts = ["example", method.name, benchmark, seed, label]
    changes |= {"run_key": content_hash(parts), "evidence": content_hash([*parts, "evidence"])}
    return record(method, benchmark, seed, **changes)
