"""What the tests of pull requests do with repositories and records."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import publish
from harness.benchmarks.known import known_line
from harness.board.example.forge import made_up_digest
from harness.common.source_files import SHARED_SOURCES
from harness.engines.base import image_identity
from harness.entries.identity import identity_of, list_contents
from harness.publishing.pull_request import PullRequest
from harness.records.record import Record, content_hash
from tests.record_factory import KNOWN

RECORDS = "leaderboard/records"
BUILT_ON = content_hash("a base image")


TITLES = {"patchcore": "PatchCore", "padim": "PaDiM"}


def write_folder(repository: Path, name: str, title: str, model: str = "") -> Path:
    """A baseline of the repository, with the settings that made-up records have."""
    folder = repository / "baselines" / name
    folder.mkdir(parents=True)
    (folder / "entry.toml").write_text(
        f'[entry]\nname = "{name}"\ntitle = "{title}"\n[params]\nweights = "imagenet"\n'
        "coreset_ratio = 0.1\nk = 1\n[presets.nine]\nk = 9\n[presets.demo]\nk = 2\n"
        "[supervision]\nshots_normal = 0\nshots_abnormal = 0\nforeign_labels = []\n"
    )
    (folder / "model.py").write_text(model or f"# {name}\nclass Model: ...\n")
    return folder


def made_of(folder: Path) -> dict[str, object]:
    """What a record says of the source folder that it was made of, in its own repository."""
    if not folder.is_dir():
        return {}
    root = folder.parent.parent
    shared = list_contents((root / name for name in SHARED_SOURCES), base=root)
    source = identity_of(list_contents([folder], base=folder), shared)
    return {
        "entry__source": source,
        "entry__built_on": BUILT_ON,
        "entry__identity": image_identity(source, BUILT_ON),
        "entry__metadata": {"source": f"{folder.parent.name}/{folder.name}"},
        "entry__supervision": {"shots_normal": 0, "shots_abnormal": 0, "foreign_labels": []},
        "params": {"k": 1},
    }


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=A", "-c", "user.email=a@example.invalid"]
    done = subprocess.run(
        ["git", "-C", str(folder), *options, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def add(fork: Path, results: Path, *more: str) -> int:
    options = ["--results", str(results), "--records", str(fork / RECORDS)]
    options += ["--repository", str(fork)]
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
