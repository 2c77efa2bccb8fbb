"""Which runs a campaign holds: entries x benchmarks x seeds x settings.

Traps: a setting of an entry has a name of its own on the board, so that no record takes
another's place; the order is seed by seed, so that a campaign that is stopped early has
whole tables of fewer seeds.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from harness.common.errors import UsageError
from harness.common.foreign_text import one_line
from harness.common.paths import REPOSITORY
from harness.common.toml_text import BadToml, read_toml
from harness.records.record import Parameter
from harness.records.regime import ONE_CLASS, SHOTS, Regime
from harness.records.store import RunName

CAMPAIGNS = "harness/campaigns"
"""Where those that ship lie, below the root of the repository."""
ENTRY_LIMIT = 64  # characters of a name on the board


CampaignRegime = Literal["one-class", "one-class-256", "few-shot", "unified"]
"""What a campaign can ask for; an entry that trains nothing is zero-shot in each."""


class GridSettings(BaseModel):
    """More settings of some entries: every combination of the values is one variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: tuple[str, ...]
    """Names of entries, with wildcards."""
    values: dict[str, list[Parameter]] = Field(min_length=1)
    """By hyper-parameter, the values to try."""


class Campaign(BaseModel):
    """What is to be run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """Names the folder of its logs."""
    title: str = ""
    """One line."""
    entries: tuple[str, ...] = Field(min_length=1)
    """Folders, submission files, images or archives; paths may hold wildcards."""
    leave_out: tuple[str, ...] = ()
    """Names of entries to leave out, with wildcards."""
    benchmarks: tuple[str, ...] = ()
    """Names; empty = all that are found."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of every entry on every benchmark."""
    regimes: tuple[CampaignRegime, ...] = Field(default=("one-class",), min_length=1)
    """What every entry may learn from, one after the other; `one-class-256` is one-class on the
    images as a suite delivers them, so that a difference to unified is not one of resolution."""
    shots: tuple[int, ...] = SHOTS
    """Of few-shot: how many training images, one after the other."""
    suites: tuple[str, ...] = ("unified-3", "unified-6")
    """Of unified: suites by name, or their files."""
    preset: str | None = None
    """Preset of every entry; None = the entries' default."""
    limits: dict[str, float | int] = {}
    """Limits of every run that differ from the defaults; `--limit` goes before them."""
    settings: tuple[GridSettings, ...] = ()
    """Variants beside the entries themselves."""
    compares_with_paper: bool = False
    """At the end, count the cells of the paper's Table 2 that are reproduced."""

    @field_validator("regimes", "shots", "suites")
    @classmethod
    def _each_once(cls, told: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(told)) != len(told):
            raise ValueError("one stands there twice")
        return told

    @model_validator(mode="after")
    def _says_what_it_runs(self) -> Self:
        for regime, told in (("few-shot", "shots"), ("unified", "suites")):
            if told in self.model_fields_set and regime not in self.regimes:
                raise ValueError(f"{told} is of {regime}, which is none of its regimes")
        if unknown := sorted(set(self.shots) - set(SHOTS)):
            raise ValueError(f"{unknown[0]} shots; it can be {', '.join(map(str, SHOTS))}")
        return self


def read_campaign(text: str) -> Campaign:
    """A campaign that ships with the harness, by name, or a TOML file.

    Raises:
        UsageError: there is none, or it is not one; all problems at once.
    """
    shipped = {path.stem: path for path in (REPOSITORY / CAMPAIGNS).glob("*.toml")}
    path = Path(text) if text.endswith(".toml") else shipped.get(text)
    if path is None or not path.is_file():
        raise UsageError(
            f"there is no campaign {text!r}",
            fix=f"a TOML file, or one of: {', '.join(sorted(shipped))}",
        )
    try:
        return campaign_of(read_toml(path), where=str(path))
    except BadToml as error:
        raise UsageError(
            f"the file is not valid TOML: {one_line(error)}", where=str(path)
        ) from error


def campaign_of(document: Mapping[str, object], *, where: str) -> Campaign:
    """A campaign from its parsed file.

    Raises:
        UsageError: it is none; all problems at once.
    """
    try:
        return Campaign.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            one_line(f"{'.'.join(map(str, item['loc']))}: {item['msg']}") for item in error.errors()
        )
        raise UsageError(problems, where=where) from error


