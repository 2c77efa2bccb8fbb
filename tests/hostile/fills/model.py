"""Writes without end to one of the places that are writable."""

from pathlib import Path


class Model:
    """Stops when the place is full."""

    def __init__(self, device, seed, params, weights):
        self.where = params.get("where", "/tmp")

    def predict(self, image):
        """Fails with what the system says."""
        with Path(self.where, "full").open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
