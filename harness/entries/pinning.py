"""Pins what is submitted, by digest or hash, so that what runs later is what was checked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import EntryInvalid, InfrastructureFault

if TYPE_CHECKING:
    from harness.engines.base import Engine, Program
    from harness.entries.entry import Entry, SubmissionTable


def pinned_table(
    table: SubmissionTable,
    entry: Entry,
    program: Program,
    engine: Engine,
    archive: Path | None = None,
) -> SubmissionTable:
    """The table with what must not change from now on.

    Args:
        table: what the submission's file will say, not pinned yet.
        entry: the entry as it was named.
        program: what was checked.
        engine: where that was done.
        archive: the image is to be written to this file, because no registry holds it.
    Raises:
        EntryInvalid: no registry holds the image, or its name has moved on meanwhile.
    """
    from harness.entries.identity import submitted_folder_hash

    if entry.kind == "folder":
        digest = submitted_folder_hash(entry.folder)
        return table.model_copy(update={"folder": table.name, "folder_hash": digest})
    if entry.kind == "archive":
        return _with_archive(table, Path(entry.source), program)
    again = engine.prepare_image(entry.source, entry.name)
    if again.image != program.image:
        raise EntryInvalid(
            f"{entry.source} was moved to another image while it was being checked",
            where=entry.source,
            fix="submit it again under a tag that stays, or by its digest",
        )
    if archive is not None:
        _save(engine, program, archive)
        return _with_archive(table, archive, program)
    pinned_table = engine.pin(program, entry.source)
    if pinned_table is None:
        raise EntryInvalid(
            f"no registry holds {entry.source}, so nobody else could run it",
            where=entry.source,
            fix=f"docker push {entry.source}, or write it to a file with --archive {table.name}.tar",
        )
    return table.model_copy(update={"image": pinned_table, "content": program.content})


def _with_archive(table: SubmissionTable, archive: Path, program: Program) -> SubmissionTable:
    from harness.entries.submissions import archive_file_hash

    return table.model_copy(
        update={
            "archive": archive.name,
            "archive_hash": archive_file_hash(archive),
            "content": program.content,
        }
    )


def _save(engine: Engine, program: Program, path: Path) -> None:
    """`docker save`, whole or not at all."""
    from harness.common.statuses import RunEnded

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        try:
            engine.save_archive(program, Path(folder) / "image.tar")
        except RunEnded as end:
            raise InfrastructureFault(end.status, end.detail, end.cause) from end
        (Path(folder) / "image.tar").rename(path)
