"""Finds the entry that a record pins: by content, digest or commit, and never by a bare name.

    folder       as it is here, where that is what stood in the record's commit; else from git
    submission   the file that pins the same, here or in that commit; its archive, or its digest
    archive      the file of that name here, or in $BMAD_ARCHIVES
    image        its registry digest, or its id on this engine

Trap: a record's texts are a stranger's, and a bare name (`mine`) is also that of an image in a
public registry: what is not found here is never asked for there.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.common.errors import UsageError
from harness.common.foreign_text import one_line
from harness.common.paths import REPOSITORY, SUBMISSIONS

if TYPE_CHECKING:
    from harness.records.record import Record


def find_recorded(record: Record, where: Path) -> str:
    """What to evaluate for the program of a record.

    Args:
        record: of a finished run.
        where: a folder of this call's own, for what comes out of git.
    Raises:
        UsageError: it is not here; the message says what the record pins.
    """
    told = str(record.entry.metadata.get("source") or "")
    if record.entry.kind == "folder":
        return str(_folder(record, told, where))
    if record.entry.kind == "submission" and (file := _submission_file(record, where)):
        return str(file)
    if record.entry.kind in ("submission", "archive") and (archive := _archive(told)):
        return str(archive)
    pinned = record.entry.image_digest or record.entry.image
    if record.entry.kind != "archive" and pinned:
        return pinned
    if told.endswith(".tar") or record.entry.kind == "archive":
        option = "FILE.tar, or set BMAD_ARCHIVES to its folder"
        raise _not_here(record, f"the archive {told!r}", option)
    raise _not_here(record, f"the image {told!r}, of which the record has no digest,", "IMAGE")


def _folder(record: Record, told: str, where: Path) -> Path:
    """The folder as it stood in the record's commit, or as it is here where git knows nothing."""
    from harness.entries.identity import submitted_folder_hash

    is_inside = "/" in told and (REPOSITORY / told).resolve().is_relative_to(REPOSITORY)
    here = REPOSITORY / told
    if not is_inside:
        raise _not_here(record, f"the folder {told!r}, which was outside the repository,", "PATH")
    recorded = _from_git(record, told, where)
    if here.is_dir() and (
        recorded is None or submitted_folder_hash(here) == submitted_folder_hash(recorded)
    ):
        return here
    if recorded is None:
        raise _not_here(record, f"the folder {told!r}", "PATH")
    return recorded


def _submission_file(record: Record, where: Path) -> Path | None:
    """The submission file that pins what the record ran, here or in its commit."""
    from harness.common.errors import EntryInvalid
    from harness.entries.submissions import digest_name, read_submission_table

    name = f"{record.entry.name}.toml"
    for path in (SUBMISSIONS / name, _from_git(record, f"submissions/{name}", where)):
        if path is None or not path.is_file():
            continue
        try:
            table = read_submission_table(path)
        except EntryInvalid:
            continue
        if table.pinned != record.entry.metadata.get("pinned"):
            continue
        if table.archive and path.parent != SUBMISSIONS:
            for archive in (table.archive, digest_name(table.archive, table.archive_hash or "")):
                if (SUBMISSIONS / archive).is_file():
                    (path.parent / archive).symlink_to(SUBMISSIONS / archive)
        return path
    return None


def _archive(told: str) -> Path | None:
    """The archive of that name, here or in the folder of archives."""
    from harness.entries.opening import ARCHIVE_SUFFIXES
    from harness.entries.submissions import ARCHIVES_VARIABLE

    name = PurePosixPath(told).name
    if not name.endswith(ARCHIVE_SUFFIXES):
        return None
    folders = [Path.cwd(), *([Path(given)] if (given := os.environ.get(ARCHIVES_VARIABLE)) else [])]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _from_git(record: Record, path: str, where: Path) -> Path | None:
    """A file or folder as it stood in the record's commit; None where git has no such thing."""
    commit = record.source.commit or ""
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        return None  # a changed checkout is no commit
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=tar", commit, "--", path]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(where, filter="data")
    except (OSError, subprocess.SubprocessError, tarfile.TarError):
        return None
    return where / path if (where / path).exists() else None


def _not_here(record: Record, what: str, option: str) -> UsageError:
    pinned = record.entry.metadata.get("pinned") or record.entry.identity
    return UsageError(
        f"{what} is not here, and is looked for nowhere else",
        where=f"the record pins {one_line(pinned)}",
        fix=f"name it with --entry {option}",
    )
