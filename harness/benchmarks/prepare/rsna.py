"""Chest X-ray, image level: RSNA Pneumonia Detection Challenge 2018, stage 2.

`stage_2_train_images/<id>.dcm` (JPEG Baseline inside DICOM) and `stage_2_detailed_class_info.csv`.
Normal is `Normal`, abnormal both other classes. Pixels are taken as they are. Traps: the table
repeats an image for each of its boxes; an id is an image's, not a patient's: who is who stands in
RSNA's mapping to NIH ChestX-ray14, without which no split can be patient-disjoint; BMAD's code has
no split, only the released sizes tell it.
"""

from __future__ import annotations

import csv
import struct
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.benchmarks.pixels import Pixels
from harness.benchmarks.prepare import recipe
from harness.benchmarks.prepare.ranking import draw, in_proportion, ranked_items
from harness.benchmarks.prepare.raw import Listing, RawFile, list_raw_files, not_unpacked, one_each
from harness.benchmarks.problems import Problem
from harness.common.errors import UsageError
from harness.common.json_text import read_json

VERSION = 1
GROUP_UNIT = "patient"

SHAPE = (1024, 1024)
NORMAL, OPACITY, OTHER = "Normal", "Lung Opacity", "No Lung Opacity / Not Normal"
SUBCLASSES = {OPACITY: "Lung_Opacity", OTHER: "No-Not-Normal"}
CLASS_TABLE, BOX_TABLE = "stage_2_detailed_class_info.csv", "stage_2_train_labels.csv"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"

# Images by class in the source, in valid (70 + 1,420, the abnormal ones in the proportion of their
# classes), and in train; the rest is test.
SOURCE = {NORMAL: 8851, OPACITY: 6012, OTHER: 11821}
TRAIN = 8000
VALID = {
    "released": {NORMAL: 70, OPACITY: 479, OTHER: 941},
    "paper-text": {NORMAL: 745, OPACITY: 251, OTHER: 494},
}

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")


def survey(options: recipe.Options) -> recipe.Survey:
    """Every image of the class table."""
    if options.variant != "paper" and _mapping_file(options) is None:
        raise UsageError(
            f"rsna's ids are of images: a {options.variant} split needs to know the patients",
            where="--nih-mapping",
            fix=f"download RSNA's {MAPPING} and lay it into the raw folder, or name it",
        )
    listing = list_raw_files(options.raw)
    classes, problems = _classes(listing)
    found: dict[str, list[RawFile]] = defaultdict(list)
    for file in listing.ending(".dcm"):
        if file.name[:-4] in classes:
            found[file.name[:-4]].append(file)
    files, doubled = one_each(found)
    problems += doubled
    problems += [
        Problem("missing", f"{identifier}.dcm is missing ({CLASS_TABLE} names it)")
        for identifier in sorted(set(classes) - set(files))
    ]
    patients, unmapped = _patients(options, sorted(files))
    problems += unmapped
    if problems and (hint := not_unpacked(listing)):
        problems.append(Problem("archives", hint))
    cases = [
        _case(identifier, classes[identifier], patients.get(identifier), file)
        for identifier, file in sorted(files.items())
    ]
    return recipe.Survey(tuple(cases), (*listing.problems, *problems))


def _case(identifier: str, kind: str, patient: str | None, file: RawFile) -> recipe.Case:
    item = recipe.Item(identifier, identifier, kind != NORMAL, patient, SUBCLASSES.get(kind))
    return recipe.Case(identifier, kind, {"image": file}, (item,))


