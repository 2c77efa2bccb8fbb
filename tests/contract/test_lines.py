"""The strict line: what Python's own JSON reader would let through."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.lines import (
    MAX_DEPTH,
    MAX_LINE_BYTES,
    BadFrame,
    NonFiniteNumber,
    decode_line,
    encode_line,
    finite_number,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max((depth_of(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(item) for item in value), default=0)
    return 0


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=4))
def test_what_is_written_is_read_back_unless_it_is_too_deep(header):
    try:
        line = encode_line(header)
    except UnicodeEncodeError:  # a lone surrogate is no UTF-8
        return
    if depth_of(header) > MAX_DEPTH:
        with pytest.raises(BadFrame):
            decode_line(line)
    else:
        assert decode_line(line) == header


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.binary(max_size=200) | st.text('{}[]":,\\01eNa ', max_size=80).map(str.encode))
def test_any_bytes_are_an_object_or_a_bad_frame(line):
    try:
        value = decode_line(line + b"\n")
    except BadFrame:
        return
    assert isinstance(value, dict)
    assert json.loads(line.decode()) == value  # stricter than json, never different


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":1}',
        b'{"a":1}\n\n',
        b'{"a":\n1}\n',
        b"\xef\xbb\xbf{}\n",
        b'{"a":"\xff"}\n',
        b'{"a":1,"a":1}\n',
        b'{"a":{"b":1,"b":2}}\n',
        b"{'a':1}\n",
        b'{"a":1,}\n',
        b'{"a":' + b"1" * 5000 + b"}\n",
        b"1\n",
        b'"{}"\n',
        b"{} {}\n",
        b"\n",
        b"",
        b"{" + b" " * MAX_LINE_BYTES + b"}\n",
    ],
    ids=lambda line: repr(line[:20]),
)
def test_what_is_no_strict_object_is_refused(line):
    with pytest.raises(BadFrame):
        decode_line(line)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e309", "-1e309"])
def test_numbers_that_are_not_finite_are_told_apart(number):
    with pytest.raises(NonFiniteNumber):
        decode_line(f'{{"a":{number}}}\n'.encode())


def test_brackets_in_strings_do_not_count_as_nesting():
    header = {"a": '\\"' + "[{" * 1000, "b": "]" * 1000}
    assert decode_line(encode_line(header)) == header


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1])
def test_nesting_is_bounded(levels):
    line = b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}\n"
    if levels > MAX_DEPTH:
        with pytest.raises(BadFrame, match="nested deeper"):
            decode_line(line)
    else:
        assert decode_line(line)


@pytest.mark.parametrize(
    "pattern",
    [b'"', b'\\"', b'"\\', b"[", b"{}", b'"a":', b"\\"],
    ids=repr,
)
def test_the_longest_hostile_line_is_judged_at_once(pattern):
    line = (pattern * MAX_LINE_BYTES)[: MAX_LINE_BYTES - 1] + b"\n"
    began = time.monotonic()
    with pytest.raises(BadFrame):
        decode_line(line)
    assert time.monotonic() - began < 1.0


def test_a_line_that_is_too_long_is_never_written():
    with pytest.raises(BadFrame):
        encode_line({"a": "x" * MAX_LINE_BYTES})


def test_a_number_is_an_integer_or_a_float_that_a_float64_can_hold():
    assert finite_number(3) == 3.0
    assert finite_number(-0.5) == -0.5
    for wrong in (True, "1", None, [1]):
        with pytest.raises(BadFrame):
            finite_number(wrong)
    with pytest.raises(NonFiniteNumber):
        finite_number(10**400)
