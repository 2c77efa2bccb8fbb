"""Leaves a symbolic link and a FIFO where its model should be."""

import os

import numpy as np


class Model:
    """Hopes that the harness follows links."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def fit(self, train, checkpoint):
        """Learn nothing."""

    def save(self, folder):
        """One good file among the bad ones."""
        (folder / "good.txt").write_text("good")
        (folder / "passwords").symlink_to("/etc/passwd")
        os.mkfifo(folder / "queue")

    def load(self, folder):
        """Read nothing."""

    def predict(self, image):
        """Zeros."""
        return np.zeros(image.shape[:2], dtype=np.float32), 0.0
