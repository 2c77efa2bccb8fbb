"""Raises on its first image."""


class Model:
    """Ready, and then not."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Raise."""
        raise RuntimeError("this model always fails")
