"""JSON of others: whatever it holds, there is a value or one typed error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.board.comparison import read_comparison
from harness.board.data_card_files import read_card
from harness.common.errors import HarnessError, StoreUnusable
from harness.common.json_text import MAX_JSON_DEPTH, BadJson, parse_as, parse_json, read_json
from harness.metrics.archive import read_archive
from harness.records.record import Record
from harness.records.store import read_record
from harness.trained.model_card import read_model_card
from leaderboard.publishing import check_target

HOSTILE = {
    "nested lists": "[" * 5_000 + "]" * 5_000,
    "nested objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "a level too many": "[" * (MAX_JSON_DEPTH + 2) + "]" * (MAX_JSON_DEPTH + 2),
    "an integer of 5,000 digits": "9" * 5_000,
    "an integer of 400 digits": "[-" + "9" * 400 + "]",
    "past a float": '{"x": 1e400}',
    "NaN": "[NaN]",
    "Infinity": "[-Infinity]",
    "half a character": '{"x": "\\ud800"}',
    "half a character as a key": '{"\\uDC00": 1}',
    "cut": '{"x": ',
    "nothing": "",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_no_program_can_use_is_a_typed_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    for told in (
        lambda: parse_json(text),
        lambda: parse_json(text.encode()),
        lambda: read_json(path),
    ):
        with pytest.raises(BadJson) as refused:
            told()
        assert len(str(refused.value)) < 300


def test_bytes_that_are_no_text_are_a_typed_error() -> None:
    with pytest.raises(BadJson):
        parse_json(b"\xff\xfe{}")


@pytest.mark.parametrize(
    "value",
    [
        None, True, "", "±\N{LINE SEPARATOR}\U0001f600", 0, -1, 2**63, 1.5, -1e-300, math.pi,
        {"a": [1, {"b": [None]}]}, [[]] * 3,
    ],
)  # fmt: skip
def test_all_other_json_is_what_the_standard_library_reads(value: object) -> None:
    for is_ascii in (True, False):
        text = json.dumps(value, ensure_ascii=is_ascii)
        assert parse_json(text) == json.loads(text) == value
    deep: object = value
    for _ in range(MAX_JSON_DEPTH - 4):
        deep = [deep]
    assert parse_json(json.dumps(deep)) == deep


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


def test_a_file_is_read_no_further_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.common.json_text.MAX_JSON_BYTES", 4)
    (tmp_path / "a.json").write_text("[12]")
    assert read_json(tmp_path / "a.json") == [12]
    with pytest.raises(BadJson, match="larger than 4 bytes"):
        read_json(Path("/dev/zero"))


def test_a_schema_names_the_first_place_that_it_refuses() -> None:
    with pytest.raises(BadJson, match="run_key: "):
        parse_as(Record.model_validate_json, b"{}")


# -- wherever JSON of others is read -------------------------------------------------------------


def _site(path: Path) -> None:
    (path.parent / "site" / "data").mkdir(parents=True)
    path.rename(path.parent / "site" / "data" / "manifest.json")
    check_target(path.parent / "site")


def _evidence(path: Path) -> None:
    header = np.frombuffer(path.read_bytes(), np.uint8)
    np.savez(path.with_suffix(".npz"), header=header)
    read_archive(path.with_suffix(".npz"), format_name="x")


def _model_card(path: Path) -> None:
    read_model_card(path.read_bytes(), str(path))


READERS: dict[str, Callable[[Path], object]] = {
    "a record": read_record,
    "a data card": read_card,
    "a comparison": read_comparison,
    "a model's card": _model_card,
    "the manifest of a site": _site,
    "evidence": _evidence,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "kind", ["nested lists", "nested objects", "an integer of 5,000 digits", "past a float", "NaN"]
)
def test_every_reader_answers_with_a_typed_error_that_names_the_file(
    reader: Callable[[Path], object], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "brain.json"
    path.write_text(HOSTILE[kind], encoding="utf-8")
    with pytest.raises(HarnessError) as refused:
        reader(path)
    assert str(tmp_path) in refused.value.where
    assert refused.value.fix


def test_a_record_whose_numbers_no_program_can_hold_is_refused_as_it_is_read(
    tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    told = make_record().model_dump_json()
    path = tmp_path / "seed-0.json"
    for number in ("1e400", "NaN", "9" * 5_000):
        path.write_text(re.sub(r'"total":[0-9.]+', f'"total":{number}', told))
        assert number[:40] in path.read_text()
        with pytest.raises(StoreUnusable, match="not a record of this schema"):
            read_record(path)
