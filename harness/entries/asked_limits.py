"""The limits of a run that an entry may ask for itself, and how far.

    [limits]                    of an entry.toml or of a submission file
    memory_mib = 32768

The board's defaults are `Limits()`; what an entry asks for takes their place, and `--limit` of
whoever runs it comes last. Threads and checkpoints are nobody's to ask for: the first decides
digits and times that are compared, the second bounds what verdicts tell (docs/limits.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from harness.common.errors import EntryInvalid
from harness.common.foreign_text import one_line
from harness.common.near_misses import did_you_mean
from harness.console.cli import assignments, read_limits
from harness.engines.base import Limits

MOST_ASKED: Mapping[str, float | int] = MappingProxyType(
    {
        "start_seconds": 1800.0,
        "image_seconds": 600.0,
        "predict_seconds": 24 * 3600.0,
        "train_seconds": 72 * 3600.0,
        "stop_seconds": 60.0,
        "memory_mib": 64 * 1024,
        "shm_mib": 16 * 1024,
        "tmp_mib": 16 * 1024,
        "pids": 4096,
        "log_bytes": 64 * 1024**2,
        "train_stdout_bytes": 1024**3,
        "model_bytes": 64 * 1024**3,
        "model_files": 100_000,
    }
)
"""The most of each limit that an entry may ask for."""


MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "start_seconds": "from the start of the program to its ready frame",
        "image_seconds": "from the send of one image to the last byte of its answer",
        "predict_seconds": "one whole predict session",
        "train_seconds": "one whole training, all its parts and its checkpoints together",
        "stop_seconds": "from the end of input, or TERM, to the exit",
        "memory_mib": "RAM, swap included (in containers alone)",
        "shm_mib": "size of /dev/shm (in containers alone)",
        "tmp_mib": "size of /tmp (in containers alone)",
        "pids": "processes and threads (in containers alone)",
        "threads": "CPU threads",
        "log_bytes": "bytes on standard error",
        "train_stdout_bytes": "bytes on standard output in training, answers not counted",
        "model_bytes": "total size of the trained model's files",
        "model_files": "number of the trained model's files",
        "checkpoints": "checkpoints of one training that are judged; the last is told to stop",
    }
)
"""What each limit bounds, in a line."""


def asked_limits(section: object, where: str) -> dict[str, float | int]:
    """The limits of a table `[limits]`.

    Args:
        section: the parsed table.
        where: the file, for the message.
    Raises:
        EntryInvalid: an unknown name, another type, or more than the board gives; all at once.
    """
    if not isinstance(section, Mapping):
        raise EntryInvalid("limits is no table", where=where, fix="write [limits] and one per line")
    problems, found = [], {}
    for name, value in section.items():
        if problem := _problem(name, value):
            problems.append(problem)
        else:
            found[name] = type(MOST_ASKED[name])(value)
    if problems:
        raise EntryInvalid(
            "; ".join(problems[:50]),
            where=f"{where}: [limits]",
            fix="python -m harness.list limits shows every limit, its default and the most of it",
        )
    return found


def limits_for(asked: Mapping[str, float | int], told: Sequence[str]) -> Limits:
    """The limits of a run: the defaults, what the entry asks for, and what the call says.

    Args:
        asked: as `asked_limits` gives them.
        told: the texts of `--limit`; they come last.
    Raises:
        UsageError: a text of `told` is none.
    """
    return replace(read_limits(told), **not_told(asked, told))  # type: ignore[arg-type]


def not_told(asked: Mapping[str, float | int], told: Sequence[str]) -> dict[str, float | int]:
    """What of the asked limits the texts of `--limit` leave as it is."""
    given = assignments(told, "--limit")
    return {name: value for name, value in asked.items() if name not in given}


def _problem(name: object, value: object) -> str | None:
    shown = one_line(name, 64)
    if name not in MOST_ASKED:
        if name in Limits().as_dict():
            return f"{shown} is the same for all entries"
        return f"unknown limit {shown!r} {did_you_mean(str(name), MOST_ASKED)}".rstrip()
    most = MOST_ASKED[str(name)]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(most, int) and not isinstance(value, int)):
        kind = "whole number" if isinstance(most, int) else "number"
        return f"{shown} must be a {kind}, not {one_line(repr(value), 60)}"
    if not 0 < value <= most:  # type: ignore[operator]
        return f"{shown} must be above 0 and at most {most:.0f}, not {one_line(repr(value), 60)}"
    return None
