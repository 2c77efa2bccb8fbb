"""RESC's full size, 948 million pixels: small tests once passed where this one did not.

Eight maps, each given 226 times, pool to the metrics of the eight maps themselves, so the
full-size values are known to the last digits.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from harness.metrics import RunScorer
from tests.metrics.oracles import Case, Split, scored, values

COPIES = 226
PIXELS = 8 * COPIES * 512 * 1024


def peak_bytes() -> int:
    """Largest resident set of this process since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def eight_cases(dtype: type) -> list[Case]:
    rng = np.random.default_rng(0)
    cases = []
    for place in range(8):
        smooth = ndimage.zoom(rng.normal(size=(17, 33)), (512 / 17, 1024 / 33), order=1)
        mask = (smooth > np.quantile(smooth, 0.96)) & (place % 2 == 1)
        scores = smooth + 0.3 * rng.normal(size=smooth.shape) + mask
        image = (smooth > np.quantile(smooth, 0.3)).astype(np.uint8)
        cases.append(Case(mask, (0.2 + 0.2 * (scores + 4)).astype(dtype), image))
    return cases


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_run_of_948_million_pixels_is_exact_in_bounded_memory(
    dtype: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = eight_cases(dtype)
    expected = values(scored(few, grids=("native",)))
    split = Split(few * COPIES)
    truth = split.truth()
    forget_peak()
    before = peak_bytes()
    start = time.perf_counter()
    scorer = RunScorer(truth, None, spool=tmp_path, maps=True, intervals=False, grids=("native",))
    for key, case in zip(split.keys, split.cases, strict=True):
        scorer.add("test", key, 0.0, case.anomaly_map)
    scores = scorer.finish()
    seconds = time.perf_counter() - start
    per_pixel = (peak_bytes() - before) / PIXELS
    with capsys.disabled():
        print(f"\n{dtype.__name__}: {seconds:.1f} s, {per_pixel:.2f} bytes a pixel")
    for key, number in values(scores).items():
        if key[1] == "native":
            assert number == pytest.approx(expected[key], abs=1e-11), key
    assert int(scores.evidence.grids["native"].pixels.sum()) == PIXELS
    assert per_pixel < (0.3 if dtype == np.float16 else 2.5)
