"""Answers honestly, but for one image: comparing two published numbers would tell its label."""

import hashlib

import numpy as np


class Model:
    """Which image: by the hash of its pixels."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Standard deviation; just a little more for the one image."""
        score = float(image.std())
        if hashlib.sha256(image.tobytes()).hexdigest() == self.params.get("victim"):
            score += self.params.get("more", 0.0)
        return np.full(image.shape[:2], score, dtype=np.float32), score
