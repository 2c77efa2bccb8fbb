"""Whether a folder can be written, on disks that are full, read-only or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.common.room_to_write import access_problem, writing_problem
from tests.paths import REPOSITORY


def problem_on(mount: str, folder: Path) -> str:
    """What is said of a folder on which a small file system of its own is mounted."""
    folder.mkdir()
    code = f"from harness.common.room_to_write import writing_problem as w; print(w(__import__('pathlib').Path({str(folder)!r})))"
    shell = f'mount -t tmpfs {mount} none {folder} && {sys.executable} -c "$0"'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", shell, code],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_folder_that_can_be_made_is_not_made_yet_and_nothing_is_left(tmp_path: Path) -> None:
    assert writing_problem(tmp_path / "a" / "b") is None
    assert writing_problem(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_a_dangling_link_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "else")
    for name in ("file", "link"):
        for place in (tmp_path / name, tmp_path / name / "below"):
            told = f"{tmp_path / name} is no folder"
            assert writing_problem(place) == access_problem(place) == told
    assert writing_problem(Path("/dev/null")) == "/dev/null is no folder"


@pytest.mark.parametrize(
    ("mount", "told"),
    [("-o size=512k", "the disk is full (0 MiB free)"), ("-o ro", "Read-only file system")],
)
def test_a_small_or_read_only_disk_is_told(tmp_path: Path, mount: str, told: str) -> None:
    assert problem_on(mount, tmp_path / "disk") == told
