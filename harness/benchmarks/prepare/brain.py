"""Brain MRI from BraTS2021's training cases: slices 60 to 99 of FLAIR, whole tumour as mask.

`<any folder>/BraTS2021_<5 digits>_{flair,t1,t1ce,t2,seg}.nii.gz`, 240x240x155 voxels, labels 0, 1,
2, 4. A picture is `[:, :, z]` as stored (row = x, column = y, no rotation), scaled to its own
range, through the colour map `bone`. BMAD's lists name the patients of train, valid/good and
test/good; all others are abnormal. Which 11 of these are in valid depends on the order of a set in
BMAD's code: the 11 recovered ones are taken, so that no patient is in two splits. Trap: a good
slice is tumour-free, not a slice of a healthy brain.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.benchmarks.prepare import recipe, splits
from harness.benchmarks.prepare.grey import bone_map, lesion_mask, to_grey
from harness.benchmarks.prepare.ranking import ranked
from harness.benchmarks.prepare.raw import RawFile, list_raw_files, not_unpacked, one_each
from harness.benchmarks.prepare.volumes import NIFTI, TURNED, Volume, check_labels, turned_remark
from harness.benchmarks.problems import Problem

VERSION = 1
GROUP_UNIT = "patient"

SHAPE = (240, 240, 155)
AXES = "LPS"  # as all of BraTS2021 is stored
LABELS = (0, 1, 2, 4)
PAPER_SLICES = (60, 100)
# Every so manieth slice of an abnormal patient, from the first on: 60, 70, 80, 90 and 60, 68 … 92.
VALID_STEP, TEST_STEP = 10, 8

_FILE = re.compile(r"BraTS2021_(\d{5})_(flair|t1|t1ce|t2|seg)\.nii(\.gz)?", re.IGNORECASE)
# List and role of the patients whose tumour-free slices are used.
_LISTS: tuple[tuple[str, recipe.Split, bool], ...] = (
    ("brain_train_ids", "train", False),
    ("brain_valid_normal_ids", "valid", False),
    ("brain_valid_abnormal_ids", "valid", True),
    ("brain_test_normal_ids", "test", False),
)
# Of a resplit: label, splits that get their number of patients, split of all others.
_DEALING: tuple[tuple[bool, tuple[recipe.Split, ...], recipe.Split], ...] = (
    (False, ("test", "valid"), "train"),
    (True, ("valid",), "test"),
)


def survey(options: recipe.Options) -> recipe.Survey:
    """Cases by number; the 636 that the lists name must be there."""
    listing = list_raw_files(options.raw)
    found: dict[tuple[str, str], list[RawFile]] = defaultdict(list)
    for file in listing.ending(*NIFTI):
        if match := _FILE.fullmatch(file.name):
            found[match[1], match[2].lower()].append(file)
    files, problems = one_each(found)
    roles = _roles()
    cases = []
    for number in sorted({number for number, _ in files} | set(roles)):
        parts = {
            kind: files[number, kind]
            for kind in (options.modality, "seg")
            if (number, kind) in files
        }
        if len(parts) == 2:
            split, is_anomalous = roles.get(number, ("test", True))
            stratum = f"{split} {'abnormal' if is_anomalous else 'normal'}"
            cases.append(recipe.Case(number, stratum, parts))
        else:
            problems.append(_missing(number, options.modality, set(parts), roles))
    if problems and (hint := not_unpacked(listing)):
        problems.append(Problem("archives", hint))
    return recipe.Survey(tuple(cases), (*listing.problems, *problems), listing=listing)


def _missing(number: str, modality: str, parts: set[str], roles: Mapping[str, object]) -> Problem:
    lacking = " and ".join(kind for kind in (modality, "seg") if kind not in parts)
    hint = " (its own archive in Kaggle's copy)" if number in ("00495", "00621") else ""
    listed = "in BMAD's lists" if number in roles else "not in BMAD's lists"
    return Problem("missing", f"BraTS2021_{number}: {lacking} missing ({listed}){hint}")


def _roles() -> dict[str, tuple[recipe.Split, bool]]:
    return {
        number: (split, is_anomalous)
        for file, split, is_anomalous in _LISTS
        for number in splits.names(file)
    }


def index(case: recipe.Case, options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """Every slice of the range, with or without tumour."""
    image = Volume(case.files[options.modality])
    image.check_shape(SHAPE)
    if image.axes != AXES:
        raise recipe.Unusable(
            Problem(
                "orientation",
                f"{image.file.relative}: stored as {image.axes}, BraTS2021 is {AXES}: get the"
                " original",
            )
        )
    seg = Volume(case.files["seg"]).laid_on(image)
    first, end = options.slices
    labels = seg.block(first, end)
    check_labels(seg, labels, LABELS)
    has_tumour = [bool(labels[:, :, z].any()) for z in range(end - first)]
    return tuple(
        recipe.Item(
            key=f"{case.key}_{z}",
            case=case.key,
            is_anomalous=tumour,
            group=case.key,
            at=(z,),
            details=(("z", z), ("axes", seg.axes), *TURNED[seg.is_turned]),
        )
        for z, tumour in zip(range(first, end), has_tumour, strict=True)
    )


def assign(items: Sequence[recipe.Item], options: recipe.Options) -> recipe.Assigned:
    """By BMAD's lists; a resplit deals the patients out anew, as many to each part."""
    roles = _roles()
    if options.variant == "resplit":
        roles = _dealt(items, options.rank_salt("brain"), roles)
    first, end = options.slices
    wanted = {
        "valid": set(range(first, end, VALID_STEP)),
        "test": set(range(first, end, TEST_STEP)),
    }
    placed, problems = [], []
    for item in items:
        split, is_anomalous = roles.get(str(item.group), ("test", True))
        if not is_anomalous:
            if not item.is_anomalous:
                placed.append(recipe.Placed(item, split, item.key))
        elif item.at[0] in wanted[split]:
            if item.is_anomalous:
                placed.append(recipe.Placed(item, split, item.key))
            elif options.slices == PAPER_SLICES:
                problems.append(
                    Problem("empty", f"{item.key}: an abnormal patient's slice has no tumour")
                )
    return recipe.Assigned(tuple(placed), tuple(problems), turned_remark(placed))


