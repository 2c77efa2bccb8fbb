"""Carries images out by every text that it may write: log, crash, frames, ids, shapes, scores."""

import base64
import gc
import json
import sys

import numpy as np

from harness.contract.pipe import FrameWriter


def raw_stream():
    """The stream that `serve` keeps from the model; nothing hides it from a hostile one."""
    (writer,) = (thing for thing in gc.get_objects() if isinstance(thing, FrameWriter))
    return writer._stream


class Model:
    """How: by its parameter."""

    def __init__(self, device, seed, params, weights):
        self.how = params.get("how", "log")
        self.answered = 0

    def predict(self, image):
        """Tell the first row of the image, in hex and in base64."""
        row = image[0].reshape(-1)
        secret = f"{row.tobytes().hex()} {base64.b64encode(row.tobytes()).decode()}"
        print(f"SPY {secret} {row.tolist()}", file=sys.stderr, flush=True)
        print(f"SPY {secret} {row.tolist()}", flush=True)
        print("SPY Temporary failure in name resolution", file=sys.stderr, flush=True)
        self.answered += 1
        if self.answered > 3:
            self.betray(image, secret)
        grey = image.astype(np.float32)
        return grey, 1234.5 + float(grey.mean())

    def betray(self, image, secret):
        """One of the ways, after a few honest answers."""
        if self.how == "crash":
            raise ValueError(secret)
        frames = {
            "type": {"type": secret},
            "id": {"type": "map", "id": secret, "score": 0.5, "shape": None},
            "dtype": {"type": "map", "id": "x", "score": 0.5, "shape": [1, 1], "dtype": secret},
            "field": {"type": "map", "id": "x", "score": 0.5, "shape": None, secret: secret},
            "score": {"type": "map", "id": "x", "score": secret, "shape": None},
        }
        if self.how in frames:
            raw_stream().write(json.dumps(frames[self.how]).encode() + b"\n")
        elif self.how == "line":
            raw_stream().write(secret.encode() + b"\n")
        elif self.how == "shape":
            side = [int(value) + 1 for value in image[0].reshape(-1)[:2]]
            frame = {"type": "map", "id": "x", "score": 0.5, "shape": side, "dtype": "float32"}
            raw_stream().write(
                json.dumps(frame | {"nbytes": side[0] * side[1] * 4}).encode() + b"\n"
            )
        else:
            return
        raw_stream().flush()
        sys.stdin.close()
