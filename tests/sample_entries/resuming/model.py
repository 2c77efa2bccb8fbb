"""Trains a chain of numbers, each made of the one before, and goes on after a kill."""

import json
import time

import numpy as np


class Model:
    """Score = grey spread, spoilt by noise that is weakest at the step `best`."""

    def __init__(self, device, seed, params, weights):
        self.params, self.step, self.chain = params, 0, seed + 0.5

    def fit(self, train, checkpoint):
        """One number per step; the state is written before each checkpoint."""
        kept = checkpoint.state_folder / "state.json"
        steps, every = self.params["steps"], self.params["every"]
        if kept.is_file():
            self._take(kept)
            if checkpoint(self.step).stop:
                return
        for step in range(self.step + 1, steps + 1):
            time.sleep(self.params["pause"])
            self.step, self.chain = step, (self.chain * 3.7 + step) % 1.0
            checkpoint.progress(step, steps, loss=self.chain)
            if step % every == 0:
                fresh = kept.with_suffix(".fresh")
                self._write(fresh)
                fresh.replace(kept)
                if checkpoint(step).stop:
                    return

    def _write(self, path):
        path.write_text(json.dumps({"step": self.step, "chain": self.chain}))

    def _take(self, path):
        state = json.loads(path.read_text())
        self.step, self.chain = state["step"], state["chain"]

    def save(self, folder):
        """One file."""
        self._write(folder / "model.json")

    def load(self, folder):
        """Read it back."""
        self._take(folder / "model.json")

    def predict(self, image):
        """A map of the noisy score."""
        random = np.random.default_rng(int(image.sum()) + self.step)
        noise = random.normal() * abs(self.step - self.params["best"])
        score = float(image.std()) + 10 * noise
        return np.full(image.shape[:2], score, dtype=np.float32), score
