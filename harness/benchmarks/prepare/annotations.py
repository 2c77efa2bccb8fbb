"""Camelyon16's outlines (ASAP's XML) against the lists' labels: a report, never a change.

An abnormal patch should have its centre inside a tumour outline, a normal one should touch none.
Trap: in training annotations the group `_2` marks what is cut out of a tumour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from harness.benchmarks.pixels import Mask
from harness.benchmarks.prepare.raw import list_raw_files
from harness.benchmarks.prepare.recipe import Case

Outline = npt.NDArray[np.float64]
"""[n, 2] corners x, y in pixels of level 0."""

_CUT_OUT = "_2"
_TUMOUR_GROUPS = frozenset({"_0", "_1", "tumor"})


def audit(cases: Iterable[Case], folder: Path, side: int) -> Iterator[str]:
    """One sentence on abnormal patches outside every outline, one on normal ones inside one.

    Args:
        cases: slides with their patches (`Item.at` = centre).
        folder: holds `<slide>.xml`, at any depth.
        side: of a patch.
    """
    files = {file.name.lower(): file.path for file in list_raw_files([folder]).ending(".xml")}
    counts = {True: [0, 0], False: [0, 0]}  # label: checked, contradicting
    broken = []
    for case in cases:
        path = files.get(f"{case.key}.xml")
        if path is None:
            continue  # slides without tumour have no file
        try:
            tumours, holes = read_outlines(path)
        except (ElementTree.ParseError, ValueError) as error:
            broken.append(f"{path.name} ({error})")
            continue
        for item in case.items or ():
            inside = covered(tumours, holes, (item.at[0], item.at[1]), side)
            agrees = inside[side // 2, side // 2] if item.is_anomalous else not inside.any()
            counts[item.is_anomalous][0] += 1
            counts[item.is_anomalous][1] += not agrees
    yield (
        f"Audit against {len(files)} outlines: {counts[True][1]} of {counts[True][0]} abnormal "
        f"patches have their centre outside every tumour outline, {counts[False][1]} of "
        f"{counts[False][0]} normal patches of outlined slides touch one"
    )
    if broken:
        yield f"{len(broken)} outline files cannot be read: {', '.join(broken[:3])}"


def read_outlines(path: Path) -> tuple[list[Outline], list[Outline]]:
    """Outlines of tumours, and of what is cut out of them.

    Raises:
        ElementTree.ParseError: no XML.
        ValueError: a coordinate is no number.
    """
    tumours: list[Outline] = []
    holes: list[Outline] = []
    root = ElementTree.parse(path).getroot()  # noqa: S314 - the user's own download
    for annotation in root.iter("Annotation"):
        corners = sorted(
            (int(corner.get("Order", "0")), float(corner.get("X", "")), float(corner.get("Y", "")))
            for corner in annotation.iter("Coordinate")
        )
        outline = np.array([corner[1:] for corner in corners]).reshape(-1, 2)
        group = annotation.get("PartOfGroup", "").lower()
        if len(outline) > 2:
            (holes if group == _CUT_OUT else tumours if group in _TUMOUR_GROUPS else []).append(
                outline
            )
    return tumours, holes


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
