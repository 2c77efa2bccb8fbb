"""Fails as torch does when the GPU's memory is full."""


class OutOfMemoryError(RuntimeError):
    """Has the name of torch's own."""


class Model:
    """Raises the error wrapped in another, as data loaders do."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Raise."""
        try:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        except OutOfMemoryError as error:
            raise RuntimeError("prediction failed") from error
