"""Sleeps as long as a method would compute; the score is the seconds that this really took.

The map is noise that is made before: hard to score, and costs no time here.
"""

import time

import numpy as np


class Sleeping:
    def __init__(self, device, seed, params, weights):
        self._seconds = params["seconds"]
        self._maps = {}

    def predict(self, image):
        size = image.shape[:2]
        if size not in self._maps:
            self._maps[size] = np.random.default_rng(0).random(size, np.float32)
        began = time.perf_counter()
        time.sleep(self._seconds)
        return self._maps[size], time.perf_counter() - began

    def load(self, folder):
        pass
