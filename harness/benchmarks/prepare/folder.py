"""Any folder of normal and abnormal images, with masks where there are some: a pack of one's own.

Classes, masks and splits are read off the folders' names as in a pack (`good`, `Ungood`, `label`,
`train`, …); where no folder names a split, patients are dealt out. Whose an image is tells a rule
on its name, or `groups.csv` beside the images. A sealed pack has one size, one mode and names that
say nothing. Trap: a patient with one abnormal image never gives images to train, unless every
patient has one; then abnormal images of training patients are left out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from harness.benchmarks.groups import GROUPS_NAME, read_groups
from harness.benchmarks.layout import ImagePlace, place_of
from harness.benchmarks.pixels import IMAGE_SUFFIXES, in_mode, mode_of
from harness.benchmarks.prepare import recipe
from harness.benchmarks.prepare.pictures import in_size, mask_in_size, raw_image, raw_mask
from harness.benchmarks.prepare.ranking import rank, ranked
from harness.benchmarks.prepare.raw import Listing, RawFile, list_raw_files
from harness.benchmarks.problems import Problem

VERSION = 1
GROUP_UNIT = "patient"

_MASK_ENDINGS = ("", "_mask", "_label", "_seg", "_gt")
_NAME_DIGITS = 20


def survey(options: recipe.Options) -> recipe.Survey:
    """Images with a class, and the masks of their names."""
    listing = list_raw_files(options.raw)
    images: list[tuple[RawFile, ImagePlace]] = []
    masks: dict[str, RawFile] = {}
    homeless = 0
    for file in listing.ending(*IMAGE_SUFFIXES):
        place = place_of(file.relative)
        if place.is_mask:
            masks[_slot(place)] = file
        elif place.is_anomalous is None:
            homeless += 1
        else:
            images.append((file, place))
    problems = list(listing.problems)
    if homeless:
        problems.append(
            Problem("folder", f"{homeless} images lie neither in a `good` nor an `Ungood` folder")
        )
    groups, wrong = _groups(listing, options)
    unknown = sum(
        not (groups.get(str(file.relative)) or _patient(place.name, options.patient_rule))
        for file, place in images
    )
    if options.is_hidden and unknown and not options.is_independent:
        told = f"whose {unknown} of {len(images)} images are is not said, and a sealed pack says it"
        problems.append(
            Problem("patients", f"{told}: --patient-rule, groups.csv or --independent-patients")
        )
    cases = []
    for file, place in images:
        files = {"image": file}
        if place.is_anomalous and (mask := _mask_of(place, masks)):
            files["mask"] = mask
        key = str(file.relative)
        stratum = f"{place.split} {place.is_anomalous} {groups.get(key) or ''}"
        cases.append(recipe.Case(key, stratum, files))
    return recipe.Survey(tuple(cases), (*problems, *wrong))


def _slot(place: ImagePlace) -> str:
    return f"{place.split} {place.is_anomalous} {place.name}"


def _mask_of(place: ImagePlace, masks: Mapping[str, RawFile]) -> RawFile | None:
    """The mask of the same name, in the same split and class or in a folder without class."""
    for is_anomalous in (place.is_anomalous, None):
        for ending in _MASK_ENDINGS:
            slot = _slot(replace(place, is_anomalous=is_anomalous, name=place.name + ending))
            if slot in masks:
                return masks[slot]
    return None


def _groups(listing: Listing, options: recipe.Options) -> tuple[dict[str, str], list[Problem]]:
    """Patient of each file by `groups.csv`, where it is there."""
    keys = {str(file.relative) for file in listing.files}
    groups: dict[str, str] = {}
    problems: list[Problem] = []
    for root in options.raw:
        if (root / GROUPS_NAME).is_file():
            readings, wrong = read_groups(root, keys)
            groups |= {key: one.group for key, one in readings.items() if one.group}
            problems += wrong
    return groups, problems


def index(case: recipe.Case, options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """Size, mode, patient; a mask must fit its image and mark something."""
    pixels = raw_image(case.files["image"]).pixels
    place = place_of(case.files["image"].relative)
    if "mask" in case.files:
        mask = raw_mask(case.files["mask"]).mask
        if mask.shape != pixels.shape[:2] or not mask.any():
            wrong = "is empty" if mask.shape == pixels.shape[:2] else "has another size"
            raise recipe.Unusable(Problem("mask", f"{case.key}: its mask {wrong}"))
    height, width = pixels.shape[:2]
    stated = case.stratum.split(" ", 2)[2]
    return (
        recipe.Item(
            key=case.key,
            case=case.key,
            is_anomalous=bool(place.is_anomalous),
            group=stated or _patient(place.name, options.patient_rule),
            pool=place.split or "",
            details=(
                ("width", width),
                ("height", height),
                ("mode", mode_of(pixels)),
                ("mask", int("mask" in case.files)),
            ),
        ),
    )


def _patient(name: str, rule: str) -> str | None:
    match = re.search(rule, name) if rule else None
    return match["patient"] if match else None


def assign(items: Sequence[recipe.Item], options: recipe.Options, /) -> recipe.Assigned:
    """The folders' splits, or patients dealt out by rank; one size and mode for all."""
    problems = [*_wrong_masks(items), *_wrong_sizes(items, options)]
    salt = options.salt or f"bmad-{options.name}-v1"
    split_of, remarks = _split(items, options, salt)
    mode = "RGB" if any(("mode", "RGB") in item.details for item in items) else "L"
    placed = []
    taken: Counter[str] = Counter()
    for item in items:
        if item.key not in split_of:
            continue
        split = split_of[item.key]
        name = _name(item, options, salt)
        slot = f"{split} {item.is_anomalous} {name}"
        taken[slot] += 1
        if taken[slot] > 1:
            name += f"-{taken[slot]}"
        placed.append(recipe.Placed(_as_delivered(item, options, mode, salt), split, name))
    return recipe.Assigned(tuple(placed), tuple(problems), tuple(remarks))


