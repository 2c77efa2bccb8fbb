"""The board as one tidy table: a line for each entry, benchmark, track, metric and grid.

Values are shares from 0 to 1, means over seeds; nothing is in a cell that has no value, and
`reason` says why. Of hidden packs only what `public_rows.published` leaves is in it.

    from harness.board.tidy_rows import tidy_frame
    frame = tidy_frame("results")
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.board.comparison import read_comparisons
from harness.board.rows import MetricSummary, Row, with_withdrawals
from harness.board.suite_rows import WholeRow, whole_rows
from harness.board.table_formats import Scalar
from harness.common.errors import DataMissing
from harness.common.foreign_text import one_line
from harness.records.releases import claimed_name
from harness.records.supervision import NOT_SAID

if TYPE_CHECKING:
    import pandas as pd

    from harness.entries.reviewed import Reviewed
    from harness.records.record import Record
    from harness.records.releases import KnownReleases

TIDY_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "benchmark": "name of the benchmark",
        "entry": "name of the entry on the board",
        "title": "the method's name as its authors write it",
        "regime": "one-class, unified, few-shot or zero-shot; empty for trivial rows and the canary",
        "suite": "suite of a unified or zero-shot row, where it is on one",
        "shots": "training images of a few-shot row",
        "delivery": "native, or 256: every image of 256x256 and RGB",
        "member": "of a suite: the benchmark that the value is over, or mean; empty where it is pooled",
        "track": "trained-here, sealed or open: how the row was made",
        "isolation": "container, same user or none: what stood between the entry and the machine",
        "isolation_lacks": "what of a container did not hold, in words; empty where nothing was measured",
        "ranked": "whether the row may take a rank",
        "unranked_reason": "why not",
        "metric": "name of the metric (python -m harness.list metrics)",
        "grid": "native or paper for pixel metrics; empty for image metrics",
        "value": "mean over seeds, 0 to 1, higher is better",
        "std": "sample standard deviation over seeds",
        "low": "lower end of the 95 % interval of the value",
        "high": "upper end",
        "interval": "what the interval is of: the mean (a comparison's), or the one seed",
        "step": "precision to which a hidden pack's value was rounded; empty where it is exact",
        "reason": "why there is no value",
        "rank": "1 + number of significantly better entries, where a comparison was made",
        "ties": "entries that cannot be told from this one, separated by spaces",
        "seeds": "number of runs behind the row, failed ones included",
        "failures": "how runs failed, separated by spaces",
        "units": "resampled units behind a run's interval: patients, or images",
        "maps": "whether the entry answers with anomaly maps",
        "weights": "the parameter weights: imagenet, random, or empty",
        "weight_files": "pretrained files that the runs could read, each with its SHA-256",
        "preset": "preset of the hyper-parameters",
        "settings": "all hyper-parameters, as JSON",
        "overrides": "those that --set changed, as JSON",
        "family": "kind of method, as the entry declares it",
        "pretraining": "as the entry declares it",
        "labels": "what labels it had learned from: none, normal, abnormal, foreign or unknown",
        "shots_normal": "normal images of a benchmark that it had learned from, as it declares it",
        "shots_abnormal": "abnormal ones",
        "foreign_labels": "other labelled data, as data set:split, separated by semicolons",
        "contamination": "what its pretraining saw of the benchmark: none, images, labels or unknown",
        "audits": "verdicts of the audits, separated by spaces",
        "seconds_per_image": "mean over seeds of the median seconds per test image",
        "train_seconds": "mean over seeds of the training",
        "peak_gpu_mib": "largest peak of GPU memory",
        "peak_ram_mib": "largest peak of RAM",
        "devices": "devices of the runs",
        "identity": "hash of what ran; several where the seeds ran different code",
        "pack": "version of the pack",
        "harness_commit": "commits of the harness",
    }
)
"""Columns of the table, each with what it holds."""
Tidy = dict[str, Scalar]


@dataclass(frozen=True)
class LineChoice:
    """Which lines are wanted; empty: all."""

    benchmarks: Sequence[str] = ()
    entries: Sequence[str] = ()
    metrics: Sequence[str] = ()
    grids: Sequence[str] = ()
    """`image`, `native` or `paper`."""
    is_ranked_only: bool = False

    def has_row(self, row: Row) -> bool:
        """Whether some of a row's lines may be wanted."""
        return (
            bool(
                {row.benchmark, claimed_name(row.benchmark)}
                & {*(self.benchmarks or (row.benchmark,))}
            )
            and row.entry in (self.entries or (row.entry,))
            and (row.ranked or not self.is_ranked_only)
        )

    def has_metric(self, metric: MetricSummary) -> bool:
        """Whether a line of a wanted row is wanted."""
        grid = metric.grid or "image"
        return metric.id in (self.metrics or (metric.id,)) and grid in (self.grids or (grid,))


def board_rows(
    root: Path,
    choice: LineChoice | None = None,
    known: KnownReleases | None = None,
    reviewed: Reviewed | None = None,
) -> tuple[list[Row], dict[Any, Record]]:
    """The rows of a results folder as they may leave the machine, and a record of each; of a suite
    the means over its members.

    Raises:
        DataMissing: there is none.
        StoreUnusable: a record or a comparison there is none.
    """
    wholes, records = _whole_rows(root, choice, known, reviewed)
    return [whole.mean or whole.row for whole in wholes], records


