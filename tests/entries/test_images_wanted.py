"""What an entry says of the training images that it wants, and what is told of fewer."""

from __future__ import annotations

import pytest

from harness.common.errors import EntryInvalid
from harness.entries.entry import EntryTable, parse
from harness.entries.images_wanted import ImagesWanted

WANTED = ImagesWanted(
    times=3,
    unit="centre",
    per=("centres_{backbone}", "centres"),
    otherwise="centres lie on single images",
)


def test_fewer_images_than_wanted_are_told_of() -> None:
    params = {"backbone": "resnet18", "centres_resnet18": 5, "centres": 100}
    assert WANTED.shortage(15, params) is None
    assert WANTED.shortage(14, params) == (
        "14 training images for 5 centres, fewer than 3 for each: centres lie on single images"
    )


def test_the_first_parameter_that_there_is_counts() -> None:
    assert WANTED.shortage(15, {"backbone": "vgg16", "centres_resnet18": 5, "centres": 6})
    assert WANTED.shortage(15, {"centres": 6})


@pytest.mark.parametrize("value", ["many", True, 6.0, [6]])
def test_what_counts_nothing_wants_nothing(value: object) -> None:
    assert WANTED.shortage(0, {"centres": value}) is None
    assert WANTED.shortage(0, {}) is None


def test_an_entrys_words_stay_on_one_line() -> None:
    loud = WANTED.model_copy(update={"otherwise": "first\nsecond \x1b[31m" + "x" * 1000})
    told = loud.shortage(0, {"centres": 6})
    assert told is not None
    assert "\n" not in told
    assert "\x1b" not in told
    assert len(told) < 500


def test_a_wrong_table_names_the_entrys_file() -> None:
    table = {"name": "a", "title": "A", "images_wanted": {"times": 0, "per": [], "unit": "x"}}
    with pytest.raises(EntryInvalid, match=r"images_wanted\.times.*images_wanted\.per"):
        parse(EntryTable, table, "entry.toml: [entry]")
