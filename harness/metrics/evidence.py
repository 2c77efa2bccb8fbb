"""The evidence of a run: what its metrics follow from, in one small file without maps.

float16 runs hold lossless histograms: any metric, limit or threshold follows
exactly. float32 runs hold histograms of the upper 16 bits of the keys, the exact
sweeps and the counts at the run's thresholds; `harness.metrics.certify` bounds
the stored values by the histograms. Trap: scores and histograms can carry
labels that an entry wrote into them; never publish the evidence of a hidden pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.archive import read_archive, write_archive
from harness.metrics.errors import TruthMismatch
from harness.metrics.kernels.layout import ANOMALOUS_KINDS, NORMAL_KINDS
from harness.metrics.needs import OLDER_EVIDENCE
from harness.metrics.thresholds import alarm_threshold_of_halves
from harness.metrics.truth import GroundTruth

FORMAT = "bmad-evidence-1"

_OLDER_STATE = 28  # places of a state before the strict area came

WEIGHT_UNIT = 2.0**-32
"""Resolution of the groups' region weights: whole numbers add up the same in any order."""


@dataclass(frozen=True)
class ScoreEvidence:
    """Image scores of one split."""

    keys: tuple[str, ...]
    """The pack's private keys, sorted; the arrays follow this order."""
    groups: tuple[str, ...]
    """Patient of each image."""
    subclasses: tuple[str | None, ...]
    """Kind of anomaly of each image."""
    is_anomalous: NDArray[np.bool_]
    """[n] labels."""
    scores: NDArray[np.float64]
    """[n] image scores."""

    @cached_property
    def group_index(self) -> tuple[int, NDArray[np.int64]]:
        """Number of groups, and the group of each image in sorted order of their names."""
        names, index = np.unique(np.array(self.groups, dtype=np.str_), return_inverse=True)
        return len(names), index.astype(np.int64).reshape(-1)

    @property
    def has_patients(self) -> bool:
        """Whether the pack knows patients, not images alone."""
        return self.groups != self.keys


@dataclass(frozen=True)
class GridEvidence:
    """Maps of one split on one grid. E edges, T thresholds, G groups, n images."""

    pixels: NDArray[np.int64]
    """[4, 65536] pixels by kind (`harness.metrics.kernels.layout`) and bin: float16 key, or upper
    half of the float32 key."""
    weights: NDArray[np.float64]
    """[5, 65536] region weights (`harness.metrics.kernels.layout.WEIGHT_ROWS`)."""
    states: NDArray[np.float64]
    """[2, 30] exact final states of the sweeps; [2, 28] where an older harness wrote them, without
    the area to the strict limit."""
    regions: NDArray[np.int64]
    """[6] 8-connected, 4-connected, lost by resizing, small, medium, large regions."""
    score_range: NDArray[np.float64]
    """[2] smallest and largest score."""
    levels: NDArray[np.int64]
    """[2] distinct scores, and pixels that hold the most frequent one."""
    thresholds: NDArray[np.uint32]
    """[T] keys from which a pixel counts as found, in the order of `Evidence.threshold_names`."""
    threshold_counts: NDArray[np.int64]
    """[T, 2] normal and anomalous pixels at or above each threshold."""
    edges: NDArray[np.uint32]
    """[E] ascending keys that begin the bins of the groups."""
    group_pixels: NDArray[np.int64]
    """[G, 4, E + 1] pixels of each group by kind and bin."""
    group_weights: NDArray[np.int64]
    """[G, 5, E + 1] region weights of each group in units of 2**-32."""
    image_overlap: NDArray[np.float64]
    """[n] PRO of each image by itself; NaN where it has no region or no normal pixel."""
    image_dice: NDArray[np.float64]
    """[n] Dice of each image at half of the run's range; NaN where nothing is anomalous."""
    image_aupimo: NDArray[np.float64] | None = None
    """[n] AUPIMO of each image (`harness.metrics.pimo`); None where an older harness wrote it."""
    group_recall: NDArray[np.int64] | None = None
    """[G, 2, E + 1] pixels of each group's normal images, and its anomalous pixels, each 1 / those
    of its image in units of 2**-32; None as `image_aupimo`."""

    @property
    def has_strict_area(self) -> bool:
        """Whether the states hold the area to the strict limit."""
        return bool(self.states.shape[1] > _OLDER_STATE)

    @property
    def is_constant(self) -> bool:
        """Whether all pixels have one score."""
        return bool(self.score_range[0] == self.score_range[1])


