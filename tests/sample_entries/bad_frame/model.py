"""Writes a broken line where its answer should be."""

import gc

from harness.contract.pipe import FrameReader, FrameWriter


def raw_pipe() -> tuple[FrameReader, FrameWriter]:
    """The streams that `serve` keeps from the model; nothing hides them from a hostile one."""
    found = gc.get_objects()
    readers = [thing for thing in found if isinstance(thing, FrameReader)]
    writers = [thing for thing in found if isinstance(thing, FrameWriter)]
    return readers[0], writers[0]


class Model:
    """Writes past `serve`."""

    def __init__(self, device, seed, params, weights):
        self.params = params

    def predict(self, image):
        """Half a header, and a newline."""
        _, writer = raw_pipe()
        stream = writer._stream
        stream.write(b'{"type":"map","id":\n')
        stream.flush()
        return None, 0.0
