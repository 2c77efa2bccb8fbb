"""Behaves on a small pack, misbehaves on a large one: after n images it answers otherwise."""

import numpy as np


class Model:
    """Counts its images."""

    def __init__(self, device, seed, params, weights):
        self.after = params.get("after", 40)
        self.answered = 0

    def predict(self, image):
        """Grey values, and nonsense later."""
        self.answered += 1
        grey = image.astype(np.float32)
        if self.answered > self.after:
            grey = 255 - grey
        return grey, float(grey.mean())
