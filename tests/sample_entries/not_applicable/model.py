"""Says that it cannot learn from what it gets: at once, or only after it has seen an image."""

from harness.contract import NotApplicable


class Model:
    """Needs more images than anybody has."""

    def __init__(self, device, seed, params, weights):
        self.when = params["when"]

    def fit(self, train, checkpoint):
        """Refuse, or go on to a checkpoint."""
        if self.when == "fit":
            raise NotApplicable("a million training images are needed")
        checkpoint(1)

    def predict(self, image):
        """Refuse."""
        raise NotApplicable("the image is not to my liking")

    def save(self, folder):
        """Nothing to write."""

    def load(self, folder):
        """Nothing to read."""
