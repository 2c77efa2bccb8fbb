"""Submits an entry: everything checked before anything is written, then pinned, then its file."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    from harness.records.supervision import Supervision


def submit(options: argparse.Namespace, reporter: cli.Reporter) -> str:
    """Check, pin and write; returns what to tell the author.

    Raises:
        UsageError: an option is wrong, or the file exists.
        EntryInvalid: the entry or its fields have problems; all that could be found, at once, and
            of a folder before anything is built.
        EntryFailed: it does not keep the contract on the demo pack.
        EnvironmentFault: the check itself cannot be made.
    """
    from harness.common.paths import SUBMISSIONS

    options.submissions = options.submissions or SUBMISSIONS
    cli.read_limits(options.limit)
    candidate = _open(options)
    problems = [*candidate.problems, *_name_problems(options, candidate)]
    if problems and candidate.entry.kind == "folder":
        raise _invalid(candidate.entry.source, problems)
    program = _prepare(candidate, problems)
    if program is not None:
        problems += _twin_problems(options, candidate, program)
    if problems or program is None:
        raise _invalid(candidate.entry.source, problems)
    _check(candidate, program, options, reporter)
    kept = _keep_earlier_archive(options, candidate.before)
    table = pinned_table(
        candidate.table, candidate.entry, program, candidate.engine, options.archive
    )
    return _write(options, replace(candidate, table=_after(candidate.before, table)), kept)


@dataclass(frozen=True)
class Candidate:
    """What is to be submitted."""

    entry: Entry
    """The entry as it was named."""
    table: SubmissionTable
    """What its file will say."""
    problems: list[str]
    """What is wrong with that."""
    engine: Engine
    """Where it is checked."""
    before: SubmissionTable | None
    """What its file says today, where a corrected version takes its place."""
    limits: Mapping[str, float | int]
    """The limits that its file will ask for."""
    supervision: Supervision | None
    """What its file will declare; None of a folder, which says so itself."""


def _open(options: argparse.Namespace) -> Candidate:
    from harness.common.paths import BASELINES
    from harness.engines import choose_engine, how_to_isolate
    from harness.entries.opening import open_entry
    from harness.entries.submissions import read_submission_supervision
    from harness.running.declaring import declared_supervision

    is_folder = Path(options.entry).is_dir()
    entry = _folder(options) if is_folder else open_entry(options.entry, known_folders=BASELINES)
    if entry.kind == "submission":
        raise UsageError(
            "this is a submission file already",
            where=options.entry,
            fix="name the image, archive or folder; with --update it takes the place of what the"
            " file pins",
        )
    if options.archive and entry.kind != "image":
        raise UsageError("--archive writes an image; this is none", where="--archive")
    if options.archive and not options.archive.name.endswith(".tar"):
        raise UsageError(f"{options.archive} does not end in .tar", where="--archive")
    engine = choose_engine("auto" if options.engine == "process" else options.engine)
    if engine.at_most == "none" or options.engine == "process":
        raise UsageError(
            "a submission is checked as it will run: in a container",
            where="--engine",
            fix=f"{how_to_isolate()}; while you write it: python -m harness.check --engine process",
        )
    engine.check()
    before = _file_before(options, options.name or entry.name)
    table, problems = _table(options, entry, before)
    limits, more = _asked(options, table.name)
    entry = replace(entry, limits={**entry.limits, **limits})
    path = options.submissions / f"{table.name}.toml"
    earlier = read_submission_supervision(path) if before is not None else None
    supervision, unsaid = declared_supervision(options, entry, earlier)
    problems += [*more, *unsaid]
    return Candidate(entry, table, problems, engine, before, limits, supervision)


def _folder(options: argparse.Namespace) -> Entry:
    """The folder, or everything that is wrong with it and with what it should say of itself."""
    from harness.entries.opening import read_folder

    folder = Path(options.entry)
    found = read_folder(folder)
    if found.entry is not None:
        return found.entry
    problems = [error.what for error in found.errors]
    if (folder / "entry.toml").is_file():
        before = _file_before(options, folder.resolve().name)
        told = {**(before.model_dump() if before else {}), **found.declared, **_given(options)}
        problems += _missing(told)
        problems += _source_problems(folder)
    fixes = dict.fromkeys(error.fix for error in found.errors if error.fix)
    raise _invalid(str(folder), problems, fix="; ".join(fixes))


def _file_before(options: argparse.Namespace, name: str) -> SubmissionTable | None:
    """What a submission's file says that is to be updated; None where it is a first one.

    Raises:
        UsageError: there is none to update.
        EntryInvalid: it is no submission file.
    """
    from harness.entries.submissions import read_submission_table

    path = options.submissions / f"{name}.toml"
    if not options.update:
        return None
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in options.submissions.glob("*.toml")))
        raise UsageError(
            f"there is no submission {name!r} to update",
            where=str(path),
            fix=f"leave --update out for a first version; submissions: {there or 'none'}",
        )
    return read_submission_table(path)


def _after(before: SubmissionTable | None, table: SubmissionTable) -> SubmissionTable:
    """The table of a corrected version: what stays, and what the versions before it pinned."""
    if before is None:
        return table
    pins = [*before.earlier, before.pinned]
    earlier = tuple(dict.fromkeys(pin for pin in pins if pin and pin != table.pinned))
    return table.model_copy(update={"earlier": earlier[-MAX_EARLIER:]})


MAX_EARLIER = 50  # versions that a file names


def _given(options: argparse.Namespace) -> dict[str, object]:
    """What the command line says of the entry."""
    return {name: value for name in DECLARED if (value := getattr(options, name))}


def _missing(told: Mapping[str, object]) -> list[str]:
    return [f"--{name} is missing" for name in FIELDS_NEEDED if not told.get(name)]


def _table(
    options: argparse.Namespace, entry: Entry, before: SubmissionTable | None
) -> tuple[SubmissionTable, list[str]]:
    """The file's table and all that is wrong with what was declared."""
    from pydantic import ValidationError

    from harness.common.declared_text import text_problems
    from harness.entries.entry import EntryTable, SubmissionTable

    given = _given(options)
    base = entry.table.model_dump(include=set(EntryTable.model_fields) - {"image"})
    if entry.kind != "folder":
        base["title"] = given.get("name", "")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    told = {**base, "submitted": today}
    if before is not None:
        # What an entry does not say of itself stays as it was; so does what is not its to change.
        silent = EntryTable(name=entry.table.name, title=given.get("name", "")).model_dump()
        kept = {n for n in DECLARED if n == "team" or not base.get(n) or base[n] == silent.get(n)}
        told |= before.model_dump(include={*kept, "submitted", "withdrawn"} - {"name"})
        told |= {"updated": today}
    told |= given
    told["team"] = told.get("team") or next(iter(told["authors"]), "")
    problems = text_problems(told)
    if before is not None and told["team"] != before.team:
        problems.append(f"its team is {before.team!r}, and stays so")
    if not options.name and entry.kind != "folder":
        problems.append("--name is missing")
    problems += _missing(told)
    try:
        return SubmissionTable.model_validate(told), problems
    except ValidationError as error:
        problems += [
            one_line(f"{'.'.join(map(str, e['loc']))}: {e['msg']}") for e in error.errors()
        ]
        return SubmissionTable(name=entry.table.name, title=entry.table.title), problems


