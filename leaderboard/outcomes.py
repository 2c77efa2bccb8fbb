"""What a run made of an image: hit, missed, false alarm or passed, as a mark and in words.

A mark's shape says the same as its colour: a disc is right and a square wrong, filled is an
alarm and hollow none. Trap: an image counts as found by its score alone; a map may mark its
lesion or something else, so the share of the lesion's pixels is said beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.board.site_data import Alarms, GalleryCard, Picture
from leaderboard import formats

THRESHOLD_FROM = {
    "validation": "chosen on the validation images",
    "test": "with the best F1 on the test images themselves",
}


@dataclass(frozen=True)
class Verdict:
    """One of the four ends of an image, for its mark."""

    key: str
    """Class of the mark."""
    sign: str
    """What stands inside its shape."""
    word: str
    """Beside the shape."""
    here: str
    """In a sentence about one run."""
    meaning: str
    """In a few words."""


HIT = Verdict("hit", "\N{CHECK MARK}", "hit", "found", "anomalous, and called so")
MISSED = Verdict(
    "missed", "\N{MULTIPLICATION SIGN}", "missed", "missed", "anomalous, called normal"
)
FALSE_ALARM = Verdict("alarm", "!", "false alarm", "false alarm", "normal, called anomalous")
PASSED = Verdict("passed", "\N{CHECK MARK}", "passed", "correctly passed", "normal, and called so")
VERDICTS = (HIT, MISSED, FALSE_ALARM, PASSED)


def verdict(picture: Picture) -> Verdict | None:
    """How the run did on an image; None where it has no threshold."""
    if picture.is_called is None:
        return None
    if picture.is_anomalous:
        return HIT if picture.is_called else MISSED
    return FALSE_ALARM if picture.is_called else PASSED


def lesion_and_alarms(picture: Picture, alarms: Alarms | None) -> str:
    """`lesion 2.7 % of the image, found by 3 of 8`: what is true of an image for every method."""
    told = []
    if not picture.is_anomalous:
        told.append("no lesion")
    elif picture.lesion is not None:
        told.append(f"lesion {formats.share(picture.lesion)} of the image")
    if alarms is not None:
        told.append(_alarms(picture, alarms))
    return ", ".join(told)


def head(picture: Picture, alarms: Alarms | None) -> str:
    """`Lesion 2.7 % of the image; missed here; found by 3 of 8 methods`: an image and its fate."""
    told = [lesion_and_alarms(picture, None) or "anomalous"]
    if each := verdict(picture):
        told.append(f"{each.here} here")
    if alarms is not None:
        told.append(f"{_alarms(picture, alarms)} methods")
    text = "; ".join(told)
    return text[0].upper() + text[1:]


def score_told(picture: Picture, card: GalleryCard) -> str:
    """The image score beside the threshold that it was held to."""
    if card.threshold is None:
        return f"score {formats.quantity(picture.score)}"
    score, threshold = formats.told_apart(picture.score, card.threshold)
    side = "at or above" if picture.is_called else "below"
    return f"score {score}, {side} the threshold {threshold}"


def threshold_told(card: GalleryCard) -> str:
    """Where the threshold of a run comes from; empty without one."""
    if card.threshold is None or card.threshold_from is None:
        return ""
    return (
        f"This run calls an image anomalous from a score of {formats.quantity(card.threshold)} on:"
        f" the threshold {THRESHOLD_FROM[card.threshold_from]}."
    )


def found_told(picture: Picture) -> str:
    """Which share of the lesion its map marks; empty where nobody knows."""
    if picture.found is None:
        return ""
    return f"the map marks {formats.share(picture.found)} of the lesion’s pixels"


def _alarms(picture: Picture, alarms: Alarms) -> str:
    kind = "found by" if picture.is_anomalous else "false alarm for"
    return f"{kind} {alarms.called} of {alarms.of}"
