"""Trains for show: its state is the number of steps, so that answers tell which one was kept."""

import json

import numpy as np


class Model:
    """Score = grey mean x steps of the loaded state."""

    def __init__(self, device, seed, params, weights):
        self.params = params
        self.steps_done = 0
        self.train_images = 0

    def fit(self, train, checkpoint):
        """Count up; a checkpoint every `every` steps."""
        self.train_images = sum(1 for _ in train.glob("*.png"))
        steps = self.params.get("steps", 6)
        for step in range(1, steps + 1):
            self.steps_done = step
            checkpoint.progress(step, steps, loss=1.0 / step)
            if step % self.params.get("every", 2) == 0 and checkpoint(step).stop:
                break

    def save(self, folder):
        """One JSON file in a folder below."""
        (folder / "state").mkdir()
        state = {"steps_done": self.steps_done, "train_images": self.train_images}
        (folder / "state" / "state.json").write_text(json.dumps(state))

    def load(self, folder):
        """Read it back."""
        state = json.loads((folder / "state" / "state.json").read_text())
        self.steps_done = state["steps_done"]

    def predict(self, image):
        """A constant map, and grey mean x steps."""
        score = self.steps_done * float(image.mean()) / 255.0
        return np.full(image.shape[:2], score, dtype=np.float32), score
