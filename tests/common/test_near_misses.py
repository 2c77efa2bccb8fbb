"""Near misses: what is told of a mistyped name, and what is not."""

from __future__ import annotations

import pytest

from harness.common.near_misses import did_you_mean, near_misses

VERBS = ("bundle", "campaign", "check", "compare", "evaluate", "list", "queue", "verify")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("evalute", "evaluate"), ("lst", "list"), ("chekc", "check"), ("Evaluate", "evaluate"),
        ("QUEUE", "queue"), ("verfy", "verify"),
    ],
)  # fmt: skip
def test_the_name_that_was_meant_comes_first(typed: str, meant: str) -> None:
    assert near_misses(typed, VERBS)[0] == meant
    assert did_you_mean(typed, VERBS).startswith(f"did you mean {meant}")


@pytest.mark.parametrize("typed", ["zzz", "", "x"])
def test_of_what_is_near_nothing_nothing_is_said(typed: str) -> None:
    assert near_misses(typed, VERBS) == []
    assert did_you_mean(typed, VERBS) == ""
    assert did_you_mean(typed, []) == ""


def test_a_second_guess_is_told_only_where_it_is_as_good() -> None:
    assert near_misses("--engne", ["--engine", "--seed", "--device"]) == ["--engine"]
    assert near_misses("padim", ["padim-1", "padim-2"]) == ["padim-1", "padim-2"]


def test_a_foreign_name_is_told_on_one_visible_line() -> None:
    assert did_you_mean("abcdef", ["abcde\n\x1b"]) == r"did you mean abcde\n\x1b? "
