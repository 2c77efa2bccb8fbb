"""Attacks on what is counted in neither bytes nor seconds: names, depth, headers, members, inodes."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from harness import clean, evaluate
from harness.benchmarks import Pack
from harness.common.statuses import Status
from harness.engines.docker import loaded
from harness.records.store import Store
from harness.trained import interrupted_training
from tests.engine_images import LightDockerEngine
from tests.engines.registry import image_config, tiny_layer
from tests.hostile.conftest import HOSTILE
from tests.paths import REPOSITORY

pytestmark = pytest.mark.engine

GIB = 1024**3
NAME_BYTES = 1_500_000_000
EMPTY_FILES = 200_000
MOST_MEMORY = 300 * 1024**2
MOST_INODES = 20_000  # of the host's disk, which others use at the same time


# -- 25: what is left behind stops nothing ------------------------------------------------------


@pytest.mark.parametrize("kind", ["deeper", "closed", "long_paths"])
def test_25_folders_without_end_are_a_bad_model_and_stop_no_later_run(
    attack, cache, kind, capfd
) -> None:
    run = attack("model_bomb", "--set", f"kind={kind}")
    assert run.record.outcome.status is Status.BAD_MODEL, run.record.outcome
    assert interrupted_training.leftovers(cache) == []
    assert [path.name for path in (cache / "unfinished").iterdir()] == [".locks"]
    assert attack("honest", results="next").record.is_ok
    assert clean.main(["--unfinished"]) == 0
    assert "interrupted training kept" not in capfd.readouterr().out


def test_25_a_process_that_fills_its_home_with_folders_stops_no_later_run(
    cache, open_small, tmp_path, monkeypatch
) -> None:
    """The home is the temporary folder as well; nothing isolates it, and it is gone all the same."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setattr("tempfile.tempdir", str(place))
    arguments = [
        str(HOSTILE / "model_bomb"), "--set", "kind=home", "--pack", str(open_small.root),
        "--engine", "process", "--results", str(tmp_path / "r"), "--no-site",
    ]  # fmt: skip
    assert evaluate.main(arguments) == 0
    (record,) = Store(tmp_path / "r").records()
    assert record.is_ok, record.outcome
    assert not [each for each in place.glob("bmad-entry-*") if not (each / "model_bomb").is_dir()]


