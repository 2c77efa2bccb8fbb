"""The data card of a pack: what anyone should know of the data before believing a score on them.

Counts beside Table 1, masks, leaks between splits, modes and sizes by class, and how far one trivial
number per image tells the label. Traps: a trivial statistic has no direction, so the card gives the
AUROC and beside it the larger of it and its complement; a hidden pack's card names no image and
rounds, for it is published.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from os import cpu_count
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from baselines.kit.trivial import STATISTICS
from harness.benchmarks import BENCHMARKS, Pack, Sample
from harness.benchmarks.card import DISJOINT_VARIANTS
from harness.benchmarks.likeness import Look, look_of, near_duplicates
from harness.benchmarks.pixels import in_mode, mode_of, read_image
from harness.benchmarks.spec import SPLITS, BenchmarkSpec
from harness.common.disclosure import Artefact, Visibility, is_sealed, may_leave
from harness.common.progress import Progress
from harness.metrics import GroundTruth, RunScorer, TruthImage
from harness.records.record import MetricValue

# Above this the larger of AUROC and its complement is called a give-away, if 0.5 is outside.
GIVE_AWAY = 0.6
HIDDEN_DIGITS = 2
_MOST_EXAMPLES = 5
_MAX_WORKERS = 8

GEOGRAPHY = (
    "The paper remarks on geographic bias: each source comes from few places, so other populations, "
    "scanners and protocols are hardly in it, and a score here promises little elsewhere."
)

METRIC_RULES = (
    "Pixel metrics: one mask rule (native mask > 0), one PRO and one Dice rule hold here. BMAD's own "
    "code mixes three mask rules, two PRO definitions and three Dice definitions in one column."
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitFacts(_Part):
    """One class of one split."""

    split: str
    """`train`, `valid` or `test`."""
    is_anomalous: bool
    """Label."""
    images: int
    """Number of images."""
    groups: int | None
    """Patients (volumes, slides); None where unknown."""
    modes: dict[str, int]
    """Images by mode of their files: `L` or `RGB`."""
    sizes: dict[str, int]
    """Images by size, `WxH`, the most frequent eight."""


class ExpectedCounts(_Part):
    """Counts that somebody published."""

    origin: str
    """Where they come from."""
    train: int
    """Normal training images."""
    valid: int
    """Validation images."""
    test: int
    """Test images."""
    is_met: bool
    """Whether the pack has them."""


class MaskSummary(_Part):
    """Masks of the abnormal test and validation images. All were checked: right size, not empty."""

    images: int
    """Abnormal images with a mask."""
    smallest_share: float
    """Smallest lesion, as a share of its image."""
    median_share: float
    """Median."""
    largest_share: float
    """Largest."""


class Leak(_Part):
    """Something that is in two splits."""

    kind: Literal["identical images", "near-identical images", "patients", "volumes", "slides"]
    """What."""
    splits: tuple[str, str]
    """Which."""
    count: int
    """How many (of images: those of the later split)."""
    images: int
    """Images of the later split that are concerned."""
    examples: tuple[str, ...]
    """Some of them; none of a hidden pack."""


class TrivialBaseline(_Part):
    """How far one number per image tells the label on the test split."""

    statistic: str
    """Which."""
    auroc: float | None
    """Image AUROC, higher = more anomalous; None where undefined."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end."""
    either_way: float | None
    """The larger of AUROC and its complement."""
    units: int
    """Resampled units: patients, else images."""
    reason: str | None
    """Why undefined, or a remark."""


class DataCard(_Part):
    """A pack's data card."""

    format: Literal[1] = 1
    """Version of this form."""
    name: str
    """Name of the pack."""
    base: str | None
    """Benchmark that it says it is and is no known release of, or is another cut of."""
    variant: str | None
    """`paper`, `disjoint` or `resplit`."""
    version: str
    """Version id of the pack."""
    digest: str | None = None
    """Hash over its splits, labels, pixels and masks; None in a card of an older harness."""
    title: str
    """One line."""
    modality: str
    """How the images were acquired."""
    visibility: Visibility
    """Hidden packs publish nothing but rounded aggregates."""
    source: str
    """Where the images come from."""
    access: str
    """What one needs to get them."""
    licence: str
    """Licence of the images."""
    citation: str
    """What to cite."""
    images_may_be_shown: bool
    """Whether a published site may show them."""
    show_evidence: str
    """Why, or why not."""
    geography: str
    """Where the patients come from, and the paper's remark."""
    group_unit: str | None
    """What `groups` counts."""
    splits: tuple[SplitFacts, ...]
    """Every class of every split."""
    expected: tuple[ExpectedCounts, ...]
    """Table 1 of the paper first, then other published counts."""
    masks: MaskSummary | None
    """None for image-level packs."""
    subclasses: dict[str, int]
    """Abnormal test images by kind."""
    leaks: tuple[Leak, ...]
    """What was found in two splits."""
    repeated: dict[str, int]
    """Images that stand more than once inside a split."""
    trivial: tuple[TrivialBaseline, ...]
    """Every trivial statistic."""
    known_leaks: tuple[str, ...]
    """Facts that make scores too good, as published."""
    remarks: tuple[str, ...]
    """Other facts."""
    problems: tuple[str, ...]
    """What contradicts the pack's own claims; empty for a sound pack."""


