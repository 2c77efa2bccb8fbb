"""Which copy of a benchmark a folder is: BMAD's own release, or one of the forms others re-host.

Seen in public repositories: BMAD's archives (`Brain_AD/BraTS2021_slice`, `Liver_AD/hist_DIY`,
`Retina_RESC_AD/RESC`, `Retina_OCT2017_AD/OCT2017`, `Chest-AD/Chest-RSNA`,
`Histopathology_AD/camelyon16_256`), each with its own order of folders; copies for few-shot work
with `valid` and `test` alone; copies in MVTec's layout, whose validation images went to train and
test. Names, counts and the order of folders tell them apart; which images they hold, only the
version id tells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from harness.benchmarks.card import Counts
from harness.benchmarks.layout import FoundImage
from harness.benchmarks.problems import Problem
from harness.benchmarks.spec import BenchmarkSpec, SplitCounts

_ORDERS = (
    (r"(test|testing)/(test|testing)/[^/]+/[^/]+", "RESC's order of folders (Test/test/Ungood)"),
    (r"(.+/)?test/imgs?/[^/]+/[^/]+", "the liver's order of folders (test/img/Ungood)"),
    (
        r"(.+/)?test/[^/]+/(img|imgs|images?)/[^/]+",
        "class folders with img inside (test/Ungood/img)",
    ),
    (r"(.+/)?test/[^/]+/[^/]+", "class folders alone (test/Ungood)"),
)


def copy_of(spec: BenchmarkSpec | None, counts: Counts, images: Sequence[FoundImage]) -> str:
    """One sentence: which copy of the benchmark this is, by its counts and its order of folders.

    Args:
        spec: the benchmark; None for a pack of its own, whose order of folders alone is told.
        counts: what was found.
        images: its files.
    """
    order = order_of(images)
    if spec is None:
        return f"A pack of its own: {order}."
    found = SplitCounts(**counts.model_dump())
    for known in spec.counts:
        if found == known.counts:
            return f"The images per split and class of {known.origin}: {order}."
        if found == _without_valid(known.counts):
            return (
                f"A re-hosted copy whose validation images went to train and test ({known.origin}"
                f" has {known.counts.valid_normal} + {known.counts.valid_anomalous} of them): {order}."
                " Its scores are not those of the benchmark."
            )
    if spec.table1 is not None and found.totals == spec.table1:
        return f"The totals of Table 1, by classes that nobody has published: {order}."
    known_counts = [known.counts for known in spec.counts]
    same = [
        split
        for number, split in enumerate(("train", "valid", "test"))
        if any(one.totals[number] == found.totals[number] for one in known_counts)
    ]
    told = f"of a known release only {' and '.join(same)}" if same else "of no known release"
    return f"The images per split are those {told}: {order}."


def _without_valid(counts: SplitCounts) -> SplitCounts:
    return SplitCounts(
        train=counts.train + counts.valid_normal,
        valid_normal=0,
        valid_anomalous=0,
        test_normal=counts.test_normal,
        test_anomalous=counts.test_anomalous + counts.valid_anomalous,
    )


def order_of(images: Iterable[FoundImage]) -> str:
    """The order of folders of most test images."""
    found: Counter[str] = Counter()
    for image in images:
        if image.split != "test":
            continue
        if (image.mask_key or "").lower().startswith("ground_truth/"):
            found["MVTec's order of folders (ground_truth beside test)"] += 1
            continue
        for pattern, name in _ORDERS:
            if re.fullmatch(pattern, image.key.lower()):
                found[name] += 1
                break
    # Masks tell more than images do: one of MVTec's says which layout all are in.
    named = sorted(found, key=lambda name: ("MVTec" not in name, -found[name], name))
    return named[0] if named else "another order of folders"


def missing_splits(
    folder: str, spec: BenchmarkSpec | None, images: Sequence[FoundImage]
) -> list[Problem]:
    """What a known benchmark's folder lacks to be one, and where it is to be had."""
    splits = {image.split for image in images}
    if spec is None or spec.table1 is None or not splits or {"train", "test"} <= splits:
        return []
    lacking = [split for split in ("train", "test") if split not in splits]
    sizes = dict(zip(("train", "valid", "test"), spec.table1, strict=True))
    wanted = " and ".join(f"{split} ({sizes[split]} images by Table 1)" for split in lacking)
    copy = " (the form that is re-hosted for few-shot work)" if lacking == ["train"] else ""
    return [
        Problem(
            "release",
            f"{folder} is {spec.name} with {' and '.join(sorted(splits))} alone{copy}; missing: {wanted}."
            f" Lay BMAD's own {' and '.join(lacking)} beside them, or make all splits with"
            f" python -m harness.prepare {spec.name} --raw DOWNLOAD --out DATA",
        )
    ]
