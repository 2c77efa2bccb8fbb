"""Takes memory in steps, up to `mib`, and answers honestly if it is still alive then."""

import multiprocessing

import numpy as np

STEP_MIB = 16


def take(mib):
    """Fill memory with ones, so that every page is really there."""
    held = []
    while len(held) * STEP_MIB < mib:
        held.append(np.ones(STEP_MIB << 20, dtype=np.uint8))
    return held


class Model:
    """Bounded, because the process engine does not bound it."""

    def __init__(self, device, seed, params, weights):
        self.mib = params.get("mib", 2048)
        self.child = params.get("child", "no")
        self.held = []

    def predict(self, image):
        """Take it here once, or have a child take it: one that is waited for, or one that is not."""
        if self.child == "no" and not self.held:
            self.held = take(self.mib)
        elif self.child == "awaited":  # as data loaders' workers are: for ever, where it is killed
            with multiprocessing.Pool(1) as pool:
                pool.apply(take, (self.mib,))
        elif self.child == "forgotten" and not self.held:
            self.held = [multiprocessing.Process(target=take, args=(self.mib,))]
            self.held[0].start()
            self.held[0].join()
        return np.zeros(image.shape[:2], dtype=np.float32), float(image[0, 0])
