"""Histopathology, image level: 256x256 patches of Camelyon16's slides at BMAD's coordinates.

Slides `normal_NNN.tif` and `test_NNN.tif` (pyramidal BigTIFF), wherever in the folders they lie.
A coordinate is the centre of a patch in pixels of level 0; the label is the list that it stands
in. Traps: what lies outside a slide comes with alpha 0 and is made black; tiles may be missing
(sparse files), which openslide reads and others do not; Table 1's totals belong to another
numbering of the lists and cannot be rebuilt.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.benchmarks.pixels import Pixels
from harness.benchmarks.prepare import recipe, splits
from harness.benchmarks.prepare.annotations import Audit, audit
from harness.benchmarks.prepare.ranking import draw
from harness.benchmarks.prepare.raw import RawFile, list_raw_files, not_unpacked, one_each
from harness.benchmarks.problems import Problem
from harness.benchmarks.stored import UnreadableImage, decoding

VERSION = 1
GROUP_UNIT = "slide"

SIDE = 256
LISTS: tuple[tuple[str, recipe.Split, bool], ...] = (
    ("camelyon16_train_good", "train", False),
    ("camelyon16_valid_good", "valid", False),
    ("camelyon16_valid_ungood", "valid", True),
    ("camelyon16_test_good", "test", False),
    ("camelyon16_test_ungood", "test", True),
)
# Sizes of a resplit, and what one slide may give: as the lists have it.
QUOTAS: dict[tuple[recipe.Split, str], int] = {
    ("test", "normal"): 1026, ("test", "abnormal"): 1008,
    ("valid", "normal"): 117, ("valid", "abnormal"): 105,
}  # fmt: skip
MOST_PER_SLIDE = {"normal": 9, "abnormal": 28}

_SLIDE = re.compile(r"((?:normal|test|tumor)_\d{3})\.tiff?", re.IGNORECASE)


def survey(options: recipe.Options) -> recipe.Survey:
    """The slides that the lists name."""
    listing = list_raw_files(options.raw)
    items = _items()
    found: dict[str, list[RawFile]] = defaultdict(list)
    for file in listing.ending(".tif", ".tiff"):
        match = _SLIDE.fullmatch(file.name)
        if match and match[1].lower() in items:
            found[match[1].lower()].append(file)
    files, problems = one_each(found)
    problems += [
        Problem("missing", f"{slide}.tif is missing ({len(patches)} patches)")
        for slide, patches in items.items()
        if slide not in files
    ]
    if problems and (hint := not_unpacked(listing)):
        problems.append(Problem("archives", hint))
    cases = [
        recipe.Case(slide, _stratum(items[slide]), {"slide": file}, items[slide])
        for slide, file in sorted(files.items())
    ]
    audited = audit(cases, options.xml, SIDE) if options.xml else Audit((), ())
    problems += audited.problems
    return recipe.Survey(tuple(cases), (*listing.problems, *problems), audited.remarks, listing)


def _items() -> dict[str, tuple[recipe.Item, ...]]:
    """Patches by slide."""
    found: dict[str, list[recipe.Item]] = defaultdict(list)
    for file, split, is_anomalous in LISTS:
        for patch in splits.patches(file):
            label = "ungood" if is_anomalous else "good"
            found[patch.slide].append(
                recipe.Item(
                    key=f"{split}-{label}-{patch.row}",
                    case=patch.slide,
                    is_anomalous=is_anomalous,
                    group=patch.slide,
                    pool=split,
                    at=(patch.x, patch.y),
                    details=(("x_center", patch.x), ("y_center", patch.y)),
                )
            )
    return {slide: tuple(items) for slide, items in sorted(found.items())}


def _stratum(items: Sequence[recipe.Item]) -> str:
    is_any_anomalous = any(item.is_anomalous for item in items)
    return f"{items[0].pool} {'tumour' if is_any_anomalous else 'normal'}"


def index(case: recipe.Case, _options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """The lists tell everything."""
    return case.items or ()


def assign(items: Sequence[recipe.Item], options: recipe.Options) -> recipe.Assigned:
    """By the lists, which are slide-disjoint; a resplit deals out slides."""
    if options.variant != "resplit":
        split_of = {item.key: recipe.split_named(item.pool) for item in items}
    else:
        salt = options.rank_salt("camelyon16")
        split_of = draw(items, _quotas(items), salt, class_of=_class, most_per_group=MOST_PER_SLIDE)
    placed = []
    for item in items:
        if item.key in split_of:
            row = item.key.rpartition("-")[2]
            name = row if options.variant != "resplit" else item.key
            placed.append(recipe.Placed(item, split_of[item.key], name))
    return recipe.Assigned(tuple(placed))


def _class(item: recipe.Item) -> str:
    return "abnormal" if item.is_anomalous else "normal"


def _quotas(items: Sequence[recipe.Item]) -> dict[tuple[recipe.Split, str], int]:
    """The lists' sizes, cut to the share of their patches that is there."""
    judged = Counter(_class(item) for item in items if item.pool != "train")
    whole = {
        name: sum(size for (_, kind), size in QUOTAS.items() if kind == name)
        for name in MOST_PER_SLIDE
    }
    return {slot: -(-size * judged[slot[1]] // whole[slot[1]]) for slot, size in QUOTAS.items()}


def render(
    case: recipe.Case, placed: Sequence[recipe.Placed], _options: recipe.Options, /
) -> Iterator[recipe.RawPicture]:
    """256x256 at level 0 around each centre, RGB."""
    import openslide

    file = case.files["slide"]
    try:
        with decoding("a whole slide (pyramidal TIFF)"):
            slide = openslide.OpenSlide(file.path)
        with slide:
            for place in placed:
                with decoding("a whole slide (pyramidal TIFF)"):
                    patch = _patch(slide, *place.item.at)
                yield recipe.RawPicture(place.item.key, patch)
    except UnreadableImage as error:
        raise recipe.Unusable(Problem("damaged", f"{file.relative}: {error}")) from error


def _patch(slide: object, x: int, y: int) -> Pixels:
    read = slide.read_region  # type: ignore[attr-defined]
    rgba = np.array(read((x - SIDE // 2, y - SIDE // 2), 0, (SIDE, SIDE)))
    rgba[rgba[:, :, 3] == 0] = 0
    return np.ascontiguousarray(rgba[:, :, :3])


def totals(items: Sequence[recipe.Item]) -> Mapping[str, int]:
    """Slides of both parts."""
    slides = {str(item.group) for item in items}
    return {
        "normal slides": sum(slide.startswith("normal") for slide in slides),
        "test slides": sum(slide.startswith("test") for slide in slides),
    }


def about(_options: recipe.Options, /) -> recipe.About:
    """What is known of these lists."""
    return recipe.About(
        is_disjoint=True,
        known_leaks=(
            "Abnormal test patches come from 43 of the 114 test slides, so stain may tell the label",
        ),
        remarks=(
            "Valid and test share no slide: valid is cut from test_113 to test_130",
            (
                "Table 1 (5088 / 236 / 1997), the paper's text (100 + 100, 1000 + 1000) and BMAD's "
                "coordinate files (117 + 105, 1026 + 1008) give three different totals; the files are "
                "taken, and the released file names belong to another numbering"
            ),
            (
                "The lists name 159 normal slides (normal_086 is absent; the paper says 160) and 127 "
                "test slides (test_049, test_114 and test_125 are absent)"
            ),
            "Normal test patches include tissue of tumour slides",
        ),
    )
