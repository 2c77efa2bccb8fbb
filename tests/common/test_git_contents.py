"""What commits hold, read by contents: the same listing as of the files themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.common.git_contents import GitContents, GitUnusable, history, resolve
from harness.entries.identity import list_contents
from tests.publishing.pull_requests import git


@pytest.fixture(params=["sha1", "sha256"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Files as they come: nested, empty, executable, with odd names, and some that never count."""
    contents = {
        "a/x.py": b"1", "a/b/c/y.py": b"", "a/b.py": b"\0\xff", "a-b/z.py": b"2", "a/run.sh": b"#!",
        "a/sp ace/\u00fc.txt": b"3", "a/__pycache__/x.pyc": b"4", "a/.DS_Store": b"5",
        "top.txt": b"6\r\n",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a/run.sh").chmod(0o755)
    git(tmp_path, "init", "--quiet", "--initial-branch=main", f"--object-format={request.param}")
    git(tmp_path, "add", "--all", "--force")
    git(tmp_path, "commit", "--quiet", "-m", "x")
    return tmp_path


def tree(root: Path) -> str:
    return history(root, resolve(root, "main"))[0].tree


def test_a_listing_is_that_of_the_files(repository: Path) -> None:
    with GitContents(repository) as contents:
        root = tree(repository)
        told = contents.listing(root, ["a", "top.txt"])
        assert told == list_contents([repository / "a", repository / "top.txt"], base=repository)
        assert len(told) == 6
        inner = contents.listing(root, ["a"], base="a")
        assert inner == list_contents([repository / "a"], base=repository / "a")
        assert contents.file(root, "a/b.py") == b"\0\xff"
        assert contents.file(root, "a/b/c/y.py") == b""
        assert contents.files(root, "a") == sorted([".DS_Store", "b.py", "run.sh", "x.py"])


def test_what_is_not_there_is_none(repository: Path) -> None:
    with GitContents(repository) as contents:
        root = tree(repository)
        for path in ("none", "a/none", "top.txt/x", "", "..", "a/../top.txt", "a/"):
            assert contents.file(root, path) is None
            assert contents.listing(root, [path]) is None
        assert contents.file(root, "a") is None
        assert contents.listing("0" * len(root), ["a"]) is None
        assert contents.ids(root, ["a", "none"])[1] is None


def test_links_and_other_repositories_are_no_files(repository: Path) -> None:
    (repository / "a/link.py").symlink_to("x.py")
    git(repository, "add", "--all", "--force")
    git(repository, "commit", "--quiet", "-m", "link")
    with GitContents(repository) as contents:
        assert contents.listing(tree(repository), ["a"]) is None
        assert contents.file(tree(repository), "a/link.py") is None
        assert contents.listing(tree(repository), ["a-b"]) is not None


def test_a_revision_that_is_none_is_told(repository: Path, tmp_path_factory) -> None:
    with pytest.raises(GitUnusable, match="knows no such revision"):
        resolve(repository, "elsewhere")
    with pytest.raises(GitUnusable):
        resolve(repository, "--all")
    with pytest.raises(GitUnusable):
        resolve(tmp_path_factory.mktemp("none"), "main")
