"""The command that repeats a row's runs, as a reader would type it.

Trap: values come from records, which strangers may have written: every word is quoted
for the shell.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from harness.records.record import Parameter, Record
from harness.records.regime import BOARD_SUITES, ONE_CLASS
from harness.records.releases import claimed_name
from leaderboard import words

DIRTY = "+dirty"
OUTSIDE = "DIR"  # whatever folder the reader has it in
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
    if first.machine.device != "cpu":
        parts += ["--device", "cuda:0"]
    if first.entry.preset != DEFAULT_PRESET:
        parts += ["--preset", first.entry.preset]
    for name, value in sorted(first.entry.overrides.items()):
        parts += ["--set", f"{name}={_as_typed(value)}"]
    for name, value in _changed_limits(first, default_limits):
        parts += ["--limit", f"{name}={value}"]
    if _default_name(first) != first.entry.name:
        parts += ["--as", first.entry.name]
    return "\n".join([*_checkout(first), shlex.join(parts)])


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


def _changed_limits(
    record: Record, defaults: Mapping[str, float | int]
) -> list[tuple[str, float | int]]:
    return [
        (name, value)
        for name, value in sorted(record.limits.items())
        if name in defaults and defaults[name] != value
    ]


def _as_typed(value: Parameter) -> str:
    """A value as `--set` reads it: texts as they are, all else as TOML (here the same as JSON)."""
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)
