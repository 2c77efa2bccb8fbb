"""What the tests of pull requests do with repositories and records."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import publish
from harness.benchmarks.known import known_line
from harness.board.example.forge import made_up_digest
from harness.publishing.pull_request import PullRequest
from harness.records.record import Record
from tests.record_factory import KNOWN

RECORDS = "leaderboard/records"


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=A", "-c", "user.email=a@example.invalid"]
    done = subprocess.run(
        ["git", "-C", str(folder), *options, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def add(fork: Path, results: Path, *more: str) -> int:
    options = ["--results", str(results), "--records", str(fork / RECORDS)]
    return publish.main(["add", *options, *more], KNOWN)


def known_toml() -> str:
    """The list of known releases on which the packs of made-up records stand."""
    lines = (known_line(name, made_up_digest(name)) for name in KNOWN.digests)
    return "\n".join(lines) + "\n"


def commit(fork: Path) -> None:
    git(fork, "add", ".")
    git(fork, "commit", "--quiet", "-m", "records")


def problems(fork: Path, *replaced: str) -> list[str]:
    """Of a maintainer's change."""
    request = PullRequest(fork, "origin/main", is_maintainers=True, replaced=frozenset(replaced))
    return request.problems()


def rewrite(path: Path, change: Callable[[dict], None], *, is_sealed: bool = True) -> None:
    """Change a record and, as a forger would, seal it again."""
    data = json.loads(path.read_text())
    change(data)
    record = Record.model_validate(data)
    record = record.sealed() if is_sealed else record
    path.write_text(record.model_dump_json(indent=1) + "\n")
