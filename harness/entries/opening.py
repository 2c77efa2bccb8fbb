"""Opens an entry from whatever names it: a folder, a submission file, an archive, an image.

Traps: a folder and an image may have the same spelling, so anything that exists on disk is
read as a path, and a bare name is a baseline or a submission before it is an image; a misspelt
one must not become an image that is then pulled; a submission file is a stranger's, and what it
pins is held against what is there.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.common.declared_text import settings_problems, text_problems
from harness.common.errors import EntryInvalid, UsageError
from harness.common.foreign_text import one_line
from harness.common.near_misses import did_you_mean, near_misses
from harness.common.paths import BASELINES, SUBMISSIONS
from harness.common.toml_text import BadToml, read_toml
from harness.entries.asked_limits import asked_limits
from harness.entries.entry import (
    MAX_PROBLEMS,
    NAME_PATTERN,
    Deviation,
    Entry,
    EntryTable,
    SubmissionTable,
    parse,
    supervision_of,
)
from harness.entries.identity import submitted_folder_hash
from harness.records.record import Parameter
from harness.records.supervision import Supervision

if TYPE_CHECKING:
    from harness.console.cli import Reporter

# host:port/path/name:tag@sha256:… without spaces or a leading slash or dot.
IMAGE_PATTERN = re.compile(
    r"^[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?$"
)
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")
# Half of a frame's line (64 KiB): paths and limits stand in it too, and overrides may grow.
MAX_PARAMS_CHARACTERS = 32 * 1024
# How alike a bare name and a local entry's must be to be one mistyped: padmi and padim are, but
# my-padim and padim are not.
LIKELY_MEANT = 0.8

_SETTINGS = ("presets", "benchmarks", "suites", "regimes")
"""Tables that each hold tables of settings by name."""


class _Sections(BaseModel):
    """The shape of an entry.toml's other tables: what they hold is checked where it is used."""

    model_config = ConfigDict(strict=True)

    deviations: list[dict[str, Any]] = []
    training: dict[str, Any] = {}
    params: dict[str, Parameter] = {}
    presets: dict[str, dict[str, Any]] = {}
    benchmarks: dict[str, dict[str, Any]] = {}
    suites: dict[str, dict[str, Any]] = {}
    regimes: dict[Literal["shots"], dict[str, Any]] = {}


def open_entry(text: str, *, known_folders: Path | None = None) -> Entry:
    """The entry that `text` names: an existing path, a baseline or submission, else an image reference.

    Args:
        text: what stands on the command line.
        known_folders: folder of baselines, beside that of submissions: where a bare name is looked
            up before it can be an image, and near matches of a misspelt one.
    Raises:
        EntryInvalid: the folder, submission file or archive is not a valid entry.
        UsageError: nothing of that name exists, or a bare name is nearly that of a local entry.
    """
    path = Path(text)
    try:
        if path.is_dir():
            return open_folder(path)
        if path.is_file():
            return open_submission(path) if path.suffix == ".toml" else open_archive(path)
    except OSError as error:  # a name too long for a file, a folder that we may not enter
        raise EntryInvalid(
            f"the entry cannot be read: {error.strerror}", where=str(error.filename or text)
        ) from error
    local = _local_entries(known_folders)
    is_bare = bool(NAME_PATTERN.fullmatch(text))
    if is_bare and text in local:
        return open_entry(str(local[text]))
    is_misspelt = is_bare and bool(near_misses(text, local, cutoff=LIKELY_MEANT))
    if is_misspelt or _looks_like_path(text) or not IMAGE_PATTERN.fullmatch(text):
        raise _unknown_entry(text, local)
    return open_image(text)


def _local_entries(baselines: Path | None) -> dict[str, Path]:
    """What this checkout holds, by name: baselines, and submissions that are called otherwise."""
    if baselines is None:
        return {}
    submissions = baselines.parent / SUBMISSIONS.name
    found = {path.stem: path for path in sorted(submissions.glob("*.toml"))}
    return found | {path.parent.name: path.parent for path in baselines.glob("*/entry.toml")}


