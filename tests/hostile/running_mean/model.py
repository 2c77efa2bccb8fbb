"""Adapts to the test set: every score is centred by the mean of all images so far."""

import numpy as np


class Model:
    """Its answer depends on what it saw before."""

    def __init__(self, device, seed, params, weights):
        self.seen = []

    def predict(self, image):
        """Mean grey, less the running mean."""
        self.seen.append(float(image.mean()))
        score = self.seen[-1] - sum(self.seen) / len(self.seen)
        return np.full(image.shape[:2], score, dtype=np.float32), score
