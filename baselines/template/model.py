"""Pixel statistics: how far a pixel lies from what it is in normal images, in deviations.

A whole method in numpy and Pillow, to copy and to beat. Networks: see baselines/kit, and
baselines/padim for the shortest method on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.contract import Checkpoint

# Grey values: keeps pixels that never change in training from dividing by 0.
LEAST_DEVIATION = 8.0


class PixelStatistics:
    """Mean and standard deviation of every pixel over the normal images."""

    # device is "cpu" or "cuda:0", seed the run's seed, params what entry.toml resolves to,
    # weights the folder of pretrained backbones (None where none is given).
    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device, self.seed, self.weights = device, seed, weights  # of no use here
        self.size = params["image_size"]
        self.mean = np.zeros((self.size, self.size))
        self.deviation = np.ones((self.size, self.size))

    # train: a folder of PNG files, all normal. Nothing else of the benchmark can be seen.
    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Sum up in one pass, so that any number of images fits in memory."""
        files = sorted(train.iterdir())  # in a fixed order: the same seed, the same bytes
        total = np.zeros((2, self.size, self.size))
        for step, file in enumerate(files, start=1):
            with Image.open(file) as image:
                small = self._shrink(image)
            total += small, small**2
            # For the progress bar. A method that trains in epochs also calls
            # `checkpoint(step)` now and then: the harness scores it on the validation
            # images and answers .stop; the state is saved for you.
            checkpoint.progress(step, len(files), None)
        self.mean, squares = total / len(files)
        self.deviation = np.sqrt(np.maximum(squares - self.mean**2, 0))

    # image: uint8 [H, W] or [H, W, 3]. One at a time, and never the other test images:
    # a score must not depend on them.
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The map at the image's own size, and one score; both raw, higher = more anomalous."""
        height, width = image.shape[:2]
        small = self._shrink(Image.fromarray(image))
        distance = np.abs(small - self.mean) / (self.deviation + LEAST_DEVIATION)
        enlarged = Image.fromarray(distance.astype(np.float32)).resize((width, height))
        score = float(np.quantile(distance, 0.99))  # None would mean: the map's maximum
        return np.array(enlarged, dtype=np.float32), score

    def save(self, folder: Path) -> None:
        """Plain files only."""
        np.savez(folder / "statistics.npz", mean=self.mean, deviation=self.deviation)

    def load(self, folder: Path) -> None:
        """What save wrote; called before the first image."""
        with np.load(folder / "statistics.npz") as file:
            self.mean, self.deviation = file["mean"], file["deviation"]

    def _shrink(self, image: Image.Image) -> np.ndarray:
        grey = image.convert("L").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(grey, dtype=np.float64)
