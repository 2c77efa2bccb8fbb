"""Entries: what can stand on the board, in its four forms, and its hyper-parameters.

A folder (`baselines/patchcore`), a submission file (`submissions/x.toml`), an image
reference (`name:tag`, `name@sha256:…`) or an image archive (`x.tar`). Traps: a folder
and an image may have the same spelling, so anything that exists on disk is read as a
path; a misspelt baseline must not become an image that is then pulled.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.declared import text_problems
from harness.errors import EntryInvalid, UsageError
from harness.records import Parameter, Sha256

Kind = Literal["folder", "submission", "image", "archive"]
Family = Literal[
    "reconstruction", "one-class", "teacher-student", "memory bank", "flow", "trivial", "other"
]
NAME_PATTERN = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")
# host:port/path/name:tag@sha256:… without spaces or a leading slash or dot.
IMAGE_PATTERN = re.compile(
    r"^[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?$"
)
# Strangers write these files; reading one must cost nothing.
MAX_TOML_BYTES = 1024**2
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")
DEFAULT_PRESET = "bmad"
# Half of a frame's line (64 KiB): paths and limits stand in it too, and overrides may grow.
MAX_PARAMS_CHARACTERS = 32 * 1024
# Sized for two CPU cores and no downloads: what the demo pack runs with.
DEMO_PRESET = "demo"


TableType = TypeVar("TableType", bound=BaseModel)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deviation(_Table):
    """Where an entry differs from its paper, and why."""

    what: str
    why: str


class EntryTable(_Table):
    """`[entry]` of an entry.toml, and of a submission file."""

    name: str = Field(pattern=NAME_PATTERN.pattern)
    """Name on the board; of a folder, the folder's own name."""
    title: str
    """The method's name as its authors write it."""
    model: str = "model.py:Model"
    """File and class of a folder's model."""
    image: str | None = None
    """Image reference of a submission."""
    maps: bool = True
    """Whether it answers with anomaly maps."""
    trains: bool = False
    """Whether it has the verb `train`."""
    family: Family = "other"
    paper: str = ""
    code: str = ""
    licence: str = ""
    authors: tuple[str, ...] = ()
    pretraining: str = "none"
    """`none`, `ImageNet`, `medical` or a named other."""
    backbones: tuple[str, ...] = ()
    """Pretrained weight files that it may need, by name in `harness.weights`."""
    external_data: str = ""
    """Other data than the pack's training split, named."""
    description: str = ""
    submitted: str = ""
    """Date of a submission (ISO 8601)."""
    withdrawn: str = ""
    """Reason, where the entry was withdrawn; its rows stay, marked."""


class SubmissionTable(EntryTable):
    """`[entry]` of a submission file: one of `image`, `archive` and `folder` says what runs."""

    team: str = ""
    """Who submits: the number of scored submissions is bounded for each team."""
    content: Sha256 | None = None
    """Hash of what the image runs (`harness.engines.base.Program.content`)."""
    archive: str = ""
    """File name of an image archive that is handed over beside this file."""
    archive_hash: Sha256 | None = None
    """Hash of that archive."""
    folder: str = ""
    """Name of the source folder beside this file, which the harness builds and trains."""
    folder_hash: Sha256 | None = None
    """Hash of that folder's files as they were reviewed."""

    @property
    def pinned(self) -> str:
        """What must not change from the check to the run."""
        return self.folder_hash or self.content or self.image or ""


class TrainingTable(_Table):
    """`[training]`: how the harness judges this entry's checkpoints."""

    checkpoint_metric: Literal["image_auroc", "pixel_auroc", "none"] = "image_auroc"
    """Validation metric that chooses the checkpoint; `none` keeps the last state."""
    patience: int = Field(default=0, ge=0)
    """Checkpoints without improvement before the harness says stop; 0 = never."""


