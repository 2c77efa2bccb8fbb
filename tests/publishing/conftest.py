"""Repositories with a branch that pull requests go to, and runs that could be published there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.common.paths import REPOSITORY
from tests.publishing.pull_requests import (
    RECORDS,
    TITLES,
    add,
    commit,
    git,
    known_toml,
    made_of,
    write_folder,
)
from tests.run_factory import random_scores, save_run


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with what the check reads of one, on the branch `main`."""
    folder = tmp_path_factory.mktemp("branch") / "repository"
    for name in ("requirements.lock", "harness/__init__.py", "harness/metrics/table.py",
                 "Dockerfile.gpu", "baselines/__init__.py", "baselines/kit/determinism.py",
                 "harness/contract/lines.py", f"{RECORDS}/README.md", "submissions/README.md"):  # fmt: skip
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, target)
    write_folder(folder, "patchcore", "PatchCore")
    write_folder(folder, "padim", "PaDiM")
    known = folder / "harness/benchmarks/known.toml"
    known.parent.mkdir()
    known.write_text(known_toml())
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "base")
    return folder


@pytest.fixture
def fork(branch: Path, tmp_path: Path) -> Path:
    """A contributor's clone with a branch of its own."""
    folder = tmp_path / "fork"
    git(branch, "clone", "--quiet", str(branch), str(folder))
    git(folder, "checkout", "--quiet", "-b", "mine")
    return folder


@pytest.fixture
def run(branch: Path, tmp_path: Path) -> Callable[..., Path]:
    """Save a run that the branch's own harness could have made; the path of its record."""
    import hashlib

    lock = "sha256:" + hashlib.sha256((branch / "requirements.lock").read_bytes()).hexdigest()
    commit = git(branch, "rev-parse", "HEAD")

    def made(
        seed: int = 0, *, scores: int = 0, folder: str = "results", of: str = "", **changes: object
    ) -> Path:
        name = of or str(changes.get("entry", "patchcore"))
        told = {"source__commit": commit, "source__lock": lock, "seed": seed}
        told |= {"title": TITLES.get(name, "PatchCore"), **made_of(branch / "baselines" / name)}
        return save_run(tmp_path / folder, random_scores(seed=scores), **(told | changes))

    return made


@pytest.fixture
def published(branch: Path, fork: Path, run: Callable[..., Path], tmp_path: Path) -> Path:
    """A contributor's clone of a branch that has a published row."""
    other = tmp_path / "with-a-row"
    git(branch, "clone", "--quiet", str(branch), str(other))
    run()
    add(other, tmp_path / "results")
    commit(other)
    git(other, "checkout", "--quiet", "-b", "mine")
    git(other, "update-ref", "refs/remotes/origin/main", "HEAD")
    return other
