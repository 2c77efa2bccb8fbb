"""SIFs of images that others have made: looked at like any archive, and only then unpacked.

An image is the same entry under every engine: its identity is the hash of its configuration, as a
Docker engine has it, its content the hash of its layers and of how it is started.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.common.errors import EntryInvalid
from harness.common.foreign_text import one_line
from harness.engines.apptainer import registry
from harness.engines.apptainer.options import names_that_no_shell_has
from harness.engines.apptainer.store import BuildFailed, Card, ImageStore
from harness.engines.base import Program
from harness.engines.oci import vetting
from harness.engines.oci.archive import ArchivedImage, opened_image

_OWN_TAG = "bmad/given:image"  # of the archive that Apptainer is handed; it knows none by name


def program_of_archive(store: ImageStore, archive: Path, name: str) -> Program:
    """The program of an archive's image; its SIF is made where it is not there yet.

    Raises:
        EntryInvalid: the archive is not acceptable, or Apptainer cannot unpack it.
    """
    with opened_image(archive) as image:
        inspected = image.inspected()
        refusal = "; ".join(_problems(inspected))
        key = store_key(image.image_id)
        if not refusal and store.find(key) is None:
            image.check_layers()
            with store.making(key) as folder:
                if store.find(key) is None:
                    _make(store, key, folder, image)
    return Program(
        name=name,
        identity=f"image:{image.image_id}",
        image=image.image_id,
        content=vetting.content_of(inspected),
        size_bytes=sum(size for size, _ in image.layers),
        own_caches=vetting.own_caches(inspected["Config"].get("Env") or []),
        refusal=refusal,
        sif=store.sif_of(key),
    )


def program_of_reference(store: ImageStore, reference: str, name: str) -> Program:
    """The program of a registry's image.

    Raises:
        EntryInvalid: this names none, it is for other machines alone, or not acceptable.
        RunEnded: `image_unavailable`, with its cause.
    """
    registry.read_reference(reference)
    with store.making(hashlib.sha256(reference.encode()).hexdigest()) as folder:
        digest = registry.fetch_image(reference, folder / "image.tar")
        program = program_of_archive(store, folder / "image.tar", name)
    return replace(program, image_digest=digest)


def store_key(image_id: str) -> str:
    """The key of the store for an image id."""
    return image_id.removeprefix("sha256:")


def card_of(config: Mapping[str, Any]) -> Card:
    """How an image of this configuration is started."""
    given = [variable.split("=", 1) for variable in config.get("Env") or [] if "=" in variable]
    return Card(
        command=tuple(config.get("Entrypoint") or ()),
        variables=dict(given),
        working_folder=config.get("WorkingDir") or "/",
    )


def _make(store: ImageStore, key: str, folder: Path, image: ArchivedImage) -> None:
    """Hand Apptainer a new archive of what was looked at, and nothing else."""
    with (folder / "vetted.tar").open("xb") as file:
        for piece in image.tar_stream(_OWN_TAG):
            file.write(piece)
    source = f"docker-archive:{folder / 'vetted.tar'}"
    try:
        store.build(key, folder, source, card_of(image.inspected()["Config"]))
    except BuildFailed as error:
        raise EntryInvalid(
            f"Apptainer cannot make a SIF of the image:\n{error}",
            where=str(image.path),
            fix="mend what the last lines name; or try it with --engine docker",
        ) from error


def _problems(inspected: Mapping[str, Any]) -> list[str]:
    """What every engine refuses, and variables that Apptainer cannot give."""
    problems = vetting.problems_of(inspected, architecture=platform.machine())
    names = [each.partition("=")[0] for each in inspected["Config"].get("Env") or []]
    shown = [one_line(name) for name in names_that_no_shell_has(names)]
    if shown and not problems:
        problems.append(f"ENV {' '.join(shown)}: Apptainer gives no variable of such a name")
    return problems