@dataclass(frozen=True)
class Measured:
    """What one look at an image tells."""

    look: Look
    """For near-duplicates."""
    mode: str
    """Mode of the file."""
    statistics: tuple[float, ...]
    """In the order of `STATISTICS`; of test images alone."""
    lesion_share: float | None
    """Of abnormal images with a mask."""


def make_card(pack: Pack, on_progress: Progress) -> DataCard:
    """Look at every image of an opened pack once, and tell.

    Args:
        pack: opened, so its files are sound.
        on_progress: called with a label, the images done and their number.
    """
    measured = _measure(pack, on_progress)
    spec = BENCHMARKS.get(pack.base or pack.name)
    card = pack.card
    leaks = tuple(_leaks(pack, measured))
    made = DataCard(
        name=pack.name,
        base=pack.base if pack.base != pack.name else None,
        variant=card.variant,
        version=pack.version,
        digest=pack.digest,
        title=card.title,
        modality=card.modality,
        visibility=card.visibility,
        source=card.source,
        access=card.access,
        licence=card.licence,
        citation=card.citation,
        images_may_be_shown=card.images_may_be_shown,
        show_evidence=card.show_evidence,
        geography=_geography(spec),
        group_unit=card.group_unit,
        splits=tuple(_split_facts(pack, measured)),
        expected=tuple(_expected(pack)),
        masks=_mask_facts(measured),
        subclasses=dict(sorted(_subclasses(pack).items())),
        leaks=leaks,
        repeated=_repeated(pack),
        trivial=tuple(_trivial(pack, measured)),
        known_leaks=card.known_leaks,
        remarks=_remarks(pack, spec),
        problems=tuple(_problems(pack, leaks)),
    )
    return made if may_leave(Artefact.DATA_CARD, card.visibility) else _without_secrets(made)


def _remarks(pack: Pack, spec: BenchmarkSpec | None) -> tuple[str, ...]:
    is_paper = spec is not None and spec.table1 is not None
    return (*pack.card.remarks, *((METRIC_RULES,) if is_paper and pack.has_masks else ()))


def _geography(spec: BenchmarkSpec | None) -> str:
    if spec is None or not spec.geography:
        return "Where the patients come from is not stated."
    place = f"Of this one's patients is known: {spec.geography}."
    return f"{GEOGRAPHY} {place}" if spec.table1 else place


def _measure(pack: Pack, on_progress: Progress) -> dict[str, Measured]:
    measured: dict[str, Measured] = {}
    with ThreadPoolExecutor(min(_MAX_WORKERS, cpu_count() or 1)) as pool:
        for sample, found in zip(
            pack.samples, pool.map(lambda one: _look(pack, one), pack.samples), strict=True
        ):
            measured[sample.key] = found
            on_progress(f"looking at {pack.name}", len(measured), len(pack.samples))
    return measured


def _look(pack: Pack, sample: Sample) -> Measured:
    native = read_image(sample.image_path)
    pixels = in_mode(native, pack.card.mode)
    share = None
    if sample.mask_path is not None:
        share = float(pack.mask(sample).mean())
    is_test = sample.split == "test"
    return Measured(
        look=look_of(native),
        mode=mode_of(native),
        statistics=tuple(one(pixels) for one in STATISTICS.values()) if is_test else (),
        lesion_share=share,
    )


def _split_facts(pack: Pack, measured: dict[str, Measured]) -> Iterable[SplitFacts]:
    for split in SPLITS:
        for is_anomalous in (False, True):
            mine = [s for s in pack.split(split) if s.is_anomalous == is_anomalous]
            if not mine:
                continue
            has_groups = all(sample.group != sample.key for sample in mine)
            yield SplitFacts(
                split=split,
                is_anomalous=is_anomalous,
                images=len(mine),
                groups=len({sample.group for sample in mine}) if has_groups else None,
                modes=dict(sorted(Counter(measured[s.key].mode for s in mine).items())),
                sizes=dict(Counter(f"{s.width}x{s.height}" for s in mine).most_common(8)),
            )


def _expected(pack: Pack) -> Iterable[ExpectedCounts]:
    spec = BENCHMARKS.get(pack.base or pack.name)
    if spec is None:
        return
    counts = pack.card.counts
    found = (
        counts.train,
        counts.valid_normal + counts.valid_anomalous,
        counts.test_normal + counts.test_anomalous,
    )
    published = [("Table 1 of the paper", spec.table1)] if spec.table1 else []
    published += [(known.origin, known.counts.totals) for known in spec.counts]
    for origin, totals in published:
        if totals is not None:
            train, valid, test = totals
            yield ExpectedCounts(
                origin=origin, train=train, valid=valid, test=test, is_met=found == totals
            )


