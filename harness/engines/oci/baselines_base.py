"""What every baseline's image stands on, and by what it is known: Dockerfile.gpu, the lock, the kit.

Every engine that builds images of source folders builds them on this, so a folder is the same
entry under each of them.

Environment: BMAD_BASE_IMAGE (Python base in place of Dockerfile.gpu's; under Apptainer a file, a
folder or debootstrap, too), BMAD_TORCH_BACKEND
(CUDA variant, as uv's --torch-backend), BMAD_BUILD_CA (a bundle of certificate authorities for a
build behind a proxy of its own; else SSL_CERT_FILE's).
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.common.paths import REPOSITORY
from harness.common.source_files import SHARED_SOURCES, source_files

BASE_NAME = "bmad/baselines-base"
DEFAULT_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
COPY . /entry
ENTRYPOINT ["python", "-m", "harness.contract", "/entry"]
"""


@dataclass(frozen=True)
class Base:
    """The image that a folder's image stands on."""

    tag: str
    """Its local tag, the folder's build argument BASE."""
    identity: str
    """Content hash of everything that is in it; also its label."""

    @property
    def built_on(self) -> str:
        """Hash of all beside its folder that decides what a folder's image holds."""
        return "sha256:" + _sha256(f"{self.identity}\n{DEFAULT_DOCKERFILE}".encode())


def base_arguments() -> dict[str, str]:
    """Build arguments of Dockerfile.gpu that the environment sets."""
    names = {"BASE_IMAGE": "BMAD_BASE_IMAGE", "TORCH_BACKEND": "BMAD_TORCH_BACKEND"}
    return {argument: os.environ[name] for argument, name in names.items() if os.environ.get(name)}


def baselines_base() -> Base:
    """What the base image of all baselines is called, by everything that decides what is in it."""
    digest = hashlib.sha256()
    packages = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = packages["optional-dependencies"]["baselines"]
    digest.update(repr((sorted(base_arguments().items()), wanted)).encode())
    for path in shared_files():
        content = _sha256(path.read_bytes())
        digest.update(f"{path.relative_to(REPOSITORY).as_posix()}\0{content}\n".encode())
    identity = digest.hexdigest()
    return Base(f"{BASE_NAME}:{identity[:12]}", f"base:sha256:{identity}")


def build_authorities() -> bytes:
    """The bundle of certificate authorities that a build is given; usually empty."""
    bundle = os.environ.get("BMAD_BUILD_CA") or os.environ.get("SSL_CERT_FILE") or ""
    return Path(bundle).read_bytes() if bundle and Path(bundle).is_file() else b""


def shared_files(names: Sequence[str] = SHARED_SOURCES) -> Iterator[Path]:
    """Files at and below these paths of the repository, each folder's sorted."""
    for name in names:
        yield from source_files(REPOSITORY / name)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
