"""Reading every file of a pack once: decoded hash, mode, size, or why it cannot be read.

The facts are cached per file under (relative path, size, mtime in ns), so a pack of 26,000
images is decoded once and an edited file alone is read again. The cache holds facts about files,
not verdicts: whether they make a valid pack is decided anew each time (`checks.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.benchmarks.cache import write_atomically
from harness.benchmarks.layout import Layout
from harness.benchmarks.pixels import (
    Mode,
    UnreadableImage,
    in_mode,
    mask_hash,
    mode_of,
    pixel_hash,
    read_image,
    read_mask,
)
from harness.common.json_text import parse_json
from harness.common.progress import CountProgress

# Raise when a fact is computed differently, so that caches of older versions are dropped.
_FORMAT = 1
_MAX_WORKERS = 8  # decoding releases the GIL; more threads only add memory


@dataclass(frozen=True)
class ImageFacts:
    """What one decoded image is."""

    mode: Mode
    """`L` or `RGB`, as decoded from this file alone."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    pixel_sha256: str
    """Hash over the decoded pixels in `mode` (`pixels.pixel_hash`)."""


@dataclass(frozen=True)
class MaskFacts:
    """What one decoded mask is."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    mask_sha256: str
    """Hash over the binarised mask (`pixels.mask_hash`)."""
    lesion_pixels: int
    """Number of pixels > 0."""
    levels: int
    """Distinct values above zero; more than one means that binarising decided something."""


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be used."""

    reason: str
    """Why, in a few words."""


FileFacts = ImageFacts | MaskFacts | Unreadable


@dataclass(frozen=True)
class Scan:
    """Facts of all files of a pack, by path relative to its root."""

    images: dict[str, ImageFacts | Unreadable]
    """Every image."""
    masks: dict[str, MaskFacts | Unreadable]
    """Every mask that belongs to an image; empty where masks are not wanted."""


@dataclass(frozen=True)
class ScanJob:
    """One file to read in one way."""

    key: str
    """Path relative to the root."""
    kind: str
    """`image`, `mask`, or `rgb`: an image hashed as RGB, for packs of mixed modes."""


class Scanner:
    """Reads a pack's files, remembering what it read before.

    Args:
        root: the folder that holds the splits.
        cache: cache folder; one file per root is kept under `scans/`.
        on_progress: told how many files were read, of how many; not called for remembered ones.
    """

    def __init__(self, root: Path, cache: Path, on_progress: CountProgress | None = None) -> None:
        self.root = root
        self._on_progress = on_progress
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]
        self._path = cache / "scans" / f"{name}.json"
        self._known: dict[str, Any] = self._load()

    def read(self, layout: Layout, *, with_masks: bool) -> Scan:
        """Facts of every image, and of every mask that belongs to one."""
        jobs = [ScanJob(image.key, "image") for image in layout.images]
        if with_masks:
            jobs += [ScanJob(image.mask_key, "mask") for image in layout.images if image.mask_key]
        facts = self._read(jobs)
        return Scan(
            images={job.key: _image(facts[job]) for job in jobs if job.kind == "image"},
            masks={job.key: _mask(facts[job]) for job in jobs if job.kind == "mask"},
        )

    def read_as_rgb(self, keys: Sequence[str]) -> dict[str, ImageFacts | Unreadable]:
        """Facts of these images once their grey is repeated to RGB, by key."""
        jobs = [ScanJob(key, "rgb") for key in keys]
        facts = self._read(jobs)
        return {job.key: _image(facts[job]) for job in jobs}

    def _read(self, jobs: Sequence[ScanJob]) -> dict[ScanJob, FileFacts]:
        stamps = {job: self._stamp(job.key) for job in jobs}
        new = [job for job in jobs if self._known.get(_slot(job), {}).get("stamp") != stamps[job]]
        if new:
            for job, fact in zip(new, self._decode(new), strict=True):
                entry = {"stamp": stamps[job], "type": type(fact).__name__, **asdict(fact)}
                self._known[_slot(job)] = entry
            self._save()
        return {job: _parse(self._known[_slot(job)]) for job in jobs}

    def _decode(self, jobs: Sequence[ScanJob]) -> list[FileFacts]:
        facts = []
        with ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1)) as pool:
            for fact in pool.map(self._facts, jobs):
                facts.append(fact)
                if self._on_progress:
                    self._on_progress(len(facts), len(jobs))
        return facts

    def _facts(self, job: ScanJob) -> FileFacts:
        path = self.root / job.key
        try:
            if job.kind == "mask":
                mask, levels = read_mask(path)
                height, width = mask.shape
                return MaskFacts(height, width, mask_hash(mask), int(mask.sum()), levels)
            pixels = read_image(path)
        except UnreadableImage as error:
            return Unreadable(str(error))
        if job.kind == "rgb":
            pixels = in_mode(pixels, "RGB")
        height, width = pixels.shape[:2]
        return ImageFacts(mode_of(pixels), height, width, pixel_hash(pixels))

    def _stamp(self, key: str) -> list[int]:
        try:
            status = (self.root / key).stat()
        except FileNotFoundError:  # a dangling link
            return [-1, -1]
        return [status.st_size, status.st_mtime_ns]

    def _load(self) -> dict[str, Any]:
        try:
            document = parse_json(self._path.read_bytes())
        except (FileNotFoundError, ValueError):  # absent, or damaged: read the pack anew
            return {}
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            return {}
        files = document["files"]
        return files if isinstance(files, dict) else {}

    def _save(self) -> None:
        document = {"format": _FORMAT, "root": str(self.root), "files": self._known}
        write_atomically(self._path, json.dumps(document).encode())


def _slot(job: ScanJob) -> str:
    return f"{job.kind}:{job.key}"


def _parse(entry: dict[str, Any]) -> FileFacts:
    kinds: dict[str, type[FileFacts]] = {
        kind.__name__: kind for kind in (ImageFacts, MaskFacts, Unreadable)
    }
    fields = {name: value for name, value in entry.items() if name not in ("stamp", "type")}
    return kinds[entry["type"]](**fields)


def _image(fact: FileFacts) -> ImageFacts | Unreadable:
    if isinstance(fact, MaskFacts):
        raise TypeError("an image's facts are those of a mask")
    return fact


def _mask(fact: FileFacts) -> MaskFacts | Unreadable:
    if isinstance(fact, ImageFacts):
        raise TypeError("a mask's facts are those of an image")
    return fact
