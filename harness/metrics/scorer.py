"""Scores a run as its answers arrive, one image at a time, in any order and any sharding."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.metrics.distil import RANGE_SHARES, Units, distil
from harness.metrics.errors import (
    ImagesMissing,
    MapMissing,
    NonFinite,
    TruthMismatch,
    WrongDtype,
    WrongKey,
    WrongShape,
)
from harness.metrics.evidence import Evidence, GridEvidence, ScoreEvidence
from harness.metrics.kernels.exact import misranked_across
from harness.metrics.kernels.resize import to_paper_grid
from harness.metrics.kernels.spool import Spool
from harness.metrics.pixels import PixelCounts
from harness.metrics.scores import RunScores, score
from harness.metrics.thresholds import (
    NO_SPLIT,
    Threshold,
    alarm_threshold,
    best_dice_threshold,
)
from harness.metrics.truth import GridTruth, GroundTruth

MEMORY_LIMIT_BYTES = 4 << 30
"""Scores of float32 maps beyond this are spilled to disk."""

Map = NDArray[np.floating[Any]]


class SplitScores:
    """Answers of one split.

    Args:
        truth: the split's ground truth.
        spool: where pixel counts are kept.
        maps: whether maps are scored.
        grids: grids to count; the paper's is left out where it is the native one.
    """

    def __init__(
        self, truth: GroundTruth, spool: Spool, *, maps: bool, grids: Iterable[str]
    ) -> None:
        self.truth = truth
        self.scores = np.full(len(truth.keys), np.nan)
        self.counts: dict[str, PixelCounts] = {}
        """By grid, from the first map on."""
        self._spool = spool
        self._truths: dict[str, GridTruth] = {}
        if maps and truth.native is not None and truth.paper is not None:
            both = {"native": truth.native, "paper": truth.paper}
            names = ["native"] if truth.is_one_grid else list(grids)
            self._truths = {name: both[name] for name in names}

    def add(self, key: str, score: float, anomaly_map: Map | None) -> None:
        """Take one answer; errors as in `RunScorer.add`."""
        image = self.truth.index.get(key)
        if image is None:
            raise WrongKey("the ground truth does not know this image", where=key)
        if not math.isnan(self.scores[image]):
            raise WrongKey("the image was answered twice", where=key)
        if not math.isfinite(score):
            raise NonFinite(f"the image score is {score}", where=key)
        if self._truths:
            self._add_map(image, key, anomaly_map)
        self.scores[image] = score

    def _add_map(self, image: int, key: str, anomaly_map: Map | None) -> None:
        if anomaly_map is None:
            raise MapMissing("the image came without an anomaly map", where=key)
        native = self.truth.native
        expected = tuple(native.shapes[image].tolist()) if native else ()
        if anomaly_map.shape != expected:
            raise WrongShape(
                f"the map has shape {anomaly_map.shape}, the image {expected}",
                where=key,
                fix="resize the map to the image's own height and width",
            )
        anomaly_map = np.ascontiguousarray(anomaly_map)
        for grid, truth in self._truths.items():
            if grid not in self.counts:
                self.counts[grid] = PixelCounts(truth, anomaly_map.dtype, self._spool)
            on_grid = to_paper_grid(anomaly_map) if grid == "paper" else anomaly_map
            try:
                self.counts[grid].add(image, on_grid)
            except NonFinite as error:
                raise NonFinite(error.what, where=key, fix=error.fix) from None

    def merge(self, other: SplitScores) -> None:
        """Take over another shard's answers."""
        if self.truth.digest != other.truth.digest:
            raise TruthMismatch("the shards belong to different ground truths")
        twice = np.flatnonzero(~np.isnan(self.scores) & ~np.isnan(other.scores))
        if twice.size:
            raise WrongKey("two shards hold one image", where=self.truth.keys[twice[0]])
        for grid, counts in other.counts.items():
            if grid not in self.counts:
                self.counts[grid] = PixelCounts(counts.truth, counts.dtype, self._spool)
            self.counts[grid].merge(counts)
        self.scores = np.where(np.isnan(self.scores), other.scores, self.scores)

    def check_complete(self, split: str) -> None:
        """Raise ImagesMissing unless every image was answered."""
        missing = np.flatnonzero(np.isnan(self.scores))
        if missing.size:
            raise ImagesMissing(
                f"{missing.size} of {self.scores.size} {split} images were not answered",
                where=self.truth.keys[missing[0]],
            )

    def evidence(self) -> ScoreEvidence:
        """The image scores."""
        truth = self.truth
        return ScoreEvidence(
            keys=truth.keys,
            groups=truth.groups,
            subclasses=truth.subclasses,
            is_anomalous=truth.is_anomalous,
            scores=self.scores,
        )


