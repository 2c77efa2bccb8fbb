"""Reviewed sets for tests: what was reviewed is a value that is passed in."""

from __future__ import annotations

from collections.abc import Iterable

from harness.entries.entry import Entry, EntryTable, SubmissionTable
from harness.entries.reviewed import ReviewedFolder, ReviewedSet
from harness.records.record import Record, content_hash

COMMIT = "c" * 40


def reviewed_folder(record: Record, **document: object) -> ReviewedFolder:
    """A committed folder whose settings are those of a record."""
    told = record.entry
    table = EntryTable(name=told.name, title=told.title)
    rule = {"training": told.checkpoint_rule} if told.checkpoint_rule else {}
    written = {"params": told.params, "presets": {told.preset: {}}} | rule | document
    entry = Entry("folder", table, f"baselines/{told.name}", document=written)
    return ReviewedFolder(entry, COMMIT, f"baselines/{told.name}", content_hash(told.source))


def all_reviewed(records: Iterable[Record], **submissions: SubmissionTable) -> ReviewedSet:
    """A branch that holds the folders of these records under their settings, and submissions."""
    return ReviewedSet(
        folders={r.entry.source: reviewed_folder(r) for r in records if r.entry.source},
        submissions={name: Entry("submission", table, name) for name, table in submissions.items()},
        branch="origin/main",
    )
