"""The commands that repeat a row's runs, or try one of them again, as a reader would type them.

Trap: values come from records, which strangers may have written: every word is quoted
for the shell.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.board.rows import Failure, Row
from harness.common.disclosure import Artefact, may_leave
from harness.common.statuses import Status
from harness.records.record import Parameter, Record
from harness.records.regime import BOARD_SUITES, ONE_CLASS
from harness.records.releases import claimed_name
from leaderboard import words

DIRTY = "+dirty"
OUTSIDE = "DIR"  # whatever folder the reader has it in
ENTRY = "ENTRY"  # the same of an entry of which no open record tells where it lies
DEFAULT_PRESET = "bmad"
DEFAULT_ENGINE = "docker"  # the first that is asked, so no option names it


def rerun_command(records: Sequence[Record], default_limits: Mapping[str, float | int]) -> str:
    """One call of `harness.evaluate` for all seeds of a row, preceded by its checkout.

    Args:
        records: the runs of one row, at least one; they share everything but the seed.
        default_limits: limits that need no option.
    """
    first = records[0]
    parts = ["python", "-m", "harness.evaluate", source(first), *_data(first)]
    if first.pack.accepted:
        parts += ["--accept", *first.pack.accepted]
    parts += ["--seed", *(str(seed) for seed in sorted({record.seed for record in records}))]
    if (engine := first.machine.engine_name) != DEFAULT_ENGINE:
        parts += ["--engine", engine]
    parts += _device(first)
    if first.entry.preset != _default_preset(first):
        parts += ["--preset", first.entry.preset]
    parts += [*_overrides(first), *_limits(first, default_limits)]
    if _default_name(first) != first.entry.name:
        parts += ["--as", first.entry.name]
    return "\n".join([*_checkout(first), shlex.join(parts)])


def check_command(record: Record, default_limits: Mapping[str, float | int]) -> str:
    """The call of `harness.check` that does one run again and prints its whole log, preceded by its
    checkout.

    Engine, preset, seed and every changed limit are named, so that nothing of the reader's machine
    decides them.

    Args:
        record: a run on an open pack.
        default_limits: limits that need no option.
    """
    parts = ["python", "-m", "harness.check", source(record), *_data(record)]
    if record.pack.accepted:
        parts += ["--accept", *record.pack.accepted]
    parts += ["--seed", str(record.seed), "--engine", record.machine.engine_name]
    parts += [*_device(record), "--preset", record.entry.preset]
    parts += [*_overrides(record), *_limits(record, default_limits)]
    return "\n".join([*_checkout(record), shlex.join(parts)])


@dataclass(frozen=True)
class TryAgain:
    """How a reader sees a failed run for himself."""

    command: str
    """Lines for a shell."""
    where: str
    """On which images it runs, and why on these."""


@dataclass(frozen=True)
class ShownRuns:
    """The records from which a row's commands are made."""

    own: Sequence[Record]
    """Records of the row that may be shown; none of a hidden pack."""
    of_entry: Sequence[Record]
    """All records of its entry that may be shown."""
    default_limits: Mapping[str, float | int]
    """Limits that need no option."""


def try_again(row: Row, failure: Failure, runs: ShownRuns) -> TryAgain:
    """The command for one run without a result; of a hidden pack one on images that everybody has.

    Args:
        row: the row of the run.
        failure: the run.
        runs: what may be shown of the row and of its entry.
    """
    default_limits = runs.default_limits
    mine = next((record for record in runs.own if record.seed == failure.seed), None)
    if mine is not None:
        title = words.benchmark_title(mine.pack.benchmark)
        return TryAgain(check_command(mine, default_limits), f"On the same images ({title}).")
    is_hidden = not may_leave(Artefact.EXACT_RECORD, row.visibility)
    why = "Nobody but its maintainer has this pack's images" if is_hidden else "No record is shown"
    alike = _first_with(runs.of_entry, failure.status)
    if alike is not None:
        title = words.benchmark_title(alike.pack.benchmark)
        told = f"{why}; the entry ended in the same way on {title}, which is open: there it shows."
        return TryAgain(check_command(alike, default_limits), told)
    told = f"{why}, so this runs on the demo pack: it may end otherwise there."
    return TryAgain(_on_demo_pack(row, failure.seed, runs), told)


def _first_with(records: Sequence[Record], status: Status) -> Record | None:
    found = (record for record in records if record.outcome.status is status)
    return min(found, key=lambda r: (words.benchmark_order(r.place), r.seed), default=None)


