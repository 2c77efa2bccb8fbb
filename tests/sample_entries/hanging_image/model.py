"""Is ready, and never answers its first image."""

import time


class Model:
    """Sleeps where it should predict."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Sleep."""
        time.sleep(3600)
