"""What may leave a pack's machine: one table of artefact x visibility, asked by everything that shows or writes.

An entry that chooses its scores can write every label of a hidden pack into a ROC curve, a
histogram or a list of per-image values, and its pixels into a log or a model. So what is not
allowed here by name stays where it is: an artefact that has no line, or a visibility that
nobody has thought of, is closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

Visibility = Literal["open", "hidden"]
"""Who may see a pack: `open`, its images and labels are public; `hidden`, they never leave."""


class Artefact(StrEnum):
    """Something that a run, or a look at a pack, leaves behind."""

    STATUSES = "statuses and rounded aggregates"
    EXACT_RECORD = "the record as the run left it: exact metrics, times, details"
    EVIDENCE = "histograms and per-image scores"
    CURVES = "ROC, precision-recall and PRO curves"
    COMPARISON_NUMBERS = "means and intervals behind ranks and ties"
    PICTURES = "images, lesions and anomaly maps as pictures"
    LOG = "what the entry wrote to standard error"
    ENTRY_WORDS = (
        "names, words and step numbers that the entry chose: of files, in frames, in errors"
    )
    TRAINING_CURVE = "the losses that the entry told while it trained"
    DATA_CARD = "exact facts on the pack's images, by name"
    LABELS = "labels, written into an entry"
    UNISOLATED_RUN = "images, given to a program that nothing isolates"
    SAME_USER_RUN = (
        "images, given to a program that is not held in all that a container holds it in"
    )


_EVERYBODY: frozenset[str] = frozenset({"open", "hidden"})
_OPEN_ALONE: frozenset[str] = frozenset({"open"})
MAY_LEAVE: dict[Artefact, frozenset[str]] = {
    Artefact.STATUSES: _EVERYBODY,
    Artefact.EXACT_RECORD: _OPEN_ALONE,
    Artefact.EVIDENCE: _OPEN_ALONE,
    Artefact.CURVES: _OPEN_ALONE,
    Artefact.COMPARISON_NUMBERS: _OPEN_ALONE,
    Artefact.PICTURES: _OPEN_ALONE,
    Artefact.LOG: _OPEN_ALONE,
    Artefact.ENTRY_WORDS: _OPEN_ALONE,
    Artefact.TRAINING_CURVE: _OPEN_ALONE,
    Artefact.DATA_CARD: _OPEN_ALONE,
    Artefact.LABELS: _OPEN_ALONE,
    Artefact.UNISOLATED_RUN: _OPEN_ALONE,
    Artefact.SAME_USER_RUN: _OPEN_ALONE,
}
"""By artefact, the visibilities of the packs that it may leave."""
_SEALED: frozenset[str] = frozenset({"hidden"})


def may_leave(artefact: Artefact, visibility: str | None) -> bool:
    """Whether this artefact of a pack of this visibility may be shown, published or given away."""
    return visibility in MAY_LEAVE.get(artefact, frozenset())


class PictureReach(StrEnum):
    """Where the pictures of a run may be seen."""

    NOWHERE = "they are not drawn"
    THIS_MACHINE = "beside the run's own record, watermarked, and never published"
    EVERYWHERE = "they are published with the record"


def picture_reach(visibility: str | None, *, may_be_shown: bool) -> PictureReach:
    """Where pictures of a pack of this visibility may be seen.

    Args:
        visibility: of the pack.
        may_be_shown: whether its card says that its images may be shown: open to download is not
            open to republish.
    """
    if not may_leave(Artefact.PICTURES, visibility):
        return PictureReach.NOWHERE
    return PictureReach.EVERYWHERE if may_be_shown else PictureReach.THIS_MACHINE


def is_sealed(visibility: str | None) -> bool:
    """Whether the pack's images were never published with labels: the track of strangers' images."""
    return visibility in _SEALED


def is_strictest(visibility: Visibility, members: Iterable[Visibility]) -> bool:
    """Whether something made of members of these visibilities is as closed as it must be."""
    return visibility == strictest(members)


def strictest(visibilities: Iterable[Visibility]) -> Visibility:
    """Of these visibilities the one that lets the fewest artefacts leave."""
    return min(visibilities, key=lambda each: sum(may_leave(one, each) for one in Artefact))
