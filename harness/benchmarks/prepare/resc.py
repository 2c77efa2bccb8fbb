"""Retinal OCT with masks, RESC: the AI-Challenger 2018 set on macular oedema.

Two layouts: AI-Challenger's `Edema_{training,validation}set/original_images/<case>.img/<n>.bmp`
with `label_images/<case>_labelMark/<n>.bmp`, and that of P-Net's authors, `train/images/<case>/`,
`test/{images,normal_images,lesion_mask}/<case>/`. A case is one volume of 128 slices, 512 wide
and 1024 high; its name's first part is the patient. Pixels are copied. Train holds the normal
slices of the training set; the validation set is dealt out to valid and test. Traps: a
three-channel derivative numbers its images from 0 and its labels from 1; `layer_mask` folders
hold retinal layers, not lesions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from harness.benchmarks.prepare import recipe, splits
from harness.benchmarks.prepare.pictures import raw_labels, read_grey
from harness.benchmarks.prepare.ranking import in_proportion, ranked_groups, ranked_items
from harness.benchmarks.prepare.raw import RawFile, list_raw_files, not_unpacked, one_each
from harness.benchmarks.problems import Problem

VERSION = 1
GROUP_UNIT = "patient"

SHAPE = (1024, 512)
LABELS = (0, 128, 191, 255)  # nothing, pigment epithelial detachment, fluid, oedema
# Of 1,086 normal and 834 abnormal slices.
VALID_SLICES = {False: (45, 1086), True: (70, 834)}

_IMAGE_FOLDERS = frozenset({"original_images", "images", "normal_images"})
_LABEL_FOLDERS = frozenset({"label_images", "lesion_mask", "lesion_masks"})
_CASE_ENDING = re.compile(r"(\.img|_labelMark)$", re.IGNORECASE)


def survey(options: recipe.Options) -> recipe.Survey:
    """Volumes of the training and the validation set, by the names of their folders."""
    listing = list_raw_files(options.raw)
    found: dict[tuple[str, str, int], list[RawFile]] = defaultdict(list)
    unknown: set[str] = set()
    part_of = _parts()
    for file in listing.ending(".bmp", ".png"):
        if placed := _place(file):
            kind, name, number = placed
            if name in part_of:
                found[name, kind, number].append(file)
            elif name not in splits.names("resc_challenge_test_cases"):
                unknown.add(name)
    files, problems = one_each(found)
    by_case: dict[str, dict[str, RawFile]] = defaultdict(dict)
    for (name, kind, number), file in files.items():
        by_case[name][f"{kind} {number}"] = file
    cases = []
    for name, part in part_of.items():
        wrong = _wrong_slices(name, part, by_case[name], options.volume_slices)
        problems += wrong
        if not wrong:
            cases.append(recipe.Case(name, part, by_case[name]))
    problems += [Problem("unknown", f"{name}: no case of RESC") for name in sorted(unknown)]
    if problems and (hint := not_unpacked(listing)):
        problems.append(Problem("archives", hint))
    return recipe.Survey(
        tuple(sorted(cases, key=lambda case: case.key)),
        (*listing.problems, *problems),
        listing=listing,
    )


def _parts() -> dict[str, str]:
    """Part of the source of every case that is used."""
    return {
        name: part
        for part, file in (("training", "resc_train_cases"), ("validation", "resc_val_cases"))
        for name in splits.names(file)
    }


def _place(file: RawFile) -> tuple[str, str, int] | None:
    """Kind, case and number of a file; None where it is something else."""
    number = re.search(r"(\d+)$", PurePosixPath(file.name).stem)
    if number is None or len(file.folders) < 2:
        return None
    holder, case = file.folders[-2].lower(), _CASE_ENDING.sub("", file.folders[-1])
    if holder == "normal_images":
        return "normal", case, int(number[1])
    if holder in _IMAGE_FOLDERS:
        return "image", case, int(number[1])
    return ("label", case, int(number[1])) if holder in _LABEL_FOLDERS else None


def _wrong_slices(
    name: str, part: str, files: Mapping[str, RawFile], expected: int
) -> list[Problem]:
    """A volume's slices must be 1 to `expected`, with labels of the same numbers."""
    numbers: dict[str, set[int]] = {"image": set(), "label": set(), "normal": set()}
    for key in files:
        kind, _, number = key.partition(" ")
        numbers[kind].add(int(number))
    images, labels, normal = numbers["image"], numbers["label"], numbers["normal"]
    if not images | normal:
        return [Problem("missing", f"{name}: no images ({part} set)")]
    if twice := images & normal:
        return [Problem("duplicate", f"{name}: slice {min(twice)} is both normal and not")]
    # P-Net's training images are all normal and have no lesion masks.
    needs_labels = bool(labels) or part == "validation" or _is_challenge(files)
    if needs_labels and images != labels:
        return [
            Problem(
                "slices",
                f"{name}: slices {_range(images)} have images, {_range(labels)} labels",
            )
        ]
    is_whole = needs_labels or part == "validation"
    if is_whole and images | normal != set(range(1, expected + 1)):
        return [Problem("slices", f"{name}: slices {_range(images | normal)}, not 1 to {expected}")]
    return []


def _is_challenge(files: Mapping[str, RawFile]) -> bool:
    return any("original_images" in map(str.lower, file.folders) for file in files.values())


def _range(numbers: set[int]) -> str:
    if not numbers:
        return "none"
    return f"{min(numbers)} to {max(numbers)} ({len(numbers)})"


