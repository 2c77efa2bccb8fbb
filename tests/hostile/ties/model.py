"""Answers with degenerate numbers, all of them finite."""

import numpy as np


class Model:
    """Which ones: by its parameter."""

    def __init__(self, device, seed, params, weights):
        self.kind = params.get("kind", "constant")

    def predict(self, image):
        """The map is uint8 grey above its threshold, or the same number everywhere."""
        if self.kind == "constant":
            return np.full(image.shape[:2], 0.25, dtype=np.float32), 0.25
        bright = image > 127 if image.ndim == 2 else image.mean(axis=2) > 127
        low, high = {
            "two": (np.float32(0), np.float32(1)),
            "denormal": (np.float32(1e-45), np.float32(3e-45)),
            "huge": (np.float32(-3e38), np.float32(3e38)),
        }[self.kind]
        anomaly_map = np.where(bright, high, low).astype(np.float32)
        return anomaly_map, float(high if bright.mean() > 0.05 else low)
