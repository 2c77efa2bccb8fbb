"""The invented pictures of the example: generated slices, and blurred lesions as their maps.

Nothing in them is of a third party: the demo pack draws its slices itself, so that the gallery may
ship with the example, under whatever benchmark's name they stand there. They are chosen and drawn
by the code that draws a run's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.board.example.methods import Method, generator
from harness.board.example.runs import PICTURED, WITH_MASKS
from harness.board.site_data import Gallery
from harness.records.record import Record, content_hash

if TYPE_CHECKING:
    from harness.benchmarks import Pack, Sample
    from harness.metrics import GroundTruth

ENTRIES_WITH_PICTURES = 8
LESIONS, NORMAL = 9, 20
MAP_THRESHOLD = 0.4


@dataclass(frozen=True)
class _Slices:
    """A few generated images, with their lesions or as if nobody had marked them."""

    pack: Pack
    """They alone are its test split."""
    truth: GroundTruth
    """Its compiled ground truth."""
    lesions: dict[str, NDArray[np.bool_]]
    """By key, [H, W]; the maps are made of it."""


def galleries(
    records: Sequence[Record], methods: Sequence[Method], cache: Path
) -> Iterator[tuple[str, Gallery]]:
    """By run key, the pictures of the first methods; clearer maps the better the method."""
    by_masks = {has_masks: _slices(cache, has_masks=has_masks) for has_masks in (True, False)}
    by_name = {method.name: method for method in methods[:ENTRIES_WITH_PICTURES]}
    for record in records:
        benchmark, method = record.pack.benchmark, by_name.get(record.entry.name)
        if method is None or benchmark not in PICTURED or record.seed or not record.is_ok:
            continue
        yield record.run_key, _gallery(record, method, by_masks[benchmark in WITH_MASKS])


def _slices(cache: Path, *, has_masks: bool) -> _Slices:
    from harness.benchmarks import demo_pack
    from harness.session.scoring import ground_truth

    demo = demo_pack(cache)
    test = sorted(demo.split("test"), key=lambda sample: content_hash(sample.key))
    chosen = [sample for sample in test if sample.is_anomalous][:LESIONS]
    chosen += [sample for sample in test if not sample.is_anomalous][:NORMAL]
    lesions = {sample.key: demo.mask(sample) for sample in chosen}
    if not has_masks:
        chosen = [replace(sample, mask_path=None) for sample in chosen]
    version = f"{demo.version}-example{'-masks' if has_masks else ''}"
    pack = replace(demo, version=version, samples=tuple(chosen), has_masks=has_masks)
    with TemporaryDirectory() as folder:
        truth = ground_truth(pack, "test", Path(folder), lambda *_: None)
    return _Slices(pack, truth, lesions)


def _gallery(record: Record, method: Method, slices: _Slices) -> Gallery:
    """What the harness draws of a method's answers."""
    from harness.board.gallery import CARD, GalleryMaker, read_gallery_card
    from harness.metrics.operating_points import OperatingPoints, best_f1_score

    maker = GalleryMaker(slices.pack, slices.truth)
    scores = {}
    for sample in slices.pack.split("test"):
        heat = _heat(slices.lesions[sample.key], method, record, sample)
        scores[sample.key] = float(heat.max())
        maker.offer(sample, scores[sample.key], heat if method.has_maps else None)
    is_marked = method.has_maps and slices.pack.has_masks
    order = slices.truth.keys
    points = OperatingPoints(
        image=best_f1_score(np.array([scores[k] for k in order]), slices.truth.is_anomalous),
        pixel=MAP_THRESHOLD if is_marked else None,
    )
    with TemporaryDirectory() as folder:
        maker.write(Path(folder), record.run_key, points)
        files = {path.name: path.read_bytes() for path in Path(folder).glob("*.webp")}
        return Gallery(read_gallery_card(Path(folder) / CARD), files)


def _heat(
    lesion: NDArray[np.bool_], method: Method, record: Record, sample: Sample
) -> NDArray[np.float32]:
    """A blurred lesion under smooth noise; some images are hard for every method."""
    from scipy.ndimage import gaussian_filter

    difficulty = float(generator("difficulty", sample.key).beta(0.8, 1.2))
    draw = generator(record.run_key, sample.key)
    quality = max(method.quality - difficulty - 0.3 * float(draw.beta(1, 2)), 0.05)
    blurred = gaussian_filter(lesion.astype(np.float32), 3.0)
    noise = gaussian_filter(draw.normal(0, 1, lesion.shape), 5.0)
    noise *= 0.3 / max(float(noise.std()), 1e-6)
    heat = 1.3 * quality * blurred + (1.1 - quality) * np.abs(noise)
    return np.asarray(heat, np.float32)