def _dealt(
    items: Sequence[recipe.Item], salt: str, roles: Mapping[str, tuple[recipe.Split, bool]]
) -> dict[str, tuple[recipe.Split, bool]]:
    """Patients with tumour-free slices are normal ones; sizes as in the lists."""
    patients: dict[str, bool] = {}
    for item in items:
        patients[str(item.group)] = patients.get(str(item.group), True) and item.is_anomalous
    share = len(patients) / 1251
    dealt: dict[str, tuple[recipe.Split, bool]] = {}
    for is_anomalous, first, rest in _DEALING:
        order = ranked(salt, [p for p, ill in patients.items() if ill == is_anomalous], str)
        for split in first:
            size = sum(role == (split, is_anomalous) for role in roles.values())
            count = max(1, round(size * min(share, 1)))
            dealt |= dict.fromkeys(order[:count], (split, is_anomalous))
            order = order[count:]
        dealt |= dict.fromkeys(order, (rest, is_anomalous))
    return dealt


def render(
    case: recipe.Case, placed: Sequence[recipe.Placed], options: recipe.Options
) -> Iterator[recipe.RawPicture]:
    """Slices through the colour map, with the mask of everything labelled."""
    first, end = options.slices
    volume = Volume(case.files[options.modality])
    image = volume.block(first, end)
    if not np.isfinite(image).all():
        file = volume.file.relative
        raise recipe.Unusable(
            Problem("damaged", f"{file}: holds NaN or infinity: download it again")
        )
    labels = Volume(case.files["seg"]).laid_on(volume).block(first, end)
    for place in placed:
        z = place.item.at[0] - first
        mask = lesion_mask(labels[:, :, z]) if place.item.is_anomalous else None
        yield recipe.RawPicture(place.item.key, bone_map()[to_grey(image[:, :, z])], mask)


def totals(items: Sequence[recipe.Item]) -> Mapping[str, int]:
    """Cases, and patients with at least one tumour-free slice."""
    return {
        "cases": len({item.group for item in items}),
        "patients with a tumour-free slice": len(
            {item.group for item in items if not item.is_anomalous}
        ),
    }


def about(options: recipe.Options) -> recipe.About:
    """What is known of these splits."""
    suffix = "" if options.modality == "flair" else f"-{options.modality}"
    if options.slices != PAPER_SLICES:
        suffix += f"-{options.slices[0]}-{options.slices[1]}"
    return recipe.About(
        suffix=suffix,
        is_disjoint=True,
        modality=f"MRI, {options.modality.upper()}, axial slices, skull-stripped",
        known_leaks=(
            (
                "Slice depth tells the label: abnormal test slices lie at z = 60, 68, 76, 84, 92 only, "
                "normal ones mostly at the ends of the range; compare with the foreground-area baseline"
            ),
        ),
        remarks=(
            (
                "Patients of valid and test are disjoint. In BMAD's release 10 of the 11 abnormal "
                "validation patients are reported to be in test too, so 10 of its 615 abnormal test "
                "patients (50 images) differ from these"
            ),
            (
                "Which patients are abnormal validation depends on the order of a set in BMAD's code; "
                "the 11 recovered from released file names are taken"
            ),
            (
                "Masks are whole-tumour (any label > 0). BMAD's code maps the labels 1, 2, 4 to grey "
                "through a colour map, and its readers binarise at two different thresholds: pixel "
                "metrics of the paper may mix two ground truths"
            ),
            "The paper says that normal and abnormal test images are 1 : 1; the counts give 1 : 4.8",
            "Normal slices are tumour-free slices of tumour patients",
            "Each slice is scaled to its own maximum, so a bright lesion darkens the tissue around it",
            "Images are RGB through the colour map bone, as in the release, without its alpha",
        ),
    )
