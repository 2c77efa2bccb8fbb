"""Camelyon16's outlines (ASAP's XML) against the lists' labels: a report, never a change.

An abnormal patch should have its centre inside a tumour outline, a normal one should touch none.
Trap: groups have names of their own in every release; what is cut out of a tumour is one of them
(`_2` in training annotations), and a name that is not known may be either, so it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from harness.benchmarks.pixels import Mask
from harness.benchmarks.prepare.raw import list_raw_files
from harness.benchmarks.prepare.recipe import Case, Unusable
from harness.benchmarks.problems import Problem
from harness.benchmarks.stored import UnreadableImage, decoding
from harness.common.foreign_text import one_line

Outline = npt.NDArray[np.float64]
"""[n, 2] corners x, y in pixels of level 0."""

GROUPS = {
    # Camelyon16: training annotations, test annotations; Camelyon17.
    "_0": True, "_1": True, "tumor": True, "tumour": True, "metastases": True,
    # Cut out of a tumour, or marked as none; `None` is ASAP's own word for no group.
    "_2": False, "exclusion": False, "normal": False, "none": False,
}  # fmt: skip
"""Names of ASAP's groups in lower case: whether their outlines are tumour; others are cut out."""

_FARTHEST = 1e7  # pixels: slides have some 1e5 a side
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Audit:
    """What came of it."""

    remarks: tuple[str, ...]
    """The counts, and the files that cannot be read."""
    problems: tuple[Problem, ...]
    """Groups that are not known."""


def audit(cases: Iterable[Case], folder: Path, side: int) -> Audit:
    """Count abnormal patches outside every outline, and normal ones inside one.

    Args:
        cases: slides with their patches (`Item.at` = centre).
        folder: holds `<slide>.xml`, at any depth.
        side: of a patch.
    """
    files = {file.name.lower(): file.path for file in list_raw_files([folder]).ending(".xml")}
    counts = {True: [0, 0], False: [0, 0]}  # label: checked, contradicting
    broken: list[str] = []
    problems: list[Problem] = []
    for case in cases:
        path = files.get(f"{case.key}.xml")
        if path is None:
            continue  # slides without tumour have no file
        try:
            tumours, holes = read_outlines(path)
        except Unusable as error:
            problems += (one for one in error.problems if one.kind == "outlines")
            broken += (one.text for one in error.problems if one.kind != "outlines")
            continue
        for item in case.items or ():
            inside = covered(tumours, holes, (item.at[0], item.at[1]), side)
            agrees = inside[side // 2, side // 2] if item.is_anomalous else not inside.any()
            counts[item.is_anomalous][0] += 1
            counts[item.is_anomalous][1] += not agrees
    told = (
        f"Audit against {len(files)} outlines: {counts[True][1]} of {counts[True][0]} abnormal "
        f"patches have their centre outside every tumour outline, {counts[False][1]} of "
        f"{counts[False][0]} normal patches of outlined slides touch one"
    )
    unread = f"{len(broken)} outline files cannot be read: {'; '.join(broken[:3])}"
    return Audit((told, unread) if broken else (told,), tuple(problems))


def read_outlines(path: Path) -> tuple[list[Outline], list[Outline]]:
    """Outlines of tumours, and of what is cut out of them.

    Raises:
        Unusable: no XML, a coordinate is no number, or a group is not one of `GROUPS`.
    """
    tumours: list[Outline] = []
    holes: list[Outline] = []
    unknown: dict[str, int] = {}
    try:
        with decoding("an ASAP annotation in XML"):
            root = ElementTree.parse(path).getroot()  # noqa: S314 - the user's own download
    except UnreadableImage as error:
        raise Unusable(Problem("damaged", f"{path.name}: {error}")) from error
    for annotation in root.iter("Annotation"):
        outline = _outline(annotation, path)
        group = annotation.get("PartOfGroup", "None").strip()
        is_tumour = GROUPS.get(group.lower())
        if is_tumour is None:
            unknown[group] = unknown.get(group, 0) + 1
        elif len(outline) > 2:
            (tumours if is_tumour else holes).append(outline)
    if unknown:
        _refuse_groups(path, unknown)
    return tumours, holes


def _outline(annotation: ElementTree.Element, path: Path) -> Outline:
    try:
        corners = sorted(
            (int(corner.get("Order", "0")), float(corner.get("X", "")), float(corner.get("Y", "")))
            for corner in annotation.iter("Coordinate")
        )
    except ValueError as error:
        raise Unusable(
            Problem(
                "damaged",
                f"{path.name}: a corner without whole Order or numbers X and Y"
                f" ({one_line(error, _LONGEST_NAME)}): download it again",
            )
        ) from error
    outline = np.array([corner[1:] for corner in corners], np.float64).reshape(-1, 2)
    if not (np.abs(outline) <= _FARTHEST).all():
        raise Unusable(
            Problem(
                "damaged",
                f"{path.name}: a corner farther than {_FARTHEST:.0f} pixels from the slide's corner,"
                " expected pixels of level 0: download it again",
            )
        )
    return outline


def _refuse_groups(path: Path, unknown: dict[str, int]) -> NoReturn:
    shown = ", ".join(
        f"'{one_line(group, _LONGEST_NAME)}' ({count})" for group, count in sorted(unknown.items())
    )
    tumour = ", ".join(name for name, is_tumour in GROUPS.items() if is_tumour)
    others = ", ".join(name for name, is_tumour in GROUPS.items() if not is_tumour)
    raise Unusable(
        Problem(
            "outlines",
            f"{path.name}: outlines of unknown groups: {shown}; known are {tumour} as tumour, {others}"
            " as cut out: rename the groups in the file, or run without --xml",
        )
    )


def covered(
    tumours: Sequence[Outline], holes: Sequence[Outline], centre: tuple[int, int], side: int
) -> Mask:
    """Which pixels of a patch lie in a tumour, bool [side, side]."""
    corner = np.array(centre, float) - side // 2
    return _drawn(tumours, corner, side) & ~_drawn(holes, corner, side)


def _drawn(outlines: Iterable[Outline], corner: Outline, side: int) -> Mask:
    canvas = Image.new("1", (side, side))
    pen = ImageDraw.Draw(canvas)
    for outline in outlines:
        local = outline - corner
        if (local.max(axis=0) >= 0).all() and (local.min(axis=0) < side).all():
            pen.polygon([(float(x), float(y)) for x, y in local], fill=1)
    mask: Mask = np.array(canvas, dtype=np.bool_)
    return mask
