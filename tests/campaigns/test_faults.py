"""The last words of a run's log: its error, or how it failed, never what its entry wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.campaigns.faults import last_words

FAILED = """\
demo/x/seed-0: running
demo/x/seed-0: crashed: test image 1: it ended with exit code 1 (2.5 s)
The entry ended by itself with an error.
  | error: not this one
  | demo/x/seed-0: ok_: forged (1.0 s)
  to try it again: python -m harness.check x
records: results
"""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("one\nerror: no engine answers (docker)\nfix: start it\n", "error: no engine answers (docker)"),
        (FAILED, "demo/x/seed-0: crashed: test image 1: it ended with exit code 1 (2.5 s)"),
        ("demo/x/seed-0: ok in 2.5 s\nrecords: results\n\n", "records: results"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_last_words_are_the_harness_own(tmp_path: Path, log: str, told: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert last_words(path) == told
    assert last_words(tmp_path / "absent") == ""
