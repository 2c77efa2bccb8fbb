"""Answers with a map that is half as high and wide as the image."""

import numpy as np


class Model:
    """Forgot to resize."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """A map of half the size."""
        height, width = image.shape[:2]
        return np.zeros((height // 2, width // 2), dtype=np.float32), 0.0
