"""How often a 95 % interval covers, and how often equal entries are told apart, by simulation.

    make bench-intervals                                   into harness/metrics/README.md, and every
                                                           cell into leaderboard/static/ for the site
    python -m tests.benchmarks.bench_intervals --print     the tables alone

Patients have a random effect of their own that moves all their scores, and runs are drawn
whose true values follow from the distributions they are drawn from; their intervals are
those of the harness (a test holds that they are what `harness.metrics.score` gives). Every cell has its own seed, so the tables
are the same on every machine and with any number of processes. Sizes: all patients alike;
unequal (geometric); one or two patients with ten times the images of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import norm

from harness.metrics import Evidence
from harness.metrics.estimate import (
    exact_statistics,
    image_bearers,
    pixel_bearers,
    resampled_statistics,
)
from harness.metrics.evidence import WEIGHT_UNIT, GridEvidence, ScoreEvidence
from harness.metrics.intervals import resample_counts, sweep_images
from harness.metrics.jackknife import Spread, interval_of, left_out_counts, mean_of_seeds
from harness.metrics.kernels.sweep import sweep_histograms
from harness.metrics.pimo import binned_aupimo
from harness.metrics.pro import FPR_LIMIT, LIMITS
from harness.metrics.ranks import pairs_of
from harness.metrics.suites import score_suite
from harness.metrics.table import METRICS, Statistics

PATIENT = 0.7  # standard deviation of a patient's effect; that of an image's noise is 1
README = Path(__file__).parents[2] / "harness" / "metrics" / "README.md"
EVERY_CELL = README.parents[2] / "leaderboard" / "static" / "interval-coverage.csv"
MARKS = ("<!-- bench-intervals begins -->", "<!-- bench-intervals ends -->")
PATIENTS = (10, 20, 40, 100)
SIZES = ("equal", "unequal", "one large", "two large")
SAMPLINGS = ("same", "other")
SEED = 0.1
OLD_DRAWS, OLD_RESAMPLES = 12, 500  # for the percentile interval of metric version 1


# Alike by construction: foreground metrics and pixel_pro_4 here, and the thirds of the regions.
SHOWN = (
    "image_auroc", "image_ap", "image_f1_max", "image_auroc:a", "pixel_auroc", "pixel_ap",
    "pixel_pro", "pro_05", "dice_at_0.5", "dice_at_0.7", "dice_at_valid", "dice_at_fpr", "dice_max",
    "iou_max", "aupimo", "pixel_pro_per_image", "dice_per_image", "region_overlap_small",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One row of draws."""

    level: str
    """`image` or `pixel`."""
    auroc: float
    """True (image or pixel) AUROC; the other metrics' truths follow."""
    patients: int
    """Number of them."""
    sampling: str
    """`same`: every patient has normal and anomalous images; `other`: a patient has one kind."""
    sizes: str
    """Images per patient."""
    draws: int
    """Simulated runs."""

    def rng(self) -> np.random.Generator:
        """The cell's own generator."""
        place = (SAMPLINGS.index(self.sampling), SIZES.index(self.sizes), self.level == "pixel")
        return np.random.default_rng([20, self.patients, round(1e4 * self.auroc), *map(int, place)])


@dataclass(frozen=True)
class Coverage:
    """What one metric of a cell came to."""

    metric: str
    """Name of the metric."""
    truth: float
    """Its true value."""
    given: int
    """Draws that got an interval."""
    held: int
    """Those whose interval holds the truth."""
    old_given: int
    """Draws of the percentile interval."""
    old_held: int
    """Those of them that hold the truth."""


def patients_of(cell: Cell, rng: np.random.Generator, base: int) -> np.ndarray:
    """Number of images of each patient."""
    count = np.full(cell.patients, base)
    if cell.sizes == "unequal":
        count = 1 + rng.geometric(1 / base, cell.patients)
    large = {"one large": 1, "two large": 2}.get(cell.sizes, 0)
    count[:large] = 10 * base
    return count


