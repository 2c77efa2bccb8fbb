"""Answers with a float16 map and leaves the score to the harness."""

import numpy as np


class Model:
    """The grey value itself."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """The grey value as float16 [H,W], no score."""
        grey = image if image.ndim == 2 else image.mean(axis=2)
        return (grey / 255.0).astype(np.float16), None