class _Sections(BaseModel):
    """The shape of an entry.toml's other tables: what they hold is checked where it is used."""

    model_config = ConfigDict(strict=True)

    deviations: list[dict[str, Any]] = []
    training: dict[str, Any] = {}
    params: dict[str, Parameter] = {}
    presets: dict[str, dict[str, Any]] = {}
    benchmarks: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Settings:
    """What one run of an entry is sent: resolved from defaults, preset, benchmark and `--set`."""

    preset: str
    """Name of the preset."""
    params: Mapping[str, Parameter]
    """Hyper-parameters for the hello frame."""
    overrides: Mapping[str, Parameter]
    """The ones that `--set` changed."""
    training: TrainingTable
    """How checkpoints are judged."""


@dataclass(frozen=True)
class Entry:
    """A method that can be evaluated."""

    kind: Kind
    """Form in which it arrived."""
    table: EntryTable
    """Who it is."""
    source: str
    """Folder, archive path or image reference."""
    deviations: tuple[Deviation, ...] = ()
    """Differences to the method's paper."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """Parsed TOML with params, presets and benchmark overrides."""
    folder_name: str = ""
    """Name of the folder; the record's name may differ by `--as`."""
    submission: Path | None = None
    """The submission file that it was opened by."""

    @property
    def name(self) -> str:
        """Name on the board."""
        return self.table.name

    @property
    def folder(self) -> Path:
        """The source folder (folder entries only)."""
        return Path(self.source)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the record keeps of the entry's own description."""
        told = self.table.model_dump(
            include={
                "family", "paper", "code", "licence", "authors", "pretraining", "backbones",
                "external_data", "description", "submitted", "withdrawn", "team",
            }
        )  # fmt: skip
        told = {
            key: list(value) if isinstance(value, tuple) else value for key, value in told.items()
        }
        told["source"] = _public_source(self)
        if isinstance(self.table, SubmissionTable):
            told["pinned"] = self.table.pinned
        told["deviations"] = [deviation.model_dump() for deviation in self.deviations]
        return told

    def renamed(self, name: str) -> Entry:
        """The same entry under another name on the board.

        Raises:
            UsageError: the name is not one.
        """
        check_name(name)
        return replace(self, table=self.table.model_copy(update={"name": name}))

    def described(self, *, maps: bool, trains: bool) -> Entry:
        """The same entry with what its program says of itself."""
        return replace(self, table=self.table.model_copy(update={"maps": maps, "trains": trains}))

    def settings(
        self,
        benchmark: str,
        *,
        preset: str | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> Settings:
        """Hyper-parameters for one benchmark: defaults < preset < benchmark < `--set`.

        Args:
            benchmark: name of the benchmark; `[benchmarks.<name>]` applies where it exists.
            preset: `bmad` for the defaults, else the name of a `[presets.<name>]`; None is
                `demo` on the demo pack where the entry has it, and `bmad` elsewhere.
            overrides: `--set name=value` as text; read by the type of the default.
        Raises:
            EntryInvalid: the entry's own tables name an unknown parameter or another type.
            UsageError: the preset or an override is unknown or of another type.
        """
        if preset is None:
            is_demo = benchmark == "demo" and DEMO_PRESET in self.document.get("presets", {})
            preset = DEMO_PRESET if is_demo else DEFAULT_PRESET
        params: dict[str, Parameter] = dict(self.document.get("params", {}))
        training = dict(self.document.get("training", {}))
        for where, layer in self._layers(benchmark, preset):
            training |= layer.get("training", {})
            for name, value in layer.items():
                if name == "training":
                    continue
                _check_same_type(params, name, value, where=f"{self.source}: [{where}]")
                params[name] = value
        chosen = {
            name: _read_override(params, name, text) for name, text in (overrides or {}).items()
        }
        resolved = params | chosen
        if unsendable := [name for name, value in resolved.items() if not _is_finite(value)]:
            raise EntryInvalid(
                f"{', '.join(unsendable)} is NaN or infinite, which no frame can carry",
                where=self.source,
            )
        return Settings(
            preset=preset,
            params=resolved,
            overrides=chosen,
            training=_parse(TrainingTable, training, f"{self.source}: [training]"),
        )

    def _layers(self, benchmark: str, preset: str) -> list[tuple[str, Mapping[str, Any]]]:
        presets = self.document.get("presets", {})
        if preset != DEFAULT_PRESET and preset not in presets:
            valid = ", ".join([DEFAULT_PRESET, *sorted(presets)])
            raise UsageError(
                f"{self.name} has no preset {preset!r}",
                where="--preset",
                fix=f"choose one of: {valid}",
            )
        layers = [(f"presets.{preset}", presets.get(preset, {}))]
        layers.append(
            (f"benchmarks.{benchmark}", self.document.get("benchmarks", {}).get(benchmark, {}))
        )
        return layers


def _public_source(entry: Entry) -> str:
    """What to type to evaluate this entry again, without a path of the machine it ran on."""
    if entry.kind not in ("folder", "archive"):
        return entry.source
    path = Path(entry.source).resolve()
    root = Path(__file__).resolve().parent.parent
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def check_name(name: str) -> None:
    """Raise `UsageError` unless `name` can be an entry's name (a file name on every system)."""
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for an entry",
            fix="use lower-case letters, digits, '.', '_' and '-', at most 64, first a letter or digit",
        )


