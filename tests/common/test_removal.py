"""What a stranger's program left can always be removed, whatever its shape."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.common.removal import remove_tree, remove_tree_if_possible

DEEP = 5_000  # more than Python's stack, open files, and (with these names) the longest path hold


def deep_tree(root: Path, depth: int, name: str = "x" * 8) -> None:
    """Folders in folders, a file and two more folders in each hundredth."""
    here = os.open(root, os.O_RDONLY)
    for level in range(depth):
        os.mkdir(name, dir_fd=here)
        if level % 100 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
            os.mkdir("beside", dir_fd=here)
            os.mkdir("beside2", dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_a_tree_deeper_than_stack_descriptors_and_paths_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "deep"
    root.mkdir()
    deep_tree(root, DEEP)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 8, hard))
    try:
        remove_tree(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not root.exists()


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    outside.chmod(0o500)
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "link").symlink_to(outside)
    (tmp_path / "itself").symlink_to(outside)
    remove_tree(root)
    remove_tree(tmp_path / "itself")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "precious").exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_pipes_long_names_and_bytes_that_are_no_text_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    os.mkfifo(root / "pipe")
    (root / ("n" * 255)).mkdir()
    (root / os.fsdecode(b"\xff\xfe\n")).mkdir()
    remove_tree(root)
    assert not root.exists()


def test_more_folders_than_are_noted_at_once_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number in range(500):
        (root / str(number) / "inner").mkdir(parents=True)
    remove_tree(root)
    assert not root.exists()


def test_nothing_of_this_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "absent")
    assert remove_tree_if_possible(tmp_path / "absent")


def as_somebody(act: Callable[[], None]) -> int:
    """Run this as another user than root, for whom nothing is closed; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in which everybody may write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_closed_and_write_protected_folders_are_removed_by_their_owner(place: Path) -> None:
    def act() -> None:
        root = place / "own"
        for mode in (0, 0o100, 0o200, 0o400, 0o500):
            inner = root / f"mode {mode:o}" / "inner"
            inner.mkdir(parents=True)
            (inner / "file").touch(0)
            inner.chmod(mode)
            inner.parent.chmod(mode)
        root.chmod(0)
        remove_tree(root)

    assert as_somebody(act) == 0
    assert list(place.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a folder of another user's")
def test_what_is_another_users_is_told_and_holds_up_nothing_else(place: Path) -> None:
    tree = place / "tree"
    for name in ("a", "m", "z"):
        (tree / name / "inner").mkdir(parents=True)
    for path in (tree, tree / "a", tree / "z", tree / "a/inner", tree / "z/inner"):
        os.chown(path, 65534, 65534)
    (tree / "m").chmod(0o744)  # may be listed, and not entered

    def act() -> None:
        with pytest.raises(PermissionError):
            remove_tree(tree)

    assert as_somebody(act) == 0
    assert [path.name for path in tree.iterdir()] == ["m"]
