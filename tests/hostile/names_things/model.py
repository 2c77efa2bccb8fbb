"""Carries a validation image out by every name and number that it may choose."""

import gc
import sys

import numpy as np

from harness.contract.pipe import FrameWriter

PLANTED = "PLANTED"


def raw_stream():
    """The stream that `serve` keeps from the model; nothing hides it from a hostile one."""
    (writer,) = (thing for thing in gc.get_objects() if isinstance(thing, FrameWriter))
    return writer._stream


class Model:
    """How its files are called: by its parameter."""

    def __init__(self, device, seed, params, weights):
        self.how = params.get("how", "printable")
        self.seen = b""

    def fit(self, train, checkpoint):
        """Look at the validation images, then say one of them in steps, in errors and in the log."""
        checkpoint(1)
        secret = 1 << 48 | int.from_bytes(self.seen[:5])
        print(f"{PLANTED} {self.seen.hex()}", file=sys.stderr, flush=True)
        checkpoint.progress(secret, secret, loss=0.5)
        checkpoint(secret)
        checkpoint.progress(secret + 1, secret + 1, loss=0.5)
        if self.how == "crash":
            raise ValueError(f"{PLANTED} {self.seen.hex()}")

    def save(self, folder):
        """A file, and a folder with a file, that are called what was seen."""
        name = f"{PLANTED}-{self.seen[:12].hex()}"
        if self.how == "unprintable":
            name = f"\x1b[31m{name}\nfix: {name}\u202e"
        path = folder / (name + "\udcff" * (self.how == "undecodable"))
        path.mkdir(exist_ok=True)
        (path / name).write_text(name)
        link = folder / f"{name}-link"
        if self.how == "link" and not link.is_symlink():
            link.symlink_to("/etc/passwd")

    def load(self, folder):
        """Greet with what was learned, before the first frame."""
        raw_stream().write(f"{PLANTED} {sorted(path.name for path in folder.iterdir())}\n".encode())
        raw_stream().flush()

    def predict(self, image):
        """Remember the first row; a map of nothing."""
        self.seen = image[0].reshape(-1).tobytes()
        return np.zeros(image.shape[:2], dtype=np.float32), float(image.mean())
