"""Trained models: kept, taken instead of a training, given, moved between machines, and damaged."""

from __future__ import annotations

import errno
import io
import json
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import clean, evaluate, models
from harness.common.errors import EnvironmentFault, StoreUnusable, UsageError
from harness.common.owner import owner_mark
from harness.engines import powercap
from harness.records.record import Record, content_hash
from harness.records.run_key import RunKey
from harness.trained import model_archive, model_folder, model_store
from harness.trained.given_model import give_folder
from harness.trained.model_card import ModelCard, list_model_files
from harness.trained.model_store import ModelStore, default_models
from tests.paths import ENTRIES

TRAINER = ENTRIES / "trainer"
Evaluate = Callable[..., Record]


def training_of(record: Record) -> str:
    """The key of the training behind a record that holds all parts of its run key."""
    key = RunKey.of_record(record)
    assert key is not None
    return key.training_hash


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A handful of images: normal ones are flat, abnormal ones are noise."""
    root = tmp_path_factory.mktemp("packs") / "small"
    rng = np.random.default_rng(0)
    for place in ("train/good", "valid/good", "valid/Ungood", "test/good", "test/Ungood"):
        (root / place).mkdir(parents=True)
        for index in range(3):
            spread = 60 if place.endswith("Ungood") else 2
            pixels = rng.integers(100, 100 + spread, (32, 40)).astype(np.uint8)
            Image.fromarray(pixels).save(root / place / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(
    pack: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Evaluate:
    """Evaluate the trainer on the small pack; its record. What was said stays to be read."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))

    def call(*arguments: object, results: str = "results", entry: Path = TRAINER) -> Record:
        capsys.readouterr()
        options = ["--engine", "process", "--results", str(tmp_path / results), "--no-site"]
        evaluate.main([str(entry), *map(str, arguments), "--pack", str(pack), "--json", *options])
        out, err = capsys.readouterr()
        sys.stderr.write(err)
        return Record.model_validate(json.loads(out)[0])

    return call


@pytest.fixture
def store() -> ModelStore:
    return ModelStore(default_models())


def stored_file(store: ModelStore) -> Path:
    (path,) = (path for path in (store.root / "objects").rglob("*") if path.is_file())
    return path


def change_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def has_trained(capsys: pytest.CaptureFixture[str]) -> bool:
    return "checkpoint at" in capsys.readouterr().err


