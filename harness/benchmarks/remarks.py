"""What a reader of a pack's scores should know about its files: facts, not faults."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from harness.benchmarks.acceptance import ACCEPTABLE
from harness.benchmarks.card import Counts
from harness.benchmarks.layout import FoundImage, Layout
from harness.benchmarks.scan import ImageFacts, MaskFacts, Scan
from harness.benchmarks.spec import SPLITS, BenchmarkSpec, NameReading

_LEFT_OUT = {
    "no-images": "files that are not images were ignored",
    "returning-links": "links to a folder that they lie in were not followed",
    "masks-of-an-image-level-benchmark": "masks were ignored: this benchmark is image level",
}


def about_files(layout: Layout) -> list[str]:
    """Files that were left aside, what was accepted, a validation split that is not there."""
    remarks = [
        f"{len(layout.left_out[reason])} {told}"
        for reason, told in _LEFT_OUT.items()
        if layout.left_out.get(reason)
    ]
    remarks += [
        f"Accepted ({reason}): {ACCEPTABLE[reason]}{_counted(layout.left_out.get(reason, ()))}"
        for reason in layout.accepted
    ]
    valid = [image.is_anomalous for image in layout.images if image.split == "valid"]
    if not valid:
        remarks.append("There is no validation split: no checkpoint is chosen, no threshold set")
    elif len(set(valid)) == 1:
        word = "abnormal" if valid[0] else "normal"
        remarks.append(f"The validation split holds {word} images only")
    return remarks


def _counted(keys: Sequence[str]) -> str:
    return f": {len(keys)} file{'s' if len(keys) != 1 else ''}" if keys else ""


def about_pixels(layout: Layout, scan: Scan) -> list[str]:
    """Modes and sizes that differ, masks of more than two values, repeated images."""
    facts = {key: fact for key, fact in scan.images.items() if isinstance(fact, ImageFacts)}
    remarks = []
    modes = Counter(fact.mode for fact in facts.values())
    if len(modes) > 1:
        remarks.append(
            f"{modes['L']} grey and {modes['RGB']} colour images: all are delivered as RGB, so that "
            "the mode does not tell images apart"
        )
    remarks += _about_sizes(layout, facts)
    many = sum(isinstance(mask, MaskFacts) and mask.levels > 1 for mask in scan.masks.values())
    if many:
        remarks.append(f"{many} masks hold more than one value above zero: any value > 0 is lesion")
    return remarks


def _about_sizes(layout: Layout, facts: Mapping[str, ImageFacts]) -> list[str]:
    sizes: dict[bool, Counter[str]] = defaultdict(Counter)
    for image in layout.images:
        if image.split == "test" and image.key in facts:
            fact = facts[image.key]
            sizes[image.is_anomalous][f"{fact.width}x{fact.height}"] += 1
    if len(sizes[False] | sizes[True]) < 2:
        return []
    shown = "; ".join(
        f"{word} {', '.join(f'{size} ({n})' for size, n in sizes[is_anomalous].most_common(4))}"
        for word, is_anomalous in (("normal", False), ("abnormal", True))
    )
    return [f"Image sizes differ in the test split and may tell the class: {shown}"]


def about_repeats(twins: Iterable[tuple[FoundImage, ...]], shared: Mapping[str, int]) -> list[str]:
    """Identical images across splits (allowed by the card) and inside one split."""
    remarks = [
        f"{count} image{'s' if count != 1 else ''} of {first} {'are' if count != 1 else 'is'} "
        f"also in {second}, byte for byte"
        for (first, second), count in ((pair.split("+"), count) for pair, count in shared.items())
    ]
    inside: Counter[str] = Counter()
    for group in twins:
        for split, count in Counter(image.split for image in group).items():
            inside[split] += count - 1
    remarks += [
        f"{inside[split]} repeated image{'s' if inside[split] != 1 else ''} inside {split}"
        for split in SPLITS
        if inside[split]
    ]
    return remarks


def about_groups(
    layout: Layout, readings: Mapping[str, NameReading], *, is_independent: bool = False
) -> list[str]:
    """Patients that are unknown for some images, and patients in two splits.

    Args:
        layout: the pack's files.
        readings: by image, what its name or `groups.csv` tells.
        is_independent: whether the maker states that every image is of a patient of its own.
    """
    known = [image for image in layout.images if readings[image.key].group]
    if not known and is_independent:
        return ["Every image is of a patient of its own, as the pack's maker states"]
    if not known:
        return ["Patients are unknown: intervals are over images"]
    remarks = []
    units = {readings[image.key].unit for image in known}
    unit = f"{units.pop()}s" if len(units) == 1 else "patients"
    if len(known) < len(layout.images):
        remarks.append(
            f"The {unit} of {len(layout.images) - len(known)} of {len(layout.images)} images are "
            "unknown: each of these images counts as one of its own"
        )
    members: dict[str, set[str | None]] = defaultdict(set)
    for image in known:
        members[image.split].add(readings[image.key].group)
    for first, second in combinations(SPLITS, 2):
        common = len(members[first] & members[second])
        if common:
            who = f"{common} {unit} are" if common > 1 else f"1 {unit.removesuffix('s')} is"
            remarks.append(f"{who} in both {first} and {second}")
    return remarks


def about_counts(counts: Counts, spec: BenchmarkSpec | None) -> list[str]:
    """Counts that are neither Table 1's nor any known for the benchmark."""
    if spec is None or spec.table1 is None:
        return []
    found = (
        counts.train,
        counts.valid_normal + counts.valid_anomalous,
        counts.test_normal + counts.test_anomalous,
    )
    expected = {spec.table1, *(known.counts.totals for known in spec.counts)}
    if found in expected:
        return []
    return [
        (
            f"{found[0]} train, {found[1]} valid and {found[2]} test images; Table 1 of the paper has "
            f"{spec.table1[0]}, {spec.table1[1]} and {spec.table1[2]}: not the published benchmark"
        )
    ]
