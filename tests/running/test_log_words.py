"""What the end of a log gives for the likely cause, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.common.paths import REPOSITORY
from harness.common.statuses import Cause, Status
from harness.running.log_words import MAX_LAST_LINES, last_lines, spoken_of
from harness.running.trying import NO_LOG, reason
from tests.record_factory import record


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>", Cause.NO_NETWORK),
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool(host='h', port=443): Max retries exceeded", Cause.NO_NETWORK),
        ("socket.gaierror: [Errno -2] Name or service not known", Cause.NO_NETWORK),
        ("OSError: [Errno 101] Network is unreachable", Cause.NO_NETWORK),
        ("huggingface_hub.errors.LocalEntryNotFoundError: cannot find the file", Cause.NO_NETWORK),
        ("RuntimeError: DataLoader worker (pid 12) is killed by signal: Bus error.", Cause.SHM_FULL),
        ("OSError: [Errno 28] No space left on device: '/dev/shm/psm_1'", Cause.SHM_FULL),
        ("RuntimeError: unable to allocate shared memory(shm) for file </torch_1>", Cause.SHM_FULL),
        ("OSError: [Errno 28] No space left on device: '/tmp/x'", Cause.TMP_FULL),
        ("ValueError: PaDiM needs at least 2 training images", None),
        ("loading /data/train, 8 images", None),
    ],
)  # fmt: skip
def test_the_likely_cause_is_named(line: str, cause: Cause | None) -> None:
    log = f"Traceback (most recent call last):\n{line}\n".encode()
    assert spoken_of(Status.CRASHED, log) is cause
    assert spoken_of(Status.IMAGE_TIMEOUT, log) is cause
    assert spoken_of(Status.NON_FINITE, log) is None, "no way into that status"


def test_what_was_said_long_before_the_end_is_no_cause() -> None:
    log = b"warning: offline mode is enabled\n" + b"step\n" * MAX_LAST_LINES
    assert spoken_of(Status.CRASHED, log) is None


def test_the_last_lines_are_few_short_and_visible() -> None:
    log = b"\n".join(b"line %d" % number for number in range(1000))
    assert last_lines(log) == [f"line {number}" for number in range(980, 1000)]
    (line,) = last_lines(b"\x1b[2J" + b"x" * 5000)
    assert line.startswith("\\x1b[2Jxxx")
    assert len(line) < 450
    assert last_lines(b"") == []
    assert last_lines(f"{Path.home()}/code/model.py".encode()) == ["~/code/model.py"]
    assert last_lines(f'  File "{REPOSITORY}/a/b.py"'.encode()) == ['  File "a/b.py"']


def test_of_a_hidden_run_the_rule_is_told_and_nothing_of_its_log() -> None:
    told = record(
        status=Status.CRASHED, visibility="hidden", outcome__log={"path": "p", "lines": ["MARKER"]}
    )
    text = reason(told, Path("results"), ["python", "-m", "harness.check", "x"])
    assert NO_LOG in text
    assert "MARKER" not in text
    assert "harness.check x" not in text
