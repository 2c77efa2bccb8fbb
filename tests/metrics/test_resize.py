"""The paper's grid against scipy's linear interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from harness.metrics.kernels.resize import to_paper_grid


@pytest.mark.parametrize("shape", [(240, 240), (512, 1024), (1, 3), (257, 100)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_maps_are_sampled_bilinearly_at_half_pixel_centres(
    shape: tuple[int, int], dtype: type
) -> None:
    anomaly_map = np.random.default_rng(0).normal(size=shape).astype(dtype)
    places = [(np.arange(256) + 0.5) * size / 256 - 0.5 for size in shape]
    expected = map_coordinates(
        anomaly_map.astype(np.float64), np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
    )
    resized = to_paper_grid(anomaly_map)
    assert resized.dtype == dtype
    assert np.allclose(resized, expected.astype(dtype), rtol=2e-3 if dtype == np.float16 else 1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_map_of_256_by_256_and_a_constant_map_stay_as_they_are(dtype: type) -> None:
    anomaly_map = np.random.default_rng(1).normal(size=(256, 256)).astype(dtype)
    assert np.array_equal(to_paper_grid(anomaly_map), anomaly_map)
    assert np.all(to_paper_grid(np.full((100, 300), 0.3, dtype)) == dtype(0.3))
