"""The pipe's promises, on the shipped test double: real pipes, no program."""

from __future__ import annotations

import threading
import time
from typing import BinaryIO

import pytest

from harness.engines.base import DeadlinePassed, Limits, LogFlood, OutputFlood, PipeClosed
from harness.engines.pump import Inbox
from tests.function_engine import run_function

MIB = 1024**2
QUICK = Limits(stop_seconds=0.2, log_bytes=4096)


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def echo_lines(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
    for line in stdin:
        stdout.write(line)
        stdout.flush()


def test_a_line_and_raw_bytes_come_back_as_they_were_sent() -> None:
    with run_function(echo_lines) as running:
        running.send(b'{"a":1}\n' + b"x" * 99 + b"\n", soon())
        assert running.receive_line(64, soon()) == b'{"a":1}\n'
        assert running.receive(100, soon()) == b"x" * 99 + b"\n"
        running.close_input()
        assert running.wait(soon()).code == 0


def test_output_ends_after_half_close_and_can_still_be_received() -> None:
    def answer_at_end(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        stdout.write(b"%d" % len(stdin.read()))

    with run_function(answer_at_end) as running:
        running.send(b"x" * 3 * MIB, soon())
        running.close_input()
        assert running.receive(7, soon()) == b"%d" % (3 * MIB)
        with pytest.raises(PipeClosed):
            running.receive(1, soon())


def test_a_flood_of_the_log_while_two_megabytes_are_sent_ends_the_send() -> None:
    def flood(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        while True:
            stderr.write(b"x" * 65536)

    with run_function(flood, limits=QUICK) as running:
        with pytest.raises(LogFlood):
            running.send(b"x" * 2 * MIB, soon())
        assert len(running.log) == QUICK.log_bytes


def test_a_bounded_log_does_not_disturb_a_large_send() -> None:
    def chatter(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        stderr.write(b"x" * 4 * MIB)
        stdout.write(b"%d\n" % len(stdin.read(2 * MIB)))

    with run_function(chatter, limits=Limits(log_bytes=4 * MIB)) as running:
        running.send(b"x" * 2 * MIB, soon())
        assert running.receive_line(64, soon()) == b"%d\n" % (2 * MIB)
        assert running.wait(soon()).code == 0
        assert running.log == b"x" * 4 * MIB


def test_one_byte_too_much_in_the_log_is_found_at_the_end_at_the_latest() -> None:
    def chatter(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        stderr.write(b"x" * (QUICK.log_bytes + 1))

    with run_function(chatter, limits=QUICK) as running, pytest.raises(LogFlood):
        running.wait(soon())


def test_a_program_that_never_reads_fails_the_send_at_its_deadline() -> None:
    release = threading.Event()

    def never_read(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        release.wait(30)

    with run_function(never_read, limits=QUICK) as running:
        begin = time.monotonic()
        with pytest.raises(DeadlinePassed):
            running.send(b"x" * 4 * MIB, soon(0.3))
        assert 0.25 < time.monotonic() - begin < 2
        release.set()


def test_a_program_that_exits_without_reading_closes_the_pipe() -> None:
    def leave(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        raise SystemExit(3)

    with run_function(leave) as running:
        with pytest.raises(PipeClosed):
            running.send(b"x" * 4 * MIB, soon())
        assert running.wait(soon()).code == 3


def test_unasked_output_past_its_bound_is_dropped_and_reported() -> None:
    def flood(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        while True:
            stdout.write(b"x" * 65536)

    with run_function(flood, limits=QUICK) as running:
        running.expect_output(1000)
        with pytest.raises(OutputFlood):
            running.receive(300_000, soon())
        with pytest.raises(OutputFlood):
            running.send(b"x" * 4 * MIB, soon())
        assert running.pending() <= 1 << 18


def test_a_line_without_end_is_a_flood_at_its_bound() -> None:
    def long_line(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        stdout.write(b"x" * 65 + b"\n")
        stdout.flush()
        stdin.read()

    with run_function(long_line, limits=QUICK) as running:
        with pytest.raises(OutputFlood):
            running.receive_line(64, soon())
        assert running.receive_line(66, soon()) == b"x" * 65 + b"\n"


def test_silence_ends_a_receive_at_its_deadline() -> None:
    with run_function(echo_lines) as running:
        with pytest.raises(DeadlinePassed):
            running.receive_line(64, soon(0.1))
        with pytest.raises(DeadlinePassed):
            running.receive(1, time.monotonic() - 1)
        with pytest.raises(DeadlinePassed):
            running.wait(soon(0.1))


def test_bytes_that_wait_are_counted_and_their_arrival_is_timed() -> None:
    with run_function(echo_lines) as running:
        before = time.monotonic()
        running.send(b"abc\n", soon())
        while running.pending() < 4:
            time.sleep(0.001)
        assert before <= running.last_arrival <= time.monotonic()
        arrived = running.last_arrival
        time.sleep(0.02)
        assert running.receive(4, soon()) == b"abc\n"
        assert running.last_arrival == arrived


def test_an_error_of_the_function_is_a_traceback_in_the_log_and_code_one() -> None:
    def fail(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        raise ValueError("of its own")

    with run_function(fail) as running:
        assert running.wait(soon()).code == 1
        assert b"ValueError: of its own" in running.log


def test_stopping_twice_is_safe_and_says_the_same() -> None:
    running = run_function(echo_lines)
    assert running.stop() == running.stop()
    with pytest.raises(PipeClosed):
        running.send(b"x", soon())


def test_what_is_waited_for_arrives_whole_in_whatever_pieces_and_the_rest_stays():
    inbox = Inbox(log_bytes=10)
    data = bytes(range(100))
    inbox.add_output(data[:5])

    def arrive() -> None:
        inbox.add_output(data[5:8])
        place = inbox.room()  # as the thread of a subprocess reads: straight to its place
        assert len(place) == 50 - 8
        place[:20] = data[8:28]
        inbox.fill(20)
        inbox.add_output(data[28:60])

    thread = threading.Timer(0.05, arrive)
    thread.start()
    assert inbox.take(50, soon()) == data[:50]
    thread.join()
    assert inbox.pending() == 10
    assert inbox.take(10, soon()) == data[50:60]
    assert len(inbox.room()) == 0
    inbox.end_output()
    inbox.alarm.close()


def test_no_more_is_read_to_its_place_than_may_wait():
    inbox = Inbox(log_bytes=10)
    inbox.set_output_limit(30)
    with pytest.raises(DeadlinePassed):
        inbox.take(50, soon(0.01))
    assert len(inbox.room()) == 30
    inbox.fill(30)
    assert len(inbox.room()) == 0
    inbox.add_output(b"x")
    with pytest.raises(OutputFlood):
        inbox.check()
    inbox.end_output()
    inbox.alarm.close()
