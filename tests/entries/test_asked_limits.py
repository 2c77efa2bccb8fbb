"""What an entry may ask for: within the board's bounds, and below what a call says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness import list as harness_list
from harness.common.errors import EntryInvalid
from harness.common.statuses import Status
from harness.engines.base import Limits
from harness.entries.asked_limits import MEANINGS, MOST_ASKED, asked_limits, limits_for
from harness.entries.opening import open_entry
from tests.entries.test_submissions import source_folder, submit
from tests.paths import REPOSITORY


def test_what_is_asked_takes_the_defaults_place_and_a_calls_word_comes_last() -> None:
    asked = asked_limits({"memory_mib": 32768, "train_seconds": 172800}, "mine.toml")
    assert limits_for(asked, []).memory_mib == 32768
    assert limits_for(asked, []).train_seconds == 172800.0
    assert limits_for(asked, []).pids == Limits().pids
    # also where the call says what is the default anyway
    assert limits_for(asked, [f"memory_mib={Limits().memory_mib}"]).memory_mib == 16384


def test_every_bound_leaves_room_above_its_default() -> None:
    defaults = Limits().as_dict()
    assert all(type(most) is type(defaults[name]) for name, most in MOST_ASKED.items())
    assert all(most > defaults[name] for name, most in MOST_ASKED.items())
    assert not {"threads", "checkpoints"} & set(MOST_ASKED)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"memory_mib": 64 * 1024 + 1}, "at most 65536"),
        ({"memory_mib": 0}, "above 0"),
        ({"memory_mib": -1}, "above 0"),
        ({"memory_mib": True}, "whole number"),
        ({"memory_mib": 1.5}, "whole number"),
        ({"train_seconds": float("nan")}, "at most"),
        ({"train_seconds": float("inf")}, "at most"),
        ({"image_seconds": "60"}, "number"),
        ({"memory": 1}, "did you mean memory_mib"),
        ({"threads": 4}, "the same for all entries"),
        ({"checkpoints": 4}, "the same for all entries"),
        ({"threads": 4, "memory_mib": "x"}, "memory_mib must be"),
        ([], "no table"),
        ("all", "no table"),
    ],
)
def test_what_is_no_limit_is_told_with_the_bound(section: object, told: str) -> None:
    with pytest.raises(EntryInvalid, match=told):
        asked_limits(section, "mine.toml")


def test_a_submissions_file_and_a_folder_may_ask_and_the_file_comes_last(tmp_path: Path) -> None:
    from harness.entries.identity import submitted_folder_hash

    folder = source_folder(tmp_path, "mine")
    with (folder / "entry.toml").open("a") as file:
        file.write("[limits]\nmemory_mib = 20000\npids = 600\n")
    assert open_entry(str(folder)).limits == {"memory_mib": 20000, "pids": 600}
    path = submit(tmp_path, folder="mine", folder_hash=submitted_folder_hash(folder))
    with path.open("a") as file:
        file.write("\n[limits]\nmemory_mib = 30000\n")
    assert open_entry(str(path)).limits == {"memory_mib": 30000, "pids": 600}
    (tmp_path / "other").mkdir()
    image = submit(tmp_path / "other", "image")
    image.write_text(image.read_text() + "\n[limits]\nmemory_mib = 1e12\n")
    with pytest.raises(EntryInvalid, match="memory_mib"):
        open_entry(str(image))


def test_the_page_of_limits_is_that_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPOSITORY / "docs/limits.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d,.]+) \| ([\d,.]+|as it is) \| (.*) \|$", page, re.M)
    told = {name: (default, most, meaning) for name, default, most, meaning in rows}

    def shown(value: float) -> str:
        return f"{value:,.0f}"

    assert told == {
        name: (
            shown(default),
            shown(MOST_ASKED[name]) if name in MOST_ASKED else "as it is",
            MEANINGS[name],
        )
        for name, default in Limits().as_dict().items()
    }
    assert harness_list.main(["limits", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["limit"] for row in listed] == list(Limits().as_dict())


def test_whatever_a_remedy_tells_an_author_to_ask_for_a_file_may_ask_for() -> None:
    told = {
        name for status in Status for name in re.findall(r"--limit (\w+)=", status.entry.remedy)
    }
    assert told
    assert told <= set(MOST_ASKED)
