"""Takes memory in steps, up to `mib`, and answers honestly if it is still alive then."""

import numpy as np

STEP_MIB = 16


class Model:
    """Bounded, because the process engine does not bound it."""

    def __init__(self, device, seed, params, weights):
        self.params = params
        self.held = []

    def predict(self, image):
        """Fill memory with ones, so that every page is really there."""
        while len(self.held) * STEP_MIB < self.params.get("mib", 2048):
            self.held.append(np.ones(STEP_MIB << 20, dtype=np.uint8))
        return np.zeros(image.shape[:2], dtype=np.float32), 0.0
