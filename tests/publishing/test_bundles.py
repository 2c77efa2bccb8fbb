"""Signed bundles: what was signed is what is read, and every metric follows from the evidence."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import IS_CI

if not IS_CI:  # where it may not be skipped
    pytest.importorskip("cryptography", reason="cryptography joined the lock: run `make env` once")

from harness import bundle, verify
from harness.common.errors import BundleBroken, DataMissing, KeyUnusable
from harness.common.statuses import Status
from harness.publishing import signed_bundle, signing, verification
from harness.publishing.signed_bundle import EVIDENCE, MANIFEST, RECORD, SIGNATURE, seal, unseal
from harness.publishing.signing import Signer, Verifier
from harness.records.record import Record
from harness.records.store import Store, read_record
from tests.run_factory import finished, random_scores, save_run, scores_of
from tests.run_factory import record as made_up

RUN = "brain/patchcore/seed-0"


@pytest.fixture(scope="module")
def keys_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    signing.generate_key(folder / "private" / "ada.pem", folder / "public" / "ada.pem")
    return folder


@pytest.fixture(scope="module")
def signer(keys_folder: Path) -> Signer:
    return signing.read_private(keys_folder / "private" / "ada.pem")


@pytest.fixture(scope="module")
def keys(keys_folder: Path) -> dict[str, Verifier]:
    return signing.trusted(keys_folder / "public")


@pytest.fixture
def export(keys_folder: Path, tmp_path: Path) -> Callable[[Path], Path]:
    """The verb itself; the path of the bundle."""

    def call(record: Path) -> Path:
        options = ["--key", keys_folder / "private" / "ada.pem", "--out", tmp_path / "bundles"]
        assert bundle.main(["export", str(record), *map(str, options)]) == 0
        name = Store(record.parents[2]).name_of(read_record(record))
        return tmp_path / "bundles" / f"{str(name).replace('/', '.')}.bundle.zip"

    return call


def problems_of(path: Path, keys: dict[str, Verifier]) -> str:
    with pytest.raises(BundleBroken) as caught:
        verification.verify(path, keys)
    return "\n".join(caught.value.problems)


def resealed(path: Path, signer: Signer, change: Callable[[dict], None]) -> None:
    """Change a bundle's record and sign it again, as a maintainer with a key could."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(parts[RECORD])
    change(data)
    record = Record.model_validate(data).sealed()
    parts[RECORD] = (record.model_dump_json(indent=1) + "\n").encode()
    path.write_bytes(seal(RUN, parts, signer))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_run_is_verified_offline_from_its_bundle(dtype, tmp_path, export, keys):
    path = export(save_run(tmp_path / "results", random_scores(dtype)))
    report = verification.verify(path, keys)
    assert (report.run, report.signer, report.status) == (RUN, "ada", "ok")
    assert report.has_run_key
    assert report.exact + report.certified == report.metrics > 20
    assert (report.certified > 0) == (dtype is np.float32)


def test_the_verb_says_what_it_found_of_each_bundle(tmp_path, export, keys_folder, capsys):
    good = export(save_run(tmp_path / "results", scores_of([0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1])))
    bad = tmp_path / "bad.bundle.zip"
    bad.write_bytes(good.read_bytes().replace(b"patchcore", b"patchcord"))
    capsys.readouterr()
    trusted = ["--keys", str(keys_folder / "public")]
    assert verify.main([str(good), *trusted]) == 0
    assert capsys.readouterr().out.startswith(f"{RUN}: ok, signed by ada")
    assert verify.main([str(bad), str(good), *trusted]) == 5
    told = capsys.readouterr()
    assert "manifest.json" in told.err
    assert told.out.startswith(f"{RUN}: ok")
    assert verify.main([str(good), "--json", *trusted]) == 0
    assert json.loads(capsys.readouterr().out)[0]["signer"] == "ada"


def test_the_same_run_and_key_give_the_same_bytes_in_a_zip_that_any_program_opens(tmp_path, export):
    record = save_run(tmp_path / "results", random_scores())
    first = export(record).read_bytes()
    assert export(record).read_bytes() == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [MANIFEST, SIGNATURE, RECORD, EVIDENCE]
        assert archive.read(RECORD) == record.read_bytes()


