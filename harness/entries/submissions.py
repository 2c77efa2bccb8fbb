"""Submission files as a whole: written once, pinned to what was checked, and nothing twice.

    submissions/<name>.toml     who it is and what it pins
    submissions/<name>/         its source folder, where the harness builds and trains it
    submissions/<name>.tar      its image archive, where it was not pushed (handed over, not committed)

Traps: a file here is a stranger's pull request. What it says of itself is held against what
is really there: the folder's hash when it is opened, the archive's and the image's when they
are prepared, so that what runs is what was checked and reviewed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.common.declared_text import text_problems
from harness.common.errors import DataMissing, EntryInvalid, HarnessError, UsageError
from harness.common.lookalikes import key_of
from harness.common.paths import BASELINES, REPOSITORY, SUBMISSIONS
from harness.common.toml_text import BadToml, parse_toml, read_toml
from harness.entries.asked_limits import asked_limits
from harness.entries.entry import Entry, SubmissionTable, parse, supervision_of
from harness.entries.identity import method_hash
from harness.entries.opening import open_entry
from harness.records import store
from harness.records.store import replacing

if TYPE_CHECKING:
    from harness.engines.base import Engine, Program
    from harness.records.record import Record
    from harness.records.supervision import Supervision

ARCHIVES_VARIABLE = "BMAD_ARCHIVES"
# In the order in which they are written; what an entry does not say is left out.
WRITTEN = (
    "name", "title", "team", "authors", "image", "archive", "archive_hash", "folder", "folder_hash",
    "content", "family", "paper", "code", "licence", "pretraining", "external_data", "description",
    "submitted", "updated", "earlier", "withdrawn",
)  # fmt: skip
logger = logging.getLogger("harness.entries")
NEEDED = ("team", "authors", "paper", "code", "licence", "submitted")


@dataclass(frozen=True)
class Twin:
    """Something that is on the board already under another name."""

    name: str
    """The name under which it came first."""
    what: str
    """What is the same, in words."""


def submission_text(
    table: SubmissionTable,
    limits: Mapping[str, float | int] | None = None,
    supervision: Supervision | None = None,
) -> str:
    """The file of a submission, with the limits that it asks for and what it had learned from."""
    values = table.model_dump()
    lines = [
        f"{name} = {json.dumps(values[name], ensure_ascii=False)}"
        for name in WRITTEN
        if values[name]
    ]
    asked = [f"{name} = {json.dumps(value)}" for name, value in (limits or {}).items()]
    told = [] if supervision is None else ["", *_supervision_lines(supervision)]
    return (
        "\n".join(["[entry]", *lines, *(["", "[limits]"] if asked else []), *asked, *told]) + "\n"
    )


def _supervision_lines(supervision: Supervision) -> list[str]:
    """The table `[supervision]`."""
    told = supervision.model_dump(mode="json")
    seen = told.pop("contamination")
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in told.items()]
    pairs = [f"{json.dumps(pack)} = {json.dumps(what)}" for pack, what in seen.items()]
    return ["[supervision]", *lines, "", "[supervision.contamination]", *pairs]


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet: whole or not at all, and never over another.

    Raises:
        UsageError: the file exists, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path.parent) as temporary:
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(0o644)
            os.link(temporary, path)
    except FileExistsError as error:
        raise UsageError(
            "the file exists already and is not overwritten",
            where=str(path),
            fix="choose another --name, or remove the file first",
        ) from error
    except OSError as error:
        raise UsageError(
            f"the file cannot be written: {error.strerror}", where=str(path)
        ) from error


def read_submission_table(path: Path) -> SubmissionTable:
    """The `[entry]` of a submission file, whatever became of what it pins.

    Raises:
        EntryInvalid: it is none.
    """
    return parse(SubmissionTable, _document(path).get("entry", {}), f"{path}: [entry]")


def read_submission_limits(path: Path) -> dict[str, float | int]:
    """The `[limits]` of a submission file.

    Raises:
        EntryInvalid: they are none, or beyond what an entry may ask for.
    """
    return asked_limits(_document(path).get("limits", {}), str(path))


def read_submission_supervision(path: Path) -> Supervision | None:
    """The `[supervision]` of a submission file; None where it has none.

    Raises:
        EntryInvalid: it is no such table.
    """
    return supervision_of(_document(path), str(path))


def _document(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except BadToml as error:
        raise EntryInvalid(f"the file is not valid TOML: {error}", where=str(path)) from error


def rewrite(path: Path, text: str) -> None:
    """Replace a submission file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=folder, prefix=".writing-")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def open_all(folder: Path) -> tuple[list[Entry], dict[Path, HarnessError]]:
    """Every submission of a folder by date and name, and the files that are none, with the reason."""
    entries: list[Entry] = []
    invalid: dict[Path, HarnessError] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            entries.append(open_entry(str(path)))
        except HarnessError as error:
            invalid[path] = error
        except Exception as error:  # one file's surprise is never the others'
            logger.exception("%s cannot be opened", path.name)
            invalid[path] = EntryInvalid(f"it cannot be opened: {type(error).__name__}")
    return sorted(entries, key=lambda e: (e.table.submitted or "9999", e.name)), invalid


