"""Errors, exit codes and options that all verbs share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.common import errors
from harness.common.statuses import STATUS_TABLE, Fault, Status
from harness.console import cli


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("what"), 2),
        (errors.EntryInvalid("what"), 3),
        (errors.EntryFailed("what"), 4),
        (errors.DataMissing("what"), 5),
        (errors.PackInvalid("where", ["one", "two"]), 5),
        (errors.InfrastructureFault(Status.GPU_LOST, "at image 3"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int) -> None:
    def main(_argv: Sequence[str] | None) -> int:
        raise error

    assert cli.run_verb(main) == code


def test_a_bug_keeps_its_traceback() -> None:
    def main(_argv: Sequence[str] | None) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run_verb(main)


def test_an_error_says_what_where_and_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_argv: Sequence[str] | None) -> int:
        raise errors.DataMissing("no benchmark is there", where="/data", fix="set BMAD_DATA")

    cli.run_verb(main)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: no benchmark is there (/data)\nfix: set BMAD_DATA\n"


def test_all_problems_of_a_pack_are_shown_at_once() -> None:
    text = cli.render_error(
        errors.PackInvalid("/data/x", ["mask a is missing", "b is not an image"])
    )
    assert "2 problems" in text
    assert "  - mask a is missing\n  - b is not an image" in text


def test_limits_are_changed_by_name_and_type() -> None:
    limits = cli.read_limits(["image_seconds=2.5", "pids=64"])
    assert (limits.image_seconds, limits.pids) == (2.5, 64)
    assert limits.start_seconds == 300.0


@pytest.mark.parametrize(
    "text",
    [
        "image_second=1",
        "pids=0",
        "pids=1.5",
        "pids=many",
        "pids",
        "=3",
        "image_seconds=inf",
        "image_seconds=nan",
        "image_seconds=1e9",
        "memory_mib=99999999999999999999",
    ],
)
def test_a_wrong_limit_is_a_usage_error(text: str) -> None:
    with pytest.raises(errors.UsageError):
        cli.read_limits([text])


def test_an_option_twice_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError, match="given twice"):
        cli.assignments(["a=1", "a=2"], "--set")


def test_unknown_options_raise_instead_of_exiting() -> None:
    parser = cli.Parser("evaluate", "…", "…")
    with pytest.raises(errors.UsageError, match="unrecognized"):
        parser.parse_args(["--no-such-option"])


def test_the_table_of_statuses_is_complete() -> None:
    assert set(STATUS_TABLE) == set(Status)
    for status in Status:
        assert status.entry.sentence.endswith(".")
        assert status.entry.remedy.endswith(".")
    assert [status for status in Status if status.fault is Fault.NONE] == [Status.OK]
    assert {status for status in Status if status.fault is Fault.INFRASTRUCTURE} == {
        Status.ENGINE_UNAVAILABLE, Status.IMAGE_UNAVAILABLE, Status.GPU_LOST, Status.HOST_ERROR,
    }  # fmt: skip
