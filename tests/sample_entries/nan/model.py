"""Answers with a map that holds one NaN."""

import numpy as np


class Model:
    """Did not guard a division."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Zeros with a NaN in the last pixel."""
        anomaly_map = np.zeros(image.shape[:2], dtype=np.float32)
        anomaly_map[-1, -1] = np.nan
        return anomaly_map, 0.0
