"""Any folder of normal and abnormal images, with masks where there are some: a pack of one's own.

Classes, masks and splits are read off the folders' names as in a pack (`good`, `Ungood`, `label`,
`train`, …); where no folder names a split, patients are dealt out. Whose an image is tells a rule
on its name, or `groups.csv` beside the images. A sealed pack has one size, one mode and names that
say nothing. Trap: a patient with one abnormal image never gives images to train, unless every
patient has one; then abnormal images of training patients are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from harness.benchmarks import plausibility
from harness.benchmarks.groups import read_groups
from harness.benchmarks.masks import MASK_FOLDERS, composed
from harness.benchmarks.pixels import DecodedImage, DecodedMask, in_mode, mode_of, pixel_hash
from harness.benchmarks.places import place_of
from harness.benchmarks.prepare import recipe
from harness.benchmarks.prepare.pictures import in_size, mask_in_size, raw_image, raw_mask
from harness.benchmarks.prepare.ranking import rank, ranked
from harness.benchmarks.prepare.raw import RawFile, own_output, walk_raw
from harness.benchmarks.problems import Problem
from harness.benchmarks.stored import Note
from harness.benchmarks.survey import SurveyedImage, names_splits, survey_folder
from harness.benchmarks.walking import Walk

VERSION = 1
GROUP_UNIT = "patient"

_NAME_DIGITS = 20
# Details of an item until it is delivered.
_IMAGE_NOTES, _MASK_NOTES = "image_notes", "mask_notes"
# A name of 255 bytes is what file systems take; an ending, a number and a writer's own marks are added.
_LONGEST_NAME = 200


def survey(options: recipe.Options) -> recipe.Survey:
    """Images with a class, and the masks of their names; each raw folder's for itself."""
    walks = [(root, walk_raw(root)) for root in options.raw]
    has_splits = any(names_splits(walked) for _, walked in walks)
    problems: list[Problem] = []
    cases: list[recipe.Case] = []
    left_out: Counter[str] = Counter()
    met: set[str] = set()
    for (root, walked), label in zip(walks, _labels(options.raw), strict=True):
        if root.resolve().name.lower() in MASK_FOLDERS:
            told = f"{root}: a folder of masks: give the one that holds it and the images"
            problems.append(Problem("folder", told))
        found = survey_folder(root, walked, {*options.accepted}, has_splits=has_splits)
        problems += (replace(one, text=label + one.text) for one in found.problems)
        problems += own_output(walked)
        left_out.update({reason: len(keys) for reason, keys in found.left_out.items()})
        met.update(found.accepted)
        groups, wrong = _groups(root, walked)
        problems += wrong
        cases += (_case(root, label, image, groups) for image in found.images)
    unknown = sum(not _stated(case)[2] and not _named_patient(case, options) for case in cases)
    if options.is_hidden and unknown and not options.is_independent:
        told = f"whose {unknown} of {len(cases)} images are is not said, and a sealed pack says it"
        problems.append(
            Problem("patients", f"{told}: --patient-rule, groups.csv or --independent-patients")
        )
    return recipe.Survey(
        tuple(sorted(cases, key=lambda case: case.key)),
        tuple(problems),
        left_out=dict(sorted(left_out.items())),
        accepted=tuple(sorted(met)),
    )


def _labels(roots: Sequence[Path]) -> list[str]:
    """What tells the files of several raw folders apart: the folders' names, and a number."""
    if len(roots) == 1:
        return [""]
    taken: Counter[str] = Counter()
    labels = []
    for root in roots:
        name = root.resolve().name
        taken[name] += 1
        labels.append(f"{name}/" if taken[name] == 1 else f"{name}-{taken[name]}/")
    return labels


def _case(root: Path, label: str, image: SurveyedImage, groups: Mapping[str, str]) -> recipe.Case:
    files = {"image": RawFile(PurePosixPath(image.key), root / image.key)}
    if image.mask_key:
        files["mask"] = RawFile(PurePosixPath(image.mask_key), root / image.mask_key)
    stratum = f"{image.split} {image.is_anomalous} {groups.get(image.key, '')}"
    return recipe.Case(label + image.key, stratum, files)


