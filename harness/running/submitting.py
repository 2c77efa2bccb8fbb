"""Submits an entry: everything checked before anything is written, then pinned, then its file."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import EntryFailed, EntryInvalid, InfrastructureFault, UsageError
from harness.common.foreign_text import one_line
from harness.console import cli
from harness.entries.pinning import pinned_table

if TYPE_CHECKING:
    import argparse

    from harness.engines.base import Engine, Program
    from harness.entries.entry import Entry, SubmissionTable


def submit(options: argparse.Namespace, reporter: cli.Reporter) -> str:
    """Check, pin and write; returns what to tell the author.

    Raises:
        UsageError: an option is wrong, or the file exists.
        EntryInvalid: the entry or its fields have problems; all that could be found, at once.
        EntryFailed: it does not keep the contract on the demo pack.
        EnvironmentFault: the check itself cannot be made.
    """
    from harness.common.paths import SUBMISSIONS

    options.submissions = options.submissions or SUBMISSIONS
    cli.read_limits(options.limit)
    candidate = _open(options)
    problems = [*candidate.problems, *_name_problems(options, candidate)]
    program = _prepare(candidate, problems)
    if program is not None:
        problems += _twin_problems(options, candidate, program)
    if problems or program is None:
        raise _invalid(candidate, problems)
    _check(candidate, program, options, reporter)
    table = pinned_table(
        candidate.table, candidate.entry, program, candidate.engine, options.archive
    )
    return _write(options, candidate, table)


@dataclass
class Candidate:
    """What is to be submitted."""

    entry: Entry
    """The entry as it was named."""
    table: SubmissionTable
    """What its file will say, not pinned yet."""
    problems: list[str]
    """What is wrong with that."""
    engine: Engine
    """Where it is checked."""


def _open(options: argparse.Namespace) -> Candidate:
    from harness.common.paths import BASELINES
    from harness.engines import choose_engine
    from harness.entries.opening import open_entry

    entry = open_entry(options.entry, known_folders=BASELINES)
    if entry.kind == "submission":
        raise UsageError("this is a submission file already", where=options.entry)
    if options.archive and entry.kind != "image":
        raise UsageError("--archive writes an image; this is none", where="--archive")
    if options.archive and not options.archive.name.endswith(".tar"):
        raise UsageError(f"{options.archive} does not end in .tar", where="--archive")
    engine = choose_engine("auto" if options.engine == "process" else options.engine)
    if engine.isolation == "none" or options.engine == "process":
        raise UsageError(
            "a submission is checked as it will run: in a container",
            where="--engine",
            fix="install and start Docker; while you write it: python -m harness.check --engine process",
        )
    engine.check()
    table, problems = _table(options, entry)
    return Candidate(entry, table, problems, engine)


def _table(options: argparse.Namespace, entry: Entry) -> tuple[SubmissionTable, list[str]]:
    """The file's table and all that is wrong with what was declared."""
    from pydantic import ValidationError

    from harness.common.declared_text import text_problems
    from harness.entries.entry import EntryTable, SubmissionTable

    given = {name: getattr(options, name) for name in DECLARED if getattr(options, name)}
    base = entry.table.model_dump(include=set(EntryTable.model_fields) - {"image"})
    if entry.kind != "folder":
        base["title"] = given.get("name", "")
    told = base | given
    told["team"] = told.get("team") or next(iter(told["authors"]), "")
    told["submitted"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    problems = text_problems(told)
    if not options.name and entry.kind != "folder":
        problems.append("--name is missing")
    needed = ("authors", "paper", "code", "licence")
    problems += [f"--{name} is missing" for name in needed if not told[name]]
    try:
        return SubmissionTable.model_validate(told), problems
    except ValidationError as error:
        problems += [
            one_line(f"{'.'.join(map(str, e['loc']))}: {e['msg']}") for e in error.errors()
        ]
        return SubmissionTable(name=entry.table.name, title=entry.table.title), problems


DECLARED = (
    "name", "title", "authors", "team", "paper", "code", "licence", "family", "pretraining",
    "external_data", "description",
)  # fmt: skip


def _name_problems(options: argparse.Namespace, candidate: Candidate) -> list[str]:
    """Why the file cannot be written under this name."""
    from harness.board.tracks import unreviewable_files
    from harness.common.paths import PUBLISHED_RECORDS
    from harness.entries.submissions import name_problem
    from harness.records.store import Store

    entry, name = candidate.entry, candidate.table.name
    path = options.submissions / f"{name}.toml"
    before = [other.stem for other in sorted(options.submissions.glob("*.toml"))]
    problem = name_problem(name, Store(PUBLISHED_RECORDS).records(), before)
    problems = [problem] if problem else []
    if path.exists():
        problems.append(f"{path} exists already and is not overwritten")
    if options.archive and options.archive.exists():
        problems.append(f"{options.archive} exists already and is not overwritten")
    if entry.kind == "folder":
        if name != entry.name:
            problems.append(f"the folder calls itself {entry.name!r}, and --name says {name!r}")
        problems += unreviewable_files(entry.folder)
        target = options.submissions / name
        if target.exists() and target.resolve() != entry.folder.resolve():
            problems.append(f"{target} exists already and is not overwritten")
    return problems


def _prepare(candidate: Candidate, problems: list[str]) -> Program | None:
    """The program, or None with one more problem."""
    from harness.entries.program import prepare_program

    try:
        program = prepare_program(candidate.entry, candidate.engine)
        if not program.refusal:
            return program
        problems.append(f"the image cannot be run: {program.refusal}")
    except EntryInvalid as error:
        problems.append(f"{error.what} ({error.where})" if error.where else error.what)
    except InfrastructureFault as fault:
        if not problems:
            raise
        problems.append(fault.what)
    return None


def _twin_problems(
    options: argparse.Namespace, candidate: Candidate, program: Program
) -> list[str]:
    """Whether the same program stands on the board under another name already."""
    from harness.common.paths import PUBLISHED_RECORDS
    from harness.entries import submissions
    from harness.records.store import Store

    name = candidate.table.name
    wanted = {program.content: "image content"} if program.content else {}
    wanted |= {program.image_digest.rpartition("@")[2]: "image"} if program.image_digest else {}
    others, _ = submissions.open_all(options.submissions)
    if candidate.entry.kind == "folder":
        wanted = submissions.marks(candidate.entry)
        others += submissions.baselines()
    twin = submissions.find_twin(name, wanted, others) or submissions.find_recorded_twin(
        name, program, Store(PUBLISHED_RECORDS).records()
    )
    return [f"its {twin.what} is on the board already, as {twin.name}"] if twin else []


def _invalid(candidate: Candidate, problems: Sequence[str]) -> EntryInvalid:
    count = len(problems)
    listed = "\n".join(f"  - {problem}" for problem in problems)
    return EntryInvalid(
        f"the submission has {count} problem{'s' if count != 1 else ''}:\n{listed}\n",
        where=candidate.entry.source,
        fix="see submissions/README.md",
    )


def _check(
    candidate: Candidate, program: Program, options: argparse.Namespace, reporter: cli.Reporter
) -> None:
    """The whole contract on the demo pack, as `harness.check` does it.

    Raises:
        EntryInvalid, EntryFailed: it does not keep it; its log has been shown.
    """
    from harness.running.checking import CheckReport, check_program

    engine = candidate.engine
    reporter.event(
        f"checking {candidate.table.name} on the demo pack · {options.device} · {engine.describe()}"
    )
    verdict = CheckReport(candidate.table.name, engine=engine.describe())
    check_program(
        verdict, candidate.entry, program, engine=engine, options=options, reporter=reporter
    )
    verdict.show_log(reporter)
    for check in verdict.checks:
        reporter.event(f"{'ok    ' if check.passed else 'failed'} {check.name}: {check.detail}")
    if verdict.conforms:
        return
    kind = EntryInvalid if verdict.exit_code == EntryInvalid.exit_code else EntryFailed
    failed = "; ".join(f"{c.name}: {c.detail}" for c in verdict.checks if not c.passed)
    raise kind(
        f"it does not keep the contract: {failed}",
        where=candidate.entry.source,
        fix=f"python -m harness.check {candidate.entry.source} shows the same again",
    )


def _write(options: argparse.Namespace, candidate: Candidate, table: SubmissionTable) -> str:
    """Write the file, and a folder's copy beside it; returns what happens next."""
    from harness.entries import submissions

    entry, path = candidate.entry, options.submissions / f"{table.name}.toml"
    target = options.submissions / table.name
    if entry.kind == "folder" and target.resolve() != entry.folder.resolve():
        _copy_folder(entry.folder, target, table)
    submissions.write_new(path, submissions.submission_text(table))
    lines = [f"wrote {path}"]
    if table.folder:
        lines.append(f"its source: {target}")
    if table.archive:
        lines.append(f"its archive: {table.archive} ({table.archive_hash})")
    lines += ["", "What happens next:", *_next_steps(table)]
    return "\n".join(lines)


def _copy_folder(source: Path, target: Path, table: SubmissionTable) -> None:
    """A copy of the checked files, or nothing.

    Raises:
        EntryInvalid: a file was changed since it was checked.
    """
    from harness.common.source_files import copy_source
    from harness.entries.identity import submitted_folder_hash

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-") as folder:
        fresh = Path(folder) / target.name
        copy_source(source, fresh)
        if submitted_folder_hash(fresh) != table.folder_hash:
            raise EntryInvalid(
                "the folder was changed while it was being checked", where=str(source)
            )
        fresh.rename(target)


def _next_steps(table: SubmissionTable) -> list[str]:
    """What the author does, and what a maintainer then does."""
    what = f"submissions/{table.name}.toml"
    handed = []
    if table.folder:
        what += f" and submissions/{table.name}/"
        track = "it competes as trained here, once a maintainer has reviewed its source"
    else:
        track = "it competes on the sealed track, and is shown as open on public packs"
    if table.archive:
        handed = [
            f"  2. Hand the archive {table.archive} to a maintainer; the pull request is without it."
        ]
    number = 2 + len(handed)
    return [
        f"  1. Open a pull request that adds {what}.",
        *handed,
        f"  {number}. A maintainer looks at it and merges; {track}.",
        f"  {number + 1}. The queue evaluates it. The site shows it as waiting until then.",
    ]
