"""Images of source folders: the shared base once, then each folder's own few files on it.

A folder needs no Dockerfile: without one of its own it gets `DEFAULT_DOCKERFILE`.

Traps:
- The build context holds the files that count in a folder's identity and nothing else
  (`harness.common.source_files`), with neutral owners, times and permissions: so the engine's
  cache hits, nothing of the checkout leaks into a layer, and nothing unreviewed is in an image.
- An image is found again by its tag, and believed only when its label agrees: a tag alone
  can be moved. A stranger's image can carry any label, but never gets such a tag: names of
  our own are not pulled, and archives are loaded under another namespace (loaded.py).
- Behind a proxy with certificates of its own: the bundle that BMAD_BUILD_CA (or else
  SSL_CERT_FILE) names travels with the context and serves the installer alone.

Environment: BMAD_BASE_IMAGE (Python base in place of Dockerfile.gpu's), BMAD_TORCH_BACKEND
(CUDA variant, as uv's --torch-backend), BMAD_BUILD_CA, BMAD_BUILD_NETWORK (`host` where
containers have no network of their own).
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound

from harness.common.errors import EntryInvalid, EnvironmentFault
from harness.common.foreign_text import one_line, quoted
from harness.common.paths import REPOSITORY
from harness.common.source_files import SHARED_SOURCES, source_files
from harness.engines.base import Program, image_identity
from harness.engines.docker.container import ENGINE_FAULTS, engine_lost
from harness.engines.docker.images import OWN_NAMESPACE, program_of
from harness.engines.oci.baselines_base import (
    BASE_NAME,
    DEFAULT_DOCKERFILE,
    Base,
    base_arguments,
    baselines_base,
    build_authorities,
    shared_files,
)

IDENTITY_LABEL = "bmad.identity"
MAX_CONTEXT_BYTES = 256 * 1024**2
SILENCE_SECONDS = 3600.0  # one step of a build may take so long without a word
LAST_LINES = 25
_PLAIN, _RUNNABLE = 0o644, 0o755
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
logger = logging.getLogger("harness.engines")


def build_folder(
    client: docker.APIClient, folder: Path, name: str, identity: str, base: Base | None = None
) -> Program:
    """The image of a source folder, built where it is not there yet.

    Args:
        client: the engine's API.
        folder: a Dockerfile in it begins with `ARG BASE` and `FROM ${BASE}`; without one, the
            folder is copied to /entry, and the contract's server starts its entry.toml's model.
        name: the entry's name.
        identity: content hash of the folder and of what it stands on.
        base: an image that is there already, in place of Dockerfile.gpu's.
    Raises:
        EntryInvalid: the folder holds links or too much, or its build fails.
        EnvironmentFault: the base image cannot be built.
    """
    wanted = base or baselines_base()
    label = image_identity(identity, wanted.built_on)
    tag = f"{OWN_NAMESPACE}{name}:{label.rpartition(':')[2][:12]}"
    with _one_build_at_a_time():
        image = find_built(client, tag, label)
        if image is None:
            if base is None:
                _ensure_base(client, wanted)
            logger.info("building the image of %s", name)
            image, tail = build_image(
                client,
                _folder_context(folder),
                tag=tag,
                identity=label,
                arguments={"BASE": wanted.tag},
                dockerfile="Dockerfile",
            )
            if image is None:
                raise EntryInvalid(
                    f"the image of {name} cannot be built:\n{quoted(tail)}",
                    where=str(_own_dockerfile(folder) or folder),
                    fix="mend what the last lines of its build name",
                )
    return replace(program_of(image, name, identity=label), built_on=wanted.built_on)


def _own_dockerfile(folder: Path) -> Path | None:
    """The Dockerfile that a folder brings, if it brings one."""
    path = folder / "Dockerfile"
    return path if path.is_file() else None


def ensure_base(client: docker.APIClient) -> Base:
    """The base image of all baselines (Dockerfile.gpu), built where it is not there yet.

    Raises:
        EnvironmentFault: it cannot be built; the message ends with the build's last lines.
    """
    with _one_build_at_a_time():
        return _ensure_base(client, baselines_base())


def own_python(client: docker.APIClient, program: Program, base: Base | None = None) -> str:
    """An image with a Python that is no stranger's, for the host's own programs.

    The base image where it is there; else the folder's own, which stands on it; a stranger's
    image may hold no Python, or one that says what its author likes, so there the base is built.

    Args:
        client: the engine's API.
        program: what the image is needed beside.
        base: in place of Dockerfile.gpu's, and there.
    Returns:
        Its id.
    Raises:
        EnvironmentFault: the base image cannot be built.
    """
    wanted = base or baselines_base()
    image = find_built(client, wanted.tag, wanted.identity)
    if image is None and not program.is_foreign:
        return program.image
    if image is None:
        ensure_base(client)
        image = client.inspect_image(wanted.tag)
    identifier: str = image["Id"]
    return identifier


def _ensure_base(client: docker.APIClient, base: Base) -> Base:
    if find_built(client, base.tag, base.identity) is not None:
        return base
    logger.info("building the base image of the baselines, once; this takes some minutes")
    image, tail = build_image(
        client,
        _base_context(),
        tag=base.tag,
        identity=base.identity,
        arguments=base_arguments(),
        dockerfile="Dockerfile.gpu",
    )
    if image is None:
        raise EnvironmentFault(
            f"the base image of the baselines cannot be built:\n{quoted(tail)}",
            where="Dockerfile.gpu",
            fix="check the network and the disk; another Python base: BMAD_BASE_IMAGE, "
            "a proxy's certificates: BMAD_BUILD_CA, no container network: BMAD_BUILD_NETWORK=host",
        )
    return base


def _base_context() -> bytes:
    names = ("pyproject.toml", *SHARED_SOURCES)
    files = {path.relative_to(REPOSITORY).as_posix(): path for path in shared_files(names)}
    return build_context(files, {"build-ca.pem": build_authorities()})


def _folder_context(folder: Path) -> bytes:
    files = {path.relative_to(folder).as_posix(): path for path in source_files(folder)}
    if sum(path.stat().st_size for path in files.values()) > MAX_CONTEXT_BYTES:
        raise EntryInvalid(
            f"the folder holds more than {MAX_CONTEXT_BYTES} bytes",
            where=str(folder),
            fix="keep data and weights out of it",
        )
    is_own = _own_dockerfile(folder) is not None
    contents = {} if is_own else {"Dockerfile": DEFAULT_DOCKERFILE.encode()}
    # A file's mode is no part of the folder's identity, so it is the same for all.
    return build_context(files, contents, mode=_RUNNABLE)


def build_context(
    files: Mapping[str, Path], contents: Mapping[str, bytes] | None = None, *, mode: int = _PLAIN
) -> bytes:
    """A build context as a tar with neutral owners, times and permissions.

    Args:
        files: what is read from disk, by its name in the context.
        contents: what is not on disk.
        mode: permissions of the files.
    """
    packed = io.BytesIO()
    read = {name: path.read_bytes() for name, path in files.items()}
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in sorted({**read, **(contents or {})}.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = mode if name in files else _PLAIN
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def find_built(client: docker.APIClient, tag: str, identity: str) -> dict[str, Any] | None:
    """The image that we built under this tag, or None."""
    try:
        image: dict[str, Any] = client.inspect_image(tag)
    except ImageNotFound:
        return None
    except ENGINE_FAULTS as error:
        raise engine_lost(error) from error
    labels = image["Config"].get("Labels") or {}
    return image if labels.get(IDENTITY_LABEL) == identity else None


def build_image(
    client: docker.APIClient,
    context: bytes,
    *,
    tag: str,
    identity: str,
    arguments: dict[str, str],
    dockerfile: str,
) -> tuple[dict[str, Any] | None, str]:
    """Build and tag one image; the image (None = the build failed) and the build's last lines."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    patient = docker.APIClient(
        base_url=_address(client), version=client.api_version, timeout=SILENCE_SECONDS
    )
    try:
        events = patient.build(
            fileobj=io.BytesIO(context),
            custom_context=True,
            dockerfile=dockerfile,
            tag=tag,
            buildargs={**_proxies(), **arguments},
            labels={IDENTITY_LABEL: identity},
            network_mode=os.environ.get("BMAD_BUILD_NETWORK") or None,
            rm=True,
            forcerm=True,
            decode=True,
        )
        for event in events:
            text = _COLOURS.sub("", event.get("stream") or event.get("error") or "")
            for line in filter(None, map(str.strip, text.splitlines())):
                logger.debug("%s", one_line(line))
                last.append(line)
            if "error" in event:
                return None, "\n".join(last)
        image: dict[str, Any] = client.inspect_image(tag)
    except ENGINE_FAULTS as error:
        return None, "\n".join([*last, str(error)])
    finally:
        patient.close()
    return image, "\n".join(last)


