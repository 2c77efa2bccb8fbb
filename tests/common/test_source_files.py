"""What belongs to a source folder: the same list for its identity, its review, its copy and its image."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.board.tracks import unreviewable_files
from harness.common.errors import EntryInvalid
from harness.common.source_files import LEFT_OUT, MAX_DEPTH, copy_source, source_files
from harness.entries.identity import folder_identity, submitted_folder_hash


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "part").mkdir(parents=True)
    (folder / "model.py").write_text("x = 1\n")
    (folder / "part" / "more.py").write_text("y = 2\n")
    return folder


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in source_files(folder)]


def test_files_are_listed_at_any_depth_hidden_ones_too(folder) -> None:
    (folder / ".hidden").write_text("")
    (folder / "part" / ".env").write_text("")
    assert names(folder) == [".hidden", "model.py", "part/.env", "part/more.py"]


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
@pytest.mark.parametrize("is_folder", [True, False])
def test_what_tools_leave_behind_counts_nowhere_and_is_copied_nowhere(
    folder, tmp_path, name, is_folder
) -> None:
    before = folder_identity(folder)
    for parent in (folder, folder / "part"):
        if is_folder:
            (parent / name).mkdir()
            (parent / name / "swapped.py").write_text("labels = {}")
        else:
            (parent / name).write_text("labels")
    assert names(folder) == ["model.py", "part/more.py"]
    assert folder_identity(folder) == before
    assert unreviewable_files(folder) == []
    copy_source(folder, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").rglob("*")) == [
        "model.py", "more.py", "part",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["__PyCache__/model.cpython-311.pyc", ".GIT/config", ".Ruff_Cache/x", "a__pycache__"]
)
def test_another_spelling_of_a_left_out_name_is_a_file_like_any_other(folder, name) -> None:
    before = folder_identity(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\xa7\r\r\n\0")
    assert name in names(folder)
    assert folder_identity(folder) != before
    assert unreviewable_files(folder) == [f"{name} is not a text file"]


@pytest.mark.parametrize(
    "name", ["helper.pyc", "helper.so", "model.cpython-311-x86_64-linux-gnu.so"]
)
def test_byte_code_and_machine_code_that_an_import_finds_are_hashed_and_cannot_be_reviewed(
    folder, name
) -> None:
    before = folder_identity(folder)
    (folder / name).write_bytes(b"\x7fELF\0")
    assert folder_identity(folder) != before
    assert unreviewable_files(folder) == [f"{name} is not a text file"]


def link_to_a_file(folder: Path) -> None:
    (folder / "odd").symlink_to("model.py")


def link_to_a_folder(folder: Path) -> None:
    (folder / "odd").symlink_to("/etc")


def link_to_nothing(folder: Path) -> None:
    (folder / "odd").symlink_to("nowhere")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "odd")


def listening(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "odd"))


def latin_1(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.py"))).write_text("")


def newline(folder: Path) -> None:
    (folder / "a\nfix: b").write_text("")


def right_to_left(folder: Path) -> None:
    (folder / "a\u202eyp.txt").write_text("")


def another_case(folder: Path) -> None:
    (folder / "Model.py").write_text("")


def too_deep(folder: Path) -> None:
    place = folder
    for _ in range(MAX_DEPTH + 5):
        place = place / "d"
        place.mkdir()


ODD = [
    (link_to_a_file, "odd is a link"),
    (link_to_a_folder, "odd is a link"),
    (link_to_nothing, "odd is a link"),
    (pipe, "odd is neither a file nor a folder"),
    (listening, "odd is neither a file nor a folder"),
    (latin_1, r"the name 'caf\udce9.py' is not plain text"),
    (newline, r"the name 'a\nfix: b' is not plain text"),
    (right_to_left, r"the name 'a\u202eyp.txt' is not plain text"),
    (another_case, "Model.py and model.py differ in case alone"),
    (too_deep, f"folders lie more than {MAX_DEPTH} deep"),
]


@pytest.mark.parametrize(("make", "problem"), ODD)
def test_what_is_no_plain_file_is_refused_by_whoever_reads_the_folder(
    folder, tmp_path, make: Callable[[Path], None], problem
) -> None:
    make(folder)
    assert unreviewable_files(folder) == [problem]
    for refused in (folder_identity, submitted_folder_hash, source_files):
        with pytest.raises(EntryInvalid) as caught:
            refused(folder)
        assert caught.value.what == problem
    with pytest.raises(EntryInvalid):
        copy_source(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_the_hash_of_a_clean_folder_is_what_it_always_was(folder) -> None:
    # Written down from the code that hashed whatever it found under the folder.
    was = "sha256:44b0a3acf0983af45dc716f2e89c2b644a6d8390c45a8cc2f2af7efe01826aaf"
    assert submitted_folder_hash(folder) == was