def say_what_was_meant(texts: Sequence[str], entries: Sequence[Entry], reporter: Reporter) -> None:
    """Tell what each bare name on the command line was taken for.

    Args:
        texts: what was typed.
        entries: what `open_entry` made of it, in the same order.
        reporter: who tells it.
    """
    for text, entry in zip(texts, entries, strict=True):
        if not NAME_PATTERN.fullmatch(text) or Path(text).exists():
            continue
        if entry.kind == "image":
            reporter.event(f"{text}: nothing here is called so; it is looked for as an image")
        else:
            place = entry.submission or entry.folder
            reporter.event(f"{text}: {place} (an image of that name is {text}:latest)")


def open_folder(folder: Path) -> Entry:
    """A source folder with entry.toml and the model that it names.

    Raises:
        EntryInvalid: a file is missing, or entry.toml is wrong; all problems at once.
    """
    found = read_folder(folder)
    if len(found.errors) == 1:
        raise found.errors[0]
    if found.entry is None:
        raise EntryInvalid(
            "; ".join(error.what for error in found.errors),
            where=str(folder / "entry.toml"),
            fix="; ".join(dict.fromkeys(error.fix for error in found.errors if error.fix)),
        )
    return found.entry


@dataclass(frozen=True)
class FolderReading:
    """What a source folder says of itself, as far as it can be read."""

    entry: Entry | None
    """The entry; None where there are errors."""
    errors: tuple[EntryInvalid, ...]
    """All that is wrong with it."""
    declared: Mapping[str, Any]
    """Its `[entry]` as it stands there, unchecked."""


def read_folder(folder: Path) -> FolderReading:
    """Everything that a source folder says of itself, and everything that is wrong with that."""
    errors: list[EntryInvalid] = []
    document: Mapping[str, Any] = {}
    table, deviations = None, []
    where = str(folder / "entry.toml")
    with _noting(errors):
        document = _folder_document(folder)
    if errors:
        return FolderReading(None, tuple(errors), {})
    with _noting(errors):
        table = parse(EntryTable, document.get("entry", {}), f"{where}: [entry]")
    with _noting(errors):
        _check_sections(document, where)
    limits: dict[str, float | int] = {}
    with _noting(errors):
        limits = asked_limits(document.get("limits", {}), where)
    supervision: Supervision | None = None
    with _noting(errors):
        supervision = supervision_of(document, where)
    listed = document.get("deviations", [])
    for item in listed if isinstance(listed, list) else ():
        with _noting(errors):
            deviations.append(parse(Deviation, item, f"{where}: [[deviations]]"))
    declared = document.get("entry", {})
    declared = declared if isinstance(declared, dict) else {}
    errors += _misnamed(folder, declared, where)
    if errors or table is None:
        return FolderReading(None, tuple(errors), declared)
    name = folder.resolve().name
    entry = Entry(
        "folder", table, str(folder), tuple(deviations), document, name,
        limits=limits, supervision=supervision,
    )  # fmt: skip
    return FolderReading(entry, (), declared)


@contextlib.contextmanager
def _noting(errors: list[EntryInvalid]) -> Iterator[None]:
    """What is wrong here is noted, and the rest is looked at all the same."""
    try:
        yield
    except EntryInvalid as error:
        errors.append(error)


def _folder_document(folder: Path) -> dict[str, Any]:
    if not (folder / "entry.toml").is_file():
        raise EntryInvalid(
            "the folder has no entry.toml",
            where=str(folder),
            fix="python -m harness.start NAME writes one, with all that belongs to it; or copy"
            " baselines/template and change it",
        )
    return _read_toml(folder / "entry.toml")


def _misnamed(folder: Path, declared: Mapping[str, Any], where: str) -> Iterator[EntryInvalid]:
    """A name that is not the folder's, and a model that is no file of it."""
    name, model = (
        declared.get("name"),
        declared.get("model", EntryTable.model_fields["model"].default),
    )
    if isinstance(name, str) and name != folder.resolve().name:
        yield EntryInvalid(
            f"[entry] name is {name!r}, the folder is {folder.resolve().name!r}",
            where=where,
            fix="give both the same name",
        )
    if not isinstance(model, str):
        return
    model_file = model.partition(":")[0]
    if not model_file or Path(model_file).name != model_file:
        yield EntryInvalid(
            f"[entry] model must name a file of the folder: {model_file!r}", where=where
        )
    elif not (folder / model_file).is_file():
        yield EntryInvalid(f"[entry] model names {model_file}, which is not there", where=where)


