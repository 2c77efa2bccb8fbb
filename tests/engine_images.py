"""Small images for tests with containers: the contract, numpy and Pillow on a Python base, no torch.

    from tests.engine_images import LightDockerEngine

    engine = LightDockerEngine()
    program = engine.prepare_folder(Path("tests/sample_entries/honest"), "honest", identity)

The base is built once (seconds) and found again by the hash of what is in it.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from harness.engines.apptainer import ApptainerEngine
from harness.engines.base import Engine, Program, image_identity
from harness.engines.docker import DockerEngine, build
from harness.engines.oci.baselines_base import Base
from harness.engines.podman import PodmanEngine

ROOT = Path(__file__).resolve().parent.parent
HANDED_BASE = "BMAD_TEST_BASE"  # tag, identity and archive of a base that was built elsewhere
LOCAL_BASE = "bmad/base:local"  # scripts/local-base.sh
PUBLIC_BASE = "python:3.11-slim-bookworm"

DOCKERFILE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
COPY build-ca.pem packages.txt /opt/build/
RUN set -eu; cd /opt/build; \\
    if [ -s build-ca.pem ]; then export SSL_CERT_FILE=$PWD/build-ca.pem PIP_CERT=$PWD/build-ca.pem; fi; \\
    python3 -m venv /opt/venv; \\
    /opt/venv/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes -r packages.txt; \\
    /opt/venv/bin/python -c "import numpy, PIL"
COPY harness /opt/bmad/harness
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/bmad
ENTRYPOINT ["python", "-m", "harness.contract", "/entry"]
"""


class _Light(DockerEngine):
    """Folders are built on the small base in place of Dockerfile.gpu's."""

    def prepare_folder(self, folder: Path, name: str, identity: str) -> Program:
        base = light_base(self.client)
        return build.build_folder(self.client, folder, name, identity, base)

    def folder_identity(self, identity: str) -> str:
        return image_identity(identity, light_base(self.client).built_on)

    def _base(self) -> build.Base:
        return light_base(self.client)


class LightDockerEngine(_Light):
    """The docker engine, on the small base."""


class LightPodmanEngine(_Light, PodmanEngine):
    """The podman engine, on the small base."""


class LightApptainerEngine(ApptainerEngine):
    """The apptainer engine, on the small base that was handed over."""

    @property
    def _base(self) -> Base:
        tag, identity, _ = os.environ[HANDED_BASE].split(" ", 2)
        return Base(tag, identity)

    @property
    def _base_archive(self) -> Path:
        return Path(os.environ[HANDED_BASE].split(" ", 2)[2])


LIGHT_ENGINES: dict[str, type[Engine]] = {
    "docker": LightDockerEngine,
    "podman": LightPodmanEngine,
    "apptainer": LightApptainerEngine,
}


def on_engines(fixture: str, *names: str) -> pytest.MarkDecorator:
    """Run a test once on each engine: all but Docker in the root of `tests/hpc_root.py`.

    Args:
        fixture: one that takes an engine's name as its parameter.
        names: of engines.
    """
    params = [
        pytest.param(name, marks=() if name == "docker" else pytest.mark.hpc) for name in names
    ]
    return pytest.mark.parametrize(fixture, params, indirect=True, scope="session")


def light_base(client: docker.APIClient) -> Base:
    """The small base image, built where it is not there yet, or loaded where it was handed over."""
    if handed := os.environ.get(HANDED_BASE):
        return _loaded_base(client, handed)
    contract = sorted((ROOT / "harness/contract").glob("*.py"))
    files = {
        path.relative_to(ROOT).as_posix(): path
        for path in (ROOT / "harness/__init__.py", *contract)
    }
    bundle = os.environ.get("BMAD_BUILD_CA") or os.environ.get("SSL_CERT_FILE") or ""
    contents = {
        "Dockerfile": DOCKERFILE.encode(),
        "packages.txt": (locked("numpy") + locked("pillow")).encode(),
        "build-ca.pem": Path(bundle).read_bytes() if Path(bundle).is_file() else b"",
    }
    context = build.build_context(files, contents)
    digest = hashlib.sha256(context).hexdigest()
    base = Base(f"bmad/test-base:{digest[:12]}", f"test-base:{digest}")
    if build.find_built(client, base.tag, base.identity) is None:
        image, tail = build.build_image(
            client,
            context,
            tag=base.tag,
            identity=base.identity,
            arguments={"BASE_IMAGE": python_base(client)},
            dockerfile="Dockerfile",
        )
        assert image is not None, f"the test base cannot be built:\n{tail}"
    return base


def save_light_base(client: docker.APIClient, archive: Path) -> str:
    """Write the small base as an archive; what `HANDED_BASE` says to whoever is to load it."""
    base = light_base(client)
    with archive.open("wb") as file:
        file.writelines(client.get_image(base.tag))
    return f"{base.tag} {base.identity} {archive}"


def _loaded_base(client: docker.APIClient, handed: str) -> Base:
    tag, identity, archive = handed.split(" ", 2)
    if build.find_built(client, tag, identity) is None:
        with Path(archive).open("rb") as file:
            (loaded,) = (event["stream"] for event in client.load_image(file) if "stream" in event)
        # Podman calls what no registry gave `localhost/…`, and what it is asked for `docker.io/…`.
        client.tag(loaded.partition(":")[2].strip(), *tag.split(":"))
    return Base(tag, identity)


def authors_base(client: docker.APIClient) -> str:
    """The base that an author's own Dockerfile stands on here: `python_base` and its CAs, no more."""
    base, tag = python_base(client), "bmad/test-authors-base:local"
    bundle = os.environ.get("BMAD_BUILD_CA") or os.environ.get("SSL_CERT_FILE") or ""
    if not Path(bundle).is_file():
        return base
    dockerfile = f"FROM {base}\nCOPY ca.pem /ca.pem\nENV PIP_CERT=/ca.pem SSL_CERT_FILE=/ca.pem\n"
    contents = {"Dockerfile": dockerfile.encode(), "ca.pem": Path(bundle).read_bytes()}
    image, tail = build.build_image(
        client, build.build_context({}, contents), tag=tag, identity="test-authors-base",
        arguments={}, dockerfile="Dockerfile",
    )  # fmt: skip
    assert image is not None, tail
    return tag


def python_base(client: docker.APIClient) -> str:
    """The Python image that test images stand on: the given, the local or the public one."""
    if given := os.environ.get("BMAD_BASE_IMAGE"):
        return given
    try:
        client.inspect_image(LOCAL_BASE)
    except ImageNotFound:
        return PUBLIC_BASE
    return LOCAL_BASE


def locked(package: str) -> str:
    """A package's lines of the lock file, hashes included."""
    lock = (ROOT / "requirements.lock").read_text()
    found = re.search(rf"^{package}==.*(?:\n .*)*", lock, re.MULTILINE)
    assert found is not None
    return found.group() + "\n"