def _asked(options: argparse.Namespace, name: str) -> tuple[dict[str, float | int], list[str]]:
    """The limits that the file will ask for: those of `--limit`, which it is checked under.

    A corrected version asks for what the one before it asked for, where nothing else is said.
    """
    from harness.entries.asked_limits import asked_limits
    from harness.entries.submissions import read_submission_limits

    limits = cli.read_limits(options.limit).as_dict()
    told = {each: limits[each] for each in cli.assignments(options.limit, "--limit")}
    told.pop("threads", None)  # of this machine, not of the entry
    path = options.submissions / f"{name}.toml"
    try:
        before = read_submission_limits(path) if options.update and path.is_file() else {}
        return before | asked_limits(told, "--limit"), []
    except EntryInvalid as error:
        return {}, [f"[limits]: {error.what}"]


FIELDS_NEEDED = ("authors", "paper", "code", "licence")
DECLARED = (
    "name", "title", "authors", "team", "paper", "code", "licence", "family", "pretraining",
    "external_data", "description",
)  # fmt: skip


def _name_problems(options: argparse.Namespace, candidate: Candidate) -> list[str]:
    """Why the file cannot be written under this name."""
    from harness.common.paths import BASELINES, PUBLISHED_RECORDS
    from harness.entries.submissions import name_problem
    from harness.records.store import Store

    entry, name = candidate.entry, candidate.table.name
    path = options.submissions / f"{name}.toml"
    before = [other.stem for other in sorted(options.submissions.glob("*.toml"))]
    problem = name_problem(name, Store(PUBLISHED_RECORDS).records(), before)
    if problem and entry.kind == "folder" and entry.folder.resolve() == BASELINES / name:
        problem = f"{name} is a baseline of this repository already: there is nothing to submit"
    problems = [problem] if problem else []
    is_new = candidate.before is None
    if is_new and path.exists():
        problems.append(
            f"{path} exists already and is not overwritten: a corrected version of it is handed in"
            " with --update"
        )
    if is_new and options.archive and options.archive.exists():
        problems.append(f"{options.archive} exists already and is not overwritten")
    if entry.kind == "folder":
        if name != entry.name:
            problems.append(f"the folder calls itself {entry.name!r}, and --name says {name!r}")
        problems += _source_problems(entry.folder)
        target = options.submissions / name
        if is_new and target.exists() and target.resolve() != entry.folder.resolve():
            problems.append(f"{target} exists already and is not overwritten")
    return problems