def open_submission(path: Path) -> Entry:
    """A submission file: `[entry]` with an image by digest, an archive or a source folder.

    Raises:
        EntryInvalid: it is not one, or what it pins was changed; all problems of its texts at once.
    """
    document = _read_toml(path)
    where = f"{path}: [entry]"
    table = parse(SubmissionTable, document.get("entry", {}), where)
    _check_sections(document, str(path))
    if table.name != path.stem:
        raise EntryInvalid(
            f"[entry] name is {table.name!r}, the file is {path.name!r}",
            where=str(path),
            fix=f"call the file {table.name}.toml",
        )
    _check_texts(table, document, where)
    limits = asked_limits(document.get("limits", {}), str(path))
    named = [kind for kind in ("image", "archive", "folder") if getattr(table, kind)]
    if len(named) != 1:
        raise EntryInvalid(
            f"a submission names one of image, archive and folder, not {' and '.join(named) or 'none'}",
            where=where,
            fix='write image = "registry/name@sha256:<64 hex digits>"',
        )
    supervision = supervision_of(document, str(path))
    if table.folder:
        if supervision is not None:
            raise EntryInvalid(
                "a folder says itself what it had learned from",
                where=f"{path}: [supervision]",
                fix=f"move the table to {table.folder}/entry.toml",
            )
        folder = _submitted_folder(path, table)
        return replace(folder, limits={**folder.limits, **limits})
    if table.archive:
        _check_archive_name(table, where)
    else:
        _check_digest(table.image or "", where)
    source = table.image or table.archive
    return Entry(
        "submission", table, source, (), document, submission=path,
        limits=limits, supervision=supervision,
    )  # fmt: skip


def _check_texts(
    table: EntryTable,
    document: Mapping[str, Any],
    where: str,
    *,
    deviations: Sequence[Deviation] = (),
) -> None:
    """All texts that a submission brings: its own, of its deviations, and of its settings."""
    problems = text_problems(table.model_dump(exclude_defaults=True))
    for number, deviation in enumerate(deviations, start=1):
        texts = {
            f"deviation {number}, {name}": text for name, text in deviation.model_dump().items()
        }
        problems += text_problems(texts)
    for section in (
        "params", "presets", "benchmarks", "suites", "regimes", "training", "supervision",
    ):  # fmt: skip
        problems += settings_problems(section, document.get(section, {}))
    if problems:
        raise EntryInvalid("; ".join(problems[:MAX_PROBLEMS]), where=where)


def _check_digest(image: str, where: str) -> None:
    if not IMAGE_PATTERN.fullmatch(image):
        raise EntryInvalid(
            "a submission names its image by digest",
            where=f"{where} image",
            fix='write image = "registry/name@sha256:<64 hex digits>"',
        )
    if "@sha256:" not in image and not image.startswith("sha256:"):
        raise EntryInvalid(
            f"{image!r} is a tag, which can be moved after approval",
            where=f"{where} image",
            fix="pin the digest: docker image inspect --format '{{index .RepoDigests 0}}' IMAGE",
        )


def _check_archive_name(table: SubmissionTable, where: str) -> None:
    if table.archive != Path(table.archive).name or not table.archive.endswith(ARCHIVE_SUFFIXES):
        raise EntryInvalid(
            f"archive must be the name of a .tar or .tar.gz file, not {table.archive!r}",
            where=where,
        )
    if table.archive_hash is None:
        raise EntryInvalid(
            "the archive is not pinned: archive_hash is missing",
            where=where,
            fix='write archive_hash = "sha256:<64 hex digits>" as sha256sum prints it',
        )


