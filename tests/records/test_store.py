"""The results folder: whole records or none, no silent overwriting, no half-written rest."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.common.errors import StoreConflict, StoreUnusable
from harness.common.owner import owner_mark
from harness.records.record import Record, canonical_json, json_schema
from harness.records.store import RunName, Store, read_record
from tests.paths import REPOSITORY

NAME = RunName("brain", "patchcore", 0)
MakeRecord = Callable[..., Record]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_a_saved_record_is_read_back_equal_and_sealed(
    store: Store, make_record: MakeRecord
) -> None:
    saved = store.save(NAME, make_record())
    assert store.find(NAME) == saved
    assert saved.is_intact()
    assert store.records() == [saved]
    assert store.record_path(NAME) == store.root / "brain" / "patchcore" / "seed-0.json"


def test_the_evidence_is_hashed_into_the_record(store: Store, make_record: MakeRecord) -> None:
    import hashlib

    saved = store.save(NAME, make_record(), write_evidence=lambda path: path.write_bytes(b"counts"))
    assert saved.evidence == "sha256:" + hashlib.sha256(b"counts").hexdigest()
    assert store.evidence_path(NAME).read_bytes() == b"counts"


def test_a_failing_evidence_leaves_no_record_and_no_rest(
    store: Store, make_record: MakeRecord
) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.save(NAME, make_record(), write_evidence=fail)
    assert store.find(NAME) is None
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("place", ["seed", "metrics", "outcome"])
def test_one_changed_value_anywhere_is_found_and_the_file_named(
    store: Store, make_record: MakeRecord, place: str
) -> None:
    store.save(NAME, make_record())
    path = store.record_path(NAME)
    data = json.loads(path.read_text())
    if place == "seed":
        data["seed"] = 1
    elif place == "metrics":
        data["metrics"][0]["value"] = 0.999
    else:
        data["outcome"]["answered"] += 1
    path.write_text(json.dumps(data))
    with pytest.raises(
        StoreUnusable, match=r"changed after it was written[\s\S]*seed-0.json"
    ) as caught:
        store.find(NAME)
    assert caught.value.fix


@pytest.mark.parametrize(
    "text", ["", "{}", '{"schema_version": 2}', "[1, 2]", "\x00", '{"run_key": NaN}']
)
def test_a_foreign_file_is_named_and_not_read_as_a_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seed-0.json"
    path.write_text(text)
    with pytest.raises(StoreUnusable, match=r"seed-0\.json"):
        read_record(path)


def test_a_record_of_another_run_is_never_overwritten_in_silence(
    store: Store, make_record: MakeRecord
) -> None:
    old = store.save(NAME, make_record())
    store.check_conflict(NAME, old.run_key, replace=False, difference="")
    with pytest.raises(
        StoreConflict, match=r"coreset_ratio was 0\.1[\s\S]*--as NAME[\s\S]*--replace"
    ):
        store.check_conflict(
            NAME, "sha256:" + "0" * 64, replace=False, difference="coreset_ratio was 0.1 and is 0.2"
        )
    assert store.find(NAME) == old


def test_replacing_moves_the_old_run_to_history_whole(
    store: Store, make_record: MakeRecord
) -> None:
    old = store.save(
        NAME, make_record(), write_evidence=lambda path: path.write_bytes(b"e"), log=b"log"
    )
    store.check_conflict(NAME, "sha256:" + "0" * 64, replace=True, difference="x")
    assert store.find(NAME) is None
    assert store.records() == []
    kept = sorted(
        path.name for path in (store.root / "history").rglob("seed-0.*") if path.is_file()
    )
    assert kept == ["seed-0.evidence.npz", "seed-0.json", "seed-0.log"]
    record = next((store.root / "history").rglob("seed-0.json"))
    assert read_record(record) == old


def _hold(root: str, ready: multiprocessing.synchronize.Event) -> None:
    with Store(Path(root)).lock(NAME):
        ready.set()
        import time

        time.sleep(60)


def test_two_harnesses_cannot_do_the_same_run_and_a_dead_one_holds_nothing(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=_hold, args=(str(store.root), ready))
    other.start()
    try:
        assert ready.wait(30)
        with (
            pytest.raises(StoreConflict, match="another process is doing brain/patchcore/seed-0"),
            store.lock(NAME),
        ):
            pass
        with store.lock(RunName("brain", "patchcore", 1)):
            pass
    finally:
        other.kill()
        other.join()
    with store.lock(NAME):
        pass


def test_the_rest_of_a_killed_writer_is_swept_and_a_living_ones_is_not(
    store: Store, make_record: MakeRecord
) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from harness.records.store import Store, RunName\n"
        "from tests.record_factory import record\n"
        "def die(path):\n"
        "    path.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Store(pathlib.Path(sys.argv[1])).save(RunName('brain', 'patchcore', 0), record(), write_evidence=die)\n"
    )
    root = REPOSITORY
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False, cwd=root)
    folder = store.record_path(NAME).parent
    assert len(list(folder.iterdir())) == 1
    living = folder / f".writing-{owner_mark()}-abc.json"
    living.write_text("")
    assert store.sweep() == 1
    assert list(folder.iterdir()) == [living]
    assert store.records() == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    blocked = tmp_path / "results"
    blocked.write_text("a file, not a folder")
    with pytest.raises(StoreUnusable, match="cannot be written"):
        Store(blocked).save(NAME, make_record())


def test_canonical_json_has_one_form_and_no_nan() -> None:
    assert canonical_json({"b": 1, "a": [1.0, "é"]}) == '{"a":[1.0,"é"],"b":1}'.encode()
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        canonical_json({"a": float("nan")})


def test_what_an_earlier_run_left_is_not_taken_for_this_ones(
    store: Store, make_record: MakeRecord
) -> None:
    store.save(NAME, make_record(), log=b"old", write_maps=lambda path: path.write_bytes(b"old"))
    store.save(NAME, make_record())
    assert not store.log_path(NAME).exists()
    assert not store.maps_path(NAME).exists()


def test_the_published_schema_is_that_of_the_code() -> None:
    path = REPOSITORY / "docs" / "record.schema.json"
    assert json.loads(path.read_text()) == json_schema(), "run `make schema`"
