"""Makes an entry startable: its image is built, loaded, found or pulled where the engine has images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.common.errors import InfrastructureFault
from harness.common.statuses import RunEnded
from harness.engines.base import Engine, Program
from harness.entries.entry import Entry
from harness.entries.identity import (
    folder_identity,
    listing_hash,
    shared_sources,
    submitted_folder_hash,
)
from harness.entries.submissions import prepare_submission


def prepare_program(entry: Entry, engine: Engine) -> Program:
    """Make an entry startable: build, resolve or load its image where the engine has images.

    Raises:
        EntryInvalid: the entry cannot be built, or its image is not acceptable.
        InfrastructureFault: the image can be neither found nor pulled.
    """
    try:
        if entry.kind == "folder":
            identity = folder_identity(entry.folder)
            program = engine.prepare_folder(entry.folder.resolve(), entry.name, identity)
            return replace(
                program,
                source=identity,
                own_files=submitted_folder_hash(entry.folder),
                shared_files=listing_hash(shared_sources()),
            )
        if entry.kind == "archive":
            return engine.prepare_archive(Path(entry.source), entry.name)
        if entry.kind == "submission":
            return prepare_submission(entry, engine)
        return engine.prepare_image(entry.source, entry.name)
    except RunEnded as end:
        raise InfrastructureFault(end.status, end.detail, end.cause) from end
