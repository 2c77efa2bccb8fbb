"""Suites: which benchmarks one model is for. Each is a small TOML file; those beside this module are the board's.

name = "retina"
title = "Both benchmarks of the retina"
members = ["resc", "oct2017"]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.benchmarks.card import PackName
from harness.benchmarks.specs import BENCHMARKS
from harness.common.errors import UsageError
from harness.common.foreign_text import one_line
from harness.common.near_misses import did_you_mean
from harness.common.toml_text import BadToml, read_toml
from harness.records.members import MEAN
from harness.records.regime import BOARD_SUITES

SHIPPED = Path(__file__).parent


class _SuiteFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PackName
    title: str = Field(default="", max_length=200)
    members: tuple[PackName, ...] = Field(min_length=2, max_length=64)

    @field_validator("members")
    @classmethod
    def _are_different(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(members)) != len(members):
            raise ValueError("a member is named twice")
        if MEAN in members:
            raise ValueError(f"{MEAN} stands for the mean over the members")
        return members


@dataclass(frozen=True)
class Suite:
    """Several benchmarks that one model is for."""

    name: str
    """Name of the suite; no benchmark's."""
    title: str
    """One line for readers."""
    members: tuple[str, ...]
    """Names of the benchmarks, in the order in which they are shown."""
    is_shipped: bool
    """Whether it is one of the board's; another's rows take no rank."""


def shipped_suites() -> dict[str, Suite]:
    """The board's own suites, by name."""
    found = [_read(path, is_shipped=True) for path in sorted(SHIPPED.glob("*.toml"))]
    return {suite.name: suite for suite in found}


def find_suite(text: str) -> Suite:
    """A suite by its name, or from a file.

    Args:
        text: `unified-3`, or the path of a TOML file.
    Raises:
        UsageError: there is no such suite, or the file is none.
    """
    known = shipped_suites()
    if text in known:
        return known[text]
    path = Path(text)
    if path.suffix == ".toml" or path.is_file():
        return _read(path, is_shipped=False)
    raise UsageError(
        f"there is no suite {text!r}",
        where="--suite",
        fix=f"{did_you_mean(text, known)}suites: {', '.join(known)}, or a TOML file with"
        " name and members",
    )


def _read(path: Path, *, is_shipped: bool) -> Suite:
    try:
        told = _SuiteFile.model_validate(read_toml(path))
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error
    except BadToml as error:
        raise _refused(path, one_line(error)) from error
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise _refused(path, one_line("; ".join(problems))) from error
    if told.name in BENCHMARKS:
        raise _refused(path, f"{told.name} is the name of a benchmark")
    if not is_shipped and told.name.startswith(BOARD_SUITES):
        raise _refused(path, f"a name that begins with {BOARD_SUITES} is the board's own")
    return Suite(told.name, told.title or told.name, told.members, is_shipped)


def _refused(path: Path, problem: str) -> UsageError:
    return UsageError(
        f"the file is no suite: {problem}",
        where=str(path),
        fix='three lines: name = "my-suite", title = "…", members = ["brain", "resc"]',
    )
