"""Writing a pack's images: each whole or not at all, and what is done is known after a kill.

Work is done in jobs of some dozens of images. A job's last act is to write down what it made, under
a name that stands for everything it was made from: the raw files' lengths and times, the options,
the split. Run again, a job whose note is there and whose images are there is done. So a run that
was killed at any instant, with `kill -9` too, goes on, and one with other options or another salt
begins anew without a trace of the old one in the pack.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from harness.benchmarks.cache import write_atomically
from harness.benchmarks.pixels import Mask, Pixels, mask_hash, pixel_hash
from harness.benchmarks.prepare.manifest import ManifestRow, Source, row_from, source_of
from harness.benchmarks.prepare.recipe import Case, Options, Placed, RawPicture, Recipe, Unusable
from harness.benchmarks.problems import Problem
from harness.common.json_text import parse_json

NOTES = "done"  # folder of the finished jobs' notes, in the unfinished pack
_IMAGES_PER_JOB = 64
# zlib's fastest level: half the time of the default for the same size within 10 %.
_COMPRESS_LEVEL = 1


@dataclass(frozen=True)
class Work:
    """One case and its images."""

    case: Case
    """Which."""
    placed: tuple[Placed, ...]
    """Its images that are in the pack."""


@dataclass(frozen=True)
class WritingJob:
    """Some cases that are done in one go."""

    benchmark: str
    """Name of the recipe."""
    options: Options
    """Without the salt."""
    folder: Path
    """The unfinished pack."""
    works: tuple[Work, ...]
    """What to do."""


@dataclass(frozen=True)
class WrittenJob:
    """What a job made."""

    rows: tuple[ManifestRow, ...] = ()
    """Images that are written."""
    sources: tuple[Source, ...] = ()
    """Raw files that were read."""
    problems: tuple[Problem, ...] = ()
    """Cases that cannot be used; they left no image."""


def recipe_of(benchmark: str) -> Recipe:
    """A benchmark's file.

    Raises:
        ModuleNotFoundError: there is none.
    """
    return cast("Recipe", importlib.import_module(f"harness.benchmarks.prepare.{benchmark}"))


def writing_jobs(
    benchmark: str, works: Iterable[Work], options: Options, folder: Path
) -> Iterator[WritingJob]:
    """Cases in their order, gathered to jobs of about `_IMAGES_PER_JOB` images."""
    gathered: list[Work] = []
    for work in works:
        gathered.append(work)
        if sum(len(one.placed) for one in gathered) >= _IMAGES_PER_JOB:
            yield WritingJob(benchmark, options, folder, tuple(gathered))
            gathered = []
    if gathered:
        yield WritingJob(benchmark, options, folder, tuple(gathered))


def do_job(job: WritingJob) -> WrittenJob:
    """Make a job's images, or find that they are there."""
    note = job.folder / NOTES / f"{_identity(job)}.json"
    if (done := _read_note(note, job.folder)) is not None:
        return done
    recipe = recipe_of(job.benchmark)
    rows: list[ManifestRow] = []
    sources: list[Source] = []
    problems: list[Problem] = []
    for work in job.works:
        try:
            rows += _write_case(recipe, work, job)
            sources += [source_of(file) for file in work.case.files.values()]
        except Unusable as error:
            problems += error.problems
        except OSError as error:
            if error.filename is None or Path(error.filename).is_relative_to(job.folder):
                raise  # our own disk is full, not a raw file broken
            problems.append(Problem("damaged", f"{error.filename}: {error.strerror}"))
    done = WrittenJob(tuple(rows), tuple(sources), tuple(problems))
    if not problems:
        write_atomically(note, json.dumps(asdict(done), sort_keys=True).encode())
    return done


def _write_case(recipe: Recipe, work: Work, job: WritingJob) -> list[ManifestRow]:
    """All images of a case; none stays when one cannot be made."""
    place_of = {placed.item.key: placed for placed in work.placed}
    files = tuple(sorted(str(file.relative) for file in work.case.files.values()))
    rows: list[ManifestRow] = []
    try:
        for picture in recipe.render(work.case, work.placed, job.options):
            placed = place_of.pop(picture.key)
            rows.append(_write(picture, placed, files if len(files) <= 4 else (), job.folder))
    except Unusable:
        for row in rows:
            for key in filter(None, (row.key, row.mask_key)):
                (job.folder / key).unlink()
        raise
    if place_of:
        raise ValueError(f"{work.case.key}: {len(place_of)} images were not rendered")
    return rows


def _write(
    picture: RawPicture, placed: Placed, files: tuple[str, ...], folder: Path
) -> ManifestRow:
    item = placed.item
    base = f"{placed.split}/{'Ungood' if item.is_anomalous else 'good'}"
    row = ManifestRow(
        key=f"{base}/img/{placed.name}.png",
        split=placed.split,
        is_anomalous=item.is_anomalous,
        group=item.group,
        subclass=item.subclass,
        source=item.key,
        files=files,
        height=picture.pixels.shape[0],
        width=picture.pixels.shape[1],
        pixel_sha256=pixel_hash(picture.pixels),
        mask_key=None,
        mask_sha256="",
        details=dict(item.details),
    )
    if picture.mask is not None:
        row = replace(
            row, mask_key=f"{base}/label/{placed.name}.png", mask_sha256=mask_hash(picture.mask)
        )
        write_atomically(folder / str(row.mask_key), png(picture.mask))
    write_atomically(folder / row.key, png(picture.pixels))
    return row


def png(pixels: Pixels | Mask) -> bytes:
    """8-bit PNG: grey, RGB, or 0 and 255 of a mask; the chunks IHDR, IDAT and IEND alone."""
    values = pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", compress_level=_COMPRESS_LEVEL)
    return buffer.getvalue()


def _identity(job: WritingJob) -> str:
    """Hash over everything that decides a job's images; no secret is in it."""
    stamps = [
        (work.case.key, kind, str(file.path), *_stamp(file.path))
        for work in job.works
        for kind, file in sorted(work.case.files.items())
    ]
    options = replace(job.options, raw=(), salt=None)
    version = recipe_of(job.benchmark).VERSION
    placed: Sequence[Placed] = [placed for work in job.works for placed in work.placed]
    parts = (job.benchmark, version, options, stamps, placed)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:  # gone since the survey: reading it says so
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _read_note(note: Path, folder: Path) -> WrittenJob | None:
    """What a job wrote down, if all of its images are there too."""
    try:
        document = parse_json(note.read_bytes())
        rows = tuple(row_from(row) for row in document["rows"])
        sources = tuple(Source(**source) for source in document["sources"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # absent, or damaged
        return None
    keys = [key for row in rows for key in (row.key, row.mask_key) if key]
    is_there = all((folder / key).is_file() and (folder / key).stat().st_size for key in keys)
    return WrittenJob(rows, sources) if is_there else None