def _classes(listing: Listing) -> tuple[dict[str, str], list[Problem]]:
    """Class of every image; the table of boxes, where it is there, must agree."""
    tables = {file.name: file for file in listing.ending(".csv")}
    if CLASS_TABLE not in tables:
        return {}, [Problem("missing", f"{CLASS_TABLE} is missing")]
    classes: dict[str, str] = {}
    problems = []
    for row in _rows(tables[CLASS_TABLE]):
        identifier, kind = row.get("patientId"), row.get("class")
        if identifier is None or kind not in SOURCE:
            problems.append(Problem("table", f"{CLASS_TABLE}: {identifier} is {kind!r}"))
        elif classes.setdefault(identifier, kind) != kind:
            problems.append(Problem("table", f"{CLASS_TABLE}: {identifier} has two classes"))
    if BOX_TABLE in tables:
        problems += [
            Problem("table", f"{BOX_TABLE}: {row['patientId']} contradicts {CLASS_TABLE}")
            for row in _rows(tables[BOX_TABLE])
            if row.get("patientId") in classes
            and (row.get("Target") == "1") != (classes[row["patientId"]] == OPACITY)
        ]
    return classes, problems


def _rows(file: RawFile) -> list[dict[str, str]]:
    with file.path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def _mapping_file(options: recipe.Options) -> Path | None:
    if options.nih_mapping is not None:
        return options.nih_mapping
    lying = [
        file.path for file in list_raw_files(options.raw).ending(".json") if file.name == MAPPING
    ]
    return lying[0] if lying else None