def _on_demo_pack(row: Row, seed: int, runs: ShownRuns) -> str:
    """The call on the demo pack, with the settings of the entry's open runs where there are any."""
    record = min(
        runs.of_entry, key=lambda r: (words.benchmark_order(r.place), r.seed), default=None
    )
    if record is None:
        named = row.metadata.get("source")
        is_found = isinstance(named, str) and "/" in named
        parts = ["python", "-m", "harness.check", str(named) if is_found else ENTRY]
        parts += ["--seed", str(seed), "--engine", DEFAULT_ENGINE]
        parts += ["--device", "cuda:0"] if any(each != "cpu" for each in row.devices) else []
        return shlex.join(parts)
    parts = ["python", "-m", "harness.check", source(record), "--seed", str(seed)]
    parts += ["--engine", record.machine.engine_name, *_device(record)]
    parts += [*_overrides(record), *_limits(record, runs.default_limits)]
    return "\n".join([*_checkout(record), shlex.join(parts)])


def source(record: Record) -> str:
    """What stands in the place of ENTRY: the folder, file or image reference."""
    told = record.entry.metadata.get("source")
    if isinstance(told, str) and told:
        # Of a path outside the checkout, its last part alone is kept: no folder is told to strangers.
        is_outside = record.entry.kind in ("folder", "archive") and "/" not in told
        return f"{OUTSIDE}/{told}" if is_outside else told
    if record.entry.kind == "folder":
        return f"baselines/{record.entry.name}"
    if record.entry.kind == "submission":
        return f"submissions/{record.entry.name}.toml"
    if record.entry.kind == "archive":
        return f"{record.entry.name}.tar"
    return record.entry.image_digest or record.entry.identity.removeprefix("image:")


def _data(record: Record) -> list[str]:
    """The options that name the images; DIR is the reader's own folder."""
    regime = record.regime or ONE_CLASS
    asked = regime.options
    if regime.suite is not None:
        is_shipped = regime.suite.startswith(BOARD_SUITES)
        suite = regime.suite if is_shipped else f"{OUTSIDE}/{regime.suite}.toml"
        own = [] if is_shipped else ["--pack", OUTSIDE]
        return ["--suite", suite, *asked, *(own or ["--data-root", OUTSIDE])]
    return [*_packs(record), *asked]


def _packs(record: Record) -> list[str]:
    benchmark = claimed_name(record.pack.benchmark)
    if benchmark == words.DEMO:
        return ["--benchmark", benchmark]
    if benchmark in words.SIX:
        return ["--benchmark", benchmark, "--data-root", "DIR"]
    return ["--pack", "DIR"]


def _checkout(record: Record) -> list[str]:
    commit = record.source.commit
    if commit is None:
        return [f"# harness {record.source.version}, not from a git checkout"]
    clean = commit.removesuffix(DIRTY)
    lines = [f"git checkout {shlex.quote(clean)}"]
    if source(record).startswith(f"{OUTSIDE}/"):
        lines.append("# the entry lies outside the checkout: DIR is wherever its author has put it")
    if clean != commit:
        lines.insert(0, "# the harness had local changes that are not in this commit")
    return lines


def _default_name(record: Record) -> str:
    """The name that the entry would have without `--as`."""
    if record.entry.kind != "folder":
        return record.entry.name
    return source(record).rstrip("/").rpartition("/")[2]


def _default_preset(record: Record) -> str:
    """The preset of a run that names none."""
    names = (record.pack.base, claimed_name(record.pack.benchmark))
    return words.DEMO if words.DEMO in names else DEFAULT_PRESET


def _device(record: Record) -> list[str]:
    return [] if record.machine.device == "cpu" else ["--device", "cuda:0"]


def _overrides(record: Record) -> list[str]:
    told = ((name, _as_typed(value)) for name, value in sorted(record.entry.overrides.items()))
    return [part for name, value in told for part in ("--set", f"{name}={value}")]


def _limits(record: Record, defaults: Mapping[str, float | int]) -> list[str]:
    """The options for limits that are not the default ones."""
    return [
        part
        for name, value in sorted(record.limits.items())
        if name in defaults and defaults[name] != value
        for part in ("--limit", f"{name}={value}")
    ]


def _as_typed(value: Parameter) -> str:
    """A value as `--set` reads it: texts as they are, all else as TOML (here the same as JSON)."""
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)