def _source_problems(folder: Path) -> list[str]:
    """What in a folder nobody can review, and a Dockerfile that stands on another base."""
    from harness.board.tracks import unreviewable_files

    problems = unreviewable_files(folder)
    dockerfile = folder / "Dockerfile"
    if dockerfile.is_file() and not stands_on_the_base(dockerfile.read_text("utf-8", "replace")):
        problems.append(
            "its Dockerfile does not begin with the lines `ARG BASE` and `FROM ${BASE}`, and build"
            " on nothing else (most folders need none)"
        )
    return problems


def stands_on_the_base(dockerfile: str) -> bool:
    """Whether a Dockerfile builds on the base that the harness gives it, and on nothing else."""
    lines = [line.split() for line in dockerfile.splitlines()]
    told = [words for words in lines if words and not words[0].startswith("#")]
    froms = [words[1] for words in told if words[0].upper() == "FROM" and len(words) > 1]
    names = {words[3] for words in told if words[0].upper() == "FROM" and len(words) == 4}
    is_first = len(told) > 1 and told[0][0].upper() == "ARG" and told[0][1:2] == ["BASE"]
    return is_first and bool(froms) and all(one in ("${BASE}", "$BASE", *names) for one in froms)


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


def _invalid(source: str, problems: Sequence[str], *, fix: str = "") -> EntryInvalid:
    count = len(problems)
    listed = "\n".join(f"  - {problem}" for problem in problems)
    return EntryInvalid(
        f"the submission has {count} problem{'s' if count != 1 else ''}:\n{listed}\n",
        where=source,
        fix=fix or "see submissions/README.md; a folder's entry.toml may say what an option does",
    )


def _check(
    candidate: Candidate, program: Program, options: argparse.Namespace, reporter: cli.Reporter
) -> None:
    """The whole contract on the demo pack, as `harness.check` does it.

    Raises:
        EntryInvalid, EntryFailed: it does not keep it; its log has been shown.
    """
    from harness.benchmarks import check_cache, default_cache, demo_pack
    from harness.running.checking import CheckReport, check_program
    from harness.running.regimes import Ground

    engine = candidate.engine
    reporter.event(
        f"checking {candidate.table.name} on the demo pack · {options.device} · {engine.describe()}"
    )
    verdict = CheckReport(candidate.table.name, engine=engine.describe())
    cache = default_cache()
    check_cache(cache)
    pack = demo_pack(cache)
    check_program(
        verdict,
        candidate.entry,
        program,
        engine=engine,
        options=options,
        reporter=reporter,
        ground=Ground((pack,), pack),
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


def _keep_earlier_archive(
    options: argparse.Namespace, before: SubmissionTable | None
) -> Path | None:
    """Give the archive that a new one takes the place of its own name; where it is then."""
    from harness.entries.submissions import archive_file_hash, digest_name

    if before is None or not options.archive or not options.archive.exists():
        return None
    kept = digest_name(options.archive.name, archive_file_hash(options.archive))
    moved: Path = options.archive.rename(options.archive.with_name(kept))
    return moved


def _write(options: argparse.Namespace, candidate: Candidate, kept: Path | None) -> str:
    """Write the file, and a folder's copy beside it; returns what happens next."""
    from harness.entries import submissions

    entry, table = candidate.entry, candidate.table
    path, target = options.submissions / f"{table.name}.toml", options.submissions / table.name
    if entry.kind == "folder" and target.resolve() != entry.folder.resolve():
        _copy_folder(entry.folder, target, table)
    text = submissions.submission_text(table, candidate.limits, candidate.supervision)
    if candidate.before is None:
        submissions.write_new(path, text)
    else:
        submissions.rewrite(path, text)
    lines = [f"wrote {path}"]
    if table.folder:
        lines.append(f"its source: {target}")
    if table.archive:
        lines.append(f"its archive: {table.archive} ({table.archive_hash})")
    if kept is not None:
        lines.append(f"the archive before it is kept: {kept}")
    steps = _next_steps(table) if candidate.before is None else _update_steps(table)
    return "\n".join([*lines, "", "What happens next:", *steps])


def _copy_folder(source: Path, target: Path, table: SubmissionTable) -> None:
    """A copy of the checked files, in place of an older one, or nothing.

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
        if target.exists():
            target.rename(Path(folder) / "before")
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


def _update_steps(table: SubmissionTable) -> list[str]:
    """The same for a corrected version."""
    name, source = table.name, f" and submissions/{table.name}/" if table.folder else ""
    steps = [f"Open a pull request that changes submissions/{name}.toml{source}."]
    if table.archive:
        steps.append(f"Hand the archive {table.archive} to a maintainer.")
    steps += [
        f"A maintainer sees that it is yours (harness.publish check --owns {name}) and merges.",
        "The queue evaluates it anew; its older records move to history, with what they pinned.",
    ]
    return [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]
