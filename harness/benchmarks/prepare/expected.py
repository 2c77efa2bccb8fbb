"""The one table of what a full download gives, and the comparison with what was found.

Counts per split of the `paper` variants are those of the specs; this table adds what is known of
the other variants and of the sources. What is not known is not compared. Where a number could not
be checked on real data yet, a difference is news and no reason to change a rule: it is reported,
and an error only with `--strict-counts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.benchmarks.prepare.recipe import Options, Placed
from harness.benchmarks.spec import SplitCounts
from harness.benchmarks.specs import BENCHMARKS

SOURCES: Mapping[str, Mapping[str, int]] = {
    "brain": {"cases": 1251, "patients with a tumour-free slice": 625},
    "liver": {
        "BTCV volumes": 30,
        "BTCV slices with liver": 1542,
        "LiTS volumes": 11,
        "LiTS slices with liver and without tumour": 926,
        "LiTS slices with tumour": 733,
    },
    "resc": {
        "training volumes": 70,
        "training slices, normal": 4297,
        "training slices, abnormal": 4663,
        "validation volumes": 15,
        "validation slices, normal": 1086,
        "validation slices, abnormal": 834,
    },
    "oct2017": {
        "train/NORMAL": 26315,
        **{f"valid/{name}": 8 for name in ("CNV", "DME", "DRUSEN", "NORMAL")},
        **{f"test/{name}": 242 for name in ("CNV", "DME", "DRUSEN", "NORMAL")},
    },
    "rsna": {"Normal": 8851, "Lung Opacity": 6012, "No Lung Opacity / Not Normal": 11821},
    "camelyon16": {"normal slides": 159, "test slides": 127},
}

_DISJOINT: Mapping[str, SplitCounts] = {
    # The recovered patients, and BMAD's own coordinates, are disjoint as they are.
    "brain": SplitCounts(7500, 39, 44, 640, 3075),
    "camelyon16": SplitCounts(5088, 117, 105, 1026, 1008),
}


@dataclass(frozen=True)
class CountsCompared:
    """One number."""

    what: str
    """Which."""
    found: int
    """What was found."""
    expected: int | None
    """What it should be; None where nobody knows."""

    @property
    def is_different(self) -> bool:
        """Whether it is known and not met."""
        return self.expected not in (None, self.found)

    @property
    def sentence(self) -> str:
        """For people."""
        known = "" if self.expected is None else f", expected {self.expected}"
        return f"{self.what}: {self.found}{known}"


def expected_counts(benchmark: str, options: Options) -> SplitCounts | None:
    """Counts of a variant prepared from a full download, as far as they are known."""
    spec = BENCHMARKS.get(benchmark)
    is_own = options.slices != Options.slices or options.lits_volumes != Options.lits_volumes
    if spec is None or is_own or not spec.counts:
        return None
    if options.variant == "paper":
        is_text = benchmark == "rsna" and options.valid_rule == "paper-text"
        return spec.counts[1 if is_text else 0].counts
    return _DISJOINT.get(benchmark) if options.variant == "disjoint" else None


def compare_counts(
    benchmark: str, options: Options, totals: Mapping[str, int], placed: Iterable[Placed]
) -> list[CountsCompared]:
    """Every number of the source and of the splits beside what it should be."""
    sources = SOURCES.get(benchmark, {})
    is_own = options.slices != Options.slices or options.lits_volumes != Options.lits_volumes
    rows = [
        CountsCompared(f"source, {what}", found, None if is_own else sources.get(what))
        for what, found in totals.items()
    ]
    counts = Counter[tuple[str, bool]]((place.split, place.item.is_anomalous) for place in placed)
    known = expected_counts(benchmark, options)
    for field, split, is_anomalous in _FIELDS:
        word = "abnormal" if is_anomalous else "normal"
        rows.append(
            CountsCompared(
                f"{split}, {word}",
                counts[split, is_anomalous],
                None if known is None else getattr(known, field),
            )
        )
    return rows


_FIELDS = (
    ("train", "train", False),
    ("valid_normal", "valid", False),
    ("valid_anomalous", "valid", True),
    ("test_normal", "test", False),
    ("test_anomalous", "test", True),
)
