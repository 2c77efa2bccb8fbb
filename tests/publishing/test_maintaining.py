"""The recipe for CI in docs/maintaining.md, run as it stands there on a copy of this checkout."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import publish
from tests.entries.test_submissions import source_folder, submit
from tests.publishing.pull_requests import RECORDS, git, known_toml, made_of, rewrite
from tests.record_factory import CONTAINER, KNOWN
from tests.run_factory import random_scores, save_run


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A repository with the files of this checkout on the branch `main`."""
    folder = tmp_path_factory.mktemp("forge") / "repository"
    listed = git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (repository / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / name, folder / name)
    (folder / "harness/benchmarks/known.toml").write_text(known_toml())
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "base")
    return folder


@pytest.fixture
def branch(forge: Path) -> Path:
    """The same on a fresh branch `change`."""
    git(forge, "checkout", "--quiet", "-B", "change", "main")
    return forge


@pytest.fixture
def recipe(forge: Path, repository: Path, tmp_path: Path):
    """Run the numbered block of the page's `sh` blocks; its exit code and output."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```",
        (repository / "docs/maintaining.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    place = tmp_path / "ci"
    place.mkdir()

    def run(number: int, maintainer: str = "yes") -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-euc", blocks[number]], cwd=place, capture_output=True, text=True, check=False,
            env=os.environ | {"REPOSITORY": str(forge), "TARGET": "main", "CHANGE": "change",
                              "PYTHON": sys.executable, "PYTHONPATH": "", "MAINTAINER": maintainer},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def commit(branch: Path) -> None:
    git(branch, "add", "--all")
    git(branch, "commit", "--quiet", "-m", "change")


def add_record(branch: Path, tmp_path: Path) -> Path:
    lock = hashlib.sha256((branch / "requirements.lock").read_bytes()).hexdigest()
    save_run(
        tmp_path / "results", random_scores(), source__lock=f"sha256:{lock}",
        source__commit=git(branch, "rev-parse", "main"), machine__measured=CONTAINER,
        **made_of(branch / "baselines/patchcore"),
    )  # fmt: skip
    arguments = ["--results", str(tmp_path / "results"), "--records", str(branch / RECORDS)]
    arguments += ["--repository", str(branch), "--reviewed-branch", "main"]
    assert publish.main(["add", *arguments], KNOWN) == 0
    return branch / RECORDS / "brain/patchcore/seed-0.json"


def test_a_good_pull_request_passes_and_the_site_is_published(branch, recipe, tmp_path):
    add_record(branch, tmp_path)
    submit(branch / "submissions", "newcomer", content="sha256:" + "5" * 64)
    commit(branch)
    code, told = recipe(0)
    assert code == 0, told
    assert "changed: 1 curves, 1 files of submissions, 1 log of changes, 1 records" in told
    assert "4 changed files, 0 problems" in told
    code, told = recipe(1)
    assert code == 0, told
    assert (tmp_path / "ci" / "public" / "index.html").is_file()


@pytest.mark.parametrize("what", ["record", "submission", "code"])
def test_a_bad_pull_request_fails_also_where_it_changes_the_check(branch, recipe, tmp_path, what):
    if what == "submission":
        folder = source_folder(branch / "submissions", "sneaky")
        (folder / "table.bin").write_bytes(bytes(10))
        submit(branch / "submissions", "sneaky", folder="sneaky", folder_hash="sha256:" + "0" * 64)
    else:
        rewrite(add_record(branch, tmp_path), lambda data: data["metrics"][0].update(value=1.5))
    if what == "code":
        (branch / "harness/publishing/publication.py").write_text("# nothing is ever wrong\n")
        (branch / ".ci/leaderboard").write_text("#!/bin/sh\nexit 0\n")
    commit(branch)
    code, told = recipe(0, "" if what == "submission" else "yes")
    assert code == 5, told
    expected = {"submission": "sneaky.toml: the folder sneaky is not the one"}
    assert expected.get(what, "is not from 0 to 1") in told
