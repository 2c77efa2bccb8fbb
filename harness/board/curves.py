"""The curves of a run with confidence bands, from its evidence to a small file beside its record.

    refresh(store)                 every open run that has evidence and no curves yet
    read_curves(root, records)     what lies there, by run key

The band is pointwise: at each x the middle 95 % of the resampled curves, moved by what
the bootstrap's coarser bins moved the curve itself. Traps: a curve can carry labels that
an entry wrote into its scores, so a hidden pack has none; a file that names another
evidence than the record does is not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from harness.board.site_data import BandedCurve, CurveKind, RunCurves
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import StoreUnusable
from harness.common.json_text import BadJson, parse_as
from harness.records.record import Grid, Record
from harness.records.store import Store, replacing, writing_problems

if TYPE_CHECKING:
    from harness.metrics import Evidence
    from harness.metrics.curves import Curve
    from harness.metrics.evidence import GridEvidence, ScoreEvidence

ThresholdCounts = NDArray[np.float64]

# A plot of the site is some 300 pixels wide.
MOST_CURVE_POINTS = 48
BAND_POINTS = 25
CURVE_RESAMPLES = 1000
# Image scores are gathered in this many bins for the bands; the curve itself is exact.
IMAGE_BINS = 200
DECIMALS = 4
_FILE = TypeAdapter(RunCurves)


def refresh(store: Store) -> int:
    """Write the curves of every open run that has evidence and none yet.

    Returns:
        How many were written.
    Raises:
        StoreUnusable: the folder cannot be written, or evidence is damaged.
    """
    from harness.metrics import Evidence

    written = 0
    for record in store.records():
        name = store.name_of(record)
        path, source = store.curves_path(name), store.evidence_path(name)
        if not may_have_curves(record) or not source.is_file() or _read(path, record) is not None:
            continue
        made = curves_of_run(Evidence.load(source), record)
        with writing_problems(store.root), replacing(path) as temporary:
            temporary.write_bytes(_FILE.dump_json(made) + b"\n")
        written += 1
    return written


def read_curves(root: Path, records: Iterable[Record]) -> dict[str, RunCurves]:
    """The curves of these records below a results folder, by run key."""
    store = Store(root)
    found = {}
    for record in records:
        name = store.name_of(record)
        made = _read(store.curves_path(name), record)
        if made is not None and may_have_curves(record):
            found[record.run_key] = made
    return found


def curves_of_run(evidence: Evidence, record: Record) -> RunCurves:
    """The curves of one run: image scores, then pixels at native resolution.

    Args:
        evidence: the run's own.
        record: of an open pack.
    """
    from harness.metrics.curves import curves_of
    from harness.metrics.intervals import resample_counts

    units, _ = evidence.test.group_index
    drawn = resample_counts(units, resamples=CURVE_RESAMPLES).astype(np.float64)  # (R, U)
    binned: dict[Grid | None, ThresholdCounts] = {None: _bin_images(evidence.test)}
    if "native" in evidence.grids:
        binned["native"] = _bin_pixels(evidence.grids["native"])
    bands = {grid: _Resampled.of(counts, drawn) for grid, counts in binned.items()}
    return RunCurves(
        run_key=record.run_key,
        evidence=record.evidence or "",
        unit="patient" if evidence.test.has_patients else "image",
        units=units,
        curves=tuple(
            _with_band(curve, bands[curve.grid]) if units > 1 else _bare(curve)
            for curve in curves_of(evidence)
            if curve.grid in bands
        ),
    )


def may_have_curves(record: Record) -> bool:
    """Whether curves of this run may be made and shown; a suite's has no one curve."""
    may_be_shown = may_leave(Artefact.CURVES, record.pack.visibility) and not record.is_of_suite
    return record.is_ok and may_be_shown and record.evidence is not None


def _read(path: Path, record: Record) -> RunCurves | None:
    """The stored curves where they are this run's; a file of another run or format counts not."""
    if not path.is_file():
        return None
    try:
        made = parse_as(_FILE.validate_json, path.read_bytes())
    except OSError as error:
        raise StoreUnusable(
            f"the curves cannot be read: {error.strerror}", where=str(path)
        ) from error
    except BadJson:
        return None
    is_ours = (made.run_key, made.evidence) == (record.run_key, record.evidence)
    return made if is_ours else None


