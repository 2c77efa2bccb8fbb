"""What all recipes share: one order, whole images or none, going on after a kill, secrets kept."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from harness.benchmarks import open_pack
from harness.benchmarks.prepare import packing, running
from harness.benchmarks.prepare import preparing as module
from harness.benchmarks.prepare import raw as walking
from harness.benchmarks.prepare.manifest import MANIFEST_NAME, SOURCES_NAME
from harness.benchmarks.prepare.writing import NOTES, do_job
from harness.common.errors import DataMissing, EnvironmentFault, RawDataInvalid, UsageError
from harness.records.releases import claimed_name

from . import raw_fixtures as fixtures
from .conftest import ALL, Preparing, Ready, rows_of

REPOSITORY = Path(__file__).resolve().parents[3]
SALT = "a-secret-that-nobody-may-see"


def tree(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command(*arguments: object, seed: str = "0") -> subprocess.Popen[str]:
    """`python -m harness.prepare` as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness.prepare", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("name", ALL)
def test_a_pack_is_read_back_as_the_version_that_was_written(
    name: str, ready: Ready, tmp_path: Path
) -> None:
    prepared = ready(name)
    pack = open_pack(prepared.folder, tmp_path / "cache")
    assert pack.version == prepared.card.version
    assert pack.card.name == name
    assert claimed_name(pack.name) == name
    assert pack.card.counts == prepared.card.counts
    rows = {row["key"]: row for row in rows_of(prepared.folder)}
    assert {s.key: s.pixel_sha256 for s in pack.samples} == {
        key: row["pixel_sha256"] for key, row in rows.items()
    }
    assert all(s.group == (rows[s.key]["group"] or s.key) for s in pack.samples)
    assert all(s.subclass == rows[s.key]["subclass"] for s in pack.samples)


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_a_listing_makes_no_difference(
    name: str, ready: Ready, preparing: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.walk

    def shuffled(*args: object, **options: object) -> Iterator[tuple[str, list[str], list[str]]]:
        for folder, inner, files in real(*args, **options):  # type: ignore[call-overload]
            random.shuffle(inner)
            random.shuffle(files)
            yield folder, inner, files

    monkeypatch.setattr(walking.os, "walk", shuffled)
    assert tree(preparing(name).folder) == tree(ready(name).folder)


@pytest.mark.parametrize("name", ["oct2017", "liver"])
def test_neither_hash_seed_nor_number_of_workers_makes_a_difference(
    name: str, raw: dict[str, Path], ready: Ready, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    process = command(
        name, "--raw", raw[name], "--out", tmp_path, "--workers", 2, "--keep-going", seed="1"
    )
    code, out, err = finished(process)
    assert code == 0, err
    assert tree(tmp_path / name) == tree(ready(name).folder)
    assert f"version: {ready(name).card.version}" in out
    assert f"next:    python -m harness.pack verify {tmp_path / name}" in out


def test_images_hold_pixels_and_nothing_else(ready: Ready) -> None:
    for name in ALL:
        for path in ready(name).folder.rglob("*.png"):
            content, chunks, at = path.read_bytes(), [], 8
            while at < len(content):
                length = int.from_bytes(content[at : at + 4], "big")
                chunks.append(content[at + 4 : at + 8])
                at += 12 + length
            assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("name", ALL)
def test_one_mode_and_one_size_per_benchmark(name: str, ready: Ready, tmp_path: Path) -> None:
    card = open_pack(ready(name).folder, tmp_path / "cache").card
    assert len(card.sizes) == 1
    assert not any("grey and" in remark for remark in card.remarks)


def test_the_sources_are_named_with_their_hashes(ready: Ready, raw: dict[str, Path]) -> None:
    lines = (ready("liver").folder / SOURCES_NAME).read_text().splitlines()
    assert lines[0] == "file,bytes,sha256"
    for line in lines[1:]:
        name, length, digest = line.rsplit(",", 2)
        content = (raw["liver"] / json.loads(name)).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (int(length), digest)
    assert len(lines) == 1 + 2 * 5


def test_how_a_pack_was_made_stands_beside_it(ready: Ready) -> None:
    report = json.loads((ready("brain").folder / packing.REPORT_NAME).read_text())
    assert report["variant"] == "paper"
    assert report["counts"]["test, abnormal"] == {"found": 15, "expected": 3075}
    assert report["libraries"]["nibabel"]
    assert str(ready("brain").folder) not in json.dumps(report)


def test_a_dry_run_tells_everything_and_writes_nothing(
    preparing: Preparing, tmp_path: Path
) -> None:
    prepared = preparing("resc", is_dry=True)
    assert prepared.card is None
    assert any(one.what == "test, normal" and one.found == 7 for one in prepared.comparisons)
    assert not (tmp_path / "out").exists()


def test_a_trial_takes_some_cases_of_every_kind(preparing: Preparing) -> None:
    prepared = preparing("brain", limit_cases=5, is_keeping_on=False)
    assert prepared.name == "brain-limited"
    assert len({row["group"] for row in rows_of(prepared.folder)}) == 5
    counts = prepared.card.counts
    assert all(getattr(counts, field) for field in type(counts).model_fields)
    assert any("A trial of 5 cases" in remark for remark in prepared.card.remarks)


def test_what_is_there_already_is_not_overwritten(preparing: Preparing, tmp_path: Path) -> None:
    first = preparing("liver")
    before = tree(first.folder)
    with pytest.raises(UsageError, match="there is something of that name already"):
        preparing("liver", variant="paper")
    assert tree(first.folder) == before


def test_a_raw_folder_that_is_not_there_is_named(preparing: Preparing, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="there is no such folder"):
        preparing("brain", raw=(tmp_path / "nowhere",))


def test_no_image_of_two_splits_stays_in_a_disjoint_variant(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.kaggle_oct(tmp_path / "raw")
    root = raw / "OCT2017 "
    twin = root / "test/NORMAL/NORMAL-501-3.jpeg"
    for name in ("NORMAL-103-1", "NORMAL-103-2"):
        (root / f"train/NORMAL/{name}.jpeg").write_bytes(twin.read_bytes())
    prepared = preparing("oct2017", raw=(raw,), variant="disjoint")
    pack = open_pack(prepared.folder, tmp_path / "cache")
    assert pack.card.counts.train == 10  # 14 less two of patient 100, less the two twins
    assert pack.card.counts.test_normal == 6
    assert any("2 images identical to one of a later split" in r for r in pack.card.remarks)
    assert len(list((prepared.folder / "train").rglob("*.png"))) == 10
    paper = open_pack(preparing("oct2017", raw=(raw,)).folder, tmp_path / "cache")
    assert any("of train are also in test, byte for byte" in r or "1 image of train is also in test"
               in r for r in paper.card.remarks)  # fmt: skip


def many_images(folder: Path) -> Path:
    return fixtures.kaggle_oct(folder, train=200, test_per_class=10)


def wait_for(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="watches processes through /proc")
def test_killed_in_the_middle_it_goes_on_and_leaves_no_half_image(
    preparing: Preparing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    raw = many_images(tmp_path / "raw")
    arguments = ("oct2017", "--raw", raw, "--workers", 2)
    whole = preparing("oct2017", raw=(raw,), out=tmp_path / "whole").folder
    partial = tmp_path / "out" / ".oct2017.partial"
    process = command(*arguments, "--out", tmp_path / "out")
    wait_for(partial / NOTES, 2, process)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out" / "oct2017").exists()
    for path in partial.rglob("*.png"):
        if not path.name.startswith("."):
            with Image.open(path) as image:
                image.load()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)

    notes = [json.loads(path.read_text()) for path in (partial / NOTES).glob("*.json")]
    done = {
        row["key"]: (partial / row["key"]).stat().st_mtime_ns for n in notes for row in n["rows"]
    }
    assert len(done) >= 64
    assert finished(command(*arguments, "--out", tmp_path / "out"))[0] == 0
    assert tree(tmp_path / "out" / "oct2017") == tree(whole)
    assert not partial.exists()
    for key, stamp in done.items():
        assert (tmp_path / "out" / "oct2017" / key).stat().st_mtime_ns == stamp


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_changed_since_a_kill_is_made_anew(
    preparing: Preparing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = fixtures.kaggle_oct(tmp_path / "raw")

    monkeypatch.setattr(module, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        preparing("oct2017", raw=(raw,))
    monkeypatch.undo()
    notes = tmp_path / "out" / ".oct2017.partial" / NOTES
    assert list(notes.glob("*.json"))
    changed = next((raw / "OCT2017 " / "train/NORMAL").glob("*.jpeg"))
    fixtures.save(changed, fixtures.oct_image(77777))
    other = fixtures.kaggle_oct(tmp_path / "other")
    fixtures.save(other / changed.relative_to(raw), fixtures.oct_image(77777))
    expected = preparing("oct2017", raw=(other,), out=tmp_path / "clean")
    assert preparing("oct2017", raw=(raw,)).card.version == expected.card.version


def test_an_image_that_was_lost_is_made_again(
    preparing: Preparing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: Ready
) -> None:
    monkeypatch.setattr(module, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        preparing("resc")
    monkeypatch.undo()
    partial = tmp_path / "out" / ".resc.partial"
    first, second, *_ = sorted(partial.rglob("*.png"))
    first.unlink()
    second.write_bytes(b"")
    (partial / "train/good/img/stale.png").write_bytes(b"of an earlier try")
    (partial / "test/.half-abcd").write_bytes(b"half an image")
    assert tree(preparing("resc").folder) == tree(ready("resc").folder)


def test_damaged_cases_are_all_named_and_leave_no_image(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.kaggle_oct(tmp_path / "raw")
    broken = sorted((raw / "OCT2017 " / "test/DME").glob("*.jpeg"))[:3]
    for path in broken:
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RawDataInvalid) as error:
        preparing("oct2017", raw=(raw,), is_keeping_on=False)
    assert len(error.value.problems) == 3
    assert "download again" in error.value.fix
    prepared = preparing("oct2017", raw=(raw,))
    assert prepared.card.counts.test_anomalous == 15
    assert any("Prepared without 3 unusable" in remark for remark in prepared.card.remarks)
    report = json.loads((prepared.folder / packing.REPORT_NAME).read_text())
    assert len(report["skipped"]) == 3


def test_a_full_disk_is_one_sentence(preparing: Preparing, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "do_job", full)
    with pytest.raises(EnvironmentFault, match="the disk is full") as error:
        preparing("liver")
    assert "goes on where it stopped" in error.value.fix
    assert do_job is not full


def _killed(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_a_worker_that_is_killed_is_one_sentence() -> None:
    with pytest.raises(EnvironmentFault, match="a worker process was killed") as error:
        list(running.in_parallel(_killed, range(4), 2))
    assert "fewer --workers" in error.value.fix


def test_results_come_in_the_order_of_the_jobs() -> None:
    assert list(running.in_parallel(abs, range(-20, 0), 2)) == list(range(20, 0, -1))


def everything(folder: Path) -> bytes:
    files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return files + "".join(map(str, folder.rglob("*"))).encode()


@pytest.mark.parametrize("way", ["file", "environment"])
def test_the_salt_of_a_resplit_is_written_nowhere(
    way: str, raw: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    arguments = ["oct2017", "--raw", raw["oct2017"], "--out", tmp_path / "out", "--variant",
                 "resplit", "--workers", 2]  # fmt: skip
    if way == "file":
        (tmp_path / "salt").write_text(SALT + "\n")
        arguments += ["--salt-file", tmp_path / "salt"]
    else:
        monkeypatch.setenv("BMAD_SALT", SALT)
    code, out, err = finished(command(*arguments))
    assert code == 0
    secrets = [SALT.encode(), hashlib.sha256(SALT.encode()).hexdigest().encode()]
    written = everything(tmp_path / "out") + everything(tmp_path / "cache")
    for secret in secrets:
        assert secret not in written
        assert secret.decode() not in out + err
    assert (tmp_path / "out" / "oct2017-resplit" / MANIFEST_NAME).is_file()


def test_the_salt_does_not_travel_to_the_workers_or_into_a_message() -> None:
    options = module.Options((Path("x"),), variant="resplit", salt=SALT)
    assert SALT not in repr(options)
    assert options.for_workers().salt is None