def _submitted_folder(path: Path, table: SubmissionTable) -> Entry:
    """The folder beside a submission file, if it is still the one that was reviewed."""
    if table.folder != table.name:
        raise EntryInvalid(
            f"folder must be the entry's name, {table.name!r}, not {table.folder!r}",
            where=f"{path}: [entry]",
        )
    if (path.parent / table.folder).is_symlink():
        raise EntryInvalid("the folder is a link", where=str(path.parent / table.folder))
    entry = open_folder(path.parent / table.folder)
    found = submitted_folder_hash(entry.folder)
    if found != table.folder_hash:
        raise EntryInvalid(
            f"the folder {table.folder} is not the one that was submitted: its hash is {found}",
            where=f"{path}: [entry] folder_hash",
            fix="submit the folder again, so that what runs is what was reviewed",
        )
    declared = table.model_dump(exclude_defaults=True)
    merged = parse(SubmissionTable, entry.table.model_dump() | declared, str(path))
    # What the folder says of itself stands on the board as well, where the file is silent.
    where = f"{entry.folder / 'entry.toml'}: [entry]"
    _check_texts(merged, entry.document, where, deviations=entry.deviations)
    return replace(entry, table=merged, submission=path)


def open_archive(path: Path) -> Entry:
    """An image archive as `docker save` writes it."""
    if not path.name.endswith(ARCHIVE_SUFFIXES):
        raise EntryInvalid(
            "the file is neither a submission (.toml) nor an image archive (.tar, .tar.gz)",
            where=str(path),
        )
    name = _name_from(path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz"))
    return Entry("archive", EntryTable(name=name, title=name), str(path))


def open_image(reference: str) -> Entry:
    """An image reference; the name on the board is the repository's last part."""
    base = reference.partition("@")[0]
    last = base.rsplit("/", 1)[-1].partition(":")[0]
    name = _name_from(last if last != "sha256" else reference.rpartition(":")[2][:12])
    return Entry("image", EntryTable(name=name, title=name), reference)


def _name_from(text: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
    return name or "image"


def _looks_like_path(text: str) -> bool:
    head = text.split("/", 1)[0]
    return (
        text.startswith((".", "/", "~"))
        or head in {"baselines", "submissions"}
        or text.endswith((".toml", *ARCHIVE_SUFFIXES))
    )


def _unknown_entry(text: str, local: Mapping[str, Path]) -> UsageError:
    if NAME_PATTERN.fullmatch(text):
        near = [_typed(local[name]) for name in near_misses(text, local, cutoff=LIKELY_MEANT)]
        return UsageError(
            f"there is no entry {text!r} here, and it is nearly the name of one",
            fix=f"did you mean {' or '.join(near)}? an image of that name is {text}:latest",
        )
    typed = [_typed(path) for path in local.values()]
    hint = did_you_mean(text, typed, cutoff=0.5).rstrip()
    fix = hint or (f"entries here: {', '.join(sorted(typed))}" if typed else "")
    return UsageError(f"there is no entry {text!r}: no such folder, file or image", fix=fix)


def _typed(path: Path) -> str:
    """A local entry as it is typed in this checkout."""
    return f"{(SUBMISSIONS if path.suffix == '.toml' else BASELINES).name}/{path.name}"


def _check_sections(document: Mapping[str, Any], where: str) -> None:
    known = {"entry", "deviations", "training", "params", "limits", "supervision", *_SETTINGS}
    if unknown := sorted(set(document) - known):
        raise EntryInvalid(
            f"unknown section{'s' if len(unknown) > 1 else ''}: {one_line(', '.join(unknown))}",
            where=where,
            fix=f"valid sections: {', '.join(sorted(known))}",
        )
    sections = parse(_Sections, document, where)
    for group in _SETTINGS:
        for name, table in getattr(sections, group).items():
            place = f"{where}: [{group}.{one_line(name)}]"
            parse(_Sections, {"training": table.get("training", {})}, place)
    if len(json.dumps(sections.params)) > MAX_PARAMS_CHARACTERS:
        raise EntryInvalid(
            f"[params] is longer than {MAX_PARAMS_CHARACTERS} characters as JSON,"
            " which no hello frame can carry",
            where=where,
        )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except BadToml as error:
        raise EntryInvalid(
            f"the file is not valid TOML: {one_line(error)}", where=str(path)
        ) from error
