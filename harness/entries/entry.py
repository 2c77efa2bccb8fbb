"""Entries: what can stand on the board, in its four forms, and its hyper-parameters.

A folder (`baselines/patchcore`), a submission file (`submissions/x.toml`), an image
reference (`name:tag`, `name@sha256:…`) or an image archive (`x.tar`); `entry_files.py`
opens them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.common.errors import EntryInvalid, UsageError
from harness.common.foreign_text import in_lines, one_line
from harness.common.near_misses import did_you_mean
from harness.common.paths import REPOSITORY
from harness.common.toml_text import BadToml, parse_toml
from harness.entries.images_wanted import ImagesWanted
from harness.records.parts import Sha256
from harness.records.record import Parameter
from harness.records.regime import ONE_CLASS, Regime
from harness.records.supervision import Supervision

Kind = Literal["folder", "submission", "image", "archive"]
Family = Literal[
    "reconstruction", "one-class", "teacher-student", "memory bank", "flow", "trivial", "other"
]
NAME_PATTERN = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")
DEFAULT_PRESET = "bmad"
# Sized for two CPU cores and no downloads: what the demo pack runs with.
DEMO_PRESET = "demo"
MAX_PROBLEMS = 50  # of one table that are told
MAX_LISTED = 2000  # characters of a list of names
MAX_TITLE = 1000  # characters


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
    """Pretrained files that it may need, by name in `harness.weights`. Where there are several, the
    parameter `backbone` chooses, and may name another one of the table or a maintainer's own."""
    needed_where: dict[str, dict[str, Parameter]] = Field(default_factory=dict)
    """Of a file that is no backbone: the values of parameters under which it is needed."""
    images_wanted: ImagesWanted | None = None
    """How many training images its settings need; a row with fewer is marked."""
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
    updated: str = ""
    """Date of the last corrected version (ISO 8601); `submitted` stays that of the first."""
    earlier: tuple[str, ...] = ()
    """What earlier versions pinned, oldest first: the records of those name it."""

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


NOT_JUDGED = TrainingTable(checkpoint_metric="none", patience=0)
"""The rule of a few-shot training: the last state counts."""


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
    member_metrics: Mapping[str, str] = field(default_factory=dict)
    """Of a suite: by benchmark, what judges a checkpoint on that member."""

    def checkpoint_metric(self, benchmark: str) -> str:
        """What judges a checkpoint on a benchmark."""
        return self.member_metrics.get(benchmark, self.training.checkpoint_metric)

    @property
    def rule(self) -> dict[str, Parameter]:
        """The rule by which checkpoints are judged, for run keys and records."""
        members = {f"checkpoint_metric.{name}": each for name, each in self.member_metrics.items()}
        return self.training.model_dump() | dict(sorted(members.items()))


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
    limits: Mapping[str, float | int] = field(default_factory=dict)
    """Limits that it asks for (`harness.entries.asked_limits`)."""
    supervision: Supervision | None = None
    """What it had learned from before any run, as it declares it; None where it says nothing."""

    @property
    def name(self) -> str:
        """Name on the board."""
        return self.table.name

    @property
    def shown_title(self) -> str:
        """The method's name, as records have it."""
        return one_line(self.table.title, MAX_TITLE)

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
        if self.table.needed_where:
            told["needed_where"] = self.table.needed_where
        if isinstance(self.table, SubmissionTable):
            told["pinned"] = self.table.pinned
        told["deviations"] = [deviation.model_dump() for deviation in self.deviations]
        return {name: _shown(value) for name, value in told.items()}

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
        regime: Regime = ONE_CLASS,
        members: Sequence[str] = (),
    ) -> Settings:
        """Hyper-parameters for one benchmark: defaults < preset < benchmark < shots < `--set`.

        Those of a suite are the same for all its members: defaults < preset < suite < `--set`.

        Args:
            benchmark: name of the benchmark; `[benchmarks.<name>]` applies where it exists. Of a
                suite its name, and `[suites.<name>]`.
            preset: `bmad` for the defaults, else the name of a `[presets.<name>]`; None is
                `demo` on the demo pack and `bmad` elsewhere. On the demo pack `demo` is the
                defaults of an entry that has no such preset.
            overrides: `--set name=value` as text; read by the type of the default.
            regime: the run's; `[regimes.shots]` applies to a few-shot one, but for the preset
                `demo`, which is sized for two CPU cores. No checkpoint of it is judged.
            members: of a suite its benchmarks, each with a checkpoint metric of its own, as its
                own table has it, unless the suite's table states one.
        Raises:
            EntryInvalid: the entry's own tables name an unknown parameter or another type.
            UsageError: the preset or an override is unknown or of another type.
        """
        if preset is None:
            preset = DEMO_PRESET if benchmark == "demo" else DEFAULT_PRESET
        if preset == DEMO_PRESET and benchmark == "demo" and not self.has_preset(preset):
            preset = DEFAULT_PRESET
        params: dict[str, Parameter] = dict(self.document.get("params", {}))
        training = dict(self.document.get("training", {}))
        for where, layer in self._layers(benchmark, preset, regime):
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
                f"{one_line(', '.join(unsendable))} is NaN or infinite, which no frame can carry",
                where=self.source,
            )
        rule = parse(TrainingTable, training, f"{self.source}: [training]")
        return Settings(
            preset=preset,
            params=resolved,
            overrides=chosen,
            training=NOT_JUDGED if regime.shots is not None else rule,
            member_metrics=self._member_metrics(benchmark, members, preset, rule),
        )

    def _member_metrics(
        self, suite: str, members: Sequence[str], preset: str, rule: TrainingTable
    ) -> dict[str, str]:
        stated = self.document.get("suites", {}).get(suite, {}).get("training", {})
        if "checkpoint_metric" in stated:
            return dict.fromkeys(members, rule.checkpoint_metric)
        return {
            name: self.settings(name, preset=preset).training.checkpoint_metric for name in members
        }

    def has_preset(self, preset: str) -> bool:
        """Whether the entry can be run with this preset; its defaults are one, `bmad`."""
        return preset == DEFAULT_PRESET or preset in self.document.get("presets", {})

    def _layers(
        self, benchmark: str, preset: str, regime: Regime
    ) -> list[tuple[str, Mapping[str, Any]]]:
        presets = self.document.get("presets", {})
        if not self.has_preset(preset):
            valid = one_line(", ".join([DEFAULT_PRESET, *sorted(presets)]), MAX_LISTED)
            raise UsageError(
                f"{self.name} has no preset {preset!r}",
                where="--preset",
                fix=f"{did_you_mean(preset, [DEFAULT_PRESET, *presets])}choose one of: {valid}",
            )
        kind = "benchmarks" if regime.suite is None else "suites"
        layers = [
            (f"presets.{preset}", presets.get(preset, {})),
            (f"{kind}.{benchmark}", self.document.get(kind, {}).get(benchmark, {})),
        ]
        if regime.shots is not None and preset != DEMO_PRESET:
            layers.append(("regimes.shots", self.document.get("regimes", {}).get("shots", {})))
        return layers


