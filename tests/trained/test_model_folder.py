"""What a stranger's program may leave in its model folder, and what the host makes of it."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path

import pytest

from harness.common.removal import remove_tree
from harness.common.statuses import RunEnded, Status
from harness.engines.base import Limits
from harness.trained import model_folder
from tests.common.test_removal import as_somebody
from tests.function_engine import run_function

SMALL = Limits(model_bytes=1_000_000, model_files=20)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "written"
    folder.mkdir()
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


def refusal(written: Path, kept: Path) -> str:
    with pytest.raises(RunEnded) as caught:
        model_folder.copy(written, kept, SMALL)
    assert caught.value.status is Status.BAD_MODEL
    return caught.value.detail


def test_files_and_folders_arrive_readable_for_everybody(written: Path, kept: Path) -> None:
    (written / "weights.pt").write_bytes(b"w" * 3_000)
    (written / "weights.pt").chmod(0o600)
    (written / "bank" / "deep").mkdir(parents=True)
    (written / "bank" / "deep" / "index").write_bytes(b"")
    model_folder.copy(written, kept, SMALL)
    assert (kept / "weights.pt").read_bytes() == b"w" * 3_000
    assert (kept / "bank/deep/index").read_bytes() == b""
    assert (kept / "weights.pt").stat().st_mode & 0o777 == 0o644
    assert (kept / "bank").stat().st_mode & 0o777 == 0o755
    assert model_folder.model_hash(kept) == model_folder.model_hash(written)


def test_the_hash_depends_on_names_and_contents_alone(written: Path, kept: Path) -> None:
    (written / "b").write_bytes(b"1")
    (written / "a").write_bytes(b"2")
    (kept / "a").write_bytes(b"2")
    (kept / "b").write_bytes(b"1")
    os.utime(kept / "a", (0, 0))
    assert model_folder.model_hash(written) == model_folder.model_hash(kept)
    (kept / "b").rename(kept / "c")
    assert model_folder.model_hash(written) != model_folder.model_hash(kept)


def link_to_a_file(folder: Path) -> None:
    (folder / "x").symlink_to("/etc/passwd")


def link_to_a_folder(folder: Path) -> None:
    (folder / "x").symlink_to("/etc")


def dangling_link(folder: Path) -> None:
    (folder / "x").symlink_to("nowhere")


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "x")


def unix_socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("x")
    finally:
        os.chdir(here)


def terabyte_of_holes(folder: Path) -> None:
    with (folder / "x").open("wb") as file:
        file.truncate(1 << 40)


def too_many_files(folder: Path) -> None:
    for number in range(21):
        (folder / str(number)).touch()


def too_many_folders(folder: Path) -> None:
    for number in range(21):
        (folder / str(number)).mkdir()


def too_deep(folder: Path) -> None:
    folder.joinpath(*["d"] * 40).mkdir(parents=True)


def path_that_is_too_long(folder: Path) -> None:
    folder.joinpath(*["n" * 200] * 6).mkdir(parents=True)


def two_files_too_large_together(folder: Path) -> None:
    for name in "ab":
        (folder / name).write_bytes(b"x" * 600_000)


@pytest.mark.parametrize(
    "mischief",
    [
        link_to_a_file,
        link_to_a_folder,
        dangling_link,
        fifo,
        unix_socket,
        terabyte_of_holes,
        too_many_files,
        too_many_folders,
        too_deep,
        path_that_is_too_long,
        two_files_too_large_together,
    ],
)
def test_everything_else_is_a_bad_model_and_costs_nothing(mischief, written, kept) -> None:
    mischief(written)
    begin = time.monotonic()
    refusal(written, kept)
    assert time.monotonic() - begin < 1
    space = sum(path.lstat().st_size for path in kept.rglob("*") if path.is_file())
    assert space <= SMALL.model_bytes


@pytest.mark.parametrize("closed", [".", "a", "a/b", "a/file"])
@pytest.mark.parametrize("mode", [0, 0o400])
def test_what_is_closed_to_us_is_the_entrys_fault_and_not_the_machines(closed, mode) -> None:
    place = Path(tempfile.mkdtemp())  # not below a folder that is closed to others than us
    place.chmod(0o777)
    written, kept = place / "written", place / "kept"

    def act() -> None:
        (written / "a" / "b").mkdir(parents=True)
        (written / "a" / "b" / "file").touch()
        (written / "a" / "file").touch()
        kept.mkdir()
        (written / closed).chmod(mode)
        if closed == "a/file" and mode:
            model_folder.copy(written, kept, SMALL)
        else:
            refusal(written, kept)
        remove_tree(written)

    try:
        assert as_somebody(act) == 0
    finally:
        remove_tree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_not_even_opened(written: Path, kept: Path) -> None:
    os.mknod(written / "x", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    assert "neither a regular file" in refusal(written, kept)


def test_a_detail_never_holds_a_name_that_the_entry_chose(written: Path, kept: Path) -> None:
    (written / "secret-label-1").symlink_to("/etc")
    assert "secret" not in refusal(written, kept)


def wait_for_input(stdin, stdout, stderr) -> None:
    stdin.read()


@pytest.mark.parametrize("mischief", [terabyte_of_holes, too_many_files, too_deep])
def test_too_much_in_the_folder_interrupts_a_running_session(mischief, written, monkeypatch):
    monkeypatch.setattr(model_folder, "FOLDER_POLL_SECONDS", 0.02)
    with (
        run_function(wait_for_input) as running,
        model_folder.watch_model_folder(running, written, SMALL),
    ):
        mischief(written)
        with pytest.raises(RunEnded) as caught:
            running.receive_line(64, time.monotonic() + 10)
    assert caught.value.status is Status.BAD_MODEL


def test_watching_an_honest_folder_disturbs_nothing(written: Path, monkeypatch) -> None:
    monkeypatch.setattr(model_folder, "FOLDER_POLL_SECONDS", 0.001)

    def train(stdin, stdout, stderr) -> None:
        for number in range(100):
            path = written / f"part-{number % 3}"
            path.write_bytes(b"x" * 1000)
            path.rename(written / "whole")
        stdout.write(b"done\n")

    with run_function(train) as running, model_folder.watch_model_folder(running, written, SMALL):
        assert running.receive_line(64, time.monotonic() + 10) == b"done\n"


def test_host_and_entry_mean_the_same_folder_by_a_trainings_state() -> None:
    from harness.contract.serve import STATE_FOLDER

    assert model_folder.STATE_FOLDER == STATE_FOLDER