def _address(client: docker.APIClient) -> str:
    """Where a client's engine listens, in the form that a new client takes."""
    adapter = client.get_adapter(client.base_url)
    socket_path = getattr(adapter, "socket_path", None)
    return f"unix://{socket_path}" if socket_path else str(client.base_url)


def _proxies() -> dict[str, str]:
    """The proxy settings of this machine: build arguments that every Dockerfile knows."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    both = (*names, *(name.upper() for name in names))
    return {name: os.environ[name] for name in both if os.environ.get(name)}


@contextmanager
def _one_build_at_a_time() -> Iterator[None]:
    """Several harnesses on one machine would each build the same gigabytes."""
    path = Path(tempfile.gettempdir()) / f"bmad-build-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_built_images(client: docker.APIClient) -> int:
    """Remove every image that the harness has built; returns how many.

    An image that a container still uses stays.
    """
    found = client.images(filters={"label": IDENTITY_LABEL})
    names = [name for image in found for name in _names(image)]
    removed = 0
    for name in sorted(names, key=lambda name: name.startswith(BASE_NAME)):  # the base last
        with suppress(*ENGINE_FAULTS):
            client.remove_image(name)
            removed += 1
    return removed


def _names(image: Mapping[str, Any]) -> list[str]:
    """The tags of ours that an image has, or its id where its tag has moved on to another.

    An image of somebody else's may bear our label; it has a name of its own, or a digest's.
    """
    tags = [tag for tag in image["RepoTags"] or [] if tag != "<none>:<none>"]
    digests = [name for name in image["RepoDigests"] or [] if name != "<none>@<none>"]
    ours = [tag for tag in tags if tag.removeprefix("localhost/").startswith(OWN_NAMESPACE)]
    return ours if tags or digests else [image["Id"]]
