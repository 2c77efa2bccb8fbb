"""Frames: each kind is read back as it was written, and nothing else is read at all."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest

from harness.contract.frames import (
    CheckpointFrame,
    Description,
    DoneFrame,
    HelloFrame,
    ImageFrame,
    MapFrame,
    ProgressFrame,
    ReadyFrame,
    Verdict,
    parse_frame,
)
from harness.contract.lines import BadFrame
from harness.contract.pipe import FrameReader, FrameWriter

HELLO = HelloFrame(
    verb="predict",
    benchmark="brain",
    seed=3,
    device="cuda:0",
    maps_wanted=True,
    paths={"model": "/model"},
    params={"layers": [2, 3], "lr": 0.005, "name": "é"},
    limits={"image_seconds": 120.0, "threads": 2},
)
EVERY_KIND = [
    HELLO,
    ReadyFrame(maps=False),
    ImageFrame("abc", (4, 6)),
    ImageFrame("abc", (4, 6, 3)),
    MapFrame("abc", 1.5, (4, 6), "float32"),
    MapFrame("abc", None, (4, 6), "float16"),
    MapFrame("abc", -2.0, None, None),
    ProgressFrame(1, 10, 0.5),
    ProgressFrame(1, 10, None),
    CheckpointFrame(7),
    Verdict(keep=True, stop=False),
    DoneFrame(),
]


@pytest.mark.parametrize("frame", EVERY_KIND, ids=repr)
def test_a_frame_is_read_back_as_it_was_written(frame):
    assert parse_frame(frame.line()) == frame


@pytest.mark.parametrize("frame", EVERY_KIND, ids=repr)
def test_no_key_may_be_added_and_none_but_score_may_be_missing(frame):
    header = json.loads(frame.line())
    with pytest.raises(BadFrame):
        parse_frame(json.dumps(header | {"extra": 1}).encode() + b"\n")
    for key in header:
        rest = {name: value for name, value in header.items() if name != key}
        line = json.dumps(rest).encode() + b"\n"
        if key == "score" and header["shape"] is not None:
            assert parse_frame(line).score is None
        else:
            with pytest.raises(BadFrame):
                parse_frame(line)


@pytest.mark.parametrize("frame", EVERY_KIND, ids=repr)
@pytest.mark.parametrize("value", [None, True, -1, 1.5, "", "x" * 101, [], {}, [1, "a"], {"a": {}}])
def test_a_value_of_another_kind_is_a_bad_frame_or_a_frame_that_agrees_with_itself(frame, value):
    header = json.loads(frame.line())
    for key in header:
        line = json.dumps(header | {key: value}).encode() + b"\n"
        try:
            read = parse_frame(line)
        except BadFrame:
            continue
        assert json.loads(read.line()) == header | {key: value}


@pytest.mark.parametrize("shape", [[0, 4], [-1, 4], [4], [4, 6, 4], [4, 6, 3, 1], [65536, 1]])
def test_an_image_has_two_or_three_sides_of_sensible_length(shape):
    size = int(np.prod(shape))
    header = {"type": "image", "id": "a", "shape": shape, "dtype": "uint8", "nbytes": size}
    with pytest.raises(BadFrame):
        parse_frame(json.dumps(header).encode() + b"\n")


def test_messages_do_not_repeat_what_was_read():
    for line in (b'{"type":"SECRET"}\n', b'{"type":"done","SECRET":1}\n', b"SECRET\n"):
        with pytest.raises(BadFrame) as problem:
            parse_frame(line)
        assert "SECRET" not in str(problem.value)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_map_travels_bit_for_bit_in_little_endian(dtype, tmp_path):
    anomaly_map = np.arange(6, dtype=dtype).reshape(2, 3) / 7
    with (tmp_path / "frames").open("wb") as stream:
        FrameWriter(stream).write(MapFrame("a", 0.0, (2, 3), dtype), anomaly_map)
    line, _, data = (tmp_path / "frames").read_bytes().partition(b"\n")
    assert json.loads(line)["nbytes"] == len(data)
    assert data == anomaly_map.astype(anomaly_map.dtype.newbyteorder("<")).tobytes()


def test_a_frame_that_the_pipe_takes_in_pieces_arrives_whole(monkeypatch, tmp_path):
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: writev(fd, [parts[0][:3]]))
    anomaly_map = np.arange(6, dtype=np.float32).reshape(2, 3)
    frame = MapFrame("a", 0.0, (2, 3), "float32")
    with (tmp_path / "frames").open("wb") as stream:
        FrameWriter(stream).write(frame, anomaly_map)
    assert (tmp_path / "frames").read_bytes() == frame.line() + anomaly_map.tobytes()


def test_a_reader_gives_frames_images_and_the_end(tmp_path):
    image = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    with (tmp_path / "frames").open("wb") as stream:
        writer = FrameWriter(stream)
        writer.write(HELLO)
        writer.write(ImageFrame("a", image.shape), image)
    reader = FrameReader(io.BytesIO((tmp_path / "frames").read_bytes()))
    assert reader.read() == HELLO
    frame = reader.read()
    read = reader.read_image(frame)
    np.testing.assert_array_equal(read, image)
    assert read.flags.writeable
    assert reader.read() is None


@pytest.mark.parametrize("missing", [1, 24])
def test_an_image_that_is_cut_off_is_a_bad_frame(missing):
    frame = ImageFrame("a", (4, 6))
    reader = FrameReader(io.BytesIO(b"x" * (frame.nbytes - missing)))
    with pytest.raises(BadFrame, match="ended inside"):
        reader.read_image(frame)


def test_a_reader_stops_at_the_longest_line():
    endless = io.BytesIO(b"x" * 10_000_000)
    with pytest.raises(BadFrame, match="longer than"):
        FrameReader(endless).read()
    assert endless.tell() <= 65_537


def test_a_description_without_verbs_only_predicts():
    line = b'{"name":"a","contract":1,"maps":false}\n'
    assert Description.from_line(line) == Description("a", maps=False, verbs=("predict",))
    assert Description.from_line(Description("a", True, ("predict", "train")).line()).verbs == (
        "predict",
        "train",
    )


@pytest.mark.parametrize(
    "line",
    [
        b'{"name":"a","contract":2,"maps":false}\n',
        b'{"name":"","contract":1,"maps":false}\n',
        b'{"name":"a","contract":1,"maps":0}\n',
        b'{"name":"a","contract":1,"maps":true,"verbs":["train"]}\n',
        b'{"name":"a","contract":1,"maps":true,"labels":[]}\n',
    ],
)
def test_a_wrong_description_is_refused(line):
    with pytest.raises(BadFrame):
        Description.from_line(line)