def _shown(value: Any) -> Any:
    """Declared text as the record keeps it: what cannot be seen in it is written out."""
    if isinstance(value, str):
        return in_lines(value)
    if isinstance(value, list):
        return [_shown(each) for each in value]
    return (
        {name: _shown(each) for name, each in value.items()} if isinstance(value, dict) else value
    )


def _public_source(entry: Entry) -> str:
    """What to type to evaluate this entry again, without a path of the machine it ran on."""
    if entry.kind not in ("folder", "archive"):
        return entry.source
    path = Path(entry.source).resolve()
    inside = path.is_relative_to(REPOSITORY)
    return path.relative_to(REPOSITORY).as_posix() if inside else path.name


def check_name(name: str) -> None:
    """Raise `UsageError` unless `name` can be an entry's name (a file name on every system)."""
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for an entry",
            fix="use lower-case letters, digits, '.', '_' and '-', at most 64, first a letter or digit",
        )


def supervision_of(document: Mapping[str, Any], where: str) -> Supervision | None:
    """The table `[supervision]` of an entry's file; None where it has none.

    Raises:
        EntryInvalid: it does not read as one; every problem at once.
    """
    if "supervision" not in document:
        return None
    return parse(Supervision, document["supervision"], f"{where}: [supervision]")


def parse(kind: type[TableType], data: object, where: str) -> TableType:
    """A table of an entry's file as its class; `EntryInvalid` names every problem at once."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(
            one_line(f"{'.'.join(map(str, item['loc'])) or 'table'}: {item['msg']}")
            for item in error.errors()[:MAX_PROBLEMS]
        )
        raise EntryInvalid(problems, where=where) from error


def _is_finite(value: Parameter) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(math.isfinite(number) for number in numbers if isinstance(number, float))


def _check_same_type(
    params: Mapping[str, Parameter], name: str, value: object, *, where: str
) -> None:
    if name not in params:
        raise EntryInvalid(
            f"unknown parameter '{one_line(name)}'",
            where=where,
            fix=f"{did_you_mean(name, params)}[params] has: {one_line(', '.join(params), MAX_LISTED)}",
        )
    default = params[name]
    is_number = (
        isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
    )
    if type(value) is not type(default) and not is_number:
        raise EntryInvalid(
            f"{one_line(name)} is {type(default).__name__} in [params] and"
            f" {type(value).__name__} here",
            where=where,
        )


def _read_override(params: Mapping[str, Parameter], name: str, text: str) -> Parameter:
    """`--set name=value`: the value read as TOML and held to the type of the default."""
    if name not in params:
        valid = one_line(", ".join(params), MAX_LISTED) or "none"
        raise UsageError(
            f"unknown parameter {name!r}",
            where="--set",
            fix=f"{did_you_mean(name, params)}parameters: {valid}",
        )
    default, shown = params[name], one_line(name)
    if isinstance(default, str):
        return text
    try:
        value: Any = parse_toml(f"value = {text}")["value"]
    except BadToml:
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise UsageError(
            f"{shown} is a {type(default).__name__} (default {one_line(repr(default))}), not {text!r}",
            where="--set",
        )
    return value
