"""Retinal OCT, image level: OCT2017 (Kermany), `{train,test,val}/<CLASS>/<CLASS>-<patient>-<k>.jpeg`.

Train is all of train/NORMAL, valid is val, test is test: the folders of Kaggle's copy are the
paper's split. Mendeley's copy has no val: its 32 images are then taken out of test, the 24 known
ones by name and the rest by rank. Traps: Kaggle's folder is called `OCT2017 ` with a blank and lies
in the archive more than once; widths of 384 to 1536 occur and may tell the class, so every image
is brought to 512x496.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from harness.benchmarks.prepare import recipe, splits
from harness.benchmarks.prepare.pictures import in_size, read_grey
from harness.benchmarks.prepare.ranking import draw, ranked_items
from harness.benchmarks.prepare.raw import RawFile, list_raw_files, not_unpacked, one_each
from harness.benchmarks.problems import Problem

VERSION = 1
GROUP_UNIT = "patient"

SIZE = (512, 496)  # width, height: that of most images
NORMAL, ABNORMAL = "NORMAL", ("CNV", "DME", "DRUSEN")
CLASSES = (NORMAL, *ABNORMAL)
VALID_PER_CLASS, TEST_PER_CLASS = 8, 242
# The published test set holds about 1.5 images a patient; a resplit takes no more than 2.
MOST_PER_PATIENT = 2

_PARTS: dict[str, recipe.Split] = {
    "train": "train",
    "val": "valid",
    "valid": "valid",
    "test": "test",
}
_FILE = re.compile(r"(CNV|DME|DRUSEN|NORMAL)-(\d+)-(\d+)")


def survey(options: recipe.Options) -> recipe.Survey:
    """Images by part, class and name; abnormal ones of train are needed for a resplit alone."""
    listing = list_raw_files(options.raw)
    found: dict[tuple[recipe.Split, str], list[RawFile]] = defaultdict(list)
    problems = []
    for file in listing.ending(".jpeg", ".jpg", ".png"):
        folders = file.folders[-2:]
        part = _PARTS.get(folders[0].lower()) if len(folders) == 2 else None
        if part is None or folders[1] not in CLASSES:
            continue
        stem = PurePosixPath(file.name).stem
        match = _FILE.fullmatch(stem)
        if match is None or match[1] != folders[1]:
            problems.append(
                Problem("name", f"{file.relative}: is not called {folders[1]}-<patient>-<number>")
            )
        elif part != "train" or folders[1] == NORMAL or options.variant == "resplit":
            found[part, stem].append(file)
    files, doubled = one_each(found)
    problems += doubled
    cases = [_case(part, stem, file) for (part, stem), file in files.items()]
    counts = Counter((case.items[0].pool, case.stratum) for case in cases if case.items)
    problems += _absent(counts)
    if problems and (hint := not_unpacked(listing)):
        problems.append(Problem("archives", hint))
    remarks = ("The copy has no val folder: valid was taken out of test",)
    return recipe.Survey(
        tuple(sorted(cases, key=lambda case: case.key)),
        (*listing.problems, *problems),
        () if any(part == "valid" for part, _ in counts) else remarks,
        listing=listing,
    )


def _case(part: recipe.Split, stem: str, file: RawFile) -> recipe.Case:
    kind, patient, _ = stem.split("-")
    key = f"{part}/{stem}"
    is_anomalous = kind != NORMAL
    item = recipe.Item(key, key, is_anomalous, patient, kind if is_anomalous else None, pool=part)
    return recipe.Case(key, kind, {"image": file}, (item,))


def _absent(counts: Mapping[tuple[str, str], int]) -> list[Problem]:
    """Folders without which there is no benchmark; val is not one of them."""
    needed = [("train", NORMAL), *(("test", name) for name in CLASSES)]
    if any(part == "valid" for part, _ in counts):
        needed += [("valid", name) for name in CLASSES]
    return [
        Problem("missing", f"{'val' if part == 'valid' else part}/{name}: no images")
        for part, name in needed
        if not counts.get((part, name))
    ]


def index(case: recipe.Case, _options: recipe.Options, /) -> tuple[recipe.Item, ...]:
    """Names tell everything."""
    return case.items or ()


def assign(items: Sequence[recipe.Item], options: recipe.Options) -> recipe.Assigned:
    """The folders; `disjoint` drops images of patients that are in a later split too."""
    salt = options.rank_salt("oct2017")
    if options.variant == "resplit":
        return _resplit(items, salt)
    split_of = {item.key: recipe.split_named(item.pool) for item in items}
    if "valid" not in split_of.values():
        split_of |= _valid_from_names(items, salt)
    if options.variant == "paper":
        return recipe.Assigned(
            tuple(recipe.Placed(item, split_of[item.key], _name(item)) for item in items)
        )
    taken: dict[str | None, int] = {}
    order: tuple[recipe.Split, ...] = ("test", "valid", "train")
    for position, split in enumerate(order):
        for item in items:
            if split_of[item.key] == split:
                taken.setdefault(item.group, position)
    kept = [item for item in items if order[taken[item.group]] == split_of[item.key]]
    return recipe.Assigned(
        tuple(recipe.Placed(item, split_of[item.key], _name(item)) for item in kept),
        remarks=(
            f"{len(items) - len(kept)} images were left out: their patients are in a later split",
        ),
    )


def _name(item: recipe.Item) -> str:
    return item.key.partition("/")[2]


def _valid_from_names(items: Sequence[recipe.Item], salt: str) -> dict[str, recipe.Split]:
    """The 24 known images by name, and of each class as many more of test as make 8."""
    known = {PurePosixPath(name).stem for name in splits.names("oct2017_valid_known")}
    chosen: dict[str, recipe.Split] = {}
    for kind in CLASSES:
        mine = [item for item in items if _class(item) == kind]
        named = [item.key for item in mine if _name(item) in known]
        rest = [item for item in mine if item.pool == "test" and item.key not in named]
        more = ranked_items(salt, rest)[: max(0, VALID_PER_CLASS - len(named))]
        chosen |= dict.fromkeys([*named, *(item.key for item in more)], "valid")
    return chosen


def _class(item: recipe.Item) -> str:
    return item.subclass or NORMAL


def _resplit(items: Sequence[recipe.Item], salt: str) -> recipe.Assigned:
    """Patients of all three parts and all classes, dealt out anew."""
    sizes: dict[recipe.Split, int] = {"test": TEST_PER_CLASS, "valid": VALID_PER_CLASS}
    found = Counter(map(_class, items))
    quotas = {
        # A third at most, so that a part of the download gives a part of the benchmark.
        (split, kind): min(size, -(-found[kind] * size // (3 * TEST_PER_CLASS)))
        for split, size in sizes.items()
        for kind in CLASSES
    }
    most = dict.fromkeys(CLASSES, MOST_PER_PATIENT)
    drawn = draw(items, quotas, salt, class_of=_class, most_per_group=most)
    return recipe.Assigned(
        tuple(
            recipe.Placed(item, drawn[item.key], item.key.replace("/", "-"))
            for item in items
            if item.key in drawn
        )
    )


def render(
    case: recipe.Case, placed: Sequence[recipe.Placed], _options: recipe.Options, /
) -> Iterator[recipe.RawPicture]:
    """Grey, 512x496."""
    for place in placed:
        yield recipe.RawPicture(place.item.key, in_size(read_grey(case.files["image"]), SIZE))


def totals(items: Sequence[recipe.Item]) -> Mapping[str, int]:
    """Images by part and class."""
    counts = Counter((item.pool, _class(item)) for item in items)
    return {
        f"{part}/{name}": counts[part, name]
        for part in ("train", "valid", "test")
        for name in CLASSES
        if part != "train" or name == NORMAL
    }


def about(options: recipe.Options) -> recipe.About:
    """What is known of these splits."""
    leaks = ("Patients, and some identical images, are known to be shared between train and test",)
    return recipe.About(
        known_leaks=leaks if options.variant == "paper" else (),
        remarks=(
            (
                "Every image is brought to 512x496: their sizes differ and may tell the class. The "
                "release keeps the sizes"
            ),
            "The validation split has 8 normal and 24 abnormal images only",
            "A comment in BMAD's code counts 250 + 750 test images: those of a copy without val",
        ),
    )