def _bare(curve: Curve) -> BandedCurve:
    from harness.metrics.curves import thinned

    x, y = np.array(curve.x), np.array(curve.y)
    kept = thinned(x, y, MOST_CURVE_POINTS)
    return BandedCurve(curve.kind, curve.grid, _rounded(x[kept]), _rounded(y[kept]))


@dataclass(frozen=True)
class _Resampled:
    """Counts at or above each bin, from the highest scores down, each [rows, K + 1]."""

    normal: ThresholdCounts
    anomalous: ThresholdCounts
    overlap: ThresholdCounts

    @classmethod
    def of(cls, binned: ThresholdCounts, drawn: ThresholdCounts) -> _Resampled:
        """Row 0 is of the data themselves, the others of the resamples.

        Args:
            binned: float64 [3, U, K] normal, anomalous and region weight of each unit by bin.
            drawn: float64 [R, U] how often each unit stands in each resample.
        """
        rows = np.concatenate([np.ones((1, drawn.shape[1])), drawn])
        return cls(
            *(np.cumsum(np.pad(rows @ counts, ((0, 0), (1, 0))), axis=1) for counts in binned)
        )

    def curve(self, kind: CurveKind, at: ThresholdCounts) -> ThresholdCounts:
        """The curve of every row at these x, float64 [rows, len(at)]; NaN where undefined."""
        with np.errstate(invalid="ignore", divide="ignore"):
            if kind == "precision_recall":
                x = self.anomalous / self.anomalous[:, -1:]
                y = _filled(self.anomalous / (self.anomalous + self.normal))
            else:
                x = self.normal / self.normal[:, -1:]
                y = self.overlap if kind == "pro" else self.anomalous
                y = y / y[:, -1:]
        return np.stack([np.interp(at, row_x, row_y) for row_x, row_y in zip(x, y, strict=True)])


def _with_band(curve: Curve, resampled: _Resampled) -> BandedCurve:
    limit = curve.x[-1] if curve.kind == "pro" else 1.0
    # Denser where curves bend: near no false positives.
    power = 1.0 if curve.kind == "precision_recall" else 2.0
    at = limit * np.linspace(0.0, 1.0, BAND_POINTS) ** power
    coarse, *rows = resampled.curve(curve.kind, at)
    defined = [row for row in rows if np.isfinite(row).all()]
    if 2 * len(defined) <= len(rows) or not np.isfinite(coarse).all():
        return _bare(curve)
    shift = np.interp(at, curve.x, curve.y) - coarse
    low, high = np.percentile(defined, [2.5, 97.5], axis=0) + shift
    return replace(
        _bare(curve),
        band_x=_rounded(at),
        low=_rounded(np.clip(low, 0.0, 1.0)),
        high=_rounded(np.clip(high, 0.0, 1.0)),
    )


def _filled(y: ThresholdCounts) -> ThresholdCounts:
    """Precision is undefined before the first image is drawn: the next defined value stands there."""
    for k in range(y.shape[1] - 2, -1, -1):
        is_missing = np.isnan(y[:, k])
        y[is_missing, k] = y[is_missing, k + 1]
    return y


def _bin_images(scores: ScoreEvidence) -> ThresholdCounts:
    units, unit_of = scores.group_index
    edges = np.unique(np.quantile(scores.scores, np.linspace(0, 1, IMAGE_BINS + 1)[1:]))
    place = edges.size - 1 - np.searchsorted(edges, scores.scores)  # the highest scores first
    binned = np.zeros((3, units, edges.size))
    np.add.at(binned, (scores.is_anomalous.astype(np.int64), unit_of, place), 1.0)
    return binned


def _bin_pixels(part: GridEvidence) -> ThresholdCounts:
    """Normal and anomalous pixels and the weight of the 8-connected regions."""
    normal = part.group_pixels[:, :2].sum(axis=1)
    anomalous = part.group_pixels[:, 2:].sum(axis=1)
    weights = part.group_weights[:, :3].sum(axis=1)
    return np.stack([normal, anomalous, weights]).astype(np.float64)[:, :, ::-1]


def _rounded(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(round(float(value), DECIMALS) for value in values)