def withdrawals(folder: Path = SUBMISSIONS) -> dict[str, str]:
    """Reason by name of every submission that was withdrawn."""
    found = {}
    for path in sorted(folder.glob("*.toml")):
        with contextlib.suppress(OSError, BadToml):
            # A folder that changed since its review is withdrawn all the same: only the file counts.
            table = read_toml(path).get("entry", {})
            if isinstance(table, dict) and table.get("withdrawn"):
                found[path.stem] = str(table["withdrawn"])
    return found


def withdraw(path: Path, reason: str) -> None:
    """Write the reason into a submission's file; all else stays as its author wrote it.

    Raises:
        EntryInvalid: there is no such submission, it was withdrawn before, or the reason is no
            plain text.
    """
    if problems := text_problems({"withdrawn": reason}):
        raise EntryInvalid("; ".join(problems), where="--reason")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EntryInvalid(f"there is no submission: {error.strerror}", where=str(path)) from error
    if before := withdrawals(path.parent).get(path.stem):
        raise EntryInvalid(f"it was withdrawn before: {before}", where=str(path))
    text = re.sub(r'^withdrawn *= *""[^\n]*\n', "", text, flags=re.M)
    line = f"withdrawn = {json.dumps(reason, ensure_ascii=False)}"
    changed = re.sub(
        r"^\[entry\][^\n]*$", lambda found: f"{found[0]}\n{line}", text, count=1, flags=re.M
    )
    if parse_toml(changed).get("entry", {}).get("withdrawn") != reason:
        raise EntryInvalid("the file has no table [entry]", where=str(path))
    rewrite(path, changed)


def missing_fields(entry: Entry) -> list[str]:
    """What a submission must say and this one does not, one sentence each."""
    is_folder = entry.kind == "folder"
    needed = [*NEEDED, *(() if is_folder else ("content",))]
    missing = [f"{name} is missing" for name in needed if not getattr(entry.table, name)]
    if entry.supervision is None:
        where = " of its entry.toml" if is_folder else ""
        missing.append(f"the table [supervision]{where} is missing")
    return missing


def marks(entry: Entry) -> dict[str, str]:
    """What must not stand on the board twice, by hash, each with its words."""
    table = entry.table
    if entry.kind == "folder":
        return {method_hash(entry.folder): "source"}
    if not isinstance(table, SubmissionTable):
        return {}
    found: dict[str | None, str] = dict.fromkeys(table.earlier, "earlier version")
    found |= {table.content: "image content", table.archive_hash: "image archive"}
    if table.image:
        found[table.image.rpartition("@")[2]] = "image"
    return {mark: what for mark, what in found.items() if mark}


def find_twin(name: str, wanted: Mapping[str, str], others: Iterable[Entry]) -> Twin | None:
    """The first of the others that has one of these marks under another name."""
    for other in others:
        if other.name != name:
            for mark in marks(other):
                if mark in wanted:
                    return Twin(other.name, wanted[mark])
    return None


def find_recorded_twin(name: str, program: Program, records: Iterable[Record]) -> Twin | None:
    """A record of the same program under another name."""
    for record in records:
        same = (record.entry.identity, record.entry.image_digest)
        if record.entry.name != name and (
            program.identity == same[0]
            or (program.image_digest and program.image_digest == same[1])
        ):
            return Twin(record.entry.name, "program")
    return None


def find_published_twin(
    name: str, wanted: Mapping[str, str], records: Iterable[Record]
) -> Twin | None:
    """A record, of another name, of something that bears one of these marks."""
    for record in records:
        digest = (record.entry.image_digest or "").rpartition("@")[2]
        for mark in (record.entry.metadata.get("pinned"), digest):
            if record.entry.name != name and mark in wanted:
                return Twin(record.entry.name, wanted[str(mark)])
    return None