def open_entry(text: str, *, known_folders: Path | None = None) -> Entry:
    """The entry that `text` names: an existing path, else an image reference.

    Args:
        text: what stands on the command line.
        known_folders: folder of baselines, for near matches of a misspelt name.
    Raises:
        EntryInvalid: the folder, submission file or archive is not a valid entry.
        UsageError: nothing of that name exists.
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
    if _looks_like_path(text) or not IMAGE_PATTERN.fullmatch(text):
        raise _unknown_entry(text, known_folders)
    return open_image(text)


def open_folder(folder: Path) -> Entry:
    """A source folder with entry.toml, model.py and Dockerfile.

    Raises:
        EntryInvalid: a file is missing, or entry.toml is wrong; all problems at once.
    """
    missing = [name for name in ("entry.toml", "Dockerfile") if not (folder / name).is_file()]
    if missing:
        raise EntryInvalid(
            f"the folder lacks {' and '.join(missing)}",
            where=str(folder),
            fix="copy baselines/template and change it",
        )
    document = _read_toml(folder / "entry.toml")
    where = str(folder / "entry.toml")
    table = _parse(EntryTable, document.get("entry", {}), f"{where}: [entry]")
    _check_sections(document, where)
    if table.name != folder.resolve().name:
        raise EntryInvalid(
            f"[entry] name is {table.name!r}, the folder is {folder.resolve().name!r}",
            where=where,
            fix="give both the same name",
        )
    model_file = table.model.partition(":")[0]
    if not model_file or Path(model_file).name != model_file:
        raise EntryInvalid(
            f"[entry] model must name a file of the folder: {model_file!r}", where=where
        )
    if not (folder / model_file).is_file():
        raise EntryInvalid(f"[entry] model names {model_file}, which is not there", where=where)
    deviations = tuple(
        _parse(Deviation, item, f"{where}: [[deviations]]")
        for item in document.get("deviations", [])
    )
    return Entry("folder", table, str(folder), deviations, document, folder.resolve().name)


def open_submission(path: Path) -> Entry:
    """A submission file: `[entry]` with an image by digest, an archive or a source folder.

    Raises:
        EntryInvalid: it is not one, or what it pins was changed; all problems of its texts at once.
    """
    document = _read_toml(path)
    where = f"{path}: [entry]"
    table = _parse(SubmissionTable, document.get("entry", {}), where)
    _check_sections(document, str(path))
    if table.name != path.stem:
        raise EntryInvalid(
            f"[entry] name is {table.name!r}, the file is {path.name!r}",
            where=str(path),
            fix=f"call the file {table.name}.toml",
        )
    if problems := text_problems(table.model_dump(exclude_defaults=True)):
        raise EntryInvalid("; ".join(problems), where=where)
    named = [kind for kind in ("image", "archive", "folder") if getattr(table, kind)]
    if len(named) != 1:
        raise EntryInvalid(
            f"a submission names one of image, archive and folder, not {' and '.join(named) or 'none'}",
            where=where,
            fix='write image = "registry/name@sha256:<64 hex digits>"',
        )
    if table.folder:
        return _submitted_folder(path, table)
    if table.archive:
        _check_archive_name(table, where)
    else:
        _check_digest(table.image or "", where)
    source = table.image or table.archive
    return Entry("submission", table, source, (), document, submission=path)


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
    from harness.provenance import submitted_folder_hash  # it imports this module

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
    merged = _parse(SubmissionTable, entry.table.model_dump() | declared, str(path))
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


def _unknown_entry(text: str, known_folders: Path | None) -> UsageError:
    names: list[str] = []
    if known_folders and known_folders.is_dir():
        names = sorted(path.parent.name for path in known_folders.glob("*/entry.toml"))
    near = difflib.get_close_matches(Path(text).name, names, n=3, cutoff=0.5)
    fix = f"did you mean {' or '.join(f'baselines/{name}' for name in near)}? " if near else ""
    if names:
        fix += "baselines: " + ", ".join(names)
    return UsageError(f"there is no entry {text!r}: no such folder, file or image", fix=fix)


def _check_sections(document: Mapping[str, Any], where: str) -> None:
    known = {"entry", "deviations", "training", "params", "presets", "benchmarks"}
    if unknown := sorted(set(document) - known):
        raise EntryInvalid(
            f"unknown section{'s' if len(unknown) > 1 else ''}: {', '.join(unknown)}",
            where=where,
            fix=f"valid sections: {', '.join(sorted(known))}",
        )
    sections = _parse(_Sections, document, where)
    for group, tables in (("presets", sections.presets), ("benchmarks", sections.benchmarks)):
        for name, table in tables.items():
            _parse(_Sections, {"training": table.get("training", {})}, f"{where}: [{group}.{name}]")
    if len(json.dumps(sections.params)) > MAX_PARAMS_CHARACTERS:
        raise EntryInvalid(
            f"[params] is longer than {MAX_PARAMS_CHARACTERS} characters as JSON,"
            " which no hello frame can carry",
            where=where,
        )


def _read_toml(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_TOML_BYTES:
        raise EntryInvalid(f"the file is larger than {MAX_TOML_BYTES} bytes", where=str(path))
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EntryInvalid(f"the file is not valid TOML: {error}", where=str(path)) from error


def _parse(kind: type[TableType], data: object, where: str) -> TableType:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'table'}: {item['msg']}"
            for item in error.errors()
        )
        raise EntryInvalid(problems, where=where) from error


def _is_finite(value: Parameter) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(math.isfinite(number) for number in numbers if isinstance(number, float))


def _check_same_type(
    params: Mapping[str, Parameter], name: str, value: object, *, where: str
) -> None:
    if name not in params:
        near = difflib.get_close_matches(name, list(params), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise EntryInvalid(
            f"unknown parameter {name!r}",
            where=where,
            fix=f"{hint}[params] has: {', '.join(params)}",
        )
    default = params[name]
    is_number = (
        isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
    )
    if type(value) is not type(default) and not is_number:
        raise EntryInvalid(
            f"{name} is {type(default).__name__} in [params] and {type(value).__name__} here",
            where=where,
        )


def _read_override(params: Mapping[str, Parameter], name: str, text: str) -> Parameter:
    """`--set name=value`: the value read as TOML and held to the type of the default."""
    if name not in params:
        near = difflib.get_close_matches(name, list(params), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        valid = ", ".join(params) or "none"
        raise UsageError(
            f"unknown parameter {name!r}", where="--set", fix=f"{hint}parameters: {valid}"
        )
    default = params[name]
    if isinstance(default, str):
        return text
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise UsageError(
            f"{name} is a {type(default).__name__} (default {default!r}), not {text!r}",
            where="--set",
        )
    return value
