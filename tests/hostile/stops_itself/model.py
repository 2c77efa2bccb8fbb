"""Sends SIGSTOP to itself and to all its relatives: it neither runs nor ends."""

import os
import signal


class Model:
    """Waits for a SIGCONT that nobody sends."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Never answers."""
        os.kill(0, signal.SIGSTOP)
        return None, 0.0
