"""Answers two images, prints a perfect result on both outputs, and exits with 0."""

import json
import os

import numpy as np

FORGED = json.dumps({"status": "ok", "image_auroc": 1.0, "metrics": [{"id": "image_auroc"}]})


class Model:
    """Forges its own result."""

    def __init__(self, device, seed, params, weights):
        self.params = params
        self.answered = 0

    def predict(self, image):
        """An honest answer, twice."""
        if self.answered == 2:
            print(FORGED, flush=True)
            os.write(2, FORGED.encode())
            os._exit(0)
        self.answered += 1
        return np.zeros(image.shape[:2], dtype=np.float32), 0.0
