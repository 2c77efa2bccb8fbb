"""The SIF that every baseline runs in: made once of Dockerfile.gpu, its lock and the kit.

Decided between two ways. A layer of packages over a base, as a folder that is mounted, would need no
root inside and be quick to change; but torch and what it needs are 60,000 files, which a cluster's
shared disk serves slowly and a quota counts, and no single hash says that they are still what was
installed. So the base is one SIF, which Apptainer builds of a definition file (`definition.py`, made
of Dockerfile.gpu), as an ordinary user: it maps him to root in a user namespace of its own. A baseline's own
few files are not built in at all: the folder is mounted at /entry. So there is one SIF for all
baselines, and no build of minutes for each.

Where a Docker engine has built the base already, `docker save` it and name the file in
BMAD_BASE_ARCHIVE: the SIF is made of that, if it bears the label of the very same base.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from harness.common.errors import EnvironmentFault
from harness.common.paths import REPOSITORY
from harness.common.source_files import SHARED_SOURCES
from harness.engines.apptainer.definition import Stage, read_dockerfile, write_definition
from harness.engines.apptainer.images import card_of
from harness.engines.apptainer.python_base import with_python
from harness.engines.apptainer.store import BuildFailed, Card, ImageStore
from harness.engines.oci.archive import opened_image
from harness.engines.oci.baselines_base import (
    Base,
    base_arguments,
    build_authorities,
    shared_files,
)

ARCHIVE_VARIABLE = "BMAD_BASE_ARCHIVE"
IDENTITY_LABEL = "bmad.identity"


def given_archive() -> Path | None:
    """The archive of the base that a Docker engine has built, where one is named."""
    given = os.environ.get(ARCHIVE_VARIABLE)
    return Path(given) if given else None


def base_sif(store: ImageStore, base: Base, archive: Path | None) -> str:
    """The key of the base's SIF, which is made where it is not there yet.

    Args:
        store: where it is kept.
        base: what it holds.
        archive: what it is made of; None: of Dockerfile.gpu.
    Raises:
        EnvironmentFault: it cannot be made; the message ends with the build's last lines.
    """
    key = base.identity.rpartition(":")[2]
    if store.find(key) is not None:
        return key
    with store.making(key) as folder:
        if store.find(key) is None:
            try:
                if archive is not None:
                    _build_of_archive(store, key, folder, archive, base)
                else:
                    _build_of_definition(store, key, folder)
            except BuildFailed as error:
                raise EnvironmentFault(
                    f"the SIF of the baselines' base cannot be made:\n{error}",
                    where="Dockerfile.gpu",
                    fix="check the network and the disk; another Python base: BMAD_BASE_IMAGE (an"
                    " image's name, a .tar, a .sif, a folder, or debootstrap:bookworm), a proxy's"
                    " certificates: BMAD_BUILD_CA; or make it on a machine with Docker, docker save it,"
                    f" and set {ARCHIVE_VARIABLE}",
                ) from error
    return key


def _build_of_definition(store: ImageStore, key: str, folder: Path) -> None:
    arguments = with_python(
        base_arguments(), folder, lambda sif, made_of: store.make_sif(folder, sif, str(made_of))
    )
    stages = read_dockerfile((REPOSITORY / "Dockerfile.gpu").read_text("utf-8"), arguments)
    names = ("pyproject.toml", *SHARED_SOURCES)
    context = {path.relative_to(REPOSITORY).as_posix(): path for path in shared_files(names)}
    definition = write_definition(stages, context, folder, build_authorities())
    store.build(key, folder, str(definition), _card_of_stage(stages[-1]))


def _card_of_stage(stage: Stage) -> Card:
    return Card(stage.entrypoint, stage.variables, stage.folder)


def _build_of_archive(
    store: ImageStore, key: str, folder: Path, archive: Path, wanted: Base
) -> None:
    """Make the SIF of what a Docker engine has built, where that is this very base.

    Raises:
        EnvironmentFault: it is another.
    """
    with opened_image(archive) as image:
        config = image.inspected()["Config"]
        label = (config.get("Labels") or {}).get(IDENTITY_LABEL)
        if label != wanted.identity:
            raise EnvironmentFault(
                f"the archive holds {label or 'no base of the baselines'}, and this checkout's is"
                f" {wanted.identity}",
                where=str(archive),
                fix=f"docker save --output {shlex.quote(str(archive))} {wanted.tag}",
            )
        image.check_layers()
        with (folder / "base.tar").open("xb") as file:
            for piece in image.tar_stream(wanted.tag):
                file.write(piece)
        card = card_of(config)
    store.build(key, folder, f"docker-archive:{folder / 'base.tar'}", card)