# -- 26: archives -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_zeros() -> bytes:
    """A gzip member of 1.5 GB that packs to 1.5 MB: the content of a header, or of no end."""
    packer, piece = zlib.compressobj(6, zlib.DEFLATED, 31), b"x" * 1_000_000
    return b"".join([packer.compress(piece) for _ in range(NAME_BYTES // len(piece))]) + (
        packer.flush()
    )


def header(name: str, kind: bytes, size: int = 0) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


def with_layer(path: Path, layer: bytes, layers: int = 1) -> Path:
    """An archive whose layers are all this one; its configuration says what it must."""
    config = json.dumps(
        {
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/content"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * layers},
        }
    ).encode()  # fmt: skip
    manifest = [{"Config": "c.json", "RepoTags": None, "Layers": ["l.tar"] * layers}]
    with tarfile.open(path, "w") as tar:
        for name, content in (
            ("manifest.json", json.dumps(manifest).encode()), ("c.json", config), ("l.tar", layer),
        ):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def long_header(kind: bytes) -> Callable[[Path, bytes], Path]:
    def make(path: Path, zeros: bytes) -> Path:
        return with_layer(path, gzip.compress(header("long", kind, NAME_BYTES)) + zeros)

    return make


def long_header_outside(path: Path, _zeros: bytes) -> Path:
    """In the archive itself: a file with a hole."""
    path.write_bytes(header("long", b"L", NAME_BYTES))
    os.truncate(path, 512 + NAME_BYTES)
    return path


def chain_of_headers(path: Path, _zeros: bytes) -> Path:
    """Each speaks of the next: readers follow them by recursion."""
    return with_layer(path, gzip.compress((header("l", b"L", 2) + b"x".ljust(512, b"\0")) * 50_000))


def global_headers(path: Path, _zeros: bytes) -> Path:
    record = b"1000 k=" + b"v" * 992 + b"\n"
    member = header("g", b"g", len(record)) + record.ljust(1024, b"\0")
    return with_layer(path, gzip.compress(member * 100_000))


def endless_sparse_map(path: Path, _zeros: bytes) -> Path:
    block = bytearray(header("s", b"S", 0))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = bytes(504) + b"\1" + bytes(7)
    return with_layer(path, gzip.compress(bytes(block) + more * 1_000_000))


def empty_files(path: Path, _zeros: bytes) -> Path:
    packed = zlib.compressobj(6, zlib.DEFLATED, 31)
    pieces = [packed.compress(header(f"{n:x}", b"0")) for n in range(EMPTY_FILES)]
    return with_layer(path, b"".join([*pieces, packed.compress(bytes(1024)), packed.flush()]))


def unsaid_folders(path: Path, _zeros: bytes) -> Path:
    """A hundred folders for each name, made because the name needs them."""
    packed = zlib.compressobj(6, zlib.DEFLATED, 31)
    pieces = [
        packed.compress(
            header("n", b"L", 300) + (f"{n}/" + "d/" * 90).encode().ljust(512, b"\0")
            + header("x", b"0")
        )
        for n in range(3_000)
    ]  # fmt: skip
    return with_layer(path, b"".join([*pieces, packed.compress(bytes(1024)), packed.flush()]))


def deep_name(path: Path, _zeros: bytes) -> Path:
    name = b"d/" * 1_900
    return with_layer(
        path, header("n", b"L", len(name)) + name.ljust(4096, b"\0") + header("x", b"0")
    )


def many_layers(path: Path, _zeros: bytes) -> Path:
    return with_layer(path, tiny_layer(b"x"), layers=5_000)


def nested_configuration(path: Path, _zeros: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        manifest = b'[{"Config": "c.json", "RepoTags": null, "Layers": []}]'
        for name, content in (("manifest.json", manifest), ("c.json", b'{"a":' * 150_000)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


EVALUATE = """
import sys
from harness import evaluate
from harness.console import cli
code = cli.run_verb(lambda _: evaluate.main(sys.argv[1:]))
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak", peak)
sys.exit(code)
"""  # the peak of the new program alone: ru_maxrss holds what its parent had as well


def evaluated(
    archive: Path, pack: Pack, cache: Path, place: Path
) -> subprocess.CompletedProcess[str]:
    """A harness of its own evaluates the archive, and prints its peak memory in KiB at last."""
    return subprocess.run(
        [
            sys.executable, "-c", EVALUATE, str(archive), "--engine", "docker", "--pack",
            str(pack.root), "--results", str(place / "r"), "--no-site",
        ],
        env={**os.environ, "BMAD_CACHE": str(cache)}, cwd=REPOSITORY,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (long_header(b"L"), "a header has 1500000000 bytes"),
        (long_header(b"K"), "a header has 1500000000 bytes"),
        (long_header(b"x"), "a header has 1500000000 bytes"),
        (long_header(b"g"), "a header has 1500000000 bytes"),
        (long_header_outside, "a header has 1500000000 bytes"),
        (chain_of_headers, "headers of one member contradict"),
        (global_headers, "headers speak of one member"),
        (endless_sparse_map, "too many holes"),
        (empty_files, "more than 150000 files and folders"),
        (unsaid_folders, "more than 150000 files and folders"),
        (deep_name, "more than 128 deep"),
        (many_layers, "5000 layers"),
        (nested_configuration, "not JSON"),
    ],
    ids=[
        "long name", "long link", "pax header", "global header", "long name outside", "chain",
        "global headers", "sparse map", "empty files", "unsaid folders", "deep name", "layers",
        "configuration",
    ],
)  # fmt: skip
def test_26_an_archive_is_refused_in_little_memory_and_leaves_no_inode(
    make, reason, long_zeros, docker_engine, open_small, cache, tmp_path
) -> None:
    archive = make(tmp_path / "bomb.tar", long_zeros)
    before = loaded_images(docker_engine)
    inodes = os.statvfs("/").f_ffree
    done = evaluated(archive, open_small, cache, tmp_path)
    assert done.returncode == 3, done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert int(done.stdout.split()[-1]) * 1024 < MOST_MEMORY
    assert inodes - os.statvfs("/").f_ffree < MOST_INODES
    assert loaded_images(docker_engine) <= before  # those of others may go meanwhile
    assert not (tmp_path / "r").exists()


def loaded_images(engine: LightDockerEngine) -> set[str]:
    tags = {tag for image in engine.client.images() for tag in image["RepoTags"] or []}
    return {tag for tag in tags if tag.startswith(loaded.LOADED_NAMESPACE)}


# -- 27: images of archives ---------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """An archive, and the name that its image has once it is loaded."""
    layer = tiny_layer(os.urandom(8))
    config = image_config(layer, Labels={"bmad.identity": "folder:sha256:" + "0" * 64})
    path = tmp_path / "in.tar"
    manifest = [{"Config": "c", "RepoTags": ["bmad/precious:v1"], "Layers": ["l"]}]
    with tarfile.open(path, "w") as tar:
        for name, content in (
            ("manifest.json", json.dumps(manifest).encode()), ("c", config), ("l", layer),
        ):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    name = loaded.loaded_name(config)
    yield path, name
    with contextlib.suppress(ImageNotFound):
        LightDockerEngine().client.remove_image(name, force=True)


def is_there(engine: LightDockerEngine, image: str) -> bool:
    try:
        engine.client.inspect_image(image)
    except ImageNotFound:
        return False
    return True


def test_27_an_image_of_an_archive_goes_with_the_last_harness_that_uses_it(
    docker_engine, archive
) -> None:
    path, name = archive
    one, other = LightDockerEngine(), LightDockerEngine()
    program = one.prepare_archive(path, "x")
    assert other.prepare_archive(path, "x") == program
    assert program.image_digest is None
    assert docker_engine.client.inspect_image(program.image)["RepoTags"] == [name]
    del one
    assert is_there(docker_engine, program.image), "another harness still uses it"
    loaded.remove_loaded_images(docker_engine.client)
    assert is_there(docker_engine, program.image), "and cleaning leaves it to that one"
    del other
    assert not is_there(docker_engine, program.image)


LOAD_AND_DIE = """
import os, sys
from pathlib import Path
from harness.engines.docker.engine import DockerEngine
engine = DockerEngine()
print(engine.prepare_archive(Path(sys.argv[1]), "x").image, flush=True)
os.kill(os.getpid(), 9)
"""


def test_27_what_a_killed_harness_loaded_is_known_by_its_name_and_cleaned(
    docker_engine, archive
) -> None:
    path, _ = archive
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_DIE, str(path)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    image = done.stdout.strip()
    assert is_there(docker_engine, image)
    assert loaded.remove_loaded_images(docker_engine.client) >= 1
    assert not is_there(docker_engine, image)


def test_27_a_strangers_label_has_nothing_removed_that_is_not_ours(docker_engine, archive) -> None:
    """The image bears the label of what the harness builds; the maintainer gave it a name."""
    from harness.engines.docker import build

    path, name = archive
    image = docker_engine.prepare_archive(path, "x").image
    docker_engine.client.tag(image, "hostile.example/precious", "v1")
    try:
        assert docker_engine.client.images(filters={"label": build.IDENTITY_LABEL})
        assert build._names(docker_engine.client.inspect_image(image)) == []
        docker_engine._loaded.release()
        assert docker_engine.client.inspect_image(image)["RepoTags"] == [
            "hostile.example/precious:v1"
        ]
    finally:
        docker_engine.client.remove_image("hostile.example/precious:v1", force=True)
    assert not is_there(docker_engine, name)


def test_27_an_evaluated_archive_leaves_no_image(
    docker_engine, archive, open_small, cache, tmp_path
) -> None:
    """Its program cannot start: what was loaded is gone with the harness all the same."""
    path, name = archive
    done = evaluated(path, open_small, cache, tmp_path)
    assert done.returncode == 3
    assert "does not describe itself" in done.stderr
    assert not is_there(docker_engine, name)
