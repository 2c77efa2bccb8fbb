"""The best state of a training, held by the host while the entry goes on training.

    <home>/held-0, held-1       one archive each; one holds the best state yet, one the newest other

Each saved state is written over the file that does not hold the best before it, the better or
not; which file holds what stands in the training's state alone. Traps: an entry that could tell
whether its newest state is held would read validation labels off it, one checkpoint each. A
container sees the free space and the free inodes of its model folder's disk, so the files are
as many and as large whatever is held: both have the size of the largest state yet, are written in
place, and never removed. Links or copies on write would show in the free space whether the blocks
of a state that the entry has removed are still held, and a link would even be written through.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from harness.common.statuses import RunEnded, Status
from harness.engines.base import Limits
from harness.trained import model_folder


@dataclass
class HeldStates:
    """Two saved states of one training, by the numbers of their checkpoints."""

    home: Path
    """A folder that the entry cannot reach."""
    numbers: list[int | None] = field(default_factory=lambda: [None, None])
    """What each file holds whole; None: nothing that counts. The caller writes it down."""
    _next: tuple[int, int] | None = None

    def make_room(self, number: int, best: int | None) -> None:
        """Choose the file for the state of a checkpoint; what it holds counts no more.

        Args:
            number: of the checkpoint; states of this number and of later ones are forgotten.
            best: of the one whose state must not be lost.
        Raises:
            RunEnded: `bad_frame` where that state is not held.
        """
        self.numbers = [held if held and held < number else None for held in self.numbers]
        place = 0 if best is None else 1 - self._place(best)
        self.numbers[place] = None
        self._next = place, number

    def take(self, written: Path, limits: Limits) -> None:
        """Copy the model that the entry has saved.

        Args:
            written: the entry's model folder.
            limits: as in `model_folder.pack`.
        Raises:
            RunEnded: `bad_model`; `host_error` where the host cannot write it.
        """
        if self._next is None:
            raise ValueError("no room was made for a state")
        place, number = self._next
        try:
            with _opened_for_writing(self._path(place)) as file:
                model_folder.pack(written, file, limits)
                nbytes = file.tell()
                self._even_out(nbytes)
                os.fsync(file.fileno())
        except OSError as error:
            raise RunEnded(
                Status.HOST_ERROR, f"the trained state cannot be held: {error.strerror}"
            ) from error
        self.numbers[place] = number

    def put_back(self, number: int, destination: Path) -> None:
        """Write the state of a checkpoint into an existing, empty folder.

        Raises:
            RunEnded: `bad_frame` where it is not held; `host_error` where it cannot be written.
        """
        path = self._path(self._place(number))
        try:
            with path.open("rb") as file:
                model_folder.unpack(file, destination)
        except OSError as error:
            raise RunEnded(
                Status.HOST_ERROR, f"the trained state cannot be put back: {error.strerror}"
            ) from error

    def _path(self, place: int) -> Path:
        return self.home / f"held-{place}"

    def _place(self, number: int) -> int:
        if number not in self.numbers:
            raise RunEnded(
                Status.BAD_FRAME,
                f"the state of checkpoint {number}, the best, was never saved: after an"
                " interruption, the checkpoint that was sent last comes again first",
            )
        return self.numbers.index(number)

    def _even_out(self, nbytes: int) -> None:
        """Give both files the space of the largest state yet."""
        paths = [self._path(place) for place in (0, 1)]
        nbytes = max(nbytes, *(path.stat().st_size for path in paths if path.exists()))
        for path in paths:
            with _opened_for_writing(path) as file:
                os.posix_fallocate(file.fileno(), 0, max(nbytes, 1))


def _opened_for_writing(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "r+b")