def _stated(case: recipe.Case) -> tuple[str, bool, str]:
    """Split (empty where there are none), class and patient (empty where no table tells)."""
    split, is_anomalous, patient = case.stratum.split(" ", 2)
    return "" if split == "None" else split, is_anomalous == "True", patient


def _name_of(case: recipe.Case) -> str:
    return composed(place_of(case.files["image"].relative).name)


def _named_patient(case: recipe.Case, options: recipe.Options) -> str | None:
    rule = options.patient_rule
    match = re.search(rule, _name_of(case)) if rule else None
    return match["patient"] if match else None


def _groups(root: Path, walked: Walk) -> tuple[dict[str, str], list[Problem]]:
    """Patient of each file by the raw folder's `groups.csv`, where it is there."""
    readings, wrong = read_groups(root, {str(relative) for relative in walked.files})
    return {key: one.group for key, one in readings.items() if one.group}, wrong


def index(case: recipe.Case, options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """Size, mode, patient; a mask must fit its image, and mark something where it is abnormal."""
    image = raw_image(case.files["image"])
    split, is_anomalous, stated = _stated(case)
    mask = raw_mask(case.files["mask"]) if "mask" in case.files else None
    if mask is not None and (wrong := _wrong_mask(image, mask, is_anomalous=is_anomalous)):
        raise recipe.Unusable(Problem("mask", f"{case.key}: its mask {wrong}"))
    height, width = image.pixels.shape[:2]
    details: list[tuple[str, recipe.Detail]] = [
        ("width", width),
        ("height", height),
        ("mode", mode_of(image.pixels)),
        ("mask", int(mask is not None)),
        ("name", _name_of(case)),
        ("pixels", pixel_hash(image.pixels)),
        (_IMAGE_NOTES, ",".join(sorted(image.notes))),
    ]
    if mask is not None:
        details += [
            (_MASK_NOTES, ",".join(sorted(mask.notes))),
            ("lesion", int(mask.mask.sum())),
            ("uncertain", mask.uncertain_pixels),
        ]
    return (
        recipe.Item(
            key=case.key,
            case=case.key,
            is_anomalous=is_anomalous,
            group=stated or _named_patient(case, options),
            pool=split,
            details=tuple(details),
        ),
    )


def _wrong_mask(image: DecodedImage, mask: DecodedMask, *, is_anomalous: bool) -> str:
    if mask.mask.shape != image.pixels.shape[:2]:
        return "has another size"
    if is_anomalous and not mask.mask.any():
        return "is empty"
    if not is_anomalous and mask.mask.any():
        return f"marks {int(mask.mask.sum())} pixels, and it is a normal image"
    told = plausibility.differently_turned(image.orientation, mask.orientation)
    return f"and the image {told}" if told else ""


def _about_files(items: Sequence[recipe.Item]) -> list[str]:
    """What the files said beside their pixels, which the pack's own files no longer tell."""
    details = [dict(item.details) for item in items]
    lossy = [one for one in details if Note.LOSSY in _notes(one, _MASK_NOTES)]
    return [
        *plausibility.about_image_notes(_notes(one, _IMAGE_NOTES) for one in details),
        *plausibility.about_mask_notes(_notes(one, _MASK_NOTES) for one in details),
        *plausibility.about_lossy_masks(
            len(lossy),
            sum(int(one["lesion"]) for one in lossy),
            sum(int(one["uncertain"]) for one in lossy),
        ),
    ]


def _notes(details: Mapping[str, recipe.Detail], key: str) -> list[str]:
    return str(details.get(key, "")).split(",")


def assign(items: Sequence[recipe.Item], options: recipe.Options, /) -> recipe.Assigned:
    """The folders' splits, or patients dealt out by rank; one size and mode for all."""
    problems = [*_wrong_masks(items), *_wrong_sizes(items, options)]
    salt = options.salt or f"bmad-{options.name}-v1"
    split_of, remarks = _split(items, options, salt)
    mode = "RGB" if any(("mode", "RGB") in item.details for item in items) else "L"
    placed = []
    names = _names([item for item in items if item.key in split_of], split_of, options, salt)
    for item in items:
        if item.key in split_of:
            delivered = _as_delivered(item, options, mode, salt)
            placed.append(recipe.Placed(delivered, split_of[item.key], names[item.key]))
    remarks += _about_files([item for item in items if item.key in split_of])
    return recipe.Assigned(tuple(placed), tuple(problems), tuple(remarks))


def _wrong_masks(items: Sequence[recipe.Item]) -> list[Problem]:
    without = [
        item.key for item in items if item.is_anomalous and not dict(item.details).get("mask")
    ]
    abnormal = sum(item.is_anomalous for item in items)
    if not without or len(without) == abnormal:
        return []
    told = (
        "its mask is missing, and others have one (ground_truth/ beside splits holds those of test)"
    )
    return [Problem("mask", f"{key}: {told}") for key in without]


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
    unit_of = _units(items)
    patients: dict[str, list[recipe.Item]] = defaultdict(list)
    for item in items:
        patients[unit_of[item.key]].append(item)
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
        item.key: split_of[unit_of[item.key]]
        for item in items
        if not (item.is_anomalous and split_of[unit_of[item.key]] == "train")
    }
    left_out = len(items) - len(chosen)
    return chosen, [
        f"Every patient has abnormal images: {left_out} of training patients were left out"
    ] * bool(left_out)