def _mask_facts(measured: dict[str, Measured]) -> MaskSummary | None:
    shares = [one.lesion_share for one in measured.values() if one.lesion_share is not None]
    if not shares:
        return None
    return MaskSummary(
        images=len(shares),
        smallest_share=min(shares),
        median_share=float(np.median(shares)),
        largest_share=max(shares),
    )


def _subclasses(pack: Pack) -> Counter[str]:
    return Counter(s.subclass for s in pack.split("test") if s.is_anomalous and s.subclass)


def _repeated(pack: Pack) -> dict[str, int]:
    counts = {
        split: len(mine) - len({sample.pixel_sha256 for sample in mine})
        for split in SPLITS
        if (mine := pack.split(split))
    }
    return {split: count for split, count in counts.items() if count}


def _leaks(pack: Pack, measured: dict[str, Measured]) -> Iterable[Leak]:
    for first, second in combinations(SPLITS, 2):
        yield from _shared_groups(pack, first, second)
        identical = {sample.pixel_sha256 for sample in pack.split(first)}
        twins = [s for s in pack.split(second) if s.pixel_sha256 in identical]
        if twins:
            yield _leak("identical images", first, second, len(twins), twins)
        rest = [s for s in pack.split(second) if s.pixel_sha256 not in identical]
        near = near_duplicates(
            [measured[s.key].look for s in pack.split(first)],
            [measured[s.key].look for s in rest],
        )
        if near:
            alike = [rest[twin.index] for twin in near]
            yield _leak("near-identical images", first, second, len(alike), alike)


def _shared_groups(pack: Pack, first: str, second: str) -> Iterable[Leak]:
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in pack.split(second):
        if sample.group != sample.key:
            members[sample.group].append(sample)
    common = sorted({sample.group for sample in pack.split(first)} & set(members))
    if common:
        unit = pack.card.group_unit or "patient"
        kind = {"volume": "volumes", "slide": "slides"}.get(unit, "patients")
        samples = [sample for group in common for sample in members[group]]
        leak = _leak(kind, first, second, len(common), samples)
        yield leak.model_copy(update={"examples": tuple(common[:_MOST_EXAMPLES])})


def _leak(kind: str, first: str, second: str, count: int, samples: Sequence[Sample]) -> Leak:
    return Leak.model_validate(
        {
            "kind": kind,
            "splits": (first, second),
            "count": count,
            "images": len(samples),
            "examples": tuple(sample.key for sample in samples[:_MOST_EXAMPLES]),
        }
    )


def _trivial(pack: Pack, measured: dict[str, Measured]) -> Iterable[TrivialBaseline]:
    samples = pack.split("test")
    for position, name in enumerate(STATISTICS):
        values = [measured[sample.key].statistics[position] for sample in samples]
        found = image_auroc(samples, values)
        yield TrivialBaseline(
            statistic=name,
            auroc=found.value,
            low=found.low,
            high=found.high,
            either_way=None if found.value is None else max(found.value, 1 - found.value),
            units=found.n,
            reason=found.reason,
        )


def image_auroc(samples: Sequence[Sample], scores: Sequence[float]) -> MetricValue:
    """Image AUROC of these scores with its 95 % interval over patients, as every record has it."""
    truth = GroundTruth.compile(
        [
            TruthImage(
                key=sample.key,
                is_anomalous=sample.is_anomalous,
                group=sample.group,
                subclass=None,
                image=lambda: np.zeros((1, 1), np.uint8),  # not asked for without masks
                mask=None,
            )
            for sample in samples
        ],
        has_masks=False,
    )
    with tempfile.TemporaryDirectory() as spool:
        scorer = RunScorer(truth, None, spool=Path(spool), maps=False)
        for sample, score in zip(samples, scores, strict=True):
            scorer.add("test", sample.key, score, None)
        metrics = scorer.finish().metrics
    return next(metric for metric in metrics if metric.id == "image_auroc")


def _problems(pack: Pack, leaks: Iterable[Leak]) -> Iterable[str]:
    """A pack that calls itself disjoint must be; one that hides must not have seen its test."""
    is_hiding = is_sealed(pack.card.visibility)
    if pack.card.variant not in DISJOINT_VARIANTS and not is_hiding:
        return
    claim = pack.card.visibility if is_hiding else pack.card.variant
    for leak in leaks:
        if leak.kind != "near-identical images":
            first, second = leak.splits
            yield f"the pack is {claim}, and {leak.count} {leak.kind} are in {first} and {second}"


def _without_secrets(card: DataCard) -> DataCard:
    """For a hidden pack: rounded, and naming nothing."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, HIDDEN_DIGITS)

    trivial = tuple(
        one.model_copy(
            update={
                name: rounded(getattr(one, name)) for name in ("auroc", "low", "high", "either_way")
            }
        )
        for one in card.trivial
    )
    masks = card.masks and card.masks.model_copy(
        update={
            name: rounded(getattr(card.masks, name))
            for name in ("smallest_share", "median_share", "largest_share")
        }
    )
    leaks = tuple(leak.model_copy(update={"examples": ()}) for leak in card.leaks)
    return card.model_copy(update={"trivial": trivial, "masks": masks, "leaks": leaks})
