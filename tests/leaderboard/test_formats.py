"""Numbers, links and names as text."""

from __future__ import annotations

import pytest

from leaderboard import formats


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [(0.91649, None, "91.65"), (1.0, None, "100.00"), (0.84, 0.01, "84"), (0.8, 0.1, "80"), (0.841, 0.001, "84.1")],
)  # fmt: skip
def test_metrics_are_percent_at_their_precision(value, step, text):
    assert formats.percent(value, step) == text


def test_differences_carry_a_sign_and_zero_carries_none():
    assert [formats.signed_points(v) for v in (0.0123, -0.0123, -0.00001, 0.0)] == [
        "+1.23", "−1.23", "0.00", "0.00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00012, "0.00012"), (0.0312, "0.031"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123")],
)
def test_seconds_have_no_exponent(value, text):
    assert formats.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.5, "4.50 s"), (75, "1 min 15 s"), (3600, "1 h 00 min"), (86399, "23 h 59 min")],
)
def test_durations_use_the_unit_of_a_reader(value, text):
    assert formats.duration(value) == text


def test_safe_names_are_kept_and_others_never_meet():
    assert formats.file_stem("cs-flow_v1.2") == "cs-flow_v1.2"
    hostile = ["..", "a/b", "A", "a b", "", "\u0000", "x" * 500, "-rf", "a--0123456789", "é", ".x"]
    stems = [formats.file_stem(name) for name in [*hostile, "a", "a-b"]]
    assert len(set(stems)) == len(stems)
    assert all(formats.SAFE_NAME.fullmatch(stem) and ".." not in stem for stem in stems)
    # A made-up name cannot take the place of another name's page.
    assert formats.file_stem(formats.file_stem("a/b")) != formats.file_stem("a/b")


def test_values_of_entries_are_one_line_of_text():
    assert formats.plain(["a", True, 1.5]) == "a, true, 1.5"
    assert formats.plain("a\nb\x1b[31m\u202e") == r"a b\x1b[31m\u202e"