def _units(items: Sequence[recipe.Item]) -> dict[str, str]:
    """By an image's key, what goes to one split as a whole: a patient, or an image of nobody known.

    Patients of whom an identical image is there are one: no image may be in two splits.
    """
    first_of = {item.group or item.key: item.group or item.key for item in items}

    def first(name: str) -> str:
        while first_of[name] != name:
            name = first_of[name]
        return name

    holder: dict[object, str] = {}
    for item in items:
        mine = first(item.group or item.key)
        other = first(holder.setdefault(dict(item.details)["pixels"], mine))
        first_of[max(mine, other)] = min(mine, other)
    return {item.key: first(item.group or item.key) for item in items}


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


def _names(
    items: Sequence[recipe.Item],
    split_of: Mapping[str, recipe.Split],
    options: recipe.Options,
    salt: str,
) -> dict[str, str]:
    """A name for each image, by its key: the first of one name keeps it, others get a free number."""
    wished = {item.key: _name(item, options, salt) for item in items}
    taken = {(split_of[item.key], item.is_anomalous, wished[item.key]) for item in items}
    given: dict[str, str] = {}
    seen: set[tuple[str, bool, str]] = set()
    for item in items:
        name, number = wished[item.key], 2
        slot = (split_of[item.key], item.is_anomalous, name)
        while slot in seen or (slot in taken and name != wished[item.key]):
            name = f"{wished[item.key]}-{number}"
            slot, number = (*slot[:2], name), number + 1
        seen.add(slot)
        given[item.key] = name
    return given


def _name(item: recipe.Item, options: recipe.Options, salt: str) -> str:
    """Folders that mean nothing to us are part of it; what is too long is cut and gets a hash."""
    if options.is_hidden:
        return rank(salt, f"image {item.key}")[:_NAME_DIGITS]
    name = str(dict(item.details)["name"]).replace("/", "_")
    raw = name.encode()
    if len(raw) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:_NAME_DIGITS]
    return f"{raw[: _LONGEST_NAME - _NAME_DIGITS].decode('utf-8', 'ignore')}-{digest}"


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
        has_mask = "mask" in case.files and place.item.is_anomalous
        mask = raw_mask(case.files["mask"]).mask if has_mask else None
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
