"""Making a pack of what the jobs wrote: manifest, groups, card; then the folder gets its name.

A pack is there if and only if its folder has its name: until then everything lies in
`.<name>.partial` beside it. Nothing written here depends on the order of the work.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.benchmarks.card import CARD_NAME, DISJOINT_VARIANTS, Counts, StatedCard
from harness.benchmarks.groups import GROUPS_NAME, groups_csv
from harness.benchmarks.prepare.expected import CountsCompared
from harness.benchmarks.prepare.manifest import (
    MANIFEST_NAME,
    SOURCES_NAME,
    ManifestRow,
    Source,
    sources_csv,
)
from harness.benchmarks.prepare.recipe import SPLIT_ORDER, Options
from harness.benchmarks.prepare.writing import NOTES
from harness.benchmarks.problems import Problem, listed
from harness.benchmarks.spec import NameReading
from harness.benchmarks.version import content_digest, version_id, version_line

REPORT_NAME = "prepared.json"
# What decodes and scales, so that a pixel that differs can be traced.
_LIBRARIES = ("nibabel", "numpy", "openslide-bin", "openslide-python", "pillow", "pydicom")


@dataclass(frozen=True)
class Making:
    """How a pack was made, as `prepared.json` tells."""

    benchmark: str
    """Name of the recipe."""
    recipe_version: int
    """Its version."""
    options: Options
    """What was asked for; the salt is left out."""
    comparisons: tuple[CountsCompared, ...]
    """Numbers of source and splits beside what they should be."""
    skipped: tuple[Problem, ...]
    """What could not be used, with `--keep-going`."""
    dropped: int
    """Images left out because they are identical to one of a later split."""


def partial_folder(target: Path) -> Path:
    """Where a pack is made."""
    return target.with_name(f".{target.name}.partial")


def without_shared(rows: Sequence[ManifestRow], variant: str) -> tuple[list[ManifestRow], int]:
    """In a disjoint variant an image stays in its last split alone: test before valid and train.

    Returns:
        The rows that stay, and how many do not.
    """
    if variant not in DISJOINT_VARIANTS:
        return list(rows), 0
    last: dict[str, int] = {}
    for row in rows:
        order = [*SPLIT_ORDER].index(row.split)  # type: ignore[arg-type]
        last[row.pixel_sha256] = max(last.get(row.pixel_sha256, 0), order)
    kept = [row for row in rows if SPLIT_ORDER[last[row.pixel_sha256]] == row.split]
    return kept, len(rows) - len(kept)


def finish(
    folder: Path,
    rows: Iterable[ManifestRow],
    sources: Iterable[Source],
    card: StatedCard,
    making: Making,
    *,
    group_unit: str,
) -> StatedCard:
    """Write what belongs to the images, and sweep what does not.

    Args:
        folder: the unfinished pack.
        rows: its images.
        sources: the raw files that were read.
        card: what is said about the pack; version, counts and masks are added here.
        making: how it was made.
        group_unit: what the rows' groups are.

    Returns:
        The card as written.
    """
    rows = sorted(rows, key=lambda row: row.key)
    _sweep(folder, rows)
    (folder / MANIFEST_NAME).write_text(
        "".join(f"{row.as_line()}\n" for row in rows), encoding="utf-8"
    )
    (folder / SOURCES_NAME).write_text(sources_csv(sources), encoding="utf-8")
    readings = {row.key: NameReading(row.group, group_unit, row.subclass) for row in rows}
    (folder / GROUPS_NAME).write_text(groups_csv(readings), encoding="utf-8")
    (folder / REPORT_NAME).write_text(_report(making), encoding="utf-8")
    lines = (
        version_line(
            row.split,
            is_anomalous=row.is_anomalous,
            pixel_sha256=row.pixel_sha256,
            mask_sha256=row.mask_sha256,
        )
        for row in rows
    )
    found = {
        "version": version_id(str(card.name), content_digest(lines)),
        "counts": _counts(rows),
        "has_masks": any(row.mask_key for row in rows),
    }
    card = card.model_copy(update=found)
    (folder / CARD_NAME).write_text(card.as_toml(), encoding="utf-8")
    return card


def _counts(rows: Iterable[ManifestRow]) -> Counts:
    counted = Counter((row.split, row.is_anomalous) for row in rows)
    return Counts(
        train=counted["train", False],
        valid_normal=counted["valid", False],
        valid_anomalous=counted["valid", True],
        test_normal=counted["test", False],
        test_anomalous=counted["test", True],
    )


def _sweep(folder: Path, rows: Iterable[ManifestRow]) -> None:
    """Remove images of earlier tries, temporary files and the jobs' notes."""
    wanted = {folder / key for row in rows for key in (row.key, row.mask_key) if key}
    shutil.rmtree(folder / NOTES, ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()


def _report(making: Making) -> str:
    options = making.options
    document = {
        "format": 1,
        "benchmark": making.benchmark,
        "recipe_version": making.recipe_version,
        "variant": options.variant,
        "options": {
            "modality": options.modality,
            "slices": list(options.slices),
            "window": options.window if isinstance(options.window, str) else list(options.window),
            "is_processed": options.is_processed,
            "lits_volumes": list(options.lits_volumes),
            "valid_rule": options.valid_rule,
            "has_nih_mapping": options.nih_mapping is not None,
            "size": options.size,
            "shares": list(options.shares),
            "patient_rule": options.patient_rule,
        },
        "counts": {
            one.what: {"found": one.found, "expected": one.expected} for one in making.comparisons
        },
        "skipped": listed(making.skipped),
        "dropped_identical": making.dropped,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
