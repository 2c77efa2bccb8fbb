"""The invented curves of the example."""

from __future__ import annotations

import numpy as np

from harness.board.example.methods import Samples
from harness.board.site_data import BandedCurve, CurveKind, RunCurves
from harness.common.disclosure import Artefact, may_leave
from harness.records.record import Grid, Record


def has_curves(record: Record) -> bool:
    """Whether a real run like this one would have curves on the site."""
    return record.seed == 0 and record.is_ok and may_leave(Artefact.CURVES, record.pack.visibility)


def curves(record: Record) -> RunCurves:
    """Binormal curves with the record's own AUROC."""
    image = record.metric("image_auroc", None)
    pixel = record.metric("pixel_auroc", "native")
    curves = [*_binormal(image.value, None, 0.5)] if image and image.value else []
    if pixel and pixel.value:
        curves += _binormal(pixel.value, "native", 0.03)
        curves.append(_pro(pixel.value))
    return RunCurves(
        run_key=record.run_key,
        evidence=record.evidence or "",
        unit="patient" if record.pack.patients else "image",
        units=record.metrics[0].n,
        curves=tuple(curves),
    )


def _binormal(auroc: float, grid: Grid | None, prevalence: float) -> list[BandedCurve]:
    from scipy.special import ndtr, ndtri

    x = np.linspace(0, 1, 33) ** 2
    y = ndtr(2**0.5 * ndtri(auroc) + ndtri(np.clip(x, 1e-6, 1 - 1e-6)))
    y[0], y[-1] = 0.0, 1.0
    precision = prevalence * y / np.maximum(prevalence * y + (1 - prevalence) * x, 1e-9)
    precision[0] = precision[1]
    return [
        _banded("roc", grid, x, y, 0.03),
        _banded("precision_recall", grid, y, np.maximum.accumulate(precision[::-1])[::-1], 0.04),
    ]


def _pro(auroc: float) -> BandedCurve:
    x = 0.3 * np.linspace(0, 1, 33) ** 2
    return _banded("pro", "native", x, 1 - (1 - x / 0.301) ** (30 * auroc**8), 0.05)


def _banded(kind: CurveKind, grid: Grid | None, x: Samples, y: Samples, half: float) -> BandedCurve:
    x, first = np.unique(np.round(x, 4), return_index=True)
    y = np.round(y[first], 4)
    reach = half * (y * (1 - y) * 4) ** 0.5
    low, high = np.round(np.clip([y - reach, y + reach], 0, 1), 4)
    every = slice(None, None, 2)
    return BandedCurve(
        kind, grid, tuple(x.tolist()), tuple(y.tolist()),
        tuple(x[every].tolist()), tuple(low[every].tolist()), tuple(high[every].tolist()),
    )  # fmt: skip