@dataclass(frozen=True)
class EntryVariant:
    """An entry with one setting."""

    source: str
    """What `harness.evaluate` is given."""
    entry: str
    """Name of the entry without the setting."""
    overrides: tuple[tuple[str, str], ...] = ()
    """Name and value of each changed hyper-parameter, as `--set` takes them."""

    @property
    def name(self) -> str:
        """Name on the board: the entry's, and what is changed."""
        if not self.overrides:
            return self.entry
        told = ".".join(f"{name}-{value}" for name, value in self.overrides)
        name = f"{self.entry}.{re.sub(r'[^a-z0-9._]+', '-', told.lower()).strip('-')}"
        if len(name) <= ENTRY_LIMIT:
            return name
        mark = hashlib.sha256(told.encode()).hexdigest()[:8]
        return f"{name[: ENTRY_LIMIT - 9]}-{mark}"


@dataclass(frozen=True)
class Cell:
    """One run of a campaign."""

    variant: EntryVariant
    """What runs."""
    benchmark: str
    """On which pack, or suite."""
    seed: int
    """With which seed."""
    regime: Regime = ONE_CLASS
    """In which regime, before anything is drawn for it."""

    @property
    def place(self) -> str:
        """Benchmark and regime, as in the results."""
        return self.regime.place(self.benchmark)

    @property
    def run(self) -> RunName:
        """Where its record lies."""
        return RunName(self.place, self.variant.name, self.seed)

    def __str__(self) -> str:
        return str(self.run)


def sources(campaign: Campaign) -> list[str]:
    """What the campaign's entries name, wildcards resolved, in order and each once.

    Raises:
        UsageError: a wildcard matches no entry.
    """
    found: dict[str, None] = {}
    for text in campaign.entries:
        if not any(mark in text for mark in "*?["):
            found[text] = None
            continue
        base = Path(text).anchor or "."
        pattern = str(Path(text).relative_to(base)) if Path(text).is_absolute() else text
        matches = [path for path in sorted(Path(base).glob(pattern)) if _is_entry(path)]
        if not matches:
            raise UsageError(f"{text!r} matches no entry", where="entries")
        found |= {str(path): None for path in matches}
    return list(found)


def _is_entry(path: Path) -> bool:
    return (path / "entry.toml").is_file() or path.suffix in (".toml", ".tar")


def is_left_out(campaign: Campaign, name: str) -> bool:
    """Whether an entry of this name takes no part."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in campaign.leave_out)


def variants(campaign: Campaign, entries: Mapping[str, str]) -> list[EntryVariant]:
    """Every entry as it is, and with each of its settings.

    Args:
        entries: name of each entry by what names it on the command line.
    Raises:
        UsageError: settings for an entry that takes no part, or two variants of one name.
    """
    found = []
    for source, name in entries.items():
        found.append(EntryVariant(source, name))
        for settings in campaign.settings:
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in settings.entries):
                found += [EntryVariant(source, name, chosen) for chosen in _combinations(settings)]
    for settings in campaign.settings:
        if not any(fnmatch.filter(entries.values(), pattern) for pattern in settings.entries):
            raise UsageError(f"no entry is called {settings.entries[0]!r}", where="settings")
    names = [variant.name for variant in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two runs would be called {twice[0]}", where="entries, settings")
    return found


def _combinations(settings: GridSettings) -> Iterator[tuple[tuple[str, str], ...]]:
    names = list(settings.values)
    for chosen in itertools.product(*settings.values.values()):
        yield tuple((name, _as_text(value)) for name, value in zip(names, chosen, strict=True))


def _as_text(value: Parameter) -> str:
    """A value as `--set` reads it: TOML, strings bare."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in value) + "]"
    return str(value)


def asks_for(campaign: Campaign, regime: Regime) -> bool:
    """Whether a campaign holds runs of this regime; what trains nothing takes part in all."""
    if regime.name == "few-shot":
        return "few-shot" in campaign.regimes and regime.shots in campaign.shots
    if regime.name == "unified":
        return "unified" in campaign.regimes and regime.suite in campaign.suites
    if regime.name == "one-class":
        name = "one-class" if regime.delivery == "native" else "one-class-256"
        return name in campaign.regimes
    return True
