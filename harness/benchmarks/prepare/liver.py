"""Liver CT: normal slices of BTCV for train, LiTS volumes 0 to 10 for valid and test.

BTCV: `img00NN.nii.gz` and `label00NN.nii.gz`, liver = 6. LiTS: `volume-<n>.nii` and
`segmentation-<n>.nii`, liver = 1, tumour = 2; in one folder (CodaLab) or in two (Kaggle). Every
axial slice with liver in it is a picture: window, own range, everything but the liver black,
upside down, equalised. Traps: BMAD's code clips LiTS to -200..250 HU and BTCV not at all, though
the paper says both; LiTS volumes are stored in several orientations, which are kept as they are, and
labels in another one than their volume, so they are turned onto it;
which LiTS volumes are in the release is inferred, so counts that differ are reported.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.benchmarks.pixels import Mask, Pixels
from harness.benchmarks.prepare import recipe
from harness.benchmarks.prepare.grey import equalised, lesion_mask, to_grey
from harness.benchmarks.prepare.ranking import in_proportion, ranked, ranked_items
from harness.benchmarks.prepare.raw import RawFile, list_raw_files, not_unpacked, one_each
from harness.benchmarks.prepare.volumes import NIFTI, TURNED, Volume, check_labels, turned_remark
from harness.benchmarks.problems import Problem

VERSION = 1
GROUP_UNIT = "volume"

SIDE = 512
# The labelled volumes of BTCV (its training set); the paper names 50, 20 of which have no labels.
BTCV_VOLUMES = (*range(1, 11), *range(21, 41))
BTCV_LIVER, BTCV_LABELS = 6, range(14)
LITS_LESION, LITS_LABELS = 2, range(3)
ABDOMEN_HU = (-200.0, 250.0)
# Of 926 normal and 733 abnormal slices.
VALID_SLICES = {False: (93, 926), True: (73, 733)}
DISJOINT_VALID_SHARE = 0.1

_FILES = {
    ("btcv", "image"): re.compile(r"img(\d{4})\.nii(?:\.gz)?", re.IGNORECASE),
    ("btcv", "label"): re.compile(r"label(\d{4})\.nii(?:\.gz)?", re.IGNORECASE),
    ("lits", "image"): re.compile(r"volume-(\d+)\.nii(?:\.gz)?", re.IGNORECASE),
    ("lits", "label"): re.compile(r"segmentation-(\d+)\.nii(?:\.gz)?", re.IGNORECASE),
}


def survey(options: recipe.Options) -> recipe.Survey:
    """Pairs of volume and label by number, wherever in the folders they lie."""
    listing = list_raw_files(options.raw)
    found: dict[tuple[str, str, int], list[RawFile]] = defaultdict(list)
    for file in listing.ending(*NIFTI):
        for (collection, kind), pattern in _FILES.items():
            if match := pattern.fullmatch(file.name):
                found[collection, kind, int(match[1])].append(file)
    wanted = [("btcv", number) for number in BTCV_VOLUMES]
    wanted += [("lits", number) for number in options.lits_volumes]
    files, problems = one_each({k: v for k, v in found.items() if (k[0], k[2]) in set(wanted)})
    cases = []
    for collection, number in wanted:
        parts = {
            kind: files[collection, kind, number]
            for kind in ("image", "label")
            if (collection, kind, number) in files
        }
        if len(parts) == 2:
            cases.append(recipe.Case(f"{collection}-{number:04d}", collection, parts))
        else:
            problems.append(_missing(collection, number, set(parts)))
    if problems and (hint := not_unpacked(listing)):
        problems.append(Problem("archives", hint))
    return recipe.Survey(tuple(cases), (*listing.problems, *problems), listing=listing)


def _missing(collection: str, number: int, parts: set[str]) -> Problem:
    names = {
        "btcv": {"image": f"img{number:04d}.nii.gz", "label": f"label{number:04d}.nii.gz"},
        "lits": {"image": f"volume-{number}.nii", "label": f"segmentation-{number}.nii"},
    }[collection]
    lacking = " and ".join(name for kind, name in names.items() if kind not in parts)
    return Problem("missing", f"{collection.upper().replace('LITS', 'LiTS')}: {lacking} missing")


def index(case: recipe.Case, _options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """Every slice with liver in it; abnormal where the tumour is."""
    image = Volume(case.files["image"])
    image.check_shape((SIDE, SIDE, None))
    labels = Volume(case.files["label"]).laid_on(image)
    stored = labels.stored()
    is_btcv = case.stratum == "btcv"
    number = int(case.key.partition("-")[2])
    stem = f"{number:04d}" if is_btcv else str(number)
    items = []
    for z in range(labels.shape[2]):  # slice by slice: scaled, a whole volume takes gigabytes
        values = labels.scaled(stored[:, :, z])
        check_labels(labels, values, BTCV_LABELS if is_btcv else LITS_LABELS)
        if _liver(values, is_btcv=is_btcv).any():
            items.append(
                recipe.Item(
                    key=f"{stem}_{z}",
                    case=case.key,
                    is_anomalous=not is_btcv and bool((values == LITS_LESION).any()),
                    group=case.key,
                    pool=case.stratum,
                    at=(z,),
                    details=(("z", z), ("axes", image.axes), *TURNED[labels.is_turned]),
                )
            )
    if not items:
        raise recipe.Unusable(
            Problem(
                "labels",
                f"{labels.file.relative}: no slice holds liver, expected label"
                f" {BTCV_LIVER if is_btcv else 1}: download it again",
            )
        )
    return tuple(items)


def _liver(labels: npt.NDArray[Any], *, is_btcv: bool) -> Mask:
    mask: Mask = labels == BTCV_LIVER if is_btcv else labels > 0
    return mask


def assign(items: Sequence[recipe.Item], options: recipe.Options) -> recipe.Assigned:
    """BTCV to train; LiTS by slices (`paper`) or by whole volumes."""
    salt = options.rank_salt("liver")
    lits = [item for item in items if item.pool == "lits"]
    valid = _valid_slices(lits, salt) if options.variant == "paper" else _valid_volumes(lits, salt)
    placed = []
    for item in items:
        split: recipe.Split = "valid" if item.key in valid else "test"
        placed.append(recipe.Placed(item, "train" if item.pool == "btcv" else split, item.key))
    return recipe.Assigned(tuple(placed), remarks=turned_remark(placed))


def _valid_slices(items: Sequence[recipe.Item], salt: str) -> set[str]:
    chosen: set[str] = set()
    for is_anomalous, (quota, expected) in VALID_SLICES.items():
        order = ranked_items(salt, [i for i in items if i.is_anomalous == is_anomalous])
        chosen |= {item.key for item in order[: in_proportion(quota, len(order), expected)]}
    return chosen


def _valid_volumes(items: Sequence[recipe.Item], salt: str) -> set[str]:
    """Volumes by rank until both classes are there and a tenth of the slices; one stays for test."""
    chosen: list[recipe.Item] = []
    volumes = ranked(salt, {str(item.group) for item in items}, str)
    for volume in volumes[:-1]:
        classes = {item.is_anomalous for item in chosen}
        if len(classes) == 2 and len(chosen) >= DISJOINT_VALID_SHARE * len(items):
            break
        chosen += [item for item in items if item.group == volume]
    return {item.key for item in chosen}


def render(
    case: recipe.Case, placed: Sequence[recipe.Placed], options: recipe.Options
) -> Iterator[recipe.RawPicture]:
    """Windowed, scaled, cut to the liver, turned over and equalised slices."""
    image = Volume(case.files["image"])
    labels = Volume(case.files["label"]).laid_on(image)
    stored, stored_labels = image.stored(), labels.stored()
    is_btcv = case.stratum == "btcv"
    for place in placed:
        z = place.item.at[0]
        values = image.scaled(stored[:, :, z])
        if not np.isfinite(values).all():
            raise recipe.Unusable(
                Problem(
                    "damaged", f"{image.file.relative}: holds NaN or infinity: download it again"
                )
            )
        label = labels.scaled(stored_labels[:, :, z])
        pixels = picture(
            values,
            _liver(label, is_btcv=is_btcv),
            window_of(options.window, is_btcv=is_btcv),
            is_processed=options.is_processed,
        )
        mask = lesion_mask(label, LITS_LESION)[::-1] if place.item.is_anomalous else None
        yield recipe.RawPicture(
            place.item.key, pixels, None if mask is None else np.ascontiguousarray(mask)
        )


def window_of(window: str | tuple[float, float], *, is_btcv: bool) -> tuple[float, float] | None:
    """Ends of the window in HU; None for the slice's full range."""
    if isinstance(window, tuple):
        return window
    return None if window == "code" and is_btcv else ABDOMEN_HU


