"""Other people's images: resolved to one immutable image, and refused where they could do harm."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from docker.auth import INDEX_NAME
from docker.errors import DockerException

from harness.common.errors import EntryInvalid
from harness.common.statuses import Cause, RunEnded, Status
from harness.engines.oci import archive
from tests.engines.registry import digest_of, image_config, local_registry, tiny_layer

pytestmark = pytest.mark.engine


@pytest.fixture
def registry(engine):
    with local_registry() as served:
        yield served
    for image in engine.client.images():
        for name in image["RepoTags"] or []:
            if name.startswith("localhost:"):
                with contextlib.suppress(DockerException):
                    engine.client.remove_image(name, force=True)


def test_a_reference_is_pulled_and_known_by_its_digest(engine, registry) -> None:
    digest = registry.push("v1", b"first")
    name = f"localhost:{registry.port}/tiny"
    program = engine.prepare_image(f"{name}:v1", "tiny")
    assert program.image.startswith("sha256:")
    assert program.identity == f"image:{program.image}"
    assert program.image_digest == f"{name}@{digest}"
    by_digest = engine.prepare_image(f"{name}@{digest}", "tiny")
    assert by_digest.image == program.image


def test_a_tag_that_moves_does_not_move_what_was_resolved(engine, registry) -> None:
    name = f"localhost:{registry.port}/moving:v1"
    registry.push("v1", b"approved")
    before = engine.prepare_image(name, "moving")
    registry.push("v1", b"another")
    assert engine.prepare_image(name, "moving").image == before.image


def test_an_image_that_is_nowhere_is_unavailable_not_invalid(engine, registry) -> None:
    for reference in (f"localhost:{registry.port}/tiny:absent", "localhost:1/no/registry:v1"):
        with pytest.raises(RunEnded) as caught:
            engine.prepare_image(reference, "absent")
        assert caught.value.status is Status.IMAGE_UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (401, "UNAUTHORIZED", Cause.REFUSED_LOGIN),
        (403, "DENIED", Cause.REFUSED_LOGIN),
        (404, "MANIFEST_UNKNOWN", Cause.NO_SUCH_IMAGE),
        (429, "TOOMANYREQUESTS", Cause.RATE_LIMIT),
        (503, "UNAVAILABLE", Cause.NO_REGISTRY),
    ],
)
def test_what_a_registry_refuses_is_told_with_its_own_remedy(
    engine, registry, status, code, cause
) -> None:
    registry.refusals["v1"] = (status, code)
    with pytest.raises(RunEnded) as caught:
        engine.prepare_image(f"localhost:{registry.port}/tiny:v1", "tiny")
    assert (caught.value.status, caught.value.cause) == (Status.IMAGE_UNAVAILABLE, cause)
    assert "http+docker" not in caught.value.detail


def test_an_image_for_other_machines_alone_is_its_authors_to_mend(engine, registry) -> None:
    digest = registry.push_for("v1", "s390x")
    name = f"localhost:{registry.port}/tiny"
    for reference in (f"{name}:v1", f"{name}@{digest}"):
        with pytest.raises(EntryInvalid, match="for other machines alone") as caught:
            engine.prepare_image(reference, "tiny")
        assert "--platform linux/" in caught.value.fix


def test_the_harness_own_names_are_never_pulled(engine) -> None:
    for reference in ("bmad/patchcore:0123456789ab", f"{INDEX_NAME}/bmad/patchcore"):
        with pytest.raises(EntryInvalid, match="never pulled"):
            engine.prepare_image(reference, "impostor")


def test_what_is_no_reference_is_refused(engine) -> None:
    for reference in ("No Such Reference", "-host/name", "scheme://host/name"):
        with pytest.raises(EntryInvalid, match="name:tag"):
            engine.prepare_image(reference, "x")


def save(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def tiny_archive(tags: list[str] | None = None, content: bytes = b"tiny") -> dict[str, bytes]:
    layer = tiny_layer(content)
    manifest = [{"Config": "c.json", "RepoTags": tags, "Layers": ["l/layer.tar"]}]
    return {
        "manifest.json": json.dumps(manifest).encode(),
        "c.json": image_config(layer),
        "l/layer.tar": layer,
    }


def test_an_archive_that_the_engine_saved_is_loaded_as_the_same_image(
    engine, script_program, tmp_path
) -> None:
    archive = tmp_path / "saved.tar"
    with archive.open("wb") as file:
        for piece in engine.client.get_image(script_program.image):
            file.write(piece)
    assert engine.prepare_archive(archive, "saved").image == script_program.image


def test_a_compressed_archive_is_loaded_too(engine, tmp_path) -> None:
    plain = save(tmp_path / "tiny.tar", tiny_archive())
    packed = tmp_path / "tiny.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    program = engine.prepare_archive(packed, "tiny")
    assert program.image == digest_of(tiny_archive()["c.json"])
    assert program == engine.prepare_archive(plain, "tiny")


def test_an_archive_cannot_take_the_name_of_another_image(engine, script_program, tmp_path) -> None:
    engine.client.tag(script_program.image, "bmad/precious", "v1")
    archive = save(tmp_path / "x.tar", tiny_archive(["bmad/precious:v1"], b"impostor"))
    program = engine.prepare_archive(archive, "impostor")
    assert program.image != script_program.image
    assert engine.client.inspect_image("bmad/precious:v1")["Id"] == script_program.image
    engine.client.remove_image("bmad/precious:v1")


def two_images(path: Path) -> Path:
    members = tiny_archive()
    members["manifest.json"] = json.dumps(2 * json.loads(members["manifest.json"])).encode()
    return save(path, members)


def path_upwards(path: Path) -> Path:
    return save(path, {**tiny_archive(), "../../etc/cron.d/x": b"x"})


def absolute_path(path: Path) -> Path:
    return save(path, {**tiny_archive(), "/etc/cron.d/x": b"x"})


def link_that_leads_out(path: Path) -> Path:
    members = tiny_archive()
    del members["l/layer.tar"]
    save(path, members)
    with tarfile.open(path, "a") as tar:
        entry = tarfile.TarInfo("l/layer.tar")
        entry.type, entry.linkname = tarfile.SYMTYPE, "../../../etc/passwd"
        tar.addfile(entry)
    return path


def device(path: Path) -> Path:
    save(path, tiny_archive())
    with tarfile.open(path, "a") as tar:
        entry = tarfile.TarInfo("sda")
        entry.type = tarfile.BLKTYPE
        tar.addfile(entry)
    return path


def layer_of_a_terabyte(path: Path) -> Path:
    header = tarfile.TarInfo("huge")
    header.size = 1 << 40
    layer = gzip.compress(header.tobuf() + bytes(10_000))
    return save(path, {**tiny_archive(), "l/layer.tar": layer})


def gzip_bomb(path: Path) -> Path:
    path.write_bytes(gzip.compress(bytes(3_000_000)))
    return path


def no_tar(path: Path) -> Path:
    path.write_bytes(b"certainly not a tar file" * 100)
    return path


def nothing(path: Path) -> Path:
    return path


def no_manifest(path: Path) -> Path:
    return save(path, {"c.json": b"{}"})


def broken_manifest(path: Path) -> Path:
    return save(path, {"manifest.json": b"[" * 100_000})


def layer_that_is_not_the_configured_one(path: Path) -> Path:
    return save(path, {**tiny_archive(content=b"said"), "l/layer.tar": tiny_layer(b"other")})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (two_images, "holds 2 images"),
        (path_upwards, "outside"),
        (absolute_path, "outside"),
        (link_that_leads_out, "not in it"),
        (device, "neither a file nor a folder"),
        (layer_of_a_terabyte, "unpacks to more than"),
        (gzip_bomb, "unpacks to more than"),
        (no_tar, "not a tar file"),
        (nothing, "No such file"),
        (no_manifest, "not in it"),
        (broken_manifest, "not JSON"),
        (layer_that_is_not_the_configured_one, "would not load"),
    ],
)
def test_a_bad_archive_is_refused_and_nothing_is_loaded(
    make, reason, engine, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 2_000_000)
    before = {image["Id"] for image in engine.client.images(all=True)}
    with pytest.raises(EntryInvalid, match=reason):
        engine.prepare_archive(make(tmp_path / "x.tar"), "x")
    assert {image["Id"] for image in engine.client.images(all=True)} <= before