@dataclass(frozen=True)
class Evidence:
    """Everything that the metrics of a run follow from."""

    dtype: str | None
    """`float16` or `float32`; None for a run without maps."""
    has_masks: bool
    """Whether the pack has masks."""
    test_digest: str
    """Digest of the test split's ground truth."""
    valid_digest: str | None
    """Digest of the validation split's, where there is one."""
    test: ScoreEvidence
    """Scores of the test split."""
    valid: ScoreEvidence | None
    """Scores of the validation split."""
    grids: Mapping[str, GridEvidence]
    """Test split by grid: `native`, and `paper` where that is another one."""
    valid_pixels: Mapping[str, NDArray[np.int64]]
    """Validation split by grid: int64 [4, 65536] as in `GridEvidence.pixels`."""
    range_shares: tuple[float, ...]
    """Shares of the run's score range at which the first thresholds lie."""
    no_valid_threshold: Mapping[str, str]
    """By grid, why the validation split gives no threshold of best Dice; no entry where it does."""
    no_fpr_threshold: Mapping[str, str] | None = None
    """The same for the threshold of a false-positive rate; None where an older harness wrote the
    evidence."""
    misranked: Mapping[str, Mapping[str, int]] | None = None
    """Of a member of a suite with float32 maps: by grid and other member, twice the pairs of an
    anomalous pixel of that one and a normal pixel of this one above it, those of equal scores
    once. None elsewhere: float16 histograms tell them."""

    def threshold_names(self, grid: str) -> tuple[str, ...]:
        """Names of the grid's thresholds: shares of the range, then `valid` and `fpr` where the
        validation split gives them."""
        shares = tuple(f"{share:g}" for share in self.range_shares)
        valid = () if grid in self.no_valid_threshold else ("valid",)
        return (*shares, *valid, *(("fpr",) if self.why_no_fpr_threshold(grid) is None else ()))

    def why_no_fpr_threshold(self, grid: str) -> str | None:
        """Why there is no threshold of a false-positive rate; None if there is one."""
        reasons = self.no_fpr_threshold
        return OLDER_EVIDENCE if reasons is None else reasons.get(grid)

    def save(self, path: Path) -> None:
        """Write one .npz file, atomically; equal evidence gives equal bytes."""
        header: dict[str, Any] = {
            "format": FORMAT,
            "dtype": self.dtype,
            "has_masks": self.has_masks,
            "test_digest": self.test_digest,
            "valid_digest": self.valid_digest,
            "grids": sorted(self.grids),
            "range_shares": self.range_shares,
            "no_valid_threshold": dict(self.no_valid_threshold),
        }
        if self.no_fpr_threshold is not None:
            header["no_fpr_threshold"] = dict(self.no_fpr_threshold)
        if self.misranked is not None:
            header["misranked"] = {grid: dict(pairs) for grid, pairs in self.misranked.items()}
        arrays: dict[str, NDArray[Any]] = {}
        for split, scores in (("test", self.test), ("valid", self.valid)):
            if scores is not None:
                header[split] = [scores.keys, scores.groups, scores.subclasses]
                arrays[f"{split}/is_anomalous"] = scores.is_anomalous
                arrays[f"{split}/scores"] = scores.scores
        for grid, evidence in self.grids.items():
            for field in fields(evidence):
                if (array := getattr(evidence, field.name)) is not None:
                    arrays[f"test/{grid}/{field.name}"] = array
        for grid, pixels in self.valid_pixels.items():
            arrays[f"valid/{grid}/pixels"] = pixels
        write_archive(path, header, arrays)

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read evidence written by `save`.

        Raises:
            TruthMismatch: the file is damaged or of another format.
            FileNotFoundError: there is no such file.
        """
        header, arrays = read_archive(path, format_name=FORMAT)
        grids = {
            grid: GridEvidence(
                **{
                    field.name: arrays[name]
                    for field in fields(GridEvidence)
                    if (name := f"test/{grid}/{field.name}") in arrays or field.default is MISSING
                }
            )
            for grid in header["grids"]
        }
        valid_pixels = {
            name.split("/")[1]: array
            for name, array in arrays.items()
            if name.startswith("valid/") and name.endswith("/pixels")
        }
        loaded = cls(
            dtype=header["dtype"],
            has_masks=header["has_masks"],
            test_digest=header["test_digest"],
            valid_digest=header["valid_digest"],
            test=_scores_from(header, arrays, "test"),
            valid=_scores_from(header, arrays, "valid") if "valid" in header else None,
            grids=grids,
            valid_pixels=valid_pixels,
            range_shares=tuple(header["range_shares"]),
            no_valid_threshold=header["no_valid_threshold"],
            no_fpr_threshold=header.get("no_fpr_threshold"),
            misranked=header.get("misranked"),
        )
        return loaded if "no_fpr_threshold" in header else _with_fpr_threshold(loaded)

    def check(self, test: GroundTruth, valid: GroundTruth | None) -> None:
        """Make sure that the evidence was scored against this ground truth.

        Raises:
            TruthMismatch: another ground truth was used.
        """
        digests = (test.digest, None if valid is None else valid.digest)
        if digests != (self.test_digest, self.valid_digest):
            raise TruthMismatch(
                "the evidence was made with another ground truth than this pack's",
                fix="use the pack version that the record names",
            )


def _with_fpr_threshold(older: Evidence) -> Evidence:
    """Evidence of an older harness with what its float16 histograms tell of today's threshold.

    The threshold is no edge of the groups' bins: its interval is that of the next edge above.
    """
    if older.dtype != "float16":
        return older
    grids, reasons = dict(older.grids), {}
    for grid, part in older.grids.items():
        found = alarm_threshold_of_halves(older.valid_pixels.get(grid))
        if found.key is None:
            reasons[grid] = str(found.reason)
            continue
        above = part.pixels[:, found.key :].sum(axis=1)
        at = [above[NORMAL_KINDS].sum(), above[ANOMALOUS_KINDS].sum()]
        grids[grid] = replace(
            part,
            thresholds=np.append(part.thresholds, np.uint32(found.key)),
            threshold_counts=np.concatenate([part.threshold_counts, [at]]),
        )
    return replace(older, grids=grids, no_fpr_threshold=reasons)


def _scores_from(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], split: str
) -> ScoreEvidence:
    keys, groups, subclasses = header[split]
    return ScoreEvidence(
        keys=tuple(keys),
        groups=tuple(groups),
        subclasses=tuple(subclasses),
        is_anomalous=arrays[f"{split}/is_anomalous"],
        scores=arrays[f"{split}/scores"],
    )
