"""Pretrained backbone files: what an entry needs, whether it is there as published, and fetching it."""

from __future__ import annotations

import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.kit.weight_files import (
    BLOCK_BYTES,
    PUBLISHER,
    WEIGHT_FILES,
    WeightFile,
    problem_with,
    sha256_of,
)
from harness.common.errors import UsageError, WeightsMissing
from harness.console import cli

ATTEMPTS = 4


FIRST_PAUSE_SECONDS = 1.0


SOCKET_SECONDS = 30.0


RANGE_NOT_SATISFIABLE = 416


SERVER_ERRORS = 500  # this and above may pass; below, asking again does not help


MEBIBYTE = 1024**2


@dataclass(frozen=True)
class MissingWeights:
    """A file that the weights folder does not hold."""

    file: WeightFile
    """Which."""
    problem: str
    """Why it does not count, in a few words."""


def default_weights_folder() -> Path:
    """`$BMAD_WEIGHTS`, else the folder `weights` in the harness's cache; may not exist yet."""
    from harness.benchmarks import default_cache

    stated = os.environ.get("BMAD_WEIGHTS")
    return Path(stated).expanduser() if stated else default_cache() / "weights"


def missing_weights(backbones: Iterable[str], folder: Path | None) -> list[MissingWeights]:
    """The files among those of `backbones` that `folder` does not hold as published.

    Raises:
        UsageError: a backbone is not in the table.
    """
    missing = []
    for file in files_of(backbones):
        problem = "is not there" if folder is None else problem_with(file, folder)
        if problem:
            missing.append(MissingWeights(file, problem))
    return missing


def require_weights(backbones: Iterable[str], folder: Path | None) -> dict[str, str]:
    """The SHA-256 of every file of `backbones`, as 64 hex digits.

    Raises:
        WeightsMissing: at least one is missing or wrong; the fix names the command.
        UsageError: a backbone is not in the table.
    """
    names = list(backbones)
    missing = missing_weights(names, folder)
    if missing or folder is None:
        listed = "; ".join(f"{item.file.file_name} {item.problem}" for item in missing)
        command = " ".join(item.file.backbone for item in missing)
        option = "" if folder in (None, default_weights_folder()) else f" --weights {folder}"
        raise WeightsMissing(
            f"pretrained weights: {listed}",
            where=str(folder or "no weights folder"),
            fix=f"python -m harness.weights fetch {command}{option}"
            "  (or, for a trial that takes no rank: --set weights=random)",
        )
    return {file.backbone: sha256_of(folder / file.file_name) for file in files_of(names)}


def require_for(
    backbones: Sequence[str], params: Mapping[str, Any], folder: Path | None
) -> dict[str, str]:
    """The same for one entry: only the files that it needs under these parameters.

    Args:
        backbones: `[entry] backbones`: the files it may need.
        params: its resolved parameters; `weights = "random"` needs none, and a parameter
            `backbone` says which one of several.
        folder: the weights folder.
    Raises:
        WeightsMissing: as `require_weights`.
    """
    return require_weights(needed_backbones(backbones, params), folder) if backbones else {}


def needed_backbones(backbones: Sequence[str], params: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of `backbones` whose files an entry with these parameters reads."""
    if params.get("weights") == "random":
        return ()
    chosen = params.get("backbone")
    return tuple(name for name in backbones if name == chosen) or tuple(backbones)


def fetch(file: WeightFile, folder: Path, reporter: cli.Reporter, source: str = PUBLISHER) -> Path:
    """Bring one file into `folder`; goes on where an earlier try broke off.

    Args:
        file: which.
        folder: made when it is not there.
        reporter: told how far it is.
        source: address of a folder that holds the file under its published name.
    Raises:
        WeightsMissing: it cannot be had, or what came is another file.
    """
    path, part = folder / file.file_name, folder / f"{file.file_name}.part"
    if problem_with(file, folder) is None:
        reporter.event(f"{file.file_name} is there already")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    _download_with_retries(file, part, reporter, source)
    digest = sha256_of(part)
    if not digest.startswith(file.sha256):
        part.unlink()
        raise WeightsMissing(
            f"what came as {file.file_name} has SHA-256 {digest[:8]}…,"
            f" not {file.sha256[:8]}…; it was removed",
            where=source,
            fix="try again; if it stays so, something between here and there changes files",
        )
    part.replace(path)
    reporter.event(f"{file.file_name} sha256:{digest}")
    return path


def _download_with_retries(
    file: WeightFile, part: Path, reporter: cli.Reporter, source: str
) -> None:
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _download(file, part, reporter, source.rstrip("/") + "/" + file.file_name)
        except (OSError, http.client.HTTPException) as error:
            is_final = isinstance(error, urllib.error.HTTPError) and error.code < SERVER_ERRORS
            if is_final or attempt == ATTEMPTS:
                raise WeightsMissing(
                    f"{file.file_name} could not be fetched: {error}",
                    where=source,
                    fix="run the command again: it goes on where it stopped. Without a way to the"
                    f" internet, copy the file to {part.parent}, or name a mirror with --source",
                ) from error
            reporter.event(f"{file.file_name}: {error}; trying again in {pause:.0f} s")
            time.sleep(pause)
            pause *= 2
    return None


def _download(file: WeightFile, part: Path, reporter: cli.Reporter, url: str) -> None:
    """One try: asks for what is not there yet and appends it to `part`."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http alone, see _fetch_all
    try:
        answer = urllib.request.urlopen(request, timeout=SOCKET_SECONDS)  # noqa: S310 - same
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != RANGE_NOT_SATISFIABLE:
            raise
        if not sha256_of(part).startswith(file.sha256):
            part.unlink()  # longer than the file, or another file: start again
            raise ConnectionError("the part that was there is not of this file") from error
        return
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # the server sends the whole file whatever was asked
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        _check_space(part.parent, (total or file.mebibytes * MEBIBYTE) - have)
        with part.open("ab" if have else "wb") as stream:
            while block := answer.read(BLOCK_BYTES):
                stream.write(block)
                have += len(block)
                reporter.progress(
                    f"{file.backbone} MiB", have // MEBIBYTE, (total or 0) // MEBIBYTE or None
                )
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def _check_space(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise WeightsMissing(
            f"{needed_bytes // MEBIBYTE} MiB are needed and {free // MEBIBYTE} MiB are free",
            where=str(folder),
            fix="free some space, or name another folder with --weights or $BMAD_WEIGHTS",
        )


def files_of(backbones: Iterable[str]) -> list[WeightFile]:
    """The files of these backbones.

    Raises:
        UsageError: a backbone is not in the table.
    """
    names = list(backbones)
    if unknown := [name for name in names if name not in WEIGHT_FILES]:
        raise UsageError(
            f"there are no weights for {unknown[0]!r}",
            fix="backbones: " + ", ".join(WEIGHT_FILES),
        )
    return [WEIGHT_FILES[name] for name in names]
