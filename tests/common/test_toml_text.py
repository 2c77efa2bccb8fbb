"""TOML of others: a document or one typed error, in time that the text's length bounds."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from harness.common.toml_text import MAX_TOML_BYTES, MAX_TOML_DEPTH, BadToml, parse_toml, read_toml
from tests.paths import BASELINES

LONG_KEY = ".".join("a" * 100_000)
HOSTILE = {
    "nested arrays": "x = " + "[" * 5_000 + "]" * 5_000,
    "nested tables": "x = " + "{a=" * 5_000 + "1" + "}" * 5_000,
    "a dotted key": LONG_KEY + " = 1",
    "a dotted key with spaces": LONG_KEY.replace(".", "\t. ") + " = 1",
    "a dotted key of quoted parts": ".".join(['"a"', "'b'"] * 50_000) + " = 1",
    "a dotted table": f"[{LONG_KEY}]",
    "a dotted key behind strings": f'x = {{y = """"a"b""""", {LONG_KEY} = "b"}}',
    "a dotted key behind an open string": f'x = "\n{LONG_KEY} = 1\n"',
    "a dotted key behind three quotes": f"x = '''\\'''\n{LONG_KEY} = 1",
    "an integer of 5,000 digits": "n = " + "9" * 5_000,
    "an integer of 65 bits": f"n = {1 << 63}",
    "past a float": "n = [1e400]",
    "not a number": "n = nan",
    "no date": "n = 0000-00-00",
    "no TOML": "n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_no_program_can_use_is_a_typed_error_and_soon(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(BadToml) as refused:
        read_toml(path)
    assert time.process_time() - began < 5
    assert len(str(refused.value)) < 300
    assert "sys." not in str(refused.value)


def test_a_larger_file_and_one_that_is_no_text_are_typed_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("#" * (MAX_TOML_BYTES + 1))
    with pytest.raises(BadToml, match="larger than"):
        read_toml(path)
    path.write_bytes(b"n = '\xff'")
    with pytest.raises(BadToml, match="utf-8"):
        read_toml(path)


SHALLOW = {
    "a string": f'x = "{LONG_KEY}"',
    "a comment": f"x = '{LONG_KEY}' # {LONG_KEY}",
    "lines": f'x = """\n{LONG_KEY}\n"\\""""',
    "lines as they are": f"x = '''\n{LONG_KEY}\n''''",
    "numbers": "x = [" + ", ".join(["1.5", "-2.5e3"] * 500) + "]",
    "a key of few parts": ".".join("a" * (MAX_TOML_DEPTH - 1)) + " = 1",
    "a date": 'a."b.c".d = 1979-05-27T07:32:00.999999-07:00',
}


@pytest.mark.parametrize("text", SHALLOW.values(), ids=SHALLOW)
def test_dots_elsewhere_than_in_keys_are_no_depth(text: str) -> None:
    assert parse_toml(text) == tomllib.loads(text)


def test_every_file_of_the_projects_own_is_read_as_it_was() -> None:
    for path in BASELINES.glob("*/entry.toml"):
        assert read_toml(path) == tomllib.loads(path.read_text())
