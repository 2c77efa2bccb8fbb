"""The paper's own numbers (its Tables 2 and 3): read, and set against measured rows.

Trap: the paper scored each method at its own input size, so a difference is taken on the
paper grid alone (256 x 256), or on image metrics, which have no grid.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.board.reviews import OWN_SETTINGS
from harness.board.rows import Row, place
from harness.board.site_data import Reported
from harness.board.tracks import (
    DEMO_SETTINGS,
    NO_PENALTY_IMAGES,
    OWN_BACKBONE,
    RANDOM_WEIGHTS,
    UNPINNED,
)
from harness.records.releases import claimed_name, not_known
from leaderboard.words import method_key

__all__ = ["Reported", "by_cell", "difference", "method_key", "read_paper", "why_not_comparable"]

REFERENCE = Path(__file__).with_name("reference") / "paper_results.csv"
# What a run had that none of the paper's had: against its rank, and against the paper's number.
NOT_AS_IN_PAPER = (
    RANDOM_WEIGHTS,
    DEMO_SETTINGS,
    OWN_SETTINGS,
    NO_PENALTY_IMAGES,
    OWN_BACKBONE,
    UNPINNED,
)
TABLES = {"table2": "Table 2", "table3": "Table 3"}


def read_paper(path: Path = REFERENCE) -> tuple[Reported, ...]:
    """The paper's values in the order of the file, percent turned into fractions.

    Raises:
        KeyError, ValueError: the file does not have the expected columns.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        values = tuple(
            Reported(
                table=TABLES[line["source"]],
                method=line["method"],
                benchmark=line["benchmark"],
                metric=line["metric"],
                mean=_fraction(line["mean_percent"]),
                std=_fraction(line["std_percent"]),
            )
            for line in csv.DictReader(handle)
        )
    return _with_places(values)


def by_cell(paper: Iterable[Reported]) -> Mapping[tuple[str, str, str], Reported]:
    """The values by (method key, benchmark, metric)."""
    return {(method_key(v.method), v.benchmark, v.metric): v for v in paper}


def why_not_comparable(
    row: Row, metric_id: str, reported: Mapping[tuple[str, str, str], Reported]
) -> str | None:
    """Why a row is not set against a value that the paper has for the benchmark that its pack says
    it is: other images, another regime, other weights or settings; None where it is, or where the
    paper has none.
    """
    value = reported.get((method_key(row.title), claimed_name(row.benchmark), metric_id))
    if value is None or value.mean is None:
        return None
    if reason := not_known(row.benchmark):
        return reason
    if row.place != row.benchmark:
        return "another regime"
    found = (row.unranked_reason or "").split(", ")
    return ", ".join(reason for reason in NOT_AS_IN_PAPER if reason in found) or None


def difference(
    row: Row, metric_id: str, reported: Mapping[tuple[str, str, str], Reported]
) -> float | None:
    """Measured minus reported, as a fraction; None where either is missing, or
    `why_not_comparable` has a reason.

    Pixel and region metrics are taken on the paper grid.
    """
    value = reported.get((method_key(row.title), row.benchmark, metric_id))
    measured = row.metric(metric_id, None) or row.metric(metric_id, "paper")
    if (
        why_not_comparable(row, metric_id, reported)
        or value is None
        or value.mean is None
        or measured is None
        or measured.mean is None
    ):
        return None
    return measured.mean - value.mean


def _fraction(percent: str) -> float | None:
    return float(percent) / 100 if percent else None


def _with_places(values: Sequence[Reported]) -> tuple[Reported, ...]:
    columns: dict[tuple[str, str], list[float]] = {}
    for value in values:
        if value.mean is not None:
            columns.setdefault((value.benchmark, value.metric), []).append(value.mean)
    return tuple(
        replace(value, place=place(value.mean, columns.get((value.benchmark, value.metric), [])))
        for value in values
    )
