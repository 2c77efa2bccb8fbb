"""Thousands of broken streams: always a typed status, in bounded time and memory.

BMAD_FUZZ_STREAMS sets how many streams are played, and BMAD_FUZZ_SEED where their seeds start;
a failure names the seed of its stream. A night's worth, with streams that no run has played:

    BMAD_FUZZ_STREAMS=1000000 BMAD_FUZZ_SEED=$(date +%s)0000 \\
        python -m pytest -q tests/session/test_fuzz.py
"""

from __future__ import annotations

import json
import os
import random
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.common.statuses import Fault, Status
from harness.contract.frames import MapFrame, ReadyFrame

STREAMS = int(os.environ.get("BMAD_FUZZ_STREAMS", "10000"))
FIRST_SEED = int(os.environ.get("BMAD_FUZZ_SEED", "0"))
PLAYED_AT_ONCE = 24
NASTY_VALUES = (
    None, True, -1, 0, 2**31, 2**40, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "a", "x" * 70_000, "\x00", "\ud800", "float64", "float16", [], [[]], [0, 0], [-4, 6], [4, 6],
    [6, 4], [4, 6, 1], [2**20, 2**20], ["4", "6"], {}, {"a": {"b": {}}}, "map", "ready", "done",
)  # fmt: skip
NASTY_LINES = (
    b"\n", b"{}\n", b"null\n", b"\x00\n", b"\xff\xfe\n", b"{" * 60_000 + b"\n", b"[" * 60_000 + b"\n",
    b'{"type":"map"}\n', b'{"type":"done"}\n', b'{"type":"ready","contract":1,"maps":true}\n',
    b'{"type":"progress","step":1,"steps":1,"loss":null}\n', b'{"type":"checkpoint","step":1}\n',
    b'{"type":"map","type":"map"}\n', b'"' * 60_000 + b"\n", b'"\\' * 30_000 + b"\n",
    b"x" * 140_000, b" " * 65_535 + b"\n", b'{"type":"map","score":' + b"9" * 5_000 + b"}\n",
)  # fmt: skip


def flip(rng, data):
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def cut(rng, data):
    return data[: rng.randrange(len(data))]


def delete(rng, data):
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randint(1, 16) :]


def insert(rng, data):
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.randint(1, 16)) + data[start:]


def insert_line(rng, data):
    start = rng.choice([0, data.index(b"\n") + 1, rng.randrange(len(data) + 1)])
    return data[:start] + rng.choice(NASTY_LINES) + data[start:]


def repeat(rng, data):
    start = rng.randrange(len(data))
    end = rng.randint(start, len(data))
    return data[:end] + data[start:end] * rng.randint(1, 3) + data[end:]


def swap(rng, data):
    line, _, rest = data.partition(b"\n")
    return rest + line + b"\n"


def change_header(rng, data):
    line, _, rest = data.partition(b"\n")
    header = json.loads(line)
    key = rng.choice([*header, "extra"])
    if rng.random() < 0.2:
        header.pop(key, None)
    else:
        header[key] = rng.choice(NASTY_VALUES)
    return json.dumps(header).encode() + b"\n" + rest


MUTATIONS = (flip, cut, delete, insert, insert_line, repeat, swap, change_header, change_header)


def hostile(seed, script):
    """An honest entry, one of whose frames is broken."""

    def program(stdin, stdout, stderr):
        rng = random.Random(seed)
        entry = script(stdin, stdout)
        entry.reader.read()
        victim = rng.randrange(4)  # 0: ready, else the answer of that number
        entry.raw(mutate(rng, b"\n" + ReadyFrame(maps=True).line(), victim == 0))
        number = 0
        while (question := entry.next_image()) is not None:
            number += 1
            frame, image = question
            anomaly_map = image.astype(np.float32)
            header = MapFrame(frame.id, 1.0, anomaly_map.shape, "float32")
            entry.raw(mutate(rng, header.line() + anomaly_map.tobytes(), victim == number))
            if victim == number and rng.random() < 0.9:
                return  # the rest would only wait for its time limit

    return program


def mutate(rng, data, is_victim):
    if not is_victim:
        return data
    for _ in range(rng.randint(1, 2)):
        data = rng.choice(MUTATIONS)(rng, data) or b"\n"
        if b"\n" not in data:
            break
    return data


def play_stream(play, script, seed):
    """One stream; returns how it ended."""
    try:
        outcome = play(hostile(seed, script), image_seconds=0.3, start_seconds=0.3)
    except Exception as error:
        error.add_note(f"while it played stream {seed}")
        raise
    assert outcome.status.fault in {Fault.ENTRY, Fault.NONE}, f"stream {seed}: {outcome}"
    assert outcome.seconds < 20, f"stream {seed}: {outcome.seconds:.1f} s"
    assert (outcome.status is Status.OK) <= (len(outcome.answers) == 3), f"stream {seed}"
    for answer in outcome.answers:
        assert np.isfinite(answer.score), f"stream {seed}"
        assert np.isfinite(answer.anomaly_map).all(), f"stream {seed}"
        assert answer.anomaly_map.shape == (4, 6), f"stream {seed}"
    return outcome.status


def test_ten_thousand_broken_streams_always_end_with_a_typed_status(play, script):
    # Most of a stream's time is waiting for its time limit: many are played side by side.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ThreadPoolExecutor(PLAYED_AT_ONCE) as pool:
        seeds = range(FIRST_SEED, FIRST_SEED + STREAMS)
        ended = set(pool.map(lambda seed: play_stream(play, script, seed), seeds))
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 256 * 1024
    if STREAMS >= 300:  # the streams do reach the different checks
        assert ended >= {
            Status.OK, Status.BAD_FRAME, Status.WRONG_SHAPE, Status.NON_FINITE, Status.MISSING_ANSWER,
        }  # fmt: skip


def test_an_endless_answer_needs_no_memory(play_answers):
    def write(entry, frame, image):
        for _ in range(4096):
            entry.raw(b"x" * 65_536)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = play_answers(write, stop_seconds=0.1)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert outcome.status is Status.BAD_FRAME
    assert grown_kib < 64 * 1024
