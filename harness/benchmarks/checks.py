"""What is wrong with a pack's images and masks, all of it at once, before anything starts.

An image in two splits is a problem unless the card allows that pair: with `train` in it, a test
becomes a memory game; between `valid` and `test`, checkpoints and thresholds are chosen on test
images. BMAD's release has such pairs. Their specs allow them, and the card counts them as a
known leak, so that a released folder runs as it is and nobody overlooks it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

from harness.benchmarks.layout import FoundImage, Layout
from harness.benchmarks.problems import Problem
from harness.benchmarks.scan import ImageFacts, MaskFacts, Scan, Unreadable
from harness.benchmarks.spec import SPLITS


def unreadable_files(scan: Scan) -> list[Problem]:
    """Images and masks that cannot be decoded."""
    return [
        Problem("unreadable", f"{key}: {fact.reason}")
        for facts in (scan.images, scan.masks)
        for key, fact in sorted(facts.items())
        if isinstance(fact, Unreadable)
    ]


def wrong_masks(layout: Layout, scan: Scan) -> list[Problem]:
    """Masks that are missing, of another size than their image, or that contradict its label."""
    problems = []
    keys = (image.mask_key or "" for image in layout.images)
    is_mvtec = any(key.lower().startswith("ground_truth/") for key in keys)
    hint = " (ground_truth/ beside the splits is taken for the masks of test)" * is_mvtec
    for image in layout.images:
        if image.split == "train" and image.is_anomalous:
            continue  # the image itself is the problem
        if image.mask_key is None:
            if image.is_anomalous:
                problems.append(Problem("mask missing", f"{image.key}: its mask is missing{hint}"))
            continue
        facts, mask = scan.images[image.key], scan.masks[image.mask_key]
        if isinstance(facts, ImageFacts) and isinstance(mask, MaskFacts):
            problems += _wrong_mask(image, facts, mask)
    return problems


def _wrong_mask(image: FoundImage, facts: ImageFacts, mask: MaskFacts) -> list[Problem]:
    problems = []
    if (facts.height, facts.width) != (mask.height, mask.width):
        problems.append(
            Problem(
                "mask size",
                f"{image.key} is {facts.width}x{facts.height}, its mask "
                f"{image.mask_key} is {mask.width}x{mask.height}",
            )
        )
    if image.is_anomalous and not mask.lesion_pixels:
        problems.append(Problem("mask empty", f"{image.key} is abnormal and its mask is empty"))
    if not image.is_anomalous and mask.lesion_pixels:
        problems.append(
            Problem(
                "mask of a normal image",
                f"{image.key} is normal and its mask marks {mask.lesion_pixels} pixels",
            )
        )
    return problems


def contradicting_labels(
    twins: Iterable[tuple[FoundImage, ...]], allowed: Iterable[str]
) -> list[Problem]:
    """Identical images that are normal in one place and abnormal in another.

    Across a pair of splits that the card allows to share images it is part of that known leak:
    nobody who downloaded the release could mend it.
    """
    permitted = {frozenset(pair.split("+")) for pair in allowed}
    return [
        Problem(
            "two labels",
            f"identical pixels, once normal and once abnormal: {_keys(group)}",
        )
        for group in twins
        if len({image.is_anomalous for image in group}) == 2
        and frozenset(image.split for image in group) not in permitted
    ]


def shared_images(
    twins: Iterable[tuple[FoundImage, ...]], allowed: Iterable[str]
) -> tuple[list[Problem], Counter[str]]:
    """Images that are in two splits.

    Args:
        twins: groups of images with identical pixels.
        allowed: pairs such as `valid+test` that the card allows.

    Returns:
        A problem per image in a pair that is not allowed; the number of images per allowed pair.
    """
    permitted = {frozenset(pair.split("+")) for pair in allowed}
    problems, counted = [], Counter[str]()
    for group in twins:
        splits = {image.split for image in group}
        for pair in combinations([split for split in SPLITS if split in splits], 2):
            if frozenset(pair) in permitted:
                counted["+".join(pair)] += 1
            else:
                images = [image for image in group if image.split in pair]
                problems.append(
                    Problem(
                        "image in two splits",
                        f"identical pixels in {pair[0]} and {pair[1]}: {_keys(images)} (allow it "
                        f'with shared_images = ["{"+".join(pair)}"] in pack.toml if it is meant)',
                    )
                )
    return problems, counted


def identical_images(
    layout: Layout, facts: Mapping[str, ImageFacts | Unreadable]
) -> list[tuple[FoundImage, ...]]:
    """Groups of two or more images with identical pixels."""
    by_hash: dict[str, list[FoundImage]] = defaultdict(list)
    for image in layout.images:
        fact = facts[image.key]
        if isinstance(fact, ImageFacts):
            by_hash[fact.pixel_sha256].append(image)
    return [tuple(group) for group in by_hash.values() if len(group) > 1]


def unsaid_patients(
    layout: Layout, groups: Mapping[str, str | None], *, is_independent: bool
) -> list[Problem]:
    """What keeps a sealed pack's scores from being those of new patients.

    Args:
        layout: its files.
        groups: by image, its patient (volume, slide); None where nothing tells.
        is_independent: whether the maker states that every image is of a patient of its own.
    """
    unknown = [image.key for image in layout.images if groups[image.key] is None]
    if unknown and not is_independent:
        return [
            Problem(
                "patients",
                f"a sealed pack says whose its images are, and {len(unknown)} are of nobody"
                " known: give a rule for their names (name_rules), a groups.csv, or"
                ' patients = "independent" in pack.toml',
            )
        ]
    splits: dict[str, set[str]] = defaultdict(set)
    for image in layout.images:
        if (group := groups[image.key]) is not None:
            splits[group].add(image.split)
    straddling = sum(len(places) > 1 for places in splits.values())
    if not straddling:
        return []
    who = f"{straddling} patients are" if straddling > 1 else "1 patient is"
    return [Problem("patients", f"{who} in more than one split of a sealed pack")]


def unequal_sizes(facts: Mapping[str, ImageFacts | Unreadable]) -> list[Problem]:
    """In a hidden pack the shape that goes through the pipe must not tell images apart."""
    sizes = Counter(
        f"{fact.width}x{fact.height}" for fact in facts.values() if isinstance(fact, ImageFacts)
    )
    if len(sizes) < 2:
        return []
    shown = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(5))
    return [Problem("size", f"a hidden pack needs one image size; it has {len(sizes)}: {shown}")]


def _keys(images: Iterable[FoundImage]) -> str:
    keys = [image.key for image in images]
    return " = ".join(keys[:4]) + (f" = … ({len(keys)} files)" if len(keys) > 4 else "")
