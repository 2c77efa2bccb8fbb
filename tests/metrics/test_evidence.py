"""Evidence tells the metrics again, bounds them where it cannot, and draws the curves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from harness.metrics import Evidence
from harness.metrics.certify import certify
from harness.metrics.curves import MOST_POINTS, curves_of
from harness.metrics.errors import TruthMismatch
from harness.metrics.kernels.exact import Histograms, SweepLimits, sweep_halves
from harness.metrics.kernels.keys import key_from
from harness.metrics.kernels.sweep import AREA, ROW_SIZE, ROWS
from harness.metrics.scores import score
from tests.metrics.oracles import Split, random_cases, scored, slow_aupro, slow_dice, value

DTYPES = [np.float16, np.float32]


def cases_of(seed: int, dtype: type, **options: object) -> list:
    return random_cases(np.random.default_rng(seed), 6, dtype=dtype, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_is_rescored_from_its_file_to_the_last_bit(dtype: type, tmp_path: Path) -> None:
    cases, valid = cases_of(1, dtype, background=0.2), cases_of(2, dtype)
    scores = scored(cases, valid, intervals=True)
    scores.evidence.save(tmp_path / "evidence.npz")
    loaded = Evidence.load(tmp_path / "evidence.npz")
    loaded.check(Split(cases).truth(), Split(valid).truth())
    again = score(loaded)
    assert again.metrics == scores.metrics
    assert again.maps == scores.maps
    assert again.warnings == scores.warnings
    assert again.delong == scores.delong
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "evidence.npz").read_bytes()


def test_evidence_of_image_scores_alone_is_rescored_too(tmp_path: Path) -> None:
    cases = cases_of(3, np.float32)
    scores = scored(cases, maps=False, intervals=True)
    scores.evidence.save(tmp_path / "evidence.npz")
    loaded = Evidence.load(tmp_path / "evidence.npz")
    loaded.check(Split(cases).truth(), None)
    assert score(loaded).metrics == scores.metrics


def test_evidence_of_another_truth_or_a_damaged_file_is_refused(tmp_path: Path) -> None:
    scores = scored(cases_of(1, np.float16))
    with pytest.raises(TruthMismatch, match="another ground truth"):
        scores.evidence.check(Split(cases_of(2, np.float16)).truth(), None)
    (tmp_path / "evidence.npz").write_bytes(b"PK half")
    with pytest.raises(TruthMismatch, match="damaged"):
        Evidence.load(tmp_path / "evidence.npz")


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_float16_evidence_knows_region_overlap_to_any_limit(limit: float) -> None:
    cases = cases_of(4, np.float16, levels=40)
    expected = slow_aupro([c.mask for c in cases], [c.anomaly_map for c in cases], limit)
    part = scored(cases).evidence.grids["native"]
    everywhere, _ = sweep_halves(Histograms(part.pixels, part.weights), SweepLimits(limit, 0.0))
    eight = [ROWS + ROW_SIZE * row for row in range(3)]
    area = sum(everywhere[place + AREA] for place in eight)
    regions = sum(everywhere[place] for place in eight)
    assert area / (limit * part.pixels[:2].sum() * regions) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("threshold", [-9.0, -0.3, 0.0, 0.1234, 1.0, 99.0])
def test_float16_evidence_knows_dice_at_any_threshold(threshold: float) -> None:
    cases = cases_of(5, np.float16, levels=40)
    pixels = scored(cases).evidence.grids["native"].pixels
    key = min(key_from(threshold, np.dtype(np.float16)), pixels.shape[1] - 1)
    alarms, found = pixels[:2, key:].sum(), pixels[2:, key:].sum()
    dice = 2 * found / (pixels[2:].sum() + found + alarms)
    assert dice == slow_dice(*Split(cases).pooled(), threshold)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e-3, 1), (100, -300)])
def test_every_stored_value_is_certified(dtype: type, scale: float, offset: float) -> None:
    cases = cases_of(7, dtype, scale=scale, offset=offset, background=0.2)
    scores = scored(cases, cases)
    certified = certify(scores.evidence, scores.metrics)
    assert len(certified) == len(scores.metrics)
    assert all(row.agrees for row in certified)
    widths = [row.high - row.low for row in certified if row.low is not None and row.grid]
    if dtype == np.float16:
        assert max(widths) == 0
    else:
        assert max(widths) > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_forged_value_is_not_certified(dtype: type) -> None:
    scores = scored(cases_of(8, dtype))
    forged = [
        metric.model_copy(update={"value": metric.value + 0.05})
        for metric in scores.metrics
        if metric.value is not None and metric.id not in ("dice_at_valid",)
    ]
    assert not any(row.agrees for row in certify(scores.evidence, forged))
    undefined = [m.model_copy(update={"value": None, "reason": "lost"}) for m in forged]
    assert not any(row.agrees for row in certify(scores.evidence, undefined))


@pytest.mark.parametrize("dtype", DTYPES)
def test_curves_are_thin_and_lie_on_the_exact_line(dtype: type) -> None:
    cases = random_cases(np.random.default_rng(9), 6, (90, 110), dtype=dtype)
    curves = curves_of(scored(cases, intervals=True).evidence)
    kinds = [(curve.kind, curve.grid) for curve in curves]
    assert kinds == [
        ("roc", None),
        ("precision_recall", None),
        ("roc", "native"),
        ("precision_recall", "native"),
        ("pro", "native"),
        ("roc", "paper"),
        ("precision_recall", "paper"),
        ("pro", "paper"),
    ]
    for curve in curves:
        assert 2 <= len(curve.x) == len(curve.y) <= MOST_POINTS
        assert list(curve.x) == sorted(curve.x)
        assert 0 <= min(curve.y) <= max(curve.y) <= 1
    rate, recall, _ = roc_curve(*Split(cases).pooled(), drop_intermediate=False)
    roc = curves[2]
    assert np.max(np.abs(np.interp(rate, roc.x, roc.y) - recall)) < 0.01
    pro = curves[4]
    assert pro.x[-1] == 0.3
    area = np.trapezoid(pro.y, pro.x) / 0.3
    scores = scored(cases)
    assert area == pytest.approx(value(scores, "pixel_pro"), abs=2e-3)


def test_a_run_of_one_class_has_no_curves() -> None:
    assert curves_of(scored(cases_of(1, np.float16)[:1]).evidence) == ()


def test_listing_the_metrics_loads_no_compiler() -> None:
    code = "import sys, harness.metrics as m; m.METRICS; assert not {'numba', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