def part_at(content: bytes, at: int) -> str:
    """The part of the bundle that a byte belongs to, by the standard library's reading."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if at >= archive.start_dir:
            return "the directory"
        return max(
            (each for each in archive.infolist() if each.header_offset <= at),
            key=lambda each: each.header_offset,
        ).filename


def assert_found(content: bytes, at: int, flip: int, keys: dict[str, Verifier]) -> None:
    changed = bytearray(content)
    changed[at] ^= flip
    with pytest.raises(BundleBroken) as caught:
        unseal(bytes(changed), keys, where="x")
    (problem,) = caught.value.problems
    assert problem.startswith(part_at(content, at)), (at, problem)


def test_one_changed_byte_anywhere_is_found_and_its_part_named(tmp_path, export, keys):
    path = export(save_run(tmp_path / "r", scores_of([0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1])))
    content = path.read_bytes()
    for at in range(len(content)):
        assert_found(content, at, random.Random(at).randrange(1, 256), keys)


def test_one_changed_bit_in_large_evidence_is_found(tmp_path, export, keys):
    content = export(save_run(tmp_path / "r", random_scores())).read_bytes()
    for at in random.Random(0).sample(range(len(content)), 200):
        assert_found(content, at, 1 << at % 8, keys)


def test_missing_added_and_cut_bytes_are_found(tmp_path, export, keys):
    content = export(save_run(tmp_path / "r", scores_of([0.1, 0.9], [0, 1]))).read_bytes()
    for at in (0, 1, 40, 500, len(content) // 2, len(content) - 1, len(content)):
        for changed in (content[:at] + content[at + 1 :], content[:at] + b"x" + content[at:]):
            if changed != content:
                with pytest.raises(BundleBroken):
                    unseal(changed, keys, where="x")
    for changed in (b"", content[:-22], content * 2, b"PK\x03\x04" * 1000):
        with pytest.raises(BundleBroken):
            unseal(changed, keys, where="x")


def test_a_part_exchanged_with_right_checksums_is_not_the_one_that_was_signed(keys, signer):
    parts = {RECORD: b"{}", EVIDENCE: b"abc"}
    sealed = seal(RUN, parts, signer)
    with zipfile.ZipFile(io.BytesIO(sealed)) as archive:
        signed = [(name, archive.read(name)) for name in archive.namelist()]
    for name, other, told in [
        (RECORD, b"[]", f"{RECORD}: it is not the one that was signed"),
        (EVIDENCE, b"abcd", f"{EVIDENCE}: it is not the one that was signed"),
        (SIGNATURE, bytes(64), f"{SIGNATURE}: it was not made over this"),
    ]:
        forged = signed_bundle._packed([(n, other if n == name else c) for n, c in signed])
        with pytest.raises(BundleBroken, match=told):
            unseal(forged, keys, where="x")
    manifest = dict(signed)[MANIFEST].replace(b"seed-0", b"seed-1")
    forged = signed_bundle._packed([(n, manifest if n == MANIFEST else c) for n, c in signed])
    with pytest.raises(BundleBroken, match="not made over this manifest"):
        unseal(forged, keys, where="x")
    with pytest.raises(BundleBroken, match=f"{EVIDENCE}: it is signed and not there"):
        unseal(signed_bundle._packed(signed[:3]), keys, where="x")


def test_a_key_that_is_not_trusted_is_refused(tmp_path, signer, keys):
    signing.generate_key(tmp_path / "eve", tmp_path / "public/eve.pem")
    eve = signing.read_private(tmp_path / "eve")
    with pytest.raises(BundleBroken, match="not trusted"):
        unseal(seal(RUN, {RECORD: b"{}"}, eve), keys, where="x")
    claimed = replace(eve, id=signer.id)
    with pytest.raises(BundleBroken, match="not made over this"):
        unseal(seal(RUN, {RECORD: b"{}"}, claimed), keys, where="x")


def set_metric(name: str, **fields: float) -> Callable[[dict], None]:
    def change(data: dict) -> None:
        for metric in data["metrics"]:
            if metric["id"] == name:
                metric.update(fields)

    return change


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_metric("pixel_auroc", value=0.99), "evidence.npz: pixel_auroc"),
        (set_metric("image_auroc", value=0.99), "evidence.npz: image_auroc"),
        (set_metric("image_ap", low=0.0), "evidence.npz: image_ap"),
        (lambda data: data["metrics"].pop(), "is not in the record"),
        (lambda data: data["maps"].update(levels=9), "facts on the maps"),
        (lambda data: data["pack"].update(test_normal=9), "normal and anomalous images"),
        (lambda data: data.update(seed=3), "record.json: it is of brain/patchcore/seed-3"),
        (lambda data: data["entry"]["params"].update(k=1), "record.json: its run key"),
        (lambda data: data.update(evidence="sha256:" + "0" * 64), "record.json: it names other"),
    ],
)
def test_a_signed_lie_does_not_follow_from_the_evidence(
    dtype, change, told, tmp_path, export, keys, signer
):
    path = export(save_run(tmp_path / "results", random_scores(dtype)))
    resealed(path, signer, change)
    assert told in problems_of(path, keys)


def test_a_failed_run_is_a_bundle_too_and_a_fault_of_the_infrastructure_is_none(
    tmp_path, export, keys
):
    store = Store(tmp_path / "results")
    for seed, status in enumerate((Status.CRASHED, Status.GPU_LOST)):
        record = finished(made_up(seed=seed, status=status))
        store.save(store.name_of(record), record)
    path, lost = store.record_paths()
    assert verification.verify(export(path), keys).status == "crashed"
    with pytest.raises(DataMissing, match="no publishable run"):
        export(lost)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_private_key_that_others_may_read_is_refused(mode, tmp_path):
    signing.generate_key(tmp_path / "key", tmp_path / "public/me.pem")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").chmod(mode)
    with pytest.raises(KeyUnusable, match="others may read"):
        signing.read_private(tmp_path / "key")


def test_keys_are_never_overwritten_and_others_kinds_are_refused(tmp_path, capsys):
    arguments = ["key", str(tmp_path / "key"), "--name", "me", "--keys", str(tmp_path / "public")]
    assert bundle.main(arguments) == 0
    assert "commit it" in capsys.readouterr().out
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(KeyUnusable, match="exists already"):
        bundle.main(arguments)
    with pytest.raises(KeyUnusable, match="exists already"):
        bundle.main([*arguments[:3], "other", *arguments[4:]])
    assert (tmp_path / "key").read_bytes() == before
    assert [path.name for path in (tmp_path / "public").iterdir()] == ["me.pem"]
    (tmp_path / "junk").write_bytes(b"junk")
    (tmp_path / "junk").chmod(0o600)
    for reader in (signing.read_private, signing.read_public):
        with pytest.raises(KeyUnusable):
            reader(tmp_path / "junk")
        with pytest.raises(KeyUnusable):
            reader(tmp_path / "absent")


def test_the_bundle_of_a_hidden_run_holds_its_public_form_alone(
    tmp_path, export, keys, keys_folder, capsys
):
    hidden = {"visibility": "hidden", "track": "sealed"}
    record = save_run(tmp_path / "results", random_scores(), **hidden)
    path = export(record)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [MANIFEST, SIGNATURE, RECORD]
    report = verification.verify(path, keys)
    assert (report.visibility, report.exact, report.certified) == ("hidden", 0, 0)
    assert export(record).read_bytes() == path.read_bytes()

    # The maintainer alone can show which private record it speaks of.
    options = ["--keys", str(keys_folder / "public"), "--against", str(record)]
    assert verify.main([str(path), *options]) == 0
    other = save_run(tmp_path / "other", random_scores(seed=1), **hidden)
    Store(tmp_path / "other").salt(Store(tmp_path).name_of(read_record(other)), read_record(other))
    assert verify.main([str(path), *options[:-1], str(other)]) == 5
    assert "not the public form" in capsys.readouterr().err


def test_a_hidden_record_in_full_is_refused_though_it_is_signed(tmp_path, signer, keys):
    record = save_run(tmp_path / "results", random_scores(), visibility="hidden", track="sealed")
    path = tmp_path / "x.bundle.zip"
    path.write_bytes(seal(RUN, {RECORD: record.read_bytes()}, signer))
    assert "not in its public form" in problems_of(path, keys)
