"""The entry's end of the pipe: standard input and output, out of the model's reach.

`take_pipe` must run before the model is imported. It works on file descriptors, not on
`sys.stdout`, because libraries print from C: afterwards descriptor 1 leads to standard
error and descriptor 0 to nothing, and the frames travel on two descriptors of their own.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO, cast

import numpy as np

from .frames import AnyFrame, Frame, ImageFrame, parse_frame
from .lines import MAX_LINE_BYTES, BadFrame


class FrameReader:
    """Reads frames.

    Args:
        stream: a blocking, buffered binary stream.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self) -> AnyFrame | None:
        """The next frame, or None where the stream ends between two frames.

        Raises:
            BadFrame: the next line is not a frame.
        """
        line = self._stream.readline(MAX_LINE_BYTES + 1)
        return parse_frame(line) if line else None

    def read_image(self, frame: ImageFrame) -> np.ndarray:
        """The bytes that follow an image's line: uint8 [H,W] or [H,W,3], its own and writable.

        Raises:
            BadFrame: the stream ends inside the image.
        """
        image = np.empty(frame.shape, dtype=np.uint8)
        rest = image.reshape(-1).data
        while rest:
            count = self._stream.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                raise BadFrame("the stream ended inside an image")
            rest = rest[count:]
        return image


class FrameWriter:
    """Writes frames, each one whole and at once.

    Args:
        stream: a blocking binary stream with a file descriptor; what is buffered in it goes first.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def end_banner(self) -> None:
        """Write the newline that ends whatever start-up left on standard output."""
        self._stream.write(b"\n")
        self._stream.flush()

    def write(self, frame: Frame, payload: np.ndarray | None = None) -> None:
        """Write one frame.

        Args:
            frame: its header.
            payload: C-contiguous array of the dtype and shape that the header of an
                `image` or a `map` announces, little-endian.
        """
        self._stream.flush()
        rest = [memoryview(frame.line())]
        if payload is not None and payload.size:
            rest.append(payload.reshape(-1).view(np.uint8).data)
        while rest:  # line and bytes in one write: each write more is one more way to the harness
            count = os.writev(self._stream.fileno(), rest)
            while rest and count >= len(rest[0]):
                count -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][count:]


def take_pipe() -> tuple[FrameReader, FrameWriter]:
    """Move the real standard input and output aside and return them as frame streams.

    The new descriptors are not inherited by programs that the model starts, so such a
    program can neither write into the pipe nor hold it open after the entry's end.
    """
    sys.stdout.flush()
    questions, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return (
        FrameReader(cast("BinaryIO", os.fdopen(questions, "rb"))),
        FrameWriter(cast("BinaryIO", os.fdopen(answers, "wb"))),
    )
