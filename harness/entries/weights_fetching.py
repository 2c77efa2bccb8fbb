"""Bringing a pretrained file into the weights folder: from its publisher, or from a maintainer."""

from __future__ import annotations

import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from baselines.kit.own_backbones import BadDescription, read_description
from baselines.kit.weight_files import BLOCK_BYTES, WeightFile, problem_with, sha256_of
from harness.common.errors import UsageError, WeightsMissing
from harness.console import cli

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
SOCKET_SECONDS = 30.0
RANGE_NOT_SATISFIABLE = 416
SERVER_ERRORS = 500  # this and above may pass; below, asking again does not help
MEBIBYTE = 1024**2


def fetch(
    file: WeightFile, folder: Path, reporter: cli.Reporter, source: str | None = None
) -> Path:
    """Bring one file into `folder`; goes on where an earlier try broke off.

    Args:
        file: which.
        folder: made when it is not there.
        reporter: told how far it is.
        source: address of a folder that holds the file under its name here; None: its publisher.
    Raises:
        WeightsMissing: it cannot be had, or what came is another file.
    """
    path, part = folder / file.file_name, folder / f"{file.file_name}.part"
    if problem_with(file, folder) is None:
        reporter.event(f"{file.file_name} is there already")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    url = file.url if source is None else source.rstrip("/") + "/" + file.file_name
    if not url:
        raise WeightsMissing(
            f"{file.file_name} {problem_with(file, folder)}, and its description names no address",
            where=str(folder),
            fix=f"copy the file to {path}, or give {file.name}.toml an address",
        )
    _download_with_retries(file, part, reporter, url)
    digest = sha256_of(part)
    if not digest.startswith(file.sha256):
        part.unlink()
        raise WeightsMissing(
            f"what came as {file.file_name} has SHA-256 {digest[:8]}…,"
            f" not {file.sha256[:8]}…; it was removed",
            where=url,
            fix="try again; if it stays so, something between here and there changes files",
        )
    part.replace(path)
    reporter.event(f"{file.file_name} sha256:{digest}")
    return path


def _download_with_retries(file: WeightFile, part: Path, reporter: cli.Reporter, url: str) -> None:
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _download(file, part, reporter, url)
        except (OSError, http.client.HTTPException) as error:
            is_final = isinstance(error, urllib.error.HTTPError) and error.code < SERVER_ERRORS
            if is_final or attempt == ATTEMPTS:
                raise WeightsMissing(
                    f"{file.file_name} could not be fetched: {error}",
                    where=url,
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
        _check_space(part.parent, (total or (file.mebibytes or 0) * MEBIBYTE) - have)
        with part.open("ab" if have else "wb") as stream:
            while block := answer.read(BLOCK_BYTES):
                stream.write(block)
                have += len(block)
                reporter.progress(
                    f"{file.name} MiB", have // MEBIBYTE, (total or 0) // MEBIBYTE or None
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


def add_own(description: Path, folder: Path, reporter: cli.Reporter) -> WeightFile:
    """Take a maintainer's own backbone into `folder`: its description, and the file it names.

    The file comes from beside the description, or from its address; both are checked before
    either is kept.

    Args:
        description: `<name>.toml`.
        folder: made when it is not there.
        reporter: told how far it is.
    Raises:
        UsageError: the description is wrong.
        WeightsMissing: the file is neither beside it nor to be had, or is another one.
    """
    try:
        file = read_description(description)
    except BadDescription as error:
        raise UsageError(str(error), where=str(description)) from None
    except OSError as error:
        raise UsageError(
            f"the description cannot be read: {error.strerror}", where=str(description)
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    beside = description.parent / file.file_name
    if beside.is_file() and problem_with(file, folder):
        if problem := problem_with(file, description.parent):
            raise WeightsMissing(
                f"{file.file_name} {problem}",
                where=str(description.parent),
                fix=f"correct sha256 in {description.name}, or take the file that it means",
            )
        _check_space(folder, beside.stat().st_size)
        _copy(beside, folder / file.file_name)
    fetch(file, folder, reporter)
    if description.resolve() != (folder / description.name).resolve():
        _copy(description, folder / description.name)
    return file


def _copy(source: Path, target: Path) -> None:
    """The file under its new name, whole or not at all, readable for whoever runs an entry."""
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, part)
    part.chmod(0o644)
    part.replace(target)