class RunScorer:
    """Streaming scorer of one run.

    Memory: float16 runs hold occupied bins (some ten bytes per hundred pixels), float32
    runs about 2.2 bytes a pixel on each grid, on disk beyond `memory_limit_bytes`.
    One thread at a time; for several, give each a scorer of its own and merge them.

    Args:
        test: ground truth of the test split.
        valid: that of the validation split; None where the pack has none.
        spool: folder for what does not fit in memory; made when needed, left empty.
        memory_limit_bytes: how much of the pixels' scores memory may hold.
        maps: False for an entry without maps: pixel metrics are then absent.
        intervals: False skips the bootstrap (values alone).
        grids: grids to score.
    """

    def __init__(
        self,
        test: GroundTruth,
        valid: GroundTruth | None,
        *,
        spool: Path,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        maps: bool,
        intervals: bool = True,
        grids: tuple[str, ...] = ("native", "paper"),
    ) -> None:
        room = Spool(spool, memory_limit_bytes)
        self._splits = {"test": SplitScores(test, room, maps=maps, grids=grids)}
        if valid is not None:
            self._splits["valid"] = SplitScores(valid, room, maps=maps, grids=grids)
        self._dtype: np.dtype[Any] | None = None
        self._intervals = intervals
        self.why_no_valid = NO_SPLIT
        """Without `valid`, why there is no threshold of it."""

    def add(self, split: str, key: str, score: float, anomaly_map: Map | None) -> None:
        """Take one answer. After an error the scorer is of no further use.

        Args:
            split: `test` or `valid`.
            key: the image's key in the ground truth.
            score: finite image score.
            anomaly_map: finite float16 or float32 [H, W] of the image's size, the dtype being
                that of the run's first map; not looked at where no maps are scored.

        Raises:
            WrongKey, NonFinite, MapMissing, WrongShape, WrongDtype: as they say.
        """
        if split not in self._splits:
            raise WrongKey(f"the run has no split {split!r}", where=key)
        if anomaly_map is not None and (self._dtype is None or anomaly_map.dtype != self._dtype):
            self._take_dtype(key, anomaly_map.dtype)
        self._splits[split].add(key, score, anomaly_map)

    def _take_dtype(self, key: str, dtype: np.dtype[Any]) -> None:
        """The run's dtype is that of its first map; any other is refused."""
        if dtype not in (np.float16, np.float32):
            raise WrongDtype(f"the map is {dtype}", where=key, fix="send float32 or float16")
        if self._dtype is not None:
            raise WrongDtype(
                f"the map is {dtype}, the run's first one {self._dtype}",
                where=key,
                fix="keep one dtype for the run",
            )
        self._dtype = dtype

    def merge(self, other: RunScorer) -> None:
        """Take over the answers of another scorer of the same run; `other` is then used up.

        Raises:
            WrongKey: both hold one image.
            WrongDtype: their maps differ in dtype.
            TruthMismatch: they belong to different ground truths.
        """
        if self._splits.keys() != other._splits.keys():
            raise TruthMismatch("the shards do not have the same splits")
        if self._dtype is not None and other._dtype not in (None, self._dtype):
            raise WrongDtype(f"one shard holds {self._dtype} maps, the other {other._dtype}")
        self._dtype = self._dtype or other._dtype
        for split, scores in self._splits.items():
            scores.merge(other._splits[split])

    def finish(self) -> RunScores:
        """Metrics, warnings and evidence of the whole run; errors as in `evidence`."""
        return score(self.evidence(), intervals=self._intervals)

    def evidence(self) -> Evidence:
        """What the metrics of the whole run follow from.

        Raises:
            ImagesMissing: some image of some split was not answered.
        """
        for name, answered in self._splits.items():
            answered.check_complete(name)
        test, valid = self._splits["test"], self._splits.get("valid")
        scores = test.evidence()
        number, group = scores.group_index if self._intervals else (1, 0 * scores.group_index[1])
        units = Units(number, group, ~scores.is_anomalous)
        grids: dict[str, GridEvidence] = {}
        best: dict[str, Threshold] = {}
        alarms: dict[str, Threshold] = {}
        for grid, counts in test.counts.items():
            of_valid = valid.counts.get(grid) if valid else None
            best[grid], alarms[grid] = best_dice_threshold(of_valid), alarm_threshold(of_valid)
            if valid is None:
                best[grid] = alarms[grid] = Threshold(None, self.why_no_valid)
            both = (best[grid], alarms[grid])
            grids[grid] = distil(counts, both, units, wants_groups=self._intervals)
        return Evidence(
            dtype=None if self._dtype is None or not grids else self._dtype.name,
            has_masks=test.truth.has_masks,
            test_digest=test.truth.digest,
            valid_digest=valid.truth.digest if valid else None,
            test=scores,
            valid=valid.evidence() if valid else None,
            grids=grids,
            valid_pixels=_histograms(valid),
            range_shares=RANGE_SHARES,
            no_valid_threshold=_reasons(best),
            no_fpr_threshold=_reasons(alarms),
        )


