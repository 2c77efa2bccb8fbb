"""What was reviewed: contents of one commit of the protected branch, whatever commits are called."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from harness.common.source_files import SHARED_SOURCES
from harness.entries.identity import identity_of, list_contents, method_hash
from harness.entries.reviewed import NOTHING_REVIEWED, ReviewedFolder, protected_branch
from tests.entries.test_submissions import source_folder, submit
from tests.publishing.pull_requests import git

KIT = "baselines/kit/loop.py"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one baseline on the branch `main`."""
    root = tmp_path / "repository"
    for name in SHARED_SOURCES:
        path = root / (name if Path(name).suffix else f"{name}/loop.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    source_folder(root / "baselines", "mine")
    git(root, "init", "--quiet", "--initial-branch=main")
    save(root)
    return root


def save(root: Path, message: str = "change") -> str:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", message)
    return git(root, "rev-parse", "HEAD")


def identity(root: Path, folder: str = "baselines/mine") -> str:
    """Of a folder in a repository, as that repository's harness would say it."""
    shared = list_contents((root / name for name in SHARED_SOURCES), base=root)
    return identity_of(list_contents([root / folder], base=root / folder), shared)


def find(root: Path, source: str | None = None, name: str = "mine") -> ReviewedFolder | None:
    return protected_branch("main", root=root).find_folder(source or identity(root), name)


def test_a_committed_folder_is_found_with_its_settings_and_its_method(repository: Path) -> None:
    found = find(repository)
    assert found is not None
    assert (found.commit, found.path) == (git(repository, "rev-parse", "main"), "baselines/mine")
    assert found.entry.settings("brain").params == {"radius": 3}
    assert found.method == method_hash(repository / "baselines/mine")


@pytest.mark.parametrize(
    "path", ["baselines/mine/model.py", KIT, "harness/contract/loop.py", "Dockerfile.gpu",
             "requirements.lock", "harness/__init__.py", "baselines/__init__.py"],
)  # fmt: skip
def test_whatever_goes_into_its_image_counts(repository: Path, path: str) -> None:
    (repository / path).write_text("another\n")
    assert find(repository) is None
    save(repository)
    assert find(repository) is not None


def test_a_squashed_merge_of_what_ran_is_as_good_as_its_commits(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "work")
    (repository / "baselines/mine/model.py").write_text("class Model: fit = 1\n")
    commit, ran = save(repository), identity(repository)
    assert find(repository, ran) is None
    git(repository, "checkout", "--quiet", "main")
    git(repository, "merge", "--quiet", "--squash", "work")
    merged = save(repository, "squashed")
    found = protected_branch("main", root=repository).find_folder(ran, "mine", commit)
    assert found is not None
    assert found.commit == merged != commit


def test_an_old_kit_under_a_new_folder_was_looked_at_by_nobody(repository: Path) -> None:
    old_kit = (repository / KIT).read_text()
    (repository / KIT).write_text("new kit\n")
    (repository / "baselines/mine/model.py").write_text("new model\n")
    save(repository)
    assert find(repository) is not None
    (repository / KIT).write_text(old_kit)
    assert find(repository) is None


def test_what_the_branch_held_once_stays_reviewed(repository: Path) -> None:
    before = identity(repository)
    shutil.rmtree(repository / "baselines/mine")
    save(repository)
    assert find(repository, before) is not None


def test_a_folder_that_was_copied_in_and_never_committed_is_not(repository: Path) -> None:
    source_folder(repository / "baselines", "stranger")
    assert find(repository, identity(repository, "baselines/stranger"), "stranger") is None


def test_a_folder_elsewhere_with_the_contents_of_a_reviewed_one_is(
    repository: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / "mine"
    shutil.copytree(repository / "baselines/mine", copy)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__/model.pyc").write_bytes(b"x")
    shared = list_contents((repository / name for name in SHARED_SOURCES), base=repository)
    assert find(repository, identity_of(list_contents([copy], base=copy), shared)) is not None


def test_a_link_in_a_commit_makes_its_folder_none(repository: Path) -> None:
    (repository / "baselines/mine/data").symlink_to("/etc/passwd")
    save(repository)
    (repository / "baselines/mine/data").unlink()
    (repository / "baselines/mine/model.py").write_text("and another\n")
    assert find(repository) is None
    save(repository)
    assert find(repository) is not None


def test_an_object_that_git_puts_in_anothers_place_proves_nothing(repository: Path) -> None:
    """`git replace` shows other contents under a committed hash."""
    good = git(repository, "rev-parse", "HEAD:baselines/mine/model.py")
    (repository / "baselines/mine/model.py").write_text("evil = 1\n")
    evil = git(repository, "hash-object", "-w", "baselines/mine/model.py")
    git(repository, "replace", good, evil)
    assert git(repository, "show", "HEAD:baselines/mine/model.py") == "evil = 1"
    assert find(repository) is None


def test_a_merged_submission_is_found_with_its_folder_and_its_pin(repository: Path) -> None:
    folder = source_folder(repository / "submissions", "theirs")
    submit(repository / "submissions", "theirs", folder="theirs", folder_hash="sha256:" + "0" * 64)
    branch = protected_branch("main", root=repository)
    assert branch.find_submission("theirs") is None
    save(repository)
    branch = protected_branch("main", root=repository)
    merged = branch.find_submission("theirs")
    assert merged is not None
    assert merged.table.pinned == "sha256:" + "0" * 64
    assert branch.find_submission("../baselines/mine/entry") is None
    found = find(repository, identity(repository, "submissions/theirs"), "theirs")
    assert found is not None
    assert found.path == f"submissions/{folder.name}"


def test_what_is_missing_is_told_in_words(repository: Path, tmp_path: Path) -> None:
    mine = repository / "baselines/mine"
    branch = protected_branch("main", root=repository)
    (mine / "model.py").write_text("changed\n")
    assert branch.missing(mine).startswith("baselines/mine/model.py is not as in main")
    assert branch.missing(source_folder(tmp_path, "other")) == "no folder other is in main"
    nowhere = protected_branch("origin/main", root=repository)
    assert "there is no branch origin/main here" in nowhere.missing(mine)
    assert "--reviewed-branch" in nowhere.missing(mine)
    without = protected_branch(root=tmp_path)
    assert "in no git repository" in without.missing(mine)
    assert without.find_folder(identity(repository), "mine") is None


def test_the_branch_is_told_by_option_or_environment_and_is_origin_main_by_itself(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "branch", "release")
    monkeypatch.delenv("BMAD_REVIEWED_BRANCH", raising=False)
    assert protected_branch(root=repository).branch == "origin/main"
    monkeypatch.setenv("BMAD_REVIEWED_BRANCH", "release")
    assert protected_branch(root=repository).find_folder(identity(repository), "mine") is not None
    assert protected_branch("main", root=repository).branch == "main"
    assert protected_branch("--all", root=repository).find_folder("x", "mine") is None


def test_nothing_is_reviewed_where_nothing_is_told() -> None:
    assert NOTHING_REVIEWED.find_folder("folder:sha256:0", "x") is None
    assert NOTHING_REVIEWED.find_submission("x") is None
    assert NOTHING_REVIEWED.campaigns() == ()


def test_a_long_history_is_read_in_a_moment(repository: Path) -> None:
    lines = ["blob\nmark :1\ndata 4\nold\n\n"]
    for number in range(1500):
        told = f"kit {number}\n"
        lines.append(
            f"commit refs/heads/long\ncommitter A <a@b.c> {number} +0000\ndata 1\nx\n"
            f"M 100644 inline {KIT}\ndata {len(told)}\n{told}\n"
        )
    import subprocess

    subprocess.run(["git", "-C", str(repository), "fast-import", "--quiet"],
                   input="".join(lines), text=True, check=True)  # fmt: skip
    branch = protected_branch("long", root=repository)
    began = time.process_time()
    assert branch.find_folder("folder:sha256:none", "mine") is None
    assert time.process_time() - began < 3  # 0.2 s where nothing else runs
