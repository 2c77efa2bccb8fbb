"""Images that others have made: found, pulled or loaded, and looked at before they run.

Traps:
- A tag can move: what runs is always the image id that it had when it was looked up.
- An archive may carry tags of its own. Loaded as it is, it could take the place of an image
  that the harness has built; so only its configuration and layers are handed to the engine,
  under a name that is made of their hash (loaded.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
from docker.auth import INDEX_NAME, resolve_repository_name
from docker.errors import APIError, ImageNotFound, InvalidRepository
from docker.utils import parse_repository_tag

from harness.common.errors import EntryInvalid
from harness.common.foreign_text import one_line
from harness.common.statuses import RunEnded, Status
from harness.engines.base import Program
from harness.engines.docker.container import ENGINE_FAULTS, engine_lost
from harness.engines.docker.loaded import LOADED_NAMESPACE, loaded_name
from harness.engines.oci import vetting
from harness.engines.oci.archive import opened_image, refuse
from harness.engines.oci.pull_faults import pull_fault

OWN_NAMESPACE = "bmad/"  # tags of images that the harness builds; nothing else may bear them
# Some engines note a digest for a name that was never a registry's: of what the harness built or
# loaded, and Podman, which calls it localhost/… (a registry on this machine has a port in its name).
_NEVER_PUSHED = re.compile(rf"^localhost/|^(docker\.io/)?{OWN_NAMESPACE}|{LOADED_NAMESPACE}")
logger = logging.getLogger("harness.engines")


def program_of(
    image: Mapping[str, Any], name: str, identity: str, *, architecture: str = ""
) -> Program:
    """What the rest of the harness knows of an image, and whether a container may be made of it."""
    digests = [name for name in image.get("RepoDigests") or [] if not _NEVER_PUSHED.search(name)]
    return Program(
        name=name,
        identity=identity,
        image=image["Id"],
        image_digest=digests[0] if digests else None,
        content=vetting.content_of(image),
        size_bytes=int(image.get("Size") or 0),
        own_caches=vetting.own_caches((image.get("Config") or {}).get("Env") or []),
        refusal="; ".join(vetting.problems_of(image, architecture=architecture)),
    )


def pinned(client: docker.APIClient, image_id: str, reference: str) -> str | None:
    """The image's name by digest in the repository of `reference`, if the registry holds it.

    An engine may note a digest for an image that was never pushed; so the registry is asked.
    """
    repository = parse_repository_tag(reference)[0].partition("@")[0]
    image = client.inspect_image(image_id)
    for name in image.get("RepoDigests") or []:
        if name.partition("@")[0] == repository:
            try:
                client.inspect_distribution(name)
            except ENGINE_FAULTS as error:
                logger.info("the registry does not confirm %s: %s", one_line(name), one_line(error))
            else:
                return str(name)
    return None


def save(client: docker.APIClient, image_id: str, path: Path) -> None:
    """Write one image as an archive, under no name.

    Raises:
        FileExistsError: something is there already.
        RunEnded: the engine failed; what was written so far is left to the caller.
    """
    with path.open("xb") as file:
        try:
            for piece in client.get_image(image_id):
                file.write(piece)
        except ENGINE_FAULTS as error:
            raise engine_lost(error) from error


def find_or_pull(client: docker.APIClient, reference: str) -> dict[str, Any]:
    """The engine's inspection of an image; pulled when the engine has none of this name.

    Raises:
        EntryInvalid: this cannot be the name of an image of somebody else's, or the image is for
            other machines alone.
        RunEnded: `image_unavailable` when it can be neither found nor pulled.
    """
    repository, tag = parse_repository_tag(reference)
    try:
        index, name = resolve_repository_name(repository)
        image: dict[str, Any] = client.inspect_image(reference)
    except ImageNotFound:
        if index == INDEX_NAME and name.startswith((OWN_NAMESPACE, LOADED_NAMESPACE)):
            raise EntryInvalid(
                f"names below {name.partition('/')[0]}/ are the harness's own and are never pulled",
                where=reference,
                fix="give the image another name, or evaluate the baseline's folder",
            ) from None
        if repository == "sha256":  # an id, which no registry knows
            raise RunEnded(
                Status.IMAGE_UNAVAILABLE,
                f"this engine has no image of the id {one_line(reference)}",
            ) from None
        image = _pull(client, reference, repository, tag)
    except (APIError, InvalidRepository) as error:
        if isinstance(error, APIError) and not error.is_client_error():
            raise engine_lost(error) from error
        raise EntryInvalid(
            f"this is no image reference: {one_line(getattr(error, 'explanation', None) or error)}",
            where=reference,
            fix="write it as name:tag or name@sha256:digest",
        ) from error
    except ENGINE_FAULTS as error:
        raise engine_lost(error) from error
    _check_digest(image, reference)
    return image


def _check_digest(image: Mapping[str, Any], reference: str) -> None:
    """What was found is what was asked for by hash: a tag beside the hash is never followed."""
    wanted = reference.rpartition("@")[2] if "@" in reference else reference
    if not wanted.startswith("sha256:"):
        return
    known = [image["Id"], *(text.rpartition("@")[2] for text in image.get("RepoDigests") or [])]
    if not any(digest.startswith(wanted) for digest in known):
        raise EntryInvalid(
            f"the image found under this name is not {wanted}",
            where=reference,
            fix="pull it again by its digest",
        )


def _pull(
    client: docker.APIClient, reference: str, repository: str, tag: str | None
) -> dict[str, Any]:
    try:
        for event in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in event:
                raise pull_fault(reference, str(event["error"]))
        image: dict[str, Any] = client.inspect_image(reference)
    except ENGINE_FAULTS as error:
        said = str(getattr(error, "explanation", None) or error)
        raise pull_fault(reference, said) from error
    return image


def load_archive(
    client: docker.APIClient, archive: Path, hold: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Load an image archive (`docker save`) that holds exactly one image.

    Args:
        client: the engine's API.
        archive: the file.
        hold: called with the name that the image will have, before it is loaded.
    Raises:
        EntryInvalid: the archive is not one, holds more than one image, links that lead
            out of it, or more than may be unpacked.
    """
    with opened_image(archive) as found:
        name = loaded_name(found.config)
        hold(name)
        try:
            loaded = [
                line.partition(":")[2].strip()
                for event in client.load_image(found.tar_stream(name))
                for line in _reply(event, archive).splitlines()
                if line.startswith("Loaded image")
            ]
            if len(loaded) != 1:
                refuse(archive, f"the engine loaded {len(loaded)} images from it")
            image: dict[str, Any] = client.inspect_image(loaded[0])
        except APIError as error:
            refuse(archive, f"the engine would not load it: {one_line(error.explanation)}")
        except ENGINE_FAULTS as error:
            raise engine_lost(error) from error
    return image


def _reply(event: Mapping[str, Any], archive: Path) -> str:
    if "error" in event:
        refuse(archive, f"the engine would not load it: {one_line(event['error'])}")
    return str(event.get("stream", ""))