def test_a_finished_training_is_kept_and_not_repeated(
    run: Evaluate, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run()
    assert has_trained(capsys)
    again = run(results="others")
    assert not has_trained(capsys)
    assert first.model is not None
    assert again.model is not None
    assert (first.model.origin, again.model.origin) == ("trained", "stored")
    assert again.model.hash == first.model.hash
    assert first.model.trained_under == again.model.trained_under == training_of(first)
    assert first.run_key == again.run_key
    assert again.training == first.training
    assert again.times.train == first.times.train
    assert again.metrics == first.metrics
    assert again.track == first.track == "trained-here"
    (model,) = store.models()
    assert model.card.name == "small/trainer/seed-0"
    assert model.card.parts["params"] == first.entry.params


class HundredWatts:
    """A processor package that draws 100 W."""

    name = "package-0"

    def read(self) -> int:
        return round(100e6 * time.monotonic())

    def range(self) -> int:
        return 2**62


def test_the_energy_of_a_training_is_told_of_every_run_of_its_model_and_counts_in_one(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(powercap, "packages", lambda _: (HundredWatts(),))
    first, again = run(), run(results="others")
    (trained,), (stored,) = first.energy, again.energy
    assert trained.train is not None
    assert trained.train.joules == pytest.approx(100 * (first.times.train or 0), rel=0.1)
    assert stored.train == trained.train
    assert trained.total.joules == pytest.approx(100 * first.times.total, rel=0.1)
    assert stored.total.joules == pytest.approx(100 * again.times.total, rel=0.1)
    assert stored.total.joules < trained.total.joules


def test_another_seed_or_setting_is_another_training(
    run: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    run("--seed", 1)
    assert has_trained(capsys)
    run("--set", "steps=4", results="others")
    assert has_trained(capsys)


def test_retrain_trains_again_and_moves_the_old_record_to_history(
    run: Evaluate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run()
    again = run("--retrain")
    assert has_trained(capsys)
    assert again.model is not None
    assert again.model.origin == "trained"
    assert again.training == first.training
    assert len(list((tmp_path / "results" / "history").rglob("seed-0.json"))) == 1


def test_no_model_is_kept_where_none_is_wanted(
    run: Evaluate, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run("--no-keep-model")
    assert record.model is not None
    assert not store.root.exists()
    run(results="others")
    assert has_trained(capsys)


def test_a_full_disk_is_one_clear_error_and_the_training_is_not_lost(
    run: Evaluate,
    store: ModelStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(model_store, "copy_verified", full)
        with pytest.raises(EnvironmentFault, match="disk is full") as caught:
            run()
    assert "BMAD_MODELS" in caught.value.fix
    assert store.models() == []
    assert list((store.root / "objects").iterdir()) == []
    record = run()
    assert record.is_ok
    assert not has_trained(capsys)
    assert len(store.models()) == 1


def test_one_changed_byte_is_found_and_named(
    run: Evaluate, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run()
    change_one_byte(stored_file(store))
    with pytest.raises(StoreUnusable, match=r"state/state\.json of the model small/trainer/seed-0"):
        run(results="others")
    assert models.main(["verify"]) == 5
    assert "state/state.json was changed" in capsys.readouterr().out
    with pytest.raises(StoreUnusable, match="damaged"):
        models.main(["export", "small/trainer/seed-0", "--to", "nowhere.tar"])
    again = run("--retrain", results="others")  # the same bytes mend it
    assert again.model == first.model
    assert models.main(["verify"]) == 0


def test_a_missing_and_an_added_file_are_found_too(
    run: Evaluate, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    path = stored_file(store)
    path.rename(path.with_name("other.json"))
    assert models.main(["verify"]) == 5
    out = capsys.readouterr().out
    assert "state/state.json is missing" in out
    assert "state/other.json is not of the model" in out


def test_a_model_goes_to_another_machine_and_only_claims_there_how_it_was_made(
    run: Evaluate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = run("--seed", 5)
    archive = tmp_path / "model.tar"
    models.main(["export", "small/trainer/seed-5", "--to", str(archive)])
    with tarfile.open(archive) as tar:  # any tar program reads it
        assert tar.getnames() == ["model-card.json", "files/state/state.json"]
    monkeypatch.setenv("BMAD_MODELS", str(tmp_path / "elsewhere"))
    models.main(["import", str(archive)])
    capsys.readouterr()
    models.main(["list"])
    assert "imported" in capsys.readouterr().out
    there = run("--seed", 5, results="others")
    assert has_trained(capsys), "an import stood in for a training"
    shutil.rmtree(tmp_path / "elsewhere" / "trained")
    given = run("--stored-model", "small/trainer/seed-5", "--as", "theirs", results="others")
    assert not has_trained(capsys)
    assert given.model is not None
    assert here.model is not None
    assert given.seed == 5
    assert given.model.hash == here.model.hash
    assert given.model.trained_under is None
    assert given.model.remark == "not trained here; its card claims small/trainer/seed-5"
    assert (here.track, there.track, given.track) == ("trained-here", "trained-here", "open")
    assert not given.ranked
    assert "given model" in (given.unranked_reason or "")
    assert given.training is None
    assert given.metrics == here.metrics
    assert given.run_key != here.run_key


def test_a_folder_with_a_model_that_was_trained_here_is_known_by_its_content(
    run: Evaluate, store: ModelStore, tmp_path: Path
) -> None:
    here = run()
    shutil.copytree(store.folder_of(store.models()[0].card), tmp_path / "copy")
    given = run("--model", tmp_path / "copy", "--as", "again")
    assert given.model is not None
    assert (given.model.origin, given.model.trained_under) == ("given", training_of(here))
    assert given.track == "trained-here"
    assert given.training == here.training
    assert given.metrics == here.metrics
    other = run("--model", tmp_path / "copy", "--as", "other", "--set", "steps=4", results="others")
    assert other.model is not None
    assert other.model.remark == "trained here, but steps was 6 and is 4"
    assert other.track == "open"


def test_a_model_of_one_regime_is_another_training_in_the_next(
    run: Evaluate, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    few = run("--train", "shots:2")
    (model,) = store.models()
    assert model.card.name == f"{few.place}/trainer/seed-0"
    assert few.place.endswith("@shots-2")
    whole = run()
    assert whole.model is not None
    assert (whole.model.origin, len(store.models())) == ("trained", 2)
    assert models.main(["list"]) == 0
    assert "@shots-2/trainer/seed-0" in capsys.readouterr().out
    given = run("--stored-model", model.card.name, "--as", "given")
    assert given.model is not None
    assert given.model.hash == model.card.model
    assert "regime was {'name': 'few-shot'" in (given.model.remark or "")
    assert given.track == "open"
    again = run("--stored-model", model.card.name, "--as", "again", "--train", "shots:2")
    assert again.model is not None
    assert again.model.trained_under == training_of(few)
    assert again.track == "trained-here"


def test_a_model_of_which_nothing_is_known_is_never_trained_here(
    run: Evaluate, tmp_path: Path
) -> None:
    folder = tmp_path / "mine" / "state"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"steps_done": 3}')
    record = run("--model", folder.parent)
    assert record.is_ok
    assert record.track == "open"
    assert record.model is not None
    assert record.model.trained_under is None
    assert record.model.remark == "its training is unknown"


def test_an_unpacked_export_is_held_to_its_card(run: Evaluate, tmp_path: Path) -> None:
    here = run()
    models.main(["export", "small/trainer/seed-0", "--to", str(tmp_path / "model.tar")])
    with tarfile.open(tmp_path / "model.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    given = run("--model", tmp_path / "unpacked", "--as", "again")
    assert given.model is not None
    assert given.model.trained_under == training_of(here)
    change_one_byte(tmp_path / "unpacked" / "files" / "state" / "state.json")
    with pytest.raises(StoreUnusable, match=r"card: state/state\.json"):
        run("--model", tmp_path / "unpacked", "--as", "changed")


def test_a_link_in_a_given_folder_is_refused(run: Evaluate, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "state").symlink_to("/etc")
    with pytest.raises(StoreUnusable, match="regular files and folders alone"):
        run("--model", folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "/nonexistent"], "no such folder"),
        (["--stored-model", "nothing"], "no stored model is 'nothing'"),
        (["--model", "/tmp", "--stored-model", "x"], "one model is given"),
        (["--model", "/tmp", "--retrain"], "or one is trained"),
        ([ENTRIES / "honest", "--model", TRAINER], "several are given"),
    ],
)
def test_what_is_wrong_with_a_given_model_is_said_first(
    run: Evaluate, tmp_path: Path, arguments: list[object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(*arguments)
    assert not (tmp_path / "results").exists()


def test_an_entry_that_does_not_train_takes_no_model(run: Evaluate) -> None:
    with pytest.raises(UsageError, match="does not train"):
        run("--model", TRAINER, entry=ENTRIES / "honest")


def test_clean_frees_what_was_not_used_for_long(
    run: Evaluate, store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os
    import time

    run("--as", "old")
    run("--set", "every=3")
    old, new = store.models()
    os.utime(old.path, (0, time.time() - 40 * 86400))
    clean.main(["--results", str(tmp_path / "results"), "--models-unused-for", "30"])
    assert "trained models removed      1," in capsys.readouterr().out
    assert [model.card for model in store.models()] == [new.card]
    assert not store.folder_of(old.card).exists()
    assert store.folder_of(new.card).exists()


def test_what_a_killed_writer_left_is_swept_and_a_living_ones_is_not(store: ModelStore) -> None:
    gone = owner_mark().rpartition(".")[0] + ".1"
    for name in (f".writing-{gone}-x", f".writing-{owner_mark()}-y", "0" * 64):
        (store.root / "objects" / name).mkdir(parents=True)
        (store.root / "objects" / name / "file").write_bytes(b"1234")
    assert store.sweep() == 8
    assert [path.name for path in (store.root / "objects").iterdir()] == [
        f".writing-{owner_mark()}-y"
    ]


def test_a_card_of_another_model_that_cannot_be_read_stops_no_run_and_frees_nothing(
    run: Evaluate, store: ModelStore
) -> None:
    run("--seed", 1)
    before = stored_file(store)
    other = store.root / "trained" / "0123456789abcdef-0123456789abcdef.json"
    other.write_text('{"name": "from another version"}')
    assert run("--seed", 2).is_ok
    assert store.sweep() == 0
    assert before.is_file()
    with pytest.raises(StoreUnusable, match="not the card of a trained model"):
        store.models()


@pytest.mark.parametrize("name", [b"new\nline", b"back\\slash", b"not utf-8 \xff"])
def test_a_file_name_that_no_card_can_carry_is_the_entrys_fault(
    run: Evaluate, tmp_path: Path, name: bytes
) -> None:
    mine = tmp_path / "trainer"
    shutil.copytree(TRAINER, mine, ignore=shutil.ignore_patterns("__pycache__"))
    code = (mine / "model.py").read_text()
    added = f"        import os; open(os.path.join(os.fsencode(folder), {name!r}), 'w').close()\n"
    code = code.replace("    def load(", added + "\n    def load(")
    (mine / "model.py").write_text(code)
    record = run(entry=mine)
    assert record.outcome.status == "bad_model"
    assert record.training is not None


@pytest.mark.engine
def test_containers_read_stored_models_and_tell_them_from_those_of_a_process(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness import engines
    from tests.engine_images import LightDockerEngine

    bare = run()
    monkeypatch.setattr(engines, "choose_engine", lambda wanted: LightDockerEngine())
    trained = run(results="contained")
    assert has_trained(capsys), "a training that nothing isolated stood in for one in a container"
    stored = run(results="others")
    assert not has_trained(capsys)
    assert stored.model is not None
    assert stored.model.origin == "stored"
    assert stored.metrics == trained.metrics
    models.main(["remove", "small/trainer/seed-0"])
    run("--retrain", results="contained")
    assert bare.model is not None
    given = run("--stored-model", bare.model.hash, "--as", "given", results="others")
    assert given.is_ok
    assert given.model is not None
    assert given.model.trained_under == training_of(trained)
    assert given.metrics == trained.metrics


# Archives that are not what they say


def a_card(tmp_path: Path, **changes: object) -> ModelCard:
    """The card of a small model whose files lie in `tmp_path/files`."""
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "a.bin").write_bytes(b"a" * 700)
    (folder / "deep" / "b.bin").write_bytes(b"")
    files = list_model_files(folder)
    digest = model_folder.model_hash(folder)
    parts = {"seed": 0}
    data = {
        "key": content_hash(parts),
        "parts": parts,
        "model": digest,
        "entry": "x",
        "title": "X",
        "licence": "",
        "preset": "bmad",
        "benchmark": "demo",
        "visibility": "open",
        "pack_licence": "CC0",
        "seed": 0,
        "training": {"steps": 1, "stop_reason": "finished", "model": digest},
        "seconds": 1.0,
        "made": "2026-01-01T00:00:00+00:00",
        "files": [file.model_dump() for file in files],
        **changes,
    }
    return ModelCard.model_validate(data)


def members_of(card: ModelCard, folder: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """What an honest archive holds."""
    contents = [("model-card.json", card.content())]
    contents += [(f"files/{file.path}", (folder / file.path).read_bytes()) for file in card.files]
    members = []
    for name, content in contents:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        members.append((info, content))
    return members


def write_archive(
    path: Path, members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT
) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_made_by_another_program_is_fine(tmp_path: Path, store: ModelStore) -> None:
    card = a_card(tmp_path)
    archive = write_archive(tmp_path / "x.tar", members_of(card, tmp_path / "files"))
    assert model_archive.import_archive(store, archive) == card
    (model,) = store.models()
    assert store.problems(model) == []
    assert model.origin == "imported"
    assert store.find_trained(card.key) is None
    model_archive.export(store, model, tmp_path / "again.tar")
    other = ModelStore(tmp_path / "other")
    assert model_archive.import_archive(other, tmp_path / "again.tar") == card


def a_link(members):
    info = tarfile.TarInfo("files/a.bin")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[1] = (info, b"")


def a_hard_link(members):
    info = tarfile.TarInfo("files/a.bin")
    info.type, info.linkname = tarfile.LNKTYPE, "model-card.json"
    members[1] = (info, b"")


def a_device(members):
    info = tarfile.TarInfo("files/a.bin")
    info.type = tarfile.CHRTYPE
    members[1] = (info, b"")


def a_way_out(members):
    members[1][0].name = "../../a.bin"


def an_absolute_name(members):
    members[1][0].name = "/a.bin"


def one_more_file(members):
    members.append((tarfile.TarInfo("files/c.bin"), b""))


def one_file_less(members):
    members.pop()


def another_order(members):
    members[1:] = reversed(members[1:])


def a_changed_byte(members):
    members[1] = (members[1][0], b"b" * 700)


def another_size(members):
    members[1][0].size = 699
    members[1] = (members[1][0], b"a" * 699)


def no_card(members):
    members.pop(0)


def a_long_name(members):
    members[1][0].name = "x" * 5000


@pytest.mark.parametrize(
    "spoil",
    [
        a_link,
        a_hard_link,
        a_device,
        a_way_out,
        an_absolute_name,
        one_more_file,
        one_file_less,
        another_order,
        a_changed_byte,
        another_size,
        no_card,
        a_long_name,
    ],
)
def test_an_archive_with_a_surprise_is_refused_and_nothing_is_kept(
    tmp_path: Path, store: ModelStore, spoil: Callable[[list], None]
) -> None:
    members = members_of(a_card(tmp_path), tmp_path / "files")
    spoil(members)
    archive = write_archive(tmp_path / "x.tar", members)
    with pytest.raises(StoreUnusable, match="refused"):
        model_archive.import_archive(store, archive)
    assert store.models() == []
    assert not (store.root / "objects").exists() or not list((store.root / "objects").iterdir())


def test_extended_headers_are_refused_unread(tmp_path: Path, store: ModelStore) -> None:
    members = members_of(a_card(tmp_path), tmp_path / "files")
    members[0][0].pax_headers = {"comment": "x" * 100_000}
    archive = write_archive(tmp_path / "x.tar", members, tarfile.PAX_FORMAT)
    with pytest.raises(StoreUnusable, match="refused"):
        model_archive.import_archive(store, archive)


@pytest.mark.parametrize("share", [0.2, 0.9, 0.99])
def test_a_cut_archive_is_refused(tmp_path: Path, store: ModelStore, share: float) -> None:
    members = members_of(a_card(tmp_path), tmp_path / "files")
    archive = write_archive(tmp_path / "x.tar", members)
    content = archive.read_bytes()
    end = len(content.rstrip(b"\0"))
    archive.write_bytes(content[: int(end * share)])
    with pytest.raises(StoreUnusable):
        model_archive.import_archive(store, archive)
    assert store.models() == []


def test_a_size_that_only_the_header_claims_writes_nothing(
    tmp_path: Path, store: ModelStore
) -> None:
    members = members_of(a_card(tmp_path), tmp_path / "files")
    for info, _ in members[:1]:
        info.size = 10 * 1024**4
    archive = tmp_path / "x.tar"
    archive.write_bytes(members[0][0].tobuf(tarfile.GNU_FORMAT) + members[0][1])
    with pytest.raises(StoreUnusable, match="more than"):
        model_archive.import_archive(store, archive)


def test_a_model_larger_than_asked_for_is_refused(tmp_path: Path, store: ModelStore) -> None:
    card = a_card(tmp_path)
    archive = write_archive(tmp_path / "x.tar", members_of(card, tmp_path / "files"))
    with pytest.raises(StoreUnusable, match="700 bytes, more than 699"):
        model_archive.import_archive(store, archive, max_bytes=699)
    with pytest.raises(StoreUnusable, match="more than 699"):
        models.main(["import", str(archive), "--max-bytes", "699"])


def test_an_archive_of_more_names_than_a_training_may_leave_is_refused(
    tmp_path: Path, store: ModelStore
) -> None:
    """Folders count: a card of 8 MB can name a million of them."""
    card = a_card(tmp_path)
    archive = write_archive(tmp_path / "x.tar", members_of(card, tmp_path / "files"))
    with pytest.raises(StoreUnusable, match="3 files and folders, more than 2"):
        model_archive.import_archive(store, archive, max_names=2)
    assert not list(store.root.glob("objects/*"))
    assert model_archive.import_archive(store, archive, max_names=3) == card


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a//b", "a/./b", "", "a\\b", "x\0y", "a/" * 33 + "b", "n" * 256]
)
def test_a_card_names_only_files_below_the_model(tmp_path: Path, path: str) -> None:
    files = [{"path": path, "sha256": "0" * 64, "size": 0}]
    content = json.loads(a_card(tmp_path).content()) | {"files": files}
    archive = tmp_path / "x.tar"
    info = tarfile.TarInfo("model-card.json")
    text = json.dumps(content).encode()
    info.size = len(text)
    write_archive(archive, [(info, text)])
    with pytest.raises(StoreUnusable, match="not the path of a file"):
        model_archive.import_archive(ModelStore(tmp_path / "store"), archive)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("key", "sha256:" + "0" * 64, "the key is not"),
        ("model", "sha256:" + "0" * 64, "the model's hash is not"),
        ("seconds", "long", "seconds"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_card_that_does_not_agree_with_itself_is_refused(
    tmp_path: Path, store: ModelStore, field: str, value: object, message: str
) -> None:
    content = json.loads(a_card(tmp_path).content()) | {field: value}
    text = json.dumps(content).encode()
    info = tarfile.TarInfo("model-card.json")
    info.size = len(text)
    archive = write_archive(tmp_path / "x.tar", [(info, text)])
    with pytest.raises(StoreUnusable, match=message):
        model_archive.import_archive(store, archive)


def test_an_interrupted_import_leaves_nothing(
    tmp_path: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = a_card(tmp_path)
    archive = write_archive(tmp_path / "x.tar", members_of(card, tmp_path / "files"))
    calls = iter([False, True])
    take = model_archive._take_member

    def interrupted(*arguments: object) -> None:
        if next(calls):
            raise KeyboardInterrupt
        take(*arguments)

    monkeypatch.setattr(model_archive, "_take_member", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model_archive.import_archive(store, archive)
    assert store.models() == []
    assert list((store.root / "objects").iterdir()) == []


@pytest.mark.parametrize("action", [["export"], ["export", "x"], ["list", "x"], ["import"]])
def test_a_wrong_call_of_models_is_a_usage_error(action: list[str]) -> None:
    with pytest.raises(UsageError):
        models.main(action)


@pytest.mark.parametrize("visibility", ["open", "hidden"])
def test_a_file_of_a_hidden_packs_model_is_never_called_by_its_name(
    tmp_path: Path, store: ModelStore, capsys: pytest.CaptureFixture[str], visibility: str
) -> None:
    card = a_card(tmp_path, visibility=visibility)
    store.keep(tmp_path / "files", card)
    place = ["--models", str(store.root)]
    (store.folder_of(card) / "a.bin").write_bytes(b"other")
    assert models.main(["list", "--json", *place]) == 0
    assert models.main(["verify", *place]) == 5
    told = "".join(capsys.readouterr())
    with pytest.raises(StoreUnusable) as damaged:
        store.fetch(store.models()[0], tmp_path / "fetched")
    with pytest.raises(StoreUnusable) as not_exported:
        model_archive.export(store, store.models()[0], tmp_path / "x.tar")
    archive = write_archive(tmp_path / "y.tar", members_of(card, tmp_path / "files")[:1])
    with pytest.raises(StoreUnusable) as refused:
        model_archive.import_archive(store, archive)
    unpacked = tmp_path / "unpacked"
    (unpacked / "files").mkdir(parents=True)
    (unpacked / "files" / "added.bin").write_bytes(b"x")
    (unpacked / "model-card.json").write_bytes(card.content())
    with pytest.raises(StoreUnusable) as differs:
        give_folder(unpacked, store)
    messages = [told, *(str(e.value) for e in (damaged, not_exported, refused, differs))]
    named = [message for message in messages if ".bin" in message]
    assert named == (messages if visibility == "open" else [])
    assert visibility == "open" or all("file 1" in message for message in messages[1:])