def _patients(
    options: recipe.Options, identifiers: Sequence[str]
) -> tuple[dict[str, str], list[Problem]]:
    """NIH patient of each image, where the mapping is there."""
    path = _mapping_file(options)
    if path is None:
        return {}, []
    try:
        entries: Any = read_json(path)
        patients = {
            str(entry["subset_img_id"]): str(entry["img_id"]).partition("_")[0] for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {}, [Problem("mapping", f"{path.name}: not RSNA's mapping to NIH ({error!r})")]
    return patients, [
        Problem("mapping", f"{path.name} does not know {identifier}")
        for identifier in identifiers
        if identifier not in patients
    ]


def index(case: recipe.Case, _options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """The table tells everything."""
    return case.items or ()


def assign(items: Sequence[recipe.Item], options: recipe.Options) -> recipe.Assigned:
    """By rank within each class, in the released sizes; by patients where these are known."""
    salt = options.rank_salt("rsna")
    valid = VALID[options.valid_rule]
    found = {kind: sum(_class(item) == kind for item in items) for kind in SOURCE}
    sizes: dict[tuple[recipe.Split, str], int] = {("train", NORMAL): TRAIN}
    for kind, source in SOURCE.items():
        sizes["valid", kind] = valid[kind]
        sizes["test", kind] = source - valid[kind] - (TRAIN if kind == NORMAL else 0)
    quotas = {
        slot: in_proportion(size, found[slot[1]], SOURCE[slot[1]]) for slot, size in sizes.items()
    }
    if options.variant == "paper":
        split_of = _by_rank(items, quotas, salt)
    else:
        split_of = draw(items, quotas, salt, class_of=_class)
    left_out = len(items) - len(split_of)
    remarks = (f"{left_out} images were left out: their patients are in another split",)
    return recipe.Assigned(
        tuple(
            recipe.Placed(item, split_of[item.key], item.key)
            for item in items
            if item.key in split_of
        ),
        remarks=remarks if left_out else (),
    )


def _class(item: recipe.Item) -> str:
    return {name: kind for kind, name in SUBCLASSES.items()}.get(item.subclass or "", NORMAL)


def _by_rank(
    items: Sequence[recipe.Item], quotas: Mapping[tuple[recipe.Split, str], int], salt: str
) -> dict[str, recipe.Split]:
    split_of: dict[str, recipe.Split] = {}
    for kind in SOURCE:
        order = ranked_items(salt, [item for item in items if _class(item) == kind])
        judged = quotas["valid", kind] + quotas["test", kind]
        train = max(0, len(order) - judged) if kind == NORMAL else 0
        valid = train + quotas["valid", kind]
        split_of |= {item.key: "train" for item in order[:train]}
        split_of |= {item.key: "valid" for item in order[train:valid]}
        split_of |= {item.key: "test" for item in order[valid:]}
    return split_of


def render(
    case: recipe.Case, placed: Sequence[recipe.Placed], _options: recipe.Options, /
) -> Iterator[recipe.RawPicture]:
    """Grey values as stored; inverted where white is 0."""
    for place in placed:
        yield recipe.RawPicture(place.item.key, read_dicom(case.files["image"], SHAPE))


def read_dicom(file: RawFile, shape: tuple[int, int] | None) -> Pixels:
    """One 8-bit grey image; JPEG by Pillow, so that no other decoder can differ by a grey value.

    Raises:
        Unusable: damaged, coloured, deeper than 8 bits, or of another size.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels.utils import pixel_array

    try:
        with warnings.catch_warnings():
            # Real files hold ages that are no ages; a file cut short is only warned of, too.
            warnings.simplefilter("ignore", UserWarning)
            warnings.filterwarnings("error", "End of file reached", UserWarning)
            data = pydicom.dcmread(file.path)
            syntax = str(data.file_meta.TransferSyntaxUID)
            kind = str(data.PhotometricInterpretation)
            plugin = "pillow" if syntax in _JPEG else ""
            pixels = pixel_array(data, decoding_plugin=plugin)
    except (
        InvalidDicomError, OSError, EOFError, ValueError, KeyError, AttributeError, TypeError,
        RuntimeError, NotImplementedError, struct.error, UserWarning,
    ) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise recipe.Unusable(Problem("damaged", f"{file.relative}: {reason}")) from error
    if kind not in ("MONOCHROME1", "MONOCHROME2") or pixels.ndim != 2:
        raise recipe.Unusable(
            Problem("colour", f"{file.relative}: {kind}, expected one grey image")
        )
    if pixels.dtype != np.uint8:
        raise recipe.Unusable(
            Problem("depth", f"{file.relative}: {pixels.dtype.name}, expected 8 bits")
        )
    if shape is not None and pixels.shape != shape:
        height, width = pixels.shape
        raise recipe.Unusable(
            Problem(
                "size", f"{file.relative}: {width}x{height} pixels, expected {shape[1]}x{shape[0]}"
            )
        )
    grey: Pixels = np.ascontiguousarray(255 - pixels if kind == "MONOCHROME1" else pixels)
    return grey


def totals(items: Sequence[recipe.Item]) -> Mapping[str, int]:
    """Images by class."""
    return {kind: sum(_class(item) == kind for item in items) for kind in SOURCE}


def about(options: recipe.Options) -> recipe.About:
    """What is known of these splits."""
    is_paper = options.variant == "paper"
    leaks = (
        (
            "Several images of one patient exist, and the ids do not say whose: one patient may be in "
            "train and in test"
        ),
    )
    rule = {
        "released": "70 + 1,420 validation images follow from the sizes of the release; the "
        "paper's text says 1 : 1, which its own counts exclude",
        "paper-text": "745 + 745 validation images as the paper's text says; the release almost "
        "surely has 70 + 1,420",
    }
    return recipe.About(
        suffix="" if options.valid_rule == "released" else "-text",
        known_leaks=leaks if is_paper else (),
        remarks=(
            rule[options.valid_rule],
            "BMAD's code holds no split: sizes are kept, membership is drawn by rank",
            "95.5 % of the test images are abnormal: image AUROC rests on 781 normal ones"
            if options.valid_rule == "released"
            else "99.4 % of the test images are abnormal: image AUROC rests on 106 normal ones",
            "Abnormal = lung opacity, or neither opacity nor normal",
            (
                "Section 3.1 of the paper describes another data set (ChestX-ray8); its appendix is "
                "right"
            ),
            "View position (AP or PA) and text markers may tell the label; they cannot be removed",
            *(() if is_paper else ("Patients are those of NIH ChestX-ray14 by RSNA's mapping",)),
        ),
    )
