"""Images that came from archives: known by a name of ours, removed when nobody uses them.

An image under no name is nobody's: no list tells it from others', and its labels are its
author's. So each gets a name in a namespace where nothing else is, made of the hash of its
configuration: the same name is always the same image, whatever an archive says of itself.

Traps: several processes may run the same archive, so each holds a lock that is shared, and
the one that can have it alone removes the image; a killed process leaves its image, and
`remove_loaded_images` finds it by its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import IO

import docker

from harness.engines.docker.container import ENGINE_FAULTS

LOADED_NAMESPACE = "bmad-loaded/"  # nothing is pulled, built or believed under it
_REPOSITORY = f"{LOADED_NAMESPACE}archive"
logger = logging.getLogger("harness.engines")


def loaded_name(config: bytes) -> str:
    """The name of the image with this configuration, which names its layers by hash."""
    return f"{_REPOSITORY}:{hashlib.sha256(config).hexdigest()}"


class LoadedImages:
    """The images that this process loaded and may still use.

    Args:
        client: the engine's API.
    """

    def __init__(self, client: docker.APIClient) -> None:
        self._client = client
        self._held: dict[str, IO[str]] = {}

    def hold(self, name: str) -> None:
        """Keep others from removing an image; called before it is loaded."""
        if name not in self._held:
            self._held[name] = _locked(name, fcntl.LOCK_SH)

    def release(self) -> None:
        """Remove those that no other process uses."""
        for name, lock in self._held.items():
            with lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(self._client, name)
        self._held.clear()


def remove_loaded_images(client: docker.APIClient) -> int:
    """Remove what earlier processes loaded and left; returns how many."""
    removed = 0
    for image in client.images():
        for tag in image["RepoTags"] or []:
            name = tag.removeprefix("localhost/").removeprefix("docker.io/")  # as Podman writes it
            if not name.startswith(f"{_REPOSITORY}:"):
                continue
            with (
                contextlib.suppress(BlockingIOError),  # it is in use
                _locked(name, fcntl.LOCK_EX | fcntl.LOCK_NB),
            ):
                removed += _remove(client, tag)
    return removed


def _remove(client: docker.APIClient, name: str) -> bool:
    """Remove an image and its lock, which is held alone; one that a container uses stays."""
    for each in (name, f"localhost/{name}"):  # Podman says so of what no registry gave
        try:
            client.remove_image(each)
        except docker.errors.ImageNotFound:
            continue
        except ENGINE_FAULTS as error:
            logger.info("the image of an archive is left (harness.clean --images): %s", error)
            return False
        break
    _lock_path(name).unlink(missing_ok=True)
    return True


def _lock_path(name: str) -> Path:
    mark = name.rpartition(":")[2][:16]
    return Path(tempfile.gettempdir()) / f"bmad-loaded-{os.getuid()}-{mark}.lock"


def _locked(name: str, how: int) -> IO[str]:
    """The lock of a name; another may remove its file between our opening and our locking it."""
    path = _lock_path(name)
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, how)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()
