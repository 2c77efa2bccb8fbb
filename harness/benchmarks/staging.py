"""The training images as an entry sees them: flat folder, opaque names, one mode, nothing else.

Each image is encoded again from its pixels, so neither its old name, time stamp, size on disk,
metadata nor source format says which patient, scanner or file it was.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from harness.benchmarks.cache import make_folder_once
from harness.benchmarks.pack import Pack, Sample
from harness.common.progress import CountProgress

# 1980-01-01, the earliest time that every file system and archive format can hold.
_EPOCH_SECONDS = 315_532_800
# zlib's fastest level: a third of the default's time, and each image is written once per pack.
_COMPRESS_LEVEL = 1
_MAX_WORKERS = 8


def stage_training(pack: Pack, cache: Path, *, on_progress: CountProgress | None = None) -> Path:
    """Write the pack's training images for mounting; made once per pack version.

    Returns:
        A folder of `<20 hex>.png` files, 8-bit grey or RGB, named and sorted by their pixels'
        hash (identical images get `-2`, `-3`…), holding IHDR, IDAT and IEND chunks alone.

    Raises:
        PackInvalid: an image has changed since the pack was opened.
    """

    def fill(folder: Path) -> None:
        names = _names(pack)
        with ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1)) as pool:
            written = pool.map(lambda item: _write(pack, item[0], folder / item[1]), names)
            for done, _ in enumerate(written, start=1):
                if on_progress:
                    on_progress(done, len(names))

    return make_folder_once(cache / "training" / pack.version, fill)


def _names(pack: Pack) -> list[tuple[Sample, str]]:
    """File name of every training image."""
    seen: Counter[str] = Counter()
    names = []
    for sample in sorted(pack.split("train"), key=lambda sample: sample.pixel_sha256):
        stem = sample.pixel_sha256[:20]
        seen[stem] += 1
        names.append((sample, f"{stem}.png" if seen[stem] == 1 else f"{stem}-{seen[stem]}.png"))
    return names


def _write(pack: Pack, sample: Sample, path: Path) -> None:
    image = Image.fromarray(pack.image(sample))
    image.save(path, format="PNG", compress_level=_COMPRESS_LEVEL)
    os.utime(path, (_EPOCH_SECONDS, _EPOCH_SECONDS))
