"""The training images as an entry sees them: flat folder, opaque names, one mode, nothing else.

Each image is encoded again from its pixels, so neither its old name, time stamp, size on disk,
metadata nor source format says which patient, scanner or file it was. Trap: the order in which
files are made shows, in the numbers that a file system gives them; it is that of the hashes, too.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from harness.benchmarks.cache import make_folder_once
from harness.benchmarks.pack import Pack, Sample
from harness.benchmarks.pixels import pixel_hash
from harness.common.progress import CountProgress

# 1980-01-01, the earliest time that every file system and archive format can hold.
_EPOCH_SECONDS = 315_532_800
# zlib's fastest level: a third of the default's time, and each image is written once per pack.
_COMPRESS_LEVEL = 1
_MAX_WORKERS = 8


def stage_training(pack: Pack, cache: Path, *, on_progress: CountProgress | None = None) -> Path:
    """Write the pack's training images for mounting; made once per training material.

    Returns:
        A folder of `<20 hex>.png` files, 8-bit grey or RGB, named and sorted by the hash of their
        pixels as delivered (identical images get `-2`, `-3`…), holding IHDR, IDAT and IEND chunks
        alone.

    Raises:
        PackInvalid: an image has changed since the pack was opened.
    """

    def fill(folder: Path) -> None:
        samples = sorted(pack.split("train"), key=lambda sample: sample.pixel_sha256)
        paths = [folder / f"{number}.png" for number in range(len(samples))]
        hashes = []
        with ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1)) as pool:
            written = pool.map(lambda sample, path: _write(pack, sample, path), samples, paths)
            for done, pixel_sha256 in enumerate(written, start=1):
                hashes.append(pixel_sha256)
                if on_progress:
                    on_progress(done, len(samples))
        for path, name in zip(paths, _names(hashes), strict=True):
            path.rename(folder / name)

    return make_folder_once(cache / "training" / pack.training_mark, fill)


def _names(hashes: Sequence[str]) -> list[str]:
    """File name of every training image, by the hash of its pixels."""
    seen: Counter[str] = Counter()
    names = []
    for stem in (pixel_sha256[:20] for pixel_sha256 in hashes):
        seen[stem] += 1
        names.append(f"{stem}.png" if seen[stem] == 1 else f"{stem}-{seen[stem]}.png")
    return names


def _write(pack: Pack, sample: Sample, path: Path) -> str:
    """Write one image; the hash of its pixels."""
    pixels = pack.image(sample)
    image = Image.fromarray(pixels)
    image.save(path, format="PNG", compress_level=_COMPRESS_LEVEL)
    os.utime(path, (_EPOCH_SECONDS, _EPOCH_SECONDS))
    return pixel_hash(pixels)
