"""One image: decoded and framed ahead, on its way, answered, and its answer looked at.

The ids are new and random in every session, so that they tell nothing and no answer can be
prepared. What comes back is looked at only once the next image is on its way.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from harness.common.statuses import RunEnded, Status
from harness.contract.frames import MAX_SIDE, ImageFrame, MapFrame
from harness.session.time_limits import Deadline


@dataclass(frozen=True)
class Question:
    """One image to ask about."""

    image: np.ndarray | Callable[[], np.ndarray]
    """uint8 [H,W] or [H,W,3], or a function that gives it; called once, in another thread,
    while the entry is busy with the image before."""
    token: object
    """Whatever the caller knows the image by; comes back with the answer, never leaves."""


@dataclass(frozen=True)
class Answer:
    """What the entry said of one image."""

    token: object
    """The question's."""
    score: float
    """Image score, finite; higher = more anomalous."""
    anomaly_map: np.ndarray | None
    """Finite float32 or float16 [H,W], read-only; None where none is wanted or given."""
    latency_seconds: float
    """From just before the first byte is sent to the arrival of the answer's last byte."""
    is_score_from_map: bool
    """The entry sent no score, so it is the map's maximum."""

    def score_alone(self) -> Answer:
        """The same as if no map had been wanted: an entry then sends the maximum itself."""
        return replace(self, anomaly_map=None, is_score_from_map=False)


@dataclass(frozen=True)
class PreparedImage:
    """An image decoded and framed."""

    token: object
    """The question's."""
    id: str
    """Of the frame; new and random."""
    size: tuple[int, ...]
    """H and W."""
    line: bytes
    """The frame's line."""
    pixels: memoryview
    """The bytes after it."""


@dataclass(frozen=True)
class Asked:
    """An image on its way."""

    question: PreparedImage
    """What was sent."""
    where: str
    """Its place in the session, for a message."""
    sent: float
    """Instant of `time.monotonic()` just before its first byte."""
    deadline: Deadline
    """By when the answer must have come."""


@dataclass(frozen=True)
class Received:
    """What came back for it, whole and in time; its values are not looked at yet."""

    asked: Asked
    """What it answers."""
    header: MapFrame
    """The frame's line, checked."""
    anomaly_map: np.ndarray | None
    """The bytes after it."""
    latency_seconds: float
    """As in `Answer`."""

    def answer(self) -> Answer:
        """The answer, when its map is finite."""
        anomaly_map, score = self.anomaly_map, self.header.score
        if anomaly_map is not None and not _is_finite(anomaly_map):
            raise RunEnded(
                Status.NON_FINITE,
                f"{self.asked.where}: the map holds NaN or infinity",
                of_entry=_first_bad(anomaly_map),
            )
        if score is None and anomaly_map is not None:
            score = float(anomaly_map.max())
        if score is None:
            raise TypeError("a header without score and map passed its check")
        return Answer(
            token=self.asked.question.token,
            score=score,
            anomaly_map=anomaly_map,
            latency_seconds=self.latency_seconds,
            is_score_from_map=self.header.score is None,
        )


class Ahead:
    """Questions ready to be sent; the next one is prepared while this one is answered.

    Args:
        questions: what is to be sent, in order.
    """

    def __init__(self, questions: Iterable[Question]) -> None:
        self._questions = iter(questions)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
        self._waiting: Future[PreparedImage] | None = None

    def prepare(self) -> None:
        """Begin with the next one, in another thread; called once this one is on its way."""
        question = next(self._questions, None)
        self._waiting = None if question is None else self._pool.submit(_prepare, question)

    def take(self) -> PreparedImage | None:
        """The one that was begun, when it is ready; None after the last."""
        return None if self._waiting is None else self._waiting.result()

    def __enter__(self) -> Self:
        self.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _prepare(question: Question) -> PreparedImage:
    image = question.image() if callable(question.image) else question.image
    image = np.ascontiguousarray(image)
    frame = ImageFrame(id=_new_id(), shape=_checked_shape(image))
    pixels = image.reshape(-1).data
    return PreparedImage(question.token, frame.id, image.shape[:2], frame.line(), pixels)


def _checked_shape(image: np.ndarray) -> tuple[int, ...]:
    is_image = image.ndim == 2 or image.shape[2:] == (3,)
    if (
        image.dtype != np.uint8
        or not is_image
        or not 1 <= min(image.shape) <= max(image.shape) <= MAX_SIDE
    ):
        raise ValueError(f"an image is uint8 [H,W] or [H,W,3], not {image.dtype} {image.shape}")
    return image.shape


def _first_bad(anomaly_map: np.ndarray) -> str:
    """The first value of a map [H,W] that is not finite, and how many there are."""
    bad = np.argwhere(~np.isfinite(anomaly_map))
    row, column = (int(index) for index in bad[0])
    value = float(anomaly_map[row, column])
    return (
        f"{value} in row {row}, column {column} (from 0), {len(bad)} of {anomaly_map.size} values"
    )


def _is_finite(anomaly_map: np.ndarray) -> bool:
    if anomaly_map.dtype != np.float16:
        return bool(np.isfinite(anomaly_map).all())
    # NaN and infinity are the values whose exponent is all ones: fifteen times as fast this way.
    exponents = anomaly_map.view(np.uint16) & np.uint16(0x7C00)
    return not (exponents == 0x7C00).any()


def _new_id() -> str:
    """Sixteen characters from the system's randomness: 80 bits, in lower-case base32."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()
