"""Wants to see a second image before it answers the first."""

import gc

from harness.contract.pipe import FrameReader, FrameWriter


def raw_pipe() -> tuple[FrameReader, FrameWriter]:
    """The streams that `serve` keeps from the model; nothing hides them from a hostile one."""
    found = gc.get_objects()
    readers = [thing for thing in found if isinstance(thing, FrameReader)]
    writers = [thing for thing in found if isinstance(thing, FrameWriter)]
    return readers[0], writers[0]


class Model:
    """Reads past the image it was given."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Wait for the next image, which only comes after the answer to this one."""
        reader, _ = raw_pipe()
        reader.read()
        return None, 0.0
