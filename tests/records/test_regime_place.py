"""A suite's members are told apart from those of another suite, and from their one-class runs."""

from __future__ import annotations

import pytest

from harness.records.regime import Regime


@pytest.mark.parametrize(
    ("benchmark", "place"),
    [
        ("unified-3", "unified-3@unified"),
        ("unified-3~0a1b2c", "unified-3~0a1b2c@unified"),
        ("brain", "brain@unified-3"),
        ("brain~0a1b2c", "brain~0a1b2c@unified-3"),
    ],
)
def test_the_place_of_a_member_says_of_which_suite(benchmark: str, place: str) -> None:
    regime = Regime(name="unified", suite="unified-3", delivery="256")
    assert regime.place(benchmark) == place
    assert regime.place(benchmark) != Regime(
        name="unified", suite="unified-6", delivery="256"
    ).place("brain")
