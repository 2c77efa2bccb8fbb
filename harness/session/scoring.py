"""Joins packs and metrics: the compiled ground truth of a split, and the scorer of a run.

The metrics know nothing of files; packs know nothing of metrics. Masks are read once
per pack version: the compiled truth is kept in the cache and never read again when an
entry is scored.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.benchmarks import Pack
from harness.common.progress import Progress
from harness.metrics import GroundTruth, RunScorer, TruthImage
from harness.records.record import content_hash


def truth_folder(cache: Path, pack_version: str, split: str) -> Path:
    """Where the compiled truths of a split lie in the cache: one per naming of its images."""
    return cache / "truth" / f"{pack_version}-{split}"


def _truth_path(pack: Pack, split: str, cache: Path) -> Path:
    # The version speaks of pixels, masks and labels; names, patients and subclasses may change.
    names = [[sample.key, sample.group, sample.subclass] for sample in pack.split(split)]
    mark = content_hash(names).removeprefix("sha256:")[:12]
    return truth_folder(cache, pack.version, split) / f"{mark}.npz"


def ground_truth(pack: Pack, split: str, cache: Path, on_progress: Progress) -> GroundTruth:
    """The compiled ground truth of one split, from the cache where it is there.

    Args:
        pack: an opened pack.
        split: `valid` or `test`.
        cache: the harness's cache folder.
        on_progress: called with a label, the images done and their number.
    """
    path = _truth_path(pack, split, cache)
    if path.is_file() and (stored := GroundTruth.load(path)) is not None:
        return stored
    images = [
        TruthImage(
            key=sample.key,
            is_anomalous=sample.is_anomalous,
            group=sample.group,
            subclass=sample.subclass,
            image=partial(pack.image, sample),
            mask=partial(pack.mask, sample) if pack.has_masks else None,
        )
        for sample in pack.split(split)
    ]
    truth = GroundTruth.compile(
        images,
        has_masks=pack.has_masks,
        pack_version=pack.version,
        on_progress=partial(on_progress, f"compiling the {split} truth"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    truth.save(path)
    return truth


def new_scorer(
    pack: Pack, cache: Path, spool: Path, *, has_maps: bool, on_progress: Progress
) -> RunScorer:
    """A scorer for one run on this pack.

    Args:
        spool: folder of the run for what does not fit in memory.
        has_maps: whether the entry answers with anomaly maps.
    """
    valid = ground_truth(pack, "valid", cache, on_progress) if pack.has_masks else None
    test = ground_truth(pack, "test", cache, on_progress)
    return RunScorer(test, valid, spool=spool, maps=has_maps and pack.has_masks)