def picture(
    values: npt.NDArray[Any], liver: Mask, window: tuple[float, float] | None, *, is_processed: bool
) -> Pixels:
    """One slice as the pack holds it.

    Args:
        values: [H, W] in HU, as stored.
        liver: bool [H, W].
        window: ends in HU, or None.
        is_processed: whether everything but the liver becomes 0 and the liver is equalised.

    Returns:
        uint8 [H, W], first row last.
    """
    if window is not None:
        values = np.clip(values, *window)
    grey = to_grey(values)
    if is_processed:
        grey = grey * liver.astype(np.uint8)
    turned = np.ascontiguousarray(grey[::-1])
    return equalised(turned) if is_processed else turned


def totals(items: Sequence[recipe.Item]) -> Mapping[str, int]:
    """Volumes and slices of both collections."""
    lits = [item for item in items if item.pool == "lits"]
    btcv = [item for item in items if item.pool == "btcv"]
    return {
        "BTCV volumes": len({item.group for item in btcv}),
        "BTCV slices with liver": len(btcv),
        "LiTS volumes": len({item.group for item in lits}),
        "LiTS slices with liver and without tumour": sum(not item.is_anomalous for item in lits),
        "LiTS slices with tumour": sum(item.is_anomalous for item in lits),
    }


def about(options: recipe.Options) -> recipe.About:
    """What is known of these splits and of the window."""
    suffix = "" if options.is_processed else "-unprocessed"
    window = "code: LiTS -200..250 HU, BTCV each slice's full range"
    if options.window != "code":
        ends = options.window if isinstance(options.window, tuple) else ABDOMEN_HU
        suffix += f"-{ends[0]:g}to{ends[1]:g}hu".replace("--", "-m")
        window = f"{ends[0]:g}..{ends[1]:g} HU for both collections"
    if options.lits_volumes != recipe.Options.lits_volumes:
        suffix += f"-{len(options.lits_volumes)}volumes"
    leaks = [
        "Train and test come from two collections, so scanner and contrast may tell them apart"
    ]
    if options.variant == "paper":
        leaks.append("Slices of every LiTS volume are in both valid and test")
    return recipe.About(
        suffix=suffix,
        modality=None if options.is_processed else "CT, axial slices, whole, windowed",
        known_leaks=tuple(leaks),
        remarks=(
            (
                f"Window: {window}. The paper states an abdominal window for both collections, the "
                "code applies it to LiTS alone"
            ),
            (
                "LiTS volumes 0 to 10 are inferred from released file names and from the number of "
                "slices; which slices are in valid depended on a listing's order and cannot be known"
            ),
            "The paper names 50 BTCV scans; only 30 have labels",
            (
                "A second loop in BMAD's code copies slices of valid into test; the released sizes "
                "suggest that it was not run"
            ),
            (
                "Two of BMAD's test configurations (PaDiM and STFPM with ResNet-50) point at the "
                "validation folder, so some of the paper's liver numbers may be of valid"
            ),
            *(
                ("Everything outside the liver is zero",)
                if options.is_processed
                else (
                    (
                        "Not cut to the liver and not equalised. BMAD released such a version without "
                        "its code: this one is ours"
                    ),
                )
            ),
        ),
    )