def _whole_rows(
    root: Path,
    choice: LineChoice | None,
    known: KnownReleases | None,
    reviewed: Reviewed | None,
) -> tuple[list[WholeRow], dict[Any, Record]]:
    from harness.benchmarks.known import known_releases
    from harness.board.reviews import with_reviews
    from harness.common.paths import PUBLISHED_RECORDS
    from harness.entries.reviewed import protected_branch
    from harness.entries.submissions import withdrawals
    from harness.records.releases import under_known_names
    from harness.records.store import Store

    shown = under_known_names(Store(root).records(), known or known_releases())
    if root != PUBLISHED_RECORDS:  # of those it was found when they were published
        shown = with_reviews(shown, reviewed or protected_branch())
    records = with_withdrawals(shown, withdrawals())
    rows = whole_rows(records, read_comparisons(root))
    found = [whole for whole in rows if (choice or LineChoice()).has_row(whole.row)]
    if not found:
        raise DataMissing(
            "there is no row to export" + (" of what was asked for" if rows else ""),
            where=str(root),
            fix="python -m harness.list runs --results DIR shows what a folder holds; --results names"
            " another one",
        )
    return found, {_key(record): record for record in reversed(records)}


def tidy_rows(
    root: Path,
    choice: LineChoice | None = None,
    known: KnownReleases | None = None,
    reviewed: Reviewed | None = None,
) -> list[Tidy]:
    """One line per row, metric and grid; a row without any metric has one line, with its reason.

    Args:
        root: a results folder, or the board's published records.
        choice: which lines.
        known: which contents are which benchmark; None = the list that is committed here.
        reviewed: what was reviewed; None = what the protected branch holds.
    Raises:
        DataMissing, StoreUnusable: as `board_rows`.
    """
    wanted = choice or LineChoice()
    wholes, records = _whole_rows(root, wanted, known, reviewed)
    return [
        _line(row, metric, records[whole.key])
        | {"benchmark": whole.row.benchmark, "member": member}
        for whole in wholes
        for member, row in whole.parts
        for metric in ([m for m in row.metrics if wanted.has_metric(m)] if row.metrics else [None])
    ]


def tidy_frame(
    root: str | Path,
    choice: LineChoice | None = None,
    known: KnownReleases | None = None,
    reviewed: Reviewed | None = None,
) -> pd.DataFrame:
    """The same as a pandas DataFrame, with the columns of `TIDY_COLUMNS`."""
    import pandas as pd

    return pd.DataFrame(tidy_rows(Path(root), choice, known, reviewed), columns=list(TIDY_COLUMNS))


def _key(record: Record) -> tuple[str, str, str, str]:
    return (
        record.place, record.entry.name, record.track, record.machine.isolation,
    )  # fmt: skip


def _line(row: Row, metric: MetricSummary | None, record: Record) -> Tidy:
    entry = record.entry
    line: Tidy = dict.fromkeys(TIDY_COLUMNS)
    line |= {name: getattr(row, name) for name in _OF_A_ROW}
    line |= {
        "seeds": len(row.seeds),
        "failures": _joined(each.status.value for each in row.without_result),
        "weight_files": "; ".join(row.weight_files),
        "preset": entry.preset,
        "settings": json.dumps(entry.params, sort_keys=True),
        "overrides": json.dumps(entry.overrides, sort_keys=True),
        "family": _text(row.metadata.get("family")),
        "pretraining": _text(row.metadata.get("pretraining")),
        **supervision_cells(row),
        **regime_cells(row),
        "isolation_lacks": "; ".join(row.lacks) or None,
        "audits": _joined(row.audits),
        "devices": "; ".join(row.devices),
        "identity": _joined(row.identities),
        "pack": _joined(row.packs),
        "harness_commit": _joined(row.commits),
    }
    if metric is None:
        return line | {"reason": row.unranked_reason or "no metric"}
    low, high, interval = _interval(metric)
    return line | {
        "metric": metric.id,
        "grid": metric.grid,
        "value": metric.mean,
        "std": metric.std,
        "low": low,
        "high": high,
        "interval": interval,
        "step": metric.step,
        "reason": metric.reason,
        "rank": metric.rank,
        "ties": _joined(metric.standing.ties) if metric.standing else None,
        "units": max((seed.n for seed in metric.seeds), default=None),
    }


_OF_A_ROW = (
    "benchmark", "entry", "title", "track", "isolation", "ranked", "unranked_reason", "maps",
    "weights", "seconds_per_image", "train_seconds", "peak_gpu_mib", "peak_ram_mib",
)  # fmt: skip


def _interval(metric: MetricSummary) -> tuple[float | None, float | None, str | None]:
    """The interval of the shown value, and what it is of; none where it would be another's."""
    if metric.mean is None:
        return None, None, None
    if metric.standing is not None and metric.standing.low is not None:
        return metric.standing.low, metric.standing.high, "the mean"
    if len(metric.seeds) == 1 and metric.seeds[0].low is not None:
        return metric.seeds[0].low, metric.seeds[0].high, "the one seed"
    return None, None, None


def supervision_cells(row: Row) -> dict[str, Scalar]:
    """What the entry had learned from before its runs, in the columns of a table."""
    declared = row.supervision or NOT_SAID
    foreign = declared.foreign_labels
    return {
        "labels": row.labels.value,
        "shots_normal": str(declared.shots_normal),
        "shots_abnormal": str(declared.shots_abnormal),
        "foreign_labels": foreign if isinstance(foreign, str) else "; ".join(foreign) or "none",
        "contamination": row.contamination.value,
    }


def regime_cells(row: Row) -> dict[str, Scalar]:
    """What the entry could learn from in its runs, in the columns of a table."""
    regime = row.regime
    return {
        "regime": regime.name,
        "suite": regime.suite,
        "shots": regime.shots,
        "delivery": regime.delivery,
    }


def _joined(values: Iterable[str]) -> str | None:
    return " ".join(dict.fromkeys(values)) or None


def _text(value: object) -> str | None:
    return one_line(value, 4096) if isinstance(value, str) and value else None