def _wrong_masks(items: Sequence[recipe.Item]) -> list[Problem]:
    without = [
        item.key for item in items if item.is_anomalous and not dict(item.details).get("mask")
    ]
    abnormal = sum(item.is_anomalous for item in items)
    if not without or len(without) == abnormal:
        return []
    return [Problem("mask", f"{key}: its mask is missing, and others have one") for key in without]


def _wrong_sizes(items: Sequence[recipe.Item], options: recipe.Options) -> list[Problem]:
    sizes = Counter(
        f"{dict(item.details)['width']}x{dict(item.details)['height']}" for item in items
    )
    if len(sizes) < 2 or options.size or not options.is_hidden:
        return []
    shown = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(4))
    return [
        Problem(
            "size",
            f"a sealed pack needs one image size, for sizes may tell the class: {shown}. "
            f"--size {sizes.most_common(1)[0][0]} brings all to one",
        )
    ]


def _split(
    items: Sequence[recipe.Item], options: recipe.Options, salt: str
) -> tuple[dict[str, recipe.Split], list[str]]:
    if items and all(item.pool for item in items):
        return {item.key: recipe.split_named(item.pool) for item in items}, []
    patients: dict[str, list[recipe.Item]] = defaultdict(list)
    for item in items:
        patients[item.group or item.key].append(item)
    ill = {name for name, mine in patients.items() if any(item.is_anomalous for item in mine)}
    well = set(patients) - ill
    valid, test = options.shares
    split_of: dict[str, recipe.Split] = {}
    if well:
        split_of |= _dealt(ranked(salt, well, str), valid, test)
        # All of the ill are judged, in the same proportion.
        split_of |= _dealt(ranked(salt, ill, str), valid / (valid + test), 1)
    else:
        split_of |= _dealt(ranked(salt, ill, str), valid, test)
    chosen = {
        item.key: split_of[item.group or item.key]
        for item in items
        if not (item.is_anomalous and split_of[item.group or item.key] == "train")
    }
    left_out = len(items) - len(chosen)
    return chosen, [
        f"Every patient has abnormal images: {left_out} of training patients were left out"
    ] * bool(left_out)


def _dealt(order: Sequence[str], valid: float, test: float) -> dict[str, recipe.Split]:
    """The first to valid, the next to test, the rest to train; at least one each while they last."""
    first = max(1, round(valid * len(order))) if valid and len(order) > 1 else 0
    second = first + max(1, round(test * len(order)))
    parts: tuple[tuple[recipe.Split, Sequence[str]], ...] = (
        ("valid", order[:first]),
        ("test", order[first:second]),
        ("train", order[second:]),
    )
    return {name: split for split, names in parts for name in names}


def _name(item: recipe.Item, options: recipe.Options, salt: str) -> str:
    if options.is_hidden:
        return rank(salt, f"image {item.key}")[:_NAME_DIGITS]
    return place_of(PurePosixPath(item.key)).name.replace("/", "_")


def _as_delivered(item: recipe.Item, options: recipe.Options, mode: str, salt: str) -> recipe.Item:
    """The item with what `render` needs, and without what a sealed pack should not tell."""
    width, height = options.size or (0, 0)
    group = item.group
    if options.is_hidden and group is not None:
        group = "g" + rank(salt, f"group {group}")[:_NAME_DIGITS]
    details = (("mode", mode), ("width", width), ("height", height))
    return replace(item, group=group, details=details)


def render(
    case: recipe.Case, placed: Sequence[recipe.Placed], _options: recipe.Options, /
) -> Iterator[recipe.RawPicture]:
    """Pixels in the pack's mode and size, the mask with them."""
    for place in placed:
        wanted = dict(place.item.details)
        pixels = in_mode(
            raw_image(case.files["image"]).pixels, "RGB" if wanted["mode"] == "RGB" else "L"
        )
        mask = raw_mask(case.files["mask"]).mask if "mask" in case.files else None
        size = int(wanted["width"]), int(wanted["height"])
        if all(size):
            pixels = np.ascontiguousarray(in_size(pixels, size))
            mask = None if mask is None else mask_in_size(mask, size)
        if mask is not None and not mask.any():
            raise recipe.Unusable(
                Problem("mask", f"{case.key}: its mask vanishes at {size[0]}x{size[1]}")
            )
        yield recipe.RawPicture(place.item.key, pixels, mask)


def totals(items: Sequence[recipe.Item], /) -> Mapping[str, int]:
    """Images and patients."""
    return {
        "normal images": sum(not item.is_anomalous for item in items),
        "abnormal images": sum(item.is_anomalous for item in items),
        "patients": len({item.group for item in items if item.group}),
    }


def about(_options: recipe.Options, /) -> recipe.About:
    """Nothing is known beforehand."""
    return recipe.About()
