"""Ends of a verb: every encoding, every signal, every reader that leaves."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.console import ends
from tests.paths import REPOSITORY

VERB = """
import signal, sys, time
from harness.console import cli

def main(_):
    {body}
    return 0

sys.exit(cli.run_verb(main))
"""
# Says when it works, and what it undid. The clean-up is slow: a second signal comes while it runs.
WORK = """
    try:
        open({started!r}, "w").close()
        time.sleep(60)
    finally:
        time.sleep(0.5)
        open({undone!r}, "w").close()
"""


def program(body: str) -> list[str]:
    return [sys.executable, "-c", VERB.format(body=body)]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


# -- encodings ----------------------------------------------------------------------------------

SAID = "1 ± 2 × 3 … «a» – — → ≤ ≥ é ┃━┏│ 中 · Δ"


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("ascii", '1 +/- 2 x 3 ... "a" - - -> <= >= e |-+| \\u4e2d - delta '),
        ("latin-1", '1 ± 2 × 3 ... «a» - - -> <= >= é |-+| \\u4e2d · delta '),
        ("cp1252", '1 ± 2 × 3 … «a» – — -> <= >= é |-+| \\u4e2d · delta '),
        ("utf-8", SAID),
        ("utf-16", SAID),
    ],
)  # fmt: skip
def test_an_output_says_what_its_encoding_can_and_never_fails(encoding: str, told: str) -> None:
    body = f"cli.say({SAID!r}); cli.say({SAID!r}, to=sys.stderr); cli.Reporter().event({SAID!r})"
    done = subprocess.run(
        program(body), capture_output=True, cwd=REPOSITORY, check=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.stdout.decode(encoding).splitlines() == [told]
    assert done.stderr.decode(encoding).splitlines() == [told, told]


def test_the_plain_locale_is_an_encoding_like_others() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.list", "statuses"],
        capture_output=True, cwd=REPOSITORY, check=True, env={"PATH": os.environ["PATH"], **plain},
    )  # fmt: skip
    assert done.stdout.isascii()
    assert b"image_timeout" in done.stdout
    assert done.stderr == b""


def test_every_sign_is_replaced_by_ascii() -> None:
    for number in (*range(0x80, 0x3000), 0xD800, 0xDCFF, 0x1F600, 0x10FFFF):
        assert ends.in_ascii(chr(number)).isascii()
        assert ends.in_ascii(chr(number))


# -- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ends.ENDING_SIGNALS)
def test_every_signal_that_ends_undoes_what_was_begun_however_often_it_comes(
    number: int, tmp_path: Path
) -> None:
    started, undone = tmp_path / "started", tmp_path / "undone"
    body = WORK.format(started=str(started), undone=str(undone))
    process = subprocess.Popen(program(body), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    wait_for(started)
    process.send_signal(number)
    time.sleep(0.2)
    process.send_signal(signal.SIGHUP)  # a closed terminal sends several
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert undone.exists()
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", ends.ENDING_SIGNALS)
def test_a_signal_that_is_ignored_already_stays_ignored(number: int, tmp_path: Path) -> None:
    started, go_on = tmp_path / "started", tmp_path / "go-on"
    body = f"open({str(started)!r}, 'w').close()\n    while not __import__('os').path.exists({str(go_on)!r}): time.sleep(0.02)"
    ignoring = f"import os, signal, sys; signal.signal({number}, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", ignoring, *program(body)], cwd=REPOSITORY)
    wait_for(started)
    process.send_signal(number)
    time.sleep(0.3)
    assert process.poll() is None
    go_on.touch()
    assert process.wait(timeout=30) == 0


def test_a_closed_terminal_ends_the_verb_and_it_undoes_what_was_begun(tmp_path: Path) -> None:
    started, undone = tmp_path / "started", tmp_path / "undone"
    body = WORK.format(started=str(started), undone=str(undone))
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(REPOSITORY)
        os.execv(sys.executable, program(body))
    wait_for(started)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert undone.exists()


def test_where_a_closed_terminal_is_ignored_the_work_goes_on_although_nobody_reads(
    tmp_path: Path,
) -> None:
    started, done = tmp_path / "started", tmp_path / "done"
    body = (
        f"open({str(started)!r}, 'w').close(); time.sleep(1.0)\n"
        "    cli.Reporter().event('still here'); cli.say('a result')\n"
        f"    open({str(done)!r}, 'w').close()"
    )
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir(REPOSITORY)
        os.execv(sys.executable, program(body))
    wait_for(started)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert done.exists()


def test_handlers_are_as_before_when_a_verb_has_ended() -> None:
    before = [signal.getsignal(number) for number in ends.ENDING_SIGNALS]
    with ends.ended_by_signals():
        assert [signal.getsignal(number) for number in ends.ENDING_SIGNALS] != before
    assert [signal.getsignal(number) for number in ends.ENDING_SIGNALS] == before


# -- readers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "for n in range(100_000): cli.say(n)",
        "cli.say('x' * 10_000_000)",
        "cli.say_json(list(range(100_000)))",
        "import argparse; p = cli.Parser('x', 'd' * 1_000_000, 'e'); p.parse_args(['--help'])",
    ],
)
def test_a_reader_that_leaves_ends_a_verb_without_a_word(body: str) -> None:
    with subprocess.Popen(
        program(body), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == ends.EXIT_READER_LEFT


def test_another_broken_pipe_is_a_bug_with_its_traceback() -> None:
    done = subprocess.run(
        program("raise BrokenPipeError(32, 'of an engine')"),
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "of an engine" in done.stderr


def test_outputs_that_are_full_or_closed_are_no_bug() -> None:
    say = program("cli.say('x' * 100_000); cli.Reporter().progress('a', 1, 2)")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(say, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith(b"error: the disk is full")
    assert b"Exception ignored" not in done.stderr
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *say], cwd=REPOSITORY, check=False
    )
    assert closed.returncode == 0


def test_a_stream_in_memory_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    ends.make_outputs_legible()
    assert not ends.is_terminal(sys.stdout)
    assert not ends.is_terminal(None)