def labels_of(cell: Cell, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which images are anomalous: one half, image by image or patient by patient."""
    if cell.sampling == "same":
        return rng.random(unit.size) < 0.5
    return (rng.random(cell.patients) < 0.5)[unit]


def image_truths(auroc: float) -> tuple[float, dict[str, float]]:
    """Shift of the anomalous scores, and the population's metrics."""
    scale = float(np.hypot(1, PATIENT))
    shift = float(norm.ppf(auroc) * np.sqrt(2) * scale)
    return shift, _population(shift, scale)


def _population(shift: float, scale: float) -> dict[str, float]:
    """Metrics where half of the scores are normally distributed around `shift`, half around 0."""
    grid = np.linspace(-10 * scale, shift + 10 * scale, 20_001)
    found, alarms = norm.sf(grid, shift, scale), norm.sf(grid, 0, scale)
    with np.errstate(invalid="ignore"):
        precision = np.where(found > 0, found / (found + alarms), 1.0)
    ap = float(np.trapezoid(precision * norm.pdf(grid, shift, scale), grid))
    f1 = float((2 * found / (1 + found + alarms)).max())
    auroc = float(norm.cdf(shift / (np.sqrt(2) * scale)))
    return {"image_auroc": auroc, "image_ap": ap, "image_f1_max": f1, "image_auroc:a": auroc}


def image_run(cell: Cell, shift: float, rng: np.random.Generator) -> Evidence:
    """A run without maps; a third of the anomalous images are of subclass `a`."""
    unit = np.repeat(np.arange(cell.patients), patients_of(cell, rng, 10))
    labels = labels_of(cell, unit, rng)
    scores = rng.normal(size=unit.size) + rng.normal(0, PATIENT, cell.patients)[unit]
    kinds = np.where(rng.random(unit.size) < 1 / 3, "a", "b")
    return Evidence(
        None, False, "", None, _split(unit, labels, scores + shift * labels, kinds), None,
        {}, {}, (), {},
    )  # fmt: skip


def _split(
    unit: np.ndarray, labels: np.ndarray, scores: np.ndarray, kinds: np.ndarray | None = None
) -> ScoreEvidence:
    names = np.char.add("p", np.char.zfill(unit.astype(str), 3)).tolist()
    keys = np.char.zfill(np.arange(unit.size).astype(str), 6).tolist()
    told = [None] * unit.size if kinds is None else np.where(labels, kinds, None).tolist()
    split = ScoreEvidence(tuple(keys), tuple(names), tuple(told), labels, scores)
    # What the names say, without sorting them again for every draw.
    split.__dict__["group_index"] = (int(unit[-1]) + 1, unit)
    return split


def intervals_of(evidence: Evidence, level: str, names: Iterable[str]) -> dict[str, Any]:
    """What `score` gives for these metrics, without all the others: interval or None, by name."""
    units, _ = evidence.test.group_index
    rows = np.concatenate([np.ones((1, units), np.uint16), left_out_counts(units)])
    statistics: dict[str, Statistics] = {}
    if level == "image":
        for subclass in ("", "a"):
            sweep = sweep_images(evidence.test, rows, subclass or None)
            statistics[subclass] = Statistics(sweep, None)
        bearers = {name: image_bearers(evidence.test, name or None) for name in ("", "a")}
    else:
        statistics[""] = Statistics(None, resampled_statistics(evidence, "native", rows))
        held = pixel_bearers(evidence.grids["native"])
    found = {}
    for name in names:
        _, _, subclass = name.partition(":")
        metric = METRICS[f"{name.partition(':')[0]}:*" if subclass else name]
        values = metric.function(statistics[subclass])
        bear = bearers[subclass] if level == "image" else held[metric.borne_by]
        if np.isfinite(values[0]):
            spread = Spread(float(values[0]), values[0] - values[1:], bear, metric.freedom)
            found[name] = interval_of(spread)
    return found


class PixelWorld:
    """Runs with maps: so many pixels that an image's histogram is its distribution's.

    Normal pixels of an image lie around its own and its patient's effect, those of its one
    region around the same plus a shift and the region's effect.
    """

    image, region = 0.4, 0.5  # standard deviations of these effects
    sizes = (50, 200, 800)  # pixels of a region: small, medium, large
    normal = 10_000  # pixels of an image, a third of them background
    bins = 47

    def __init__(self, auroc: float) -> None:
        near, far = np.hypot(1, np.hypot(PATIENT, self.image)), self.region
        self.shift = float(norm.ppf(auroc) * np.hypot(near, np.hypot(near, far)))
        low, high = -3.2 * near, self.shift + 2.5 * near
        # Above the range of the thresholds, what AUPIMO needs: one normal pixel in 100,000.
        tail = np.arange(high, 5 * near, 0.1 * near)[1:]
        self.cuts = np.concatenate([np.linspace(low, high, self.bins), tail])
        self.edges = np.arange(1, self.cuts.size + 1, dtype=np.uint32) << np.uint32(16)
        shares = low + (high - low) * np.array([0.5, 0.6, 0.7, 0.65])
        alarms = float(norm.isf(0.05, scale=near))
        self.places = np.searchsorted(self.cuts, [*shares, alarms])

    def histograms(self, centre: np.ndarray) -> np.ndarray:
        """Share of the pixels in each bin around each centre, [n, bins]."""
        below = ndtr(self.cuts[None] - np.asarray(centre)[:, None])
        ends = np.zeros((len(below), 1)), np.ones((len(below), 1))
        return np.diff(np.concatenate([ends[0], below, ends[1]], axis=1), axis=1)

    def per_image(self, effect: np.ndarray, region: np.ndarray, size: np.ndarray) -> Any:
        """PRO and Dice of anomalous images by themselves, each [n]."""
        normal = self.normal * self.histograms(effect)
        shares = self.histograms(effect + self.shift + region)
        anomalous = size[:, None] * shares
        state = sweep_histograms(normal, anomalous, shares[:, None].copy(), FPR_LIMIT)
        overlap = (state[:, 10] + state[:, 11]) / (FPR_LIMIT * self.normal)
        found, alarms = (part[:, self.places[0] + 1 :].sum(axis=1) for part in (anomalous, normal))
        return overlap, 2 * found / (size + found + alarms)

    def truths(self) -> dict[str, float]:
        """Every metric of the population."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(24)
        weights = weights / weights.sum()
        effects = nodes * np.hypot(PATIENT, self.image)
        both = [part.ravel() for part in np.meshgrid(effects, nodes * self.region, indexing="ij")]
        share = np.outer(weights, weights).ravel()
        per_image = np.zeros(2)
        for size in self.sizes:
            found = self.per_image(both[0], both[1], np.full(share.size, float(size)))
            per_image += [float(share @ part) / len(self.sizes) for part in found]
        spread = np.hypot(1, np.hypot(PATIENT, self.image))
        ends = [-np.inf, *self.cuts, np.inf]
        per_normal_image = self.normal * np.diff(norm.cdf(ends, 0, spread))
        normal = 2 * per_normal_image
        anomalous = np.diff(norm.cdf(ends, self.shift, np.hypot(spread, self.region)))
        pixels = np.stack(
            [normal / 3, normal * 2 / 3, 0 * anomalous, anomalous * sum(self.sizes) / 3]
        )
        regions = np.stack([*(3 * [anomalous / 3]), anomalous, anomalous])
        recall = np.stack([1e6 * per_normal_image, anomalous])
        # In millionths of pixels: the evidence holds whole numbers.
        part = self.grid(
            1e6 * pixels[None], regions[None], recall[None],
            *(np.array([one]) for one in per_image),
        )  # fmt: skip
        return values_of(self.evidence(part, None))

    def grid(
        self,
        pixels: np.ndarray,
        weights: np.ndarray,
        recall: np.ndarray,
        overlap: np.ndarray,
        dice: np.ndarray,
    ) -> GridEvidence:
        """Evidence of patients' histograms [G, 4, bins], region weights [G, 5, bins], and pixels
        of normal images with the weights of anomalous ones [G, 2, bins]."""
        counts = np.rint(pixels).astype(np.int64)
        whole = np.rint(weights / WEIGHT_UNIT).astype(np.int64)
        of_images = np.rint(recall / np.array([[1.0], [WEIGHT_UNIT]])).astype(np.int64)
        total = counts.sum(axis=0).astype(np.float64)
        summed = whole.sum(axis=0) * WEIGHT_UNIT
        states = [
            sweep_histograms(normal[None].copy(), bad[None].copy(), summed[None].copy(), *LIMITS)[0]
            for normal, bad in ((total[0] + total[1], total[2] + total[3]), (total[1], total[3]))
        ]
        above = [total[:, place + 1 :].sum(axis=1) for place in self.places]
        return GridEvidence(
            pixels=total.astype(np.int64),
            weights=summed,
            states=np.stack(states),
            regions=np.array([9, 9, 0, 3, 3, 3]),
            score_range=np.array([0.0, 1.0]),
            levels=np.array([self.cuts.size, 1]),
            thresholds=self.edges[self.places],
            threshold_counts=np.array([[a[0] + a[1], a[2] + a[3]] for a in above], np.int64),
            edges=self.edges,
            group_pixels=counts,
            group_weights=whole,
            image_overlap=overlap,
            image_dice=dice,
            image_aupimo=binned_aupimo(*of_images.sum(axis=0, dtype=np.float64)[:, None]),
            group_recall=of_images,
        )

    def evidence(self, part: GridEvidence, test: ScoreEvidence | None) -> Evidence:
        """A run with this evidence on its one grid."""
        if test is None:
            test = ScoreEvidence(("a",), ("a",), (None,), np.ones(1, bool), np.zeros(1))
        shares = (0.5, 0.6, 0.7)
        return Evidence("float32", True, "", "", test, None, {"native": part}, {}, shares, {}, {})

    def run(self, cell: Cell, rng: np.random.Generator) -> Evidence:
        """One run."""
        return self.runs(cell, rng, 1)[0]

    def runs(self, cell: Cell, rng: np.random.Generator, entries: int) -> list[Evidence]:
        """A run of each of several equal entries, on the same images.

        Entries share half of the variance of every effect: what is hard in an image is hard.
        """
        unit = np.repeat(np.arange(cell.patients), patients_of(cell, rng, 4))
        labels = labels_of(cell, unit, rng)
        third = rng.integers(0, 3, unit.size)

        def effects() -> np.ndarray:
            patient = rng.normal(0, PATIENT, cell.patients)[unit]
            both = patient + rng.normal(0, self.image, unit.size)
            return np.stack([both, rng.normal(0, self.region, unit.size)])

        own = [effects() for _ in range(entries)]
        if entries > 1:
            shared = effects()
            own = [(each + shared) / np.sqrt(2) for each in own]
        return [self.seen(cell, unit, labels, third, *each) for each in own]

    def seen(
        self,
        cell: Cell,
        unit: np.ndarray,
        labels: np.ndarray,
        third: np.ndarray,
        effect: np.ndarray,
        region: np.ndarray,
    ) -> Evidence:
        """The run in which images [n] have these effects, and their regions these."""
        size = np.array(self.sizes, float)[third]
        overlap, dice = np.full((2, unit.size), np.nan)
        if labels.any():
            found = self.per_image(effect[labels], region[labels], size[labels])
            overlap[labels], dice[labels] = found
        normal = self.normal * self.histograms(effect)
        shares = self.histograms(effect + self.shift + region) * labels[:, None]
        member = (unit[None] == np.arange(cell.patients)[:, None]).astype(np.float64)  # (G, n)
        bins = self.cuts.size + 1
        pixels, weights, recall = (np.zeros((cell.patients, rows, bins)) for rows in (4, 5, 2))
        pixels[:, 0] = member @ normal / 3
        pixels[:, 1] = 2 * pixels[:, 0]
        pixels[:, 3] = member @ (size[:, None] * shares)
        for row in range(3):
            weights[:, row] = member @ (shares * (third == row)[:, None])
        weights[:, 3] = weights[:, 4] = member @ shares
        recall[:, 0] = 100 * member @ (normal * ~labels[:, None])
        recall[:, 1] = weights[:, 3]
        part = self.grid(100 * pixels, weights, recall, overlap, dice)
        return self.evidence(part, _split(unit, labels, effect))


def values_of(evidence: Evidence) -> dict[str, float]:
    """Exact pixel metrics."""
    statistics = Statistics(None, exact_statistics(evidence, "native"))
    return {
        name: float(metric.function(statistics)[0])
        for name, metric in METRICS.items()
        if metric.level != "image" and name in SHOWN
    }


def old_intervals(evidence: Evidence, level: str) -> dict[str, tuple[float, float]]:
    """The percentile interval of metric version 1."""
    units, _ = evidence.test.group_index
    counts = resample_counts(units, resamples=OLD_RESAMPLES)
    if level == "image":
        every = [("", Statistics(sweep_images(evidence.test, counts), None))]
        every.append(("a", Statistics(sweep_images(evidence.test, counts, "a"), None)))
    else:
        every = [("", Statistics(None, resampled_statistics(evidence, "native", counts)))]
    found = {}
    for subclass, statistics in every:
        for name, metric in METRICS.items():
            if (metric.level == "image") == (level == "image") and metric.is_per_subclass == bool(
                subclass
            ):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    low, high = np.nanpercentile(metric.function(statistics), [2.5, 97.5])
                found[name.replace("*", subclass)] = (float(low), float(high))
    return found


def cover(cell: Cell) -> list[Coverage]:
    """Draw a cell's runs and count."""
    rng = cell.rng()
    world = PixelWorld(cell.auroc) if cell.level == "pixel" else None
    shift, truths = (0.0, world.truths()) if world else image_truths(cell.auroc)
    counts: dict[str, np.ndarray] = {name: np.zeros(4, int) for name in truths}
    for draw in range(cell.draws):
        evidence = world.run(cell, rng) if world else image_run(cell, shift, rng)
        if len(set(evidence.test.is_anomalous)) < 2:
            continue
        for name, found in intervals_of(evidence, cell.level, truths).items():
            if found is not None:
                counts[name][:2] += 1, found.low <= truths[name] <= found.high
        if draw < min(OLD_DRAWS, cell.draws // 10):
            for name, (low, high) in old_intervals(evidence, cell.level).items():
                if name not in truths:
                    continue
                counts[name][2:] += 1, low <= truths[name] <= high
    return [Coverage(name, truths[name], *map(int, four)) for name, four in counts.items()]


@dataclass(frozen=True)
class Race:
    """Entries of one column, drawn again and again."""

    level: str
    """`image` or `pixel`."""
    entries: int
    """Number of them."""
    patients: int
    """Number of patients."""
    seeds: int
    """Seeds of each entry; maps have one."""
    lead: float
    """Image AUROC of the first entry less that of the others; 0: all are equal."""
    draws: int
    """How often the column is drawn."""


@dataclass(frozen=True)
class Finish:
    """What came of a race, for one metric."""

    metric: str
    """Its name."""
    told_apart: float
    """Share of the draws in which some equal entries are told apart; with a lead, in which the
    first entry is told from the second."""
    mean_held: float
    """Share of the intervals of the first entry's mean over seeds that hold its true mean."""
    difference_held: float
    """Share of the intervals of the first two entries' difference that hold the true one."""


IMAGE_RACES = ("image_auroc", "image_ap", "image_f1_max")
PIXEL_RACES = (
    "pixel_auroc", "pixel_ap", "pixel_pro", "dice_at_0.5", "dice_at_valid", "dice_at_fpr",
    "dice_max", "aupimo", "dice_per_image",
)  # fmt: skip
LEVELS = (0.9, 0.97)  # true AUROC of half of the draws each


def compete(race: Race) -> list[Finish]:
    """Draw the column again and again."""
    rng = np.random.default_rng(
        [21, race.entries, race.patients, race.seeds, round(1e3 * race.lead), len(race.level)]
    )
    draw = _pixel_column if race.level == "pixel" else _image_column
    names = PIXEL_RACES if race.level == "pixel" else IMAGE_RACES
    counts: dict[str, np.ndarray] = {name: np.zeros((3, 2)) for name in names}
    for number in range(race.draws):
        sizes = "unequal"
        cell = Cell(
            race.level, LEVELS[number // 2 % 2], race.patients, SAMPLINGS[number % 2], sizes, 1
        )
        for name, (seeds, truth, gap) in draw(race, cell, rng).items():
            pairs = pairs_of(seeds)
            told = pairs[0].is_real if race.lead else any(pair.is_real for pair in pairs)
            counts[name][0] += told, 1
            mean, difference = interval_of(mean_of_seeds(seeds["00"])), pairs[0].interval
            if mean is not None and difference is not None:
                counts[name][1] += mean.low <= truth <= mean.high, 1
                counts[name][2] += difference.low <= gap <= difference.high, 1
    return [
        Finish(name, *(float(part / max(whole, 1)) for part, whole in three))
        for name, three in counts.items()
    ]


Column = dict[str, tuple[dict[str, list[Spread]], float, float]]
"""By metric: each entry's spreads by seed, the first one's true mean, and its true lead."""


def _image_column(race: Race, cell: Cell, rng: np.random.Generator) -> Column:
    """Entries share the patients, and a part of what is hard in them. Seeds differ by a shift of
    their own of `SEED` standard deviations."""
    unit = np.repeat(np.arange(race.patients), patients_of(cell, rng, 10))
    labels = labels_of(cell, unit, rng)
    if labels.all() or not labels.any():
        return {}
    rows = np.concatenate([np.ones((1, race.patients), np.uint16), left_out_counts(race.patients)])
    shared = rng.normal(0, 0.5, race.patients)[unit] + rng.normal(0, 0.7, unit.size)
    found: dict[str, dict[str, list[Spread]]] = {name: defaultdict(list) for name in IMAGE_RACES}
    truths = []
    for entry in range(race.entries):
        shift = float(norm.ppf(cell.auroc + race.lead * (entry == 0)) * np.sqrt(2 * 1.49))
        noise = SEED * (race.seeds > 1)
        scale = np.sqrt(1.49 + noise**2 / 2)
        truths.append(_population(shift, scale))
        own = rng.normal(0, 0.49, race.patients)[unit]
        for _ in range(race.seeds):
            moved = (shift + rng.normal(0, noise)) * labels
            scores = shared + own + rng.normal(0, 0.714, unit.size) + moved
            split = _split(unit, labels, scores)
            statistics = Statistics(sweep_images(split, rows), None)
            for name in IMAGE_RACES:
                spread = _spread(name, statistics, image_bearers(split))
                found[name][f"{entry:02}"].append(spread)
    return {
        name: (seeds, truths[0][name], truths[0][name] - truths[1][name])
        for name, seeds in found.items()
    }


def _pixel_column(race: Race, cell: Cell, rng: np.random.Generator) -> Column:
    """Equal entries with maps of the same images."""
    world = PixelWorld(cell.auroc)
    truths = world.truths()
    rows = np.concatenate([np.ones((1, race.patients), np.uint16), left_out_counts(race.patients)])
    found: dict[str, dict[str, list[Spread]]] = {name: defaultdict(list) for name in PIXEL_RACES}
    for entry, evidence in enumerate(world.runs(cell, rng, race.entries)):
        if len(set(evidence.test.is_anomalous)) < 2:
            return {}
        statistics = Statistics(None, resampled_statistics(evidence, "native", rows))
        bearers = pixel_bearers(evidence.grids["native"])
        for name in PIXEL_RACES:
            spread = _spread(name, statistics, bearers[METRICS[name].borne_by])
            found[name][f"{entry:02}"].append(spread)
    return {name: (seeds, truths[name], 0.0) for name, seeds in found.items()}


def _spread(name: str, statistics: Statistics, bearers: int) -> Spread:
    values = METRICS[name].function(statistics)
    return Spread(float(values[0]), values[0] - values[1:], bearers, METRICS[name].freedom)


def cells(scale: float = 1.0) -> list[Cell]:
    """The whole table, with this share of its draws."""
    return [
        Cell(level, auroc, patients, sampling, sizes, max(1, round(scale * draws)))
        for level, truths, by_patients in (
            ("image", (0.6, 0.9, 0.97, 0.995), {10: 600, 20: 3000, 40: 2000, 100: 1200}),
            ("pixel", (0.75, 0.97, 0.995), {10: 300, 20: 1500, 40: 1000, 100: 600}),
        )
        for patients, draws in by_patients.items()
        for auroc in truths
        for sampling in SAMPLINGS
        for sizes in SIZES
    ]


def races(scale: float = 1.0) -> list[Race]:
    """Equal entries, and one that leads."""
    equal = [
        Race("image", entries, patients, seeds, 0.0, max(1, round(scale * draws)))
        for entries, draws in ((2, 1200), (5, 600), (15, 300))
        for patients in PATIENTS
        for seeds in ((1, 3) if entries == 2 else (1,))
    ]
    with_maps = [
        Race("pixel", entries, patients, 1, 0.0, max(1, round(scale * draws)))
        for entries, draws in ((2, 800), (5, 400))
        for patients in PATIENTS
    ]
    ahead = [
        Race("image", 2, patients, seeds, 0.025, max(1, round(scale * 300)))
        for patients in PATIENTS
        for seeds in (1, 3)
    ]
    return equal + with_maps + ahead


@dataclass(frozen=True)
class SuiteCell:
    """Runs on a suite of three members, whose scores lie apart."""

    auroc: float
    """True image AUROC of each member."""
    patients: int
    """Patients of each."""
    sampling: str
    """As of a `Cell`."""
    draws: int
    """Simulated runs."""


OFFSETS = (0.0, 0.4, 1.0)  # of the members' scores


def cover_suite(cell: SuiteCell) -> dict[str, tuple[float, int, int]]:
    """By metric of the suite: its true value, the intervals that were given, those that hold it."""
    rng = np.random.default_rng(
        [22, cell.patients, round(1e4 * cell.auroc), cell.sampling == "same"]
    )
    member = Cell("image", cell.auroc, cell.patients, cell.sampling, "unequal", 1)
    shift, truths = image_truths(cell.auroc)
    scale = np.sqrt(2) * np.hypot(1, PATIENT)
    shares = norm.cdf((shift + np.subtract.outer(OFFSETS, OFFSETS)) / scale)
    across = float(shares[~np.eye(len(OFFSETS), dtype=bool)].mean())
    truth = {
        "image_auroc": cell.auroc,
        "image_ap": truths["image_ap"],
        "pooled_image_auroc": float(shares.mean()),
        "pooled_image_auroc_across": across,
    }
    counts = {name: np.zeros(2, int) for name in truth}
    for _ in range(cell.draws):
        runs = [image_run(member, shift, rng) for _ in OFFSETS]
        if any(len(set(run.test.is_anomalous)) < 2 for run in runs):
            continue
        named = {
            f"m{place}": replace(run, test=replace(run.test, scores=run.test.scores + offset))
            for place, (run, offset) in enumerate(zip(runs, OFFSETS, strict=True))
        }
        scores = score_suite(named)
        for metric in (*scores.means, *scores.pooled):
            if metric.id in truth and metric.low is not None and metric.high is not None:
                counts[metric.id] += 1, metric.low <= truth[metric.id] <= metric.high
    return {name: (truth[name], *map(int, pair)) for name, pair in counts.items()}


def suite_cells(scale: float = 1.0) -> list[SuiteCell]:
    """The table of suites, with this share of its draws."""
    return [
        SuiteCell(auroc, patients, sampling, max(1, round(scale * draws)))
        for auroc in (0.9, 0.97)
        for patients, draws in ((20, 600), (40, 400), (100, 200))
        for sampling in SAMPLINGS
    ]


def suite_table(found: Iterable[tuple[SuiteCell, dict[str, tuple[float, int, int]]]]) -> str:
    """One line per metric of a suite and true value; both samplings together."""
    counts: dict[tuple[str, float], dict[int, np.ndarray]] = defaultdict(
        lambda: defaultdict(lambda: np.zeros(2, int))
    )
    for cell, held in found:
        for name, (truth, *pair) in held.items():
            counts[name, truth][cell.patients] += pair
    columns = (20, 40, 100)
    lines = [
        "| of a suite | true value | "
        + " | ".join(f"{n} patients a member" for n in columns)
        + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for (name, truth), by_patients in sorted(counts.items()):
        told = f"mean of `{name}`" if not name.startswith("pooled") else f"`{name}`"
        held = [f"{100 * by_patients[n][1] / by_patients[n][0]:.1f}" for n in columns]
        lines.append(f"| {told} | {truth:.3f} | " + " | ".join(held) + " |")
    return "\n".join(lines)


def coverage_table(found: Iterable[tuple[Cell, Sequence[Coverage]]]) -> str:
    """One line per metric and true value; a cell is the mean (lowest to highest) over the eight
    designs, and beside it what the percentile interval of metric version 1 held."""
    shares: dict[tuple[str, float, int], list[float]] = defaultdict(list)
    old: dict[tuple[str, float, int], list[int]] = defaultdict(lambda: [0, 0])
    for cell, coverages in found:
        for one in coverages:
            key = (one.metric, round(one.truth, 3), cell.patients)
            if one.given:
                shares[key].append(one.held / one.given)
            old[key][0] += one.old_held
            old[key][1] += one.old_given
    lines = [
        "| metric | true value | " + " | ".join(f"{p} patients | before" for p in PATIENTS) + " |",
        "|---|---|" + "---|---|" * len(PATIENTS),
    ]
    for metric in SHOWN:
        for truth in sorted({key[1] for key in shares if key[0] == metric}):
            line = f"| `{metric.replace(':a', ':*')}` | {truth:.3f} |"
            for patients in PATIENTS:
                here, (held, given) = shares[metric, truth, patients], old[metric, truth, patients]
                line += (
                    f" {100 * np.mean(here):.0f} ({100 * min(here):.0f} to {100 * max(here):.0f})"
                    f" | {100 * held / given:.0f} |"
                    if here and given
                    else " | |"
                )
            lines.append(line)
    return "\n".join(lines)


def race_table(found: Iterable[tuple[Race, Sequence[Finish]]]) -> str:
    """One line per column of entries and metric."""
    lines = [
        "| metric | entries | seeds | patients | lead | told apart | mean held | difference held |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{finish.metric}` | {race.entries} | {race.seeds} | {race.patients} |"
        f" {f'{race.lead} of AUROC' if race.lead else 'none: equal'} |"
        f" {100 * finish.told_apart:.1f} | {100 * finish.mean_held:.1f} |"
        f" {100 * finish.difference_held:.1f} |"
        for race, finishes in found
        for finish in finishes
    ]
    return "\n".join(lines)


def coverage_file(found: Iterable[tuple[Cell, Sequence[Coverage]]]) -> str:
    """Every cell as a line of CSV."""
    lines = ["metric,true_value,patients,sampling,sizes,intervals,held_percent"]
    lines += [
        f"{one.metric.replace(':a', ':*')},{one.truth:.3f},{cell.patients},{cell.sampling},"
        f"{cell.sizes},{one.given},{100 * one.held / one.given:.1f}"
        for cell, ones in found
        for one in ones
        if one.metric in SHOWN and one.given
    ]
    return "\n".join(lines) + "\n"


def run(scale: float) -> tuple[str, str]:
    """The tables and the file of every cell, in as many processes as there are cores."""
    work, columns = cells(scale), races(scale)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as pool:
        finishes = pool.map(compete, columns)
        suites = suite_cells(scale)
        of_suites = list(zip(suites, pool.map(cover_suite, suites), strict=True))
        covered = pool.map(cover, work)
        results = list(zip(work, covered, strict=True))
        raced = list(zip(columns, finishes, strict=True))
    report = Path("build") / "bench-intervals.json"
    report.parent.mkdir(exist_ok=True)
    every = {
        "cells": [asdict(cell) | {"found": [asdict(o) for o in ones]} for cell, ones in results],
        "races": [asdict(race) | asdict(one) for race, finishes in raced for one in finishes],
    }
    report.write_text(json.dumps(every, indent=1) + "\n")
    tables = (coverage_table(results), suite_table(of_suites), race_table(raced))
    return "\n\n".join(tables), coverage_file(results)


def main() -> int:
    """Simulate, print, and write the tables between their marks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--print", action="store_true", help="write nothing into the README")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the draws")
    options = parser.parse_args()
    tables, every_cell = run(options.scale)
    print(tables)
    if not options.print:
        page = README.read_text(encoding="utf-8")
        before, rest = page.split(MARKS[0])
        _, after = rest.split(MARKS[1])
        page = f"{before}{MARKS[0]}\n{tables}\n{MARKS[1]}{after}"
        README.write_text(page, encoding="utf-8")
        EVERY_CELL.write_text(every_cell, encoding="utf-8")
    return 0


if __name__ == "__main__":
    # One thread each: the cells run side by side.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