def evidence_of_suite(scorers: Mapping[str, RunScorer]) -> dict[str, Evidence]:
    """Evidence of each member of a suite, with the pairs of pixels over two members: a float32
    run's follow from the maps alone, so they are counted while all of them are at hand.

    Args:
        scorers: by member, of one run, each with all of its answers.

    Raises:
        ImagesMissing: as in `RunScorer.evidence`.
    """
    found = {name: scorer.evidence() for name, scorer in scorers.items()}
    counts = {name: scorer._splits["test"].counts for name, scorer in scorers.items()}
    shown = {name: of_grid for name, of_grid in counts.items() if of_grid}
    for name, own in shown.items():
        others = {other: of_grid for other, of_grid in shown.items() if other != name}
        if others and own["native"].is_bucketed:
            grids = sorted({grid for of_grid in shown.values() for grid in of_grid})
            pairs = {
                grid: _misranked(
                    _on_grid(own, grid), {n: _on_grid(each, grid) for n, each in others.items()}
                )
                for grid in grids
            }
            found[name] = replace(found[name], misranked=pairs)
    return found


def _on_grid(counts: Mapping[str, PixelCounts], grid: str) -> PixelCounts:
    """Counts on one grid; a pack of the paper's size has one alone."""
    return counts.get(grid, counts["native"])


def _misranked(own: PixelCounts, others: Mapping[str, PixelCounts]) -> dict[str, int]:
    pairs = misranked_across(own.floats, [other.floats for other in others.values()])
    return dict(zip(others, pairs.tolist(), strict=True))


def _reasons(thresholds: Mapping[str, Threshold]) -> dict[str, str]:
    """Why some grids have no threshold."""
    return {grid: found.reason for grid, found in thresholds.items() if found.reason is not None}


def _histograms(scores: SplitScores | None) -> dict[str, NDArray[np.int64]]:
    return {grid: counts.histograms[0] for grid, counts in scores.counts.items()} if scores else {}


class CheckpointScorer:
    """A checkpoint's metric on the validation split of one pack; a context, for its spool.

    Args:
        metric_id: `image_auroc` or `pixel_auroc` (native grid).
        valid: ground truth of the validation split.
    Raises:
        ValueError: another metric.
    """

    def __init__(self, metric_id: str, valid: GroundTruth) -> None:
        if metric_id not in ("image_auroc", "pixel_auroc"):
            raise ValueError(f"a checkpoint is not judged by {metric_id}")
        self._id = metric_id
        self._spool = tempfile.TemporaryDirectory(prefix="bmad-valid-")
        self._scorer = RunScorer(
            valid,
            None,
            spool=Path(self._spool.name),
            maps=self.wants_maps,
            intervals=False,
            grids=("native",),
        )

    @property
    def wants_maps(self) -> bool:
        """Whether maps are looked at."""
        return self._id == "pixel_auroc"

    def add(self, key: str, score: float, anomaly_map: Map | None) -> None:
        """Take one answer, in any order; errors as in `RunScorer.add`."""
        self._scorer.add("test", key, score, anomaly_map)

    def value(self) -> float | None:
        """The metric; None where it is undefined.

        Raises:
            ImagesMissing: some image was not answered.
        """
        grid = "native" if self.wants_maps else None
        metrics = self._scorer.finish().metrics
        return next(m.value for m in metrics if m.id == self._id and m.grid == grid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.cleanup()