def index(case: recipe.Case, _options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """Every slice; abnormal where its label marks a pixel."""
    items: list[recipe.Item] = []
    problems: list[Problem] = []
    number_of = {name: number for number, name in enumerate(_parts(), start=1)}
    offset = number_of[case.key] - (0 if case.stratum == "training" else len(_training()))
    for key, file in sorted(case.files.items()):
        kind, _, text = key.partition(" ")
        if kind == "label":
            continue
        label = case.files.get(f"label {text}")
        try:
            is_anomalous = label is not None and bool(raw_labels(label, SHAPE, LABELS).any())
        except recipe.Unusable as error:
            problems += error.problems
            continue
        prefix = "t" if case.stratum == "training" else ""
        items.append(
            recipe.Item(
                key=f"{prefix}{offset}_{text}",
                case=case.key,
                is_anomalous=is_anomalous,
                group=case.key.partition("_")[0],
                pool=case.stratum,
                at=(int(text),),
                details=(("slice", int(text)), ("file", str(file.relative))),
            )
        )
    if problems:
        raise recipe.Unusable(*problems)
    return tuple(items)


def _training() -> tuple[str, ...]:
    return splits.names("resc_train_cases")


def assign(items: Sequence[recipe.Item], options: recipe.Options) -> recipe.Assigned:
    """By slices (`paper`), by patients, or by patients of both parts of the source (`resplit`)."""
    salt = options.rank_salt("resc")
    if options.variant == "resplit":
        judged = _drawn(items, salt)
    else:
        judged = [item for item in items if item.pool == "validation"]
    keys = {item.key for item in judged}
    if options.variant == "paper":
        valid = _valid_slices(judged, salt)
    else:
        valid = _valid_patient(judged, salt)
    groups = {item.group for item in judged}
    placed = []
    for item in items:
        split: recipe.Split = "valid" if item.key in valid else "test"
        if item.key in keys:
            placed.append(recipe.Placed(item, split, item.key))
        elif not item.is_anomalous and item.group not in groups:
            placed.append(recipe.Placed(item, "train", item.key))
    return recipe.Assigned(tuple(placed))


def _valid_slices(items: Sequence[recipe.Item], salt: str) -> set[str]:
    chosen: set[str] = set()
    for is_anomalous, (quota, expected) in VALID_SLICES.items():
        order = ranked_items(salt, [i for i in items if i.is_anomalous == is_anomalous])
        chosen |= {item.key for item in order[: in_proportion(quota, len(order), expected)]}
    return chosen


def _valid_patient(items: Sequence[recipe.Item], salt: str) -> set[str]:
    """The patient of smallest rank that has both classes and one volume alone."""
    for members in ranked_groups(salt, items):
        is_both = len({item.is_anomalous for item in members}) == 2
        if is_both and len({item.case for item in members}) == 1:
            return {item.key for item in members}
    return set()


def _drawn(items: Sequence[recipe.Item], salt: str) -> list[recipe.Item]:
    """All slices of patients by rank, as many volumes as the validation set has."""
    share = len({item.case for item in items}) / len(_parts())
    wanted = max(2, round(len(splits.names("resc_val_cases")) * share))
    drawn: list[recipe.Item] = []
    for members in ranked_groups(salt, items):
        is_enough = len({item.case for item in drawn}) >= wanted
        if is_enough and 0 < len(_valid_patient(drawn, salt)) < len(drawn):
            break
        drawn += members
    return sorted(drawn, key=lambda item: item.key)


def render(
    case: recipe.Case, placed: Sequence[recipe.Placed], _options: recipe.Options, /
) -> Iterator[recipe.RawPicture]:
    """Pixels as they are; the mask is every label."""
    for place in placed:
        number = place.item.at[0]
        file = case.files.get(f"image {number}") or case.files[f"normal {number}"]
        mask = None
        if place.item.is_anomalous:
            mask = raw_labels(case.files[f"label {number}"], SHAPE, LABELS) > 0
        yield recipe.RawPicture(place.item.key, read_grey(file, SHAPE), mask)


def totals(items: Sequence[recipe.Item]) -> Mapping[str, int]:
    """Volumes and slices by part and class."""
    counts: dict[str, int] = {}
    for part in ("training", "validation"):
        mine = [item for item in items if item.pool == part]
        counts[f"{part} volumes"] = len({item.case for item in mine})
        counts[f"{part} slices, normal"] = sum(not item.is_anomalous for item in mine)
        counts[f"{part} slices, abnormal"] = sum(item.is_anomalous for item in mine)
    return counts


def about(options: recipe.Options) -> recipe.About:
    """What is known of these splits."""
    leaks = (
        (
            "Slices of all 15 volumes (10 patients) are in both valid and test, although the paper "
            "promises otherwise: 115 is no multiple of 128, so no split by volumes has its counts"
        ),
    )
    return recipe.About(
        known_leaks=leaks if options.variant == "paper" else (),
        remarks=(
            (
                "Which slices are in the released valid is unknown: sizes are the paper's, membership "
                "is drawn by rank"
            ),
            (
                "Three grades of lesion (128, 191, 255) count as one. A reader that truncates to 1 at "
                "255, as the paper's library does, sees retinal oedema alone"
            ),
            (
                "A comment in BMAD's code counts 1,086 + 834 images for valid and for test: that is "
                "the source before the split"
            ),
            (
                "One team lists training slices with faulty labels (such as PC010, P1830); they are "
                "used as they are"
            ),
            "About 10 patients: intervals over patients are wide",
        ),
    )
