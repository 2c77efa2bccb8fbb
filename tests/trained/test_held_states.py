"""The best state of a training is held whole, and nothing that an entry can look at tells which."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.common.statuses import RunEnded, Status
from harness.engines.base import Limits
from harness.trained import model_folder
from harness.trained.held_states import HeldStates


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "written"
    folder.mkdir()
    return folder


def take(states: HeldStates, written: Path, number: int, best: int | None, data: bytes) -> None:
    states.make_room(number, best)
    (written / "model").write_bytes(data)
    states.take(written, Limits())


def put_back(states: HeldStates, number: int, folder: Path) -> Path:
    folder.mkdir()
    states.put_back(number, folder)
    return folder


def test_the_disk_looks_alike_whichever_state_is_held(tmp_path: Path, written: Path) -> None:
    sizes = [100_000, 1, 5_000_000, 20_000, 3_000_000, 6_000_000, 1]
    looks: list[list[list[tuple[str, int, int]]]] = []
    for name, is_better in (("first", False), ("newest", True)):
        home = tmp_path / name
        home.mkdir()
        states, best, seen = HeldStates(home), None, []
        for number, size in enumerate(sizes, start=1):
            take(states, written, number, best, os.urandom(size))
            best = number if best is None or is_better else best
            files = sorted(home.iterdir())
            seen.append([(p.name, p.stat().st_size, p.stat().st_blocks) for p in files])
        assert put_back(states, best, tmp_path / f"of-{name}").is_dir()
        looks.append(seen)
    assert looks[0] == looks[1]
    assert [name for name, *_ in looks[0][0]] == ["held-0", "held-1"]


def test_a_held_state_comes_back_as_a_copy_would_have(tmp_path: Path, written: Path) -> None:
    (written / "deep" / ("x" * 200) / ("y" * 200)).mkdir(parents=True)
    (written / "deep" / ("x" * 200) / ("y" * 200) / "file").write_bytes(b"1" * 3_000_000)
    (written / "empty").mkdir()
    (written / "ö and\na line").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(written) + b"/\xff")).write_bytes(b"2")
    (written / "private").write_bytes(b"3")
    (written / "private").chmod(0o600)
    (written / ".training").mkdir()
    (written / ".training" / "state").write_bytes(b"4")
    states = HeldStates(tmp_path)
    take(states, written, 1, None, b"5")
    copied = tmp_path / "copied"
    copied.mkdir()
    model_folder.copy(written, copied, Limits())
    back = put_back(states, 1, tmp_path / "back")
    there = [
        sorted(
            (path.relative_to(folder), path.stat().st_mode, path.is_file() and path.read_bytes())
            for path in folder.rglob("*")
        )
        for folder in (back, copied)
    ]
    assert there[0] == there[1]
    assert len(there[0]) == 9


def test_what_the_entry_writes_later_changes_no_held_state(tmp_path: Path, written: Path) -> None:
    states = HeldStates(tmp_path)
    take(states, written, 1, None, b"best")
    with (written / "model").open("r+b") as file:
        file.write(b"evil")
    for number in range(2, 6):
        take(states, written, number, 1, b"worse, and longer than the one before" * number)
    assert (put_back(states, 1, tmp_path / "back") / "model").read_bytes() == b"best"


def test_a_state_that_is_half_written_costs_no_other(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = HeldStates(tmp_path)
    take(states, written, 1, None, b"best")
    take(states, written, 2, 1, b"worse")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model_folder, "_pack_file", fail)
    with pytest.raises(KeyboardInterrupt):
        take(states, written, 3, 1, b"cut short")
    assert sorted(states.numbers, key=str) == [1, None]
    assert (put_back(states, 1, tmp_path / "back") / "model").read_bytes() == b"best"


def test_a_state_that_is_not_held_is_the_trainings_fault(tmp_path: Path, written: Path) -> None:
    states = HeldStates(tmp_path)
    take(states, written, 1, None, b"1")
    with pytest.raises(RunEnded, match="checkpoint 2, the best, was never saved") as ended:
        put_back(states, 2, tmp_path / "back")
    assert ended.value.status is Status.BAD_FRAME


@pytest.mark.parametrize("what", ["link", "fifo", "bytes", "files", "deep"])
def test_what_is_no_model_is_no_state(tmp_path: Path, written: Path, what: str) -> None:
    limits = Limits(model_bytes=1_000_000, model_files=20)
    if what == "link":
        (written / "model").symlink_to("/etc/passwd")
    elif what == "fifo":
        os.mkfifo(written / "model")
    elif what == "bytes":
        (written / "model").write_bytes(b"1" * 1_000_001)
    elif what == "files":
        for number in range(21):
            (written / str(number)).write_bytes(b"")
    else:
        (written / Path(*["d"] * 40)).mkdir(parents=True)
    states = HeldStates(tmp_path)
    states.make_room(1, None)
    with pytest.raises(RunEnded) as ended:
        states.take(written, limits)
    assert ended.value.status is Status.BAD_MODEL
    assert states.numbers == [None, None]


@pytest.mark.parametrize(("size", "status"), [(30, None), (3, Status.BAD_MODEL)])
def test_a_file_that_changes_under_the_copy(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch, size: int, status: Status | None
) -> None:
    whole = model_folder._pack_file

    def meanwhile(packed, member, opened) -> None:
        (written / "model").write_bytes(b"2" * size)
        whole(packed, member, opened)

    monkeypatch.setattr(model_folder, "_pack_file", meanwhile)
    states = HeldStates(tmp_path)
    if status is None:  # what was added to it since is left out
        take(states, written, 1, None, b"1" * 10)
        assert (put_back(states, 1, tmp_path / "back") / "model").stat().st_size == 10
    else:
        with pytest.raises(RunEnded, match="shorter") as ended:
            take(states, written, 1, None, b"1" * 10)
        assert ended.value.status is status