def name_problem(
    name: str, records: Iterable[Record], submissions: Iterable[str] = ()
) -> str | None:
    """Why a submission may not bear this name: it is another entry's, or looks like it.

    Args:
        name: the name.
        records: what stands on the board.
        submissions: names of the submissions that came before.
    """
    ours = [entry.name for entry in baselines()]
    if name in ours:
        return f"{name} is the name of a baseline"
    shown = {record.entry.name: "pinned" in record.entry.metadata for record in records}
    if shown.get(name) is False:
        return f"{name} is the name of an entry on the board that is no submission"
    for other in (*ours, *submissions, *shown):
        if other != name and key_of(other) == key_of(name):
            return f"{name} can be taken for {other}, which came first"
    return None


def title_problem(title: str, others: Iterable[str]) -> str | None:
    """Why a submission may not bear this title: it is written to be read as another entry's.

    The same title in the same characters is allowed: a method may be implemented twice.

    Args:
        title: the title.
        others: titles of what came before.
    """
    plain = " ".join(title.casefold().split())
    for other in others:
        if key_of(other) == key_of(title) and " ".join(other.casefold().split()) != plain:
            return f"its title can be taken for {other!r}, and is written in other characters"
    return None


def baselines() -> list[Entry]:
    """The project's own folders: they must not be submitted under another name.

    A folder that somebody made in `baselines/` and nobody committed is not one of them.
    """
    ours = committed_folders(BASELINES)
    return [
        open_entry(str(path.parent))
        for path in sorted(BASELINES.glob("*/entry.toml"))
        if ours is None or path.parent.name in ours
    ]


def committed_folders(parent: Path) -> frozenset[str] | None:
    """Names of the folders of a folder of this checkout that are in its commit; None: git cannot tell."""
    if not parent.is_relative_to(REPOSITORY):
        return None
    where = f"HEAD:{parent.relative_to(REPOSITORY).as_posix()}"
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), "ls-tree", "-d", "-z", "--name-only", where],
            capture_output=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(os.fsdecode(done.stdout).split("\0")[:-1])


def prepare_submission(entry: Entry, engine: Engine) -> Program:
    """The image of a submission, held to what its file pins.

    Raises:
        EntryInvalid: it is not the one that was submitted, or is not acceptable.
        RunEnded: `image_unavailable` when it can be neither found nor pulled.
    """
    table, where = entry.table, str(entry.submission or entry.source)
    if isinstance(table, SubmissionTable) and table.archive:
        archive = find_archive(table, entry.submission)
        if (found := archive_file_hash(archive)) != table.archive_hash:
            raise EntryInvalid(
                f"the archive is not the one that was submitted: its hash is {found}",
                where=str(archive),
                fix="get the archive that the submission pins, or submit this one anew",
            )
        program = engine.prepare_archive(archive, entry.name)
    else:
        program = engine.prepare_image(entry.source, entry.name)
    wanted = table.content if isinstance(table, SubmissionTable) else None
    if wanted is not None and program.content != wanted:
        raise EntryInvalid(
            f"the image is not the one that was submitted: its content is {program.content}",
            where=where,
            fix="submit it again, so that what runs is what was checked",
        )
    return program


def find_archive(table: SubmissionTable, submission: Path | None) -> Path:
    """Where the archive of a submission lies: beside its file, or in $BMAD_ARCHIVES.

    An archive that a newer one took the name of is kept under `digest_name`.

    Raises:
        DataMissing: in neither. It was handed over, so it is this machine that lacks it.
    """
    folders = [submission.parent] if submission else []
    if given := os.environ.get(ARCHIVES_VARIABLE):
        folders.append(Path(given))
    names = [digest_name(table.archive, table.archive_hash or ""), table.archive]
    for name in names:
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    raise DataMissing(
        f"the archive {table.archive} of the submission {table.name} is not on this machine",
        where=", ".join(map(str, folders)),
        fix=f"put it beside the submission file, or set {ARCHIVES_VARIABLE} to its folder; its"
        f" author handed it over (its hash: {table.archive_hash})",
    )


def digest_name(archive: str, archive_hash: str) -> str:
    """`mine.tar` of a hash as `mine-<12 digits>.tar`: where it stays when another takes its name."""
    stem, dot, rest = archive.partition(".tar")
    return f"{stem}-{archive_hash.removeprefix('sha256:')[:12]}{dot}{rest}"


def archive_file_hash(path: Path) -> str:
    """`sha256:…` of a file's bytes.

    Raises:
        EntryInvalid: it cannot be read.
    """
    try:
        return store.file_hash(path)
    except OSError as error:
        raise EntryInvalid(f"the file cannot be read: {error.strerror}", where=str(path)) from error
