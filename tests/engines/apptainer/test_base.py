"""The baselines' base: Dockerfile.gpu as a definition file, and what is refused in its place."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from harness.common.errors import EntryInvalid, EnvironmentFault
from harness.common.source_files import SHARED_SOURCES
from harness.engines.apptainer import ApptainerEngine, base, python_base
from harness.engines.apptainer.definition import read_dockerfile, write_definition
from harness.engines.oci.baselines_base import Base, baselines_base, shared_files
from tests.engines.registry import digest_of, image_config, tiny_layer
from tests.paths import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile.gpu").read_text()


def definition(folder: Path, **arguments: str) -> str:
    """The definition file of this checkout's Dockerfile.gpu."""
    stages = read_dockerfile(DOCKERFILE, arguments)
    names = ("pyproject.toml", *SHARED_SOURCES)
    context = {path.relative_to(REPOSITORY).as_posix(): path for path in shared_files(names)}
    return write_definition(stages, context, folder, b"authorities").read_text()


def test_every_instruction_of_the_dockerfile_is_understood(tmp_path: Path) -> None:
    pins, final = read_dockerfile(DOCKERFILE, {})
    assert (pins.name, final.name) == ("pins", "final")
    assert final.entrypoint == ("python", "-m", "harness.contract", "/entry")
    assert final.variables["PYTHONPATH"] == "/opt/bmad"
    text = definition(tmp_path)
    assert text.count("Bootstrap: docker\nFrom: python:3.11-slim-bookworm\n") == 2
    assert "%files from pins\n    /opt/build/image.lock /opt/build/image.lock" in text
    for command in ("--require-hashes -r image.lock", "uv pip install"):
        assert command in re.sub(r"\s+", " ", text).replace("$backend $check", "").replace(
            "check=--require-hashes", "--require-hashes -r image.lock"
        )


def test_the_files_of_the_build_are_those_that_the_identity_counts(tmp_path: Path) -> None:
    definition(tmp_path)
    root = tmp_path / "files-final/opt"
    placed = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    counted = {
        f"bmad/{path.relative_to(REPOSITORY).as_posix()}"
        for path in shared_files([name for name in SHARED_SOURCES if name.endswith((".py", "contract", "kit"))])
    }  # fmt: skip
    assert placed == counted | {"build/build-ca.pem"}
    lock = tmp_path / "files-pins/opt/build/requirements.lock"
    assert lock.read_bytes() == (REPOSITORY / "requirements.lock").read_bytes()


@pytest.mark.parametrize(
    ("given", "bootstrap"),
    [
        ("/a/base.tar", "docker-archive"),
        ("/a/base.sif", "localimage"),
        ("/a/root", "localimage"),
        ("python:3.12", "docker"),
    ],
)
def test_the_python_base_may_be_an_image_an_archive_a_sif_or_a_folder(
    tmp_path: Path, given: str, bootstrap: str
) -> None:
    text = definition(tmp_path, BASE_IMAGE=given, TORCH_BACKEND="cpu")
    assert f"Bootstrap: {bootstrap}\nFrom: {given}\n" in text
    assert text.count("export TORCH_BACKEND=cpu") == 2


@pytest.fixture
def built() -> list[str]:
    """Definition files that Apptainer was to build."""
    return []


def made(built: list[str]):
    return lambda sif, definition: built.append(definition.read_text())


def test_without_a_registry_the_python_base_is_made_of_debians_packages(
    tmp_path: Path, monkeypatch, built
) -> None:
    monkeypatch.setenv("BMAD_DEBIAN_MIRROR", "http://mirror.test/debian")
    given = {"BASE_IMAGE": "debootstrap:bookworm", "TORCH_BACKEND": "cpu"}
    found = python_base.with_python(given, tmp_path, made(built))
    assert found == {"BASE_IMAGE": str(tmp_path / "python.sif"), "TORCH_BACKEND": "cpu"}
    (text,) = built
    assert text.splitlines() == [
        "Bootstrap: debootstrap", "OSVersion: bookworm", "MirrorURL: http://mirror.test/debian",
        "Include: python3 python3-venv ca-certificates",
    ]  # fmt: skip
    assert "Bootstrap: localimage" in definition(tmp_path, **found)


def test_any_other_python_base_is_left_as_it_is(tmp_path: Path, built) -> None:
    for given in ({}, {"BASE_IMAGE": "python:3.11"}):
        assert python_base.with_python(given, tmp_path, made(built)) == given
    assert built == []


def test_what_is_no_suite_never_reaches_a_definition_file(tmp_path: Path, built) -> None:
    given = {"BASE_IMAGE": "debootstrap:bookworm\nInclude: evil"}
    with pytest.raises(EnvironmentFault, match="no suite") as caught:
        python_base.with_python(given, tmp_path, made(built))
    assert "debootstrap:bookworm" in caught.value.fix


def test_the_mirror_is_apts_where_none_is_given(monkeypatch) -> None:
    indexes = (
        "http://a.test/security bookworm-security\nhttp://a.test/debian trixie\n"
        "http://b.test/debian bookworm\n\n"
    )
    assert python_base.mirror_of_apt(indexes, "bookworm") == "http://b.test/debian"
    assert python_base.mirror_of_apt(indexes, "forky") == "http://a.test/debian"
    assert python_base.mirror_of_apt("", "bookworm") is None
    monkeypatch.delenv("BMAD_DEBIAN_MIRROR", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EnvironmentFault, match="no mirror") as caught:
        python_base.mirror("bookworm")
    assert "BMAD_DEBIAN_MIRROR" in caught.value.fix


def test_an_instruction_that_is_not_understood_is_named() -> None:
    with pytest.raises(ValueError, match="HEALTHCHECK"):
        read_dockerfile("FROM x\nHEALTHCHECK NONE\n", {})


def test_a_folder_is_the_same_entry_as_under_docker() -> None:
    from harness.engines.docker import DockerEngine

    identity = "folder:sha256:" + "1" * 64
    assert ApptainerEngine().folder_identity(identity) == DockerEngine().folder_identity(identity)


def test_a_folder_with_a_dockerfile_needs_another_engine(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    with pytest.raises(EntryInvalid, match="builds no Dockerfile") as caught:
        ApptainerEngine().prepare_folder(tmp_path, "x", "folder:sha256:" + "1" * 64)
    assert "docker save" in caught.value.fix


class NothingStored:
    """A store that has nothing, and is never asked to build."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> None:
        return None

    def making(self, key: str):
        import contextlib

        return contextlib.nullcontext(self._folder)


def test_an_archive_of_another_base_is_refused(tmp_path: Path) -> None:
    layer = tiny_layer(b"x")
    config = image_config(layer, Labels={"bmad.identity": "base:sha256:other"})
    archive = tmp_path / "base.tar"
    parts = {"config.json": config, "layer.tar": layer, "manifest.json": json.dumps(
        [{"Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"]}]).encode()}  # fmt: skip
    with tarfile.open(archive, "w") as tar:
        for name, content in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    wanted = baselines_base()
    with pytest.raises(EnvironmentFault, match="base:sha256:other") as caught:
        base.base_sif(NothingStored(tmp_path), wanted, archive)  # type: ignore[arg-type]
    assert wanted.tag in caught.value.fix
    assert isinstance(wanted, Base)
    assert digest_of(config)
