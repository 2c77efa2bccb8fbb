"""Pretrained files: what an entry needs, and whether it is there as published.

Which file a name means stands in the committed table (`baselines/kit/weight_files.py`), or in a
maintainer's own description in the weights folder (`baselines/kit/own_backbones.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.kit.own_backbones import BadDescription, description_path, find_file, own_names
from baselines.kit.weight_files import WEIGHT_FILES, WeightFile, mismatch, sha256_of
from harness.common.errors import UsageError, WeightsMissing
from harness.common.near_misses import did_you_mean
from harness.records.parts import WeightsPart

if TYPE_CHECKING:
    from harness.entries.entry import EntryTable
    from harness.records.record import Parameter


@dataclass(frozen=True)
class Needed:
    """What an entry reads of the weights folder under its parameters."""

    files: tuple[WeightFile, ...]
    """The files."""
    described: tuple[WeightFile, ...] = ()
    """Own backbones whose description alone is read: their weights are random."""


def default_weights_folder() -> Path:
    """`$BMAD_WEIGHTS`, else the folder `weights` in the harness's cache; may not exist yet."""
    from harness.benchmarks import default_cache

    stated = os.environ.get("BMAD_WEIGHTS")
    return Path(stated).expanduser() if stated else default_cache() / "weights"


def needed_by(table: EntryTable, params: Mapping[str, Parameter], folder: Path | None) -> Needed:
    """What an entry needs under these parameters.

    `weights = "random"` needs no file, and a parameter `backbone` says which one of several. An
    entry that lists several takes others too: any of the table, or a maintainer's own. A file that
    `[entry] needed_where` names is needed where its parameters have these values, and only there.

    Args:
        table: the entry's own.
        params: its resolved parameters.
        folder: the weights folder, for descriptions of own backbones.
    Raises:
        UsageError: a name that is neither in the table nor described, or a wrong description.
    """
    always = [name for name in table.backbones if name not in table.needed_where]
    chosen, is_random = params.get("backbone"), params.get("weights") == "random"
    if isinstance(chosen, str) and (chosen in always or len(always) > 1):
        always = [chosen]
    network = files_of(always, folder)
    others = files_of(
        [
            name
            for name, wanted in table.needed_where.items()
            if all(params.get(each) == value for each, value in wanted.items())
        ],
        folder,
    )
    if not is_random:
        return Needed((*network, *others))
    return Needed(tuple(others), tuple(file for file in network if file.is_own))


def require_for(
    table: EntryTable, params: Mapping[str, Parameter], folder: Path | None
) -> tuple[WeightsPart, ...]:
    """What an entry is going to read of the weights folder, each file there and as it should be.

    Args:
        table, params, folder: as in `needed_by`.
    Returns:
        for record and run key, sorted by name: files with their SHA-256, and own descriptions.
    Raises:
        WeightsMissing: at least one file is missing or wrong; the fix names the command.
        UsageError: as in `needed_by`.
    """
    needed = needed_by(table, params, folder)
    digests = {file: _digest_in(folder, file) for file in needed.files}
    missing = {}
    for file, digest in digests.items():
        if problem := mismatch(file, digest) if digest else "is not there":
            missing[file] = problem
    if missing:
        raise _weights_missing(missing, folder)
    found = [_part(file, digest) for file, digest in digests.items()]
    found += [_part(file, None) for file in needed.described]
    return tuple(sorted(found, key=lambda part: part.name))


def _digest_in(folder: Path | None, file: WeightFile) -> str | None:
    """SHA-256 of the file in the folder; None where it is not there."""
    path = folder / file.file_name if folder else None
    if path is None or not path.is_file():
        return None
    state = path.stat()
    return _digest(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=64)
def _digest(path: Path, _state: tuple[int, int, int]) -> str:
    """Of a file as it is: half a gigabyte takes a second, and a campaign asks for each run."""
    return sha256_of(path)


def _part(file: WeightFile, digest: str | None) -> WeightsPart:
    return WeightsPart(
        name=file.name,
        file=file.file_name if digest else None,
        sha256=f"sha256:{digest}" if digest else None,
        architecture=file.architecture if file.is_own else None,
        description=file.description,
    )


def _weights_missing(missing: Mapping[WeightFile, str], folder: Path | None) -> WeightsMissing:
    listed = "; ".join(f"{file.file_name} {problem}" for file, problem in missing.items())
    command = " ".join(file.name for file in missing)
    option = "" if folder in (None, default_weights_folder()) else f" --weights {folder}"
    return WeightsMissing(
        f"pretrained weights: {listed}",
        where=str(folder or "no weights folder"),
        fix=f"python -m harness.weights fetch {command}{option}"
        "  (or, for a trial that takes no rank: --set weights=random)",
    )


def files_of(names: Iterable[str], folder: Path | None) -> list[WeightFile]:
    """The files of these names.

    Raises:
        UsageError: a name is neither in the table nor described, or its description is wrong.
    """
    return [_file_of(name, folder) for name in names]


def _file_of(name: str, folder: Path | None) -> WeightFile:
    try:
        return find_file(name, folder)
    except BadDescription as error:
        raise UsageError(str(error), where=str(folder)) from None
    except ValueError:
        known = [*WEIGHT_FILES, *own_names(folder)]
        own = str(description_path(name, folder)) if folder else f"{name}.toml"
        raise UsageError(
            f"there are no weights for {name!r}",
            where=str(folder or "no weights folder"),
            fix=f"{did_you_mean(name, known)}known: {', '.join(known)}; an own backbone is described"
            f" by {own} (python -m harness.weights add FILE.toml)",
        ) from None


def files_for(
    entries: Iterable[str],
    folder: Path | None,
    *,
    preset: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> list[WeightFile]:
    """The files that entries need, each once, in the order in which they are first needed.

    Args:
        entries: as `evaluate` takes them: names, folders, submissions.
        folder: the weights folder, for descriptions of own backbones.
        preset: whose settings count; None: those of every benchmark's own table, `bmad`.
        overrides: `--set name=value`; one that an entry does not know is left out for it.
    Raises:
        HarnessError: an entry cannot be opened, or has no such preset.
        UsageError: as in `needed_by`, or no entry knows an override.
    """
    from harness.common.paths import BASELINES
    from harness.entries.entry import DEFAULT_PRESET
    from harness.entries.opening import open_entry

    opened = [open_entry(text, known_folders=BASELINES) for text in entries]
    given = dict(overrides or {})
    for name in given:
        if not any(name in entry.document.get("params", {}) for entry in opened):
            raise UsageError(f"no entry has a parameter {name!r}", where="--set")
    found: dict[str, WeightFile] = {}
    for entry in opened:
        own = {
            name: value for name, value in given.items() if name in entry.document.get("params", {})
        }
        # A benchmark's own settings may ask for another backbone; "" has none.
        for benchmark in ("", *entry.document.get("benchmarks", {})):
            settings = entry.settings(benchmark, preset=preset or DEFAULT_PRESET, overrides=own)
            needed = needed_by(entry.table, settings.params, folder)
            found |= {file.name: file for file in needed.files}
    return list(found.values())


def is_pinned(name: str, digest: str | None) -> bool:
    """Whether the committed table knows this file by a digest, and this digest is its.

    Args:
        name: of the file.
        digest: `sha256:…` of what was read; None: ask of the table alone.
    """
    file = WEIGHT_FILES.get(name)
    if file is None or not file.sha256:
        return False
    return digest is None or digest.removeprefix("sha256:").startswith(file.sha256)
