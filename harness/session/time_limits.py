"""The time limits of a session: of its start, of one image, of the whole, of its end; by the host's clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.common.statuses import Cause, Status
from harness.engines.base import Limits


@dataclass(frozen=True)
class Deadline:
    """An instant, and how a run ends that passes it."""

    at: float
    """Instant of `time.monotonic()`."""
    status: Status
    """Status of the run then."""
    words: str
    """What was not done by then."""
    cause: Cause | None = None
    """The way into the status, where it has a remedy of its own."""

    def or_earlier(self, other: Deadline) -> Deadline:
        """The one that comes first."""
        return self if self.at <= other.at else other


class TimeLimits:
    """The deadlines of one session, each the end of the whole where that comes first.

    Args:
        limits: the launch's.
        total_seconds: limit of the whole session, counted from now.
    """

    def __init__(self, limits: Limits, total_seconds: float) -> None:
        self._limits = limits
        self.began = time.monotonic()
        self.total = Deadline(
            self.began + total_seconds,
            Status.TOTAL_TIMEOUT,
            f"the session took longer than its {total_seconds:g} s",
        )

    def start(self) -> Deadline:
        """By when the entry must be ready."""
        seconds = self._limits.start_seconds
        return self._within(seconds, Status.START_TIMEOUT, f"it did not come within {seconds:g} s")

    def image(self) -> Deadline:
        """By when an image that is sent now must be answered."""
        seconds = self._limits.image_seconds
        return self._within(
            seconds, Status.IMAGE_TIMEOUT, f"it was not answered within {seconds:g} s"
        )

    def exit(self) -> Deadline:
        """By when an entry whose input ends now must have exited."""
        seconds = self._limits.stop_seconds
        return self._within(
            seconds,
            Status.TOTAL_TIMEOUT,
            f"the entry did not exit within {seconds:g} s after its input ended",
            Cause.NO_EXIT,
        )

    def last_word(self) -> float:
        """Instant by when an entry that closed its pipe unasked must have exited."""
        return time.monotonic() + self._limits.stop_seconds

    def _within(
        self, seconds: float, status: Status, words: str, cause: Cause | None = None
    ) -> Deadline:
        return Deadline(time.monotonic() + seconds, status, words, cause).or_earlier(self.total)
