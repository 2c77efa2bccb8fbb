"""The images that the harness has made, one SIF each, kept in its cache under the hash of what they hold.

    BMAD_CACHE/apptainer/images/<key>/image.sif     the image; no other SIF is ever started
    BMAD_CACHE/apptainer/images/<key>/image.json    how it is started, and the SIF's own SHA-256
    BMAD_CACHE/apptainer/images/<key>/unpacked/     where this machine cannot mount a SIF
    BMAD_CACHE/apptainer/building-<owner>-…/        what is being made; a killed harness's is removed

Traps:
- Several harnesses may want the same image: one makes it, the others wait for its lock, and a folder
  is there whole or not at all (it is moved to its place).
- A SIF that was damaged or changed would give other numbers under the same name: its SHA-256 is
  compared once in each process, before it is started.
- An image that a living harness uses is held by a shared lock; what is swept is locked alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from harness.common.foreign_text import quoted
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.removal import remove_tree_if_possible
from harness.common.statuses import RunEnded, Status
from harness.engines.apptainer.preflight import Installation

BUILD_SECONDS = 3600.0
LAST_LINES = 25
_BUILDING = "building-"
_QUICK = ("--mksquashfs-args", "-Xcompression-level 1")  # a third of the time, a tenth more bytes
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
logger = logging.getLogger("harness.engines")


class BuildFailed(Exception):
    """Apptainer did not make an image; the text is the last lines that it printed."""


@dataclass(frozen=True)
class Card:
    """What is known of an image beside its files."""

    command: tuple[str, ...]
    """Its ENTRYPOINT."""
    variables: Mapping[str, str]
    """Its ENV."""
    working_folder: str
    """Its WORKDIR."""
    sif: str = ""
    """`sha256:…` of the SIF; empty until it is made."""


class ImageStore:
    """What one cache holds.

    Args:
        root: the folder of this engine in the cache.
        installation: the Apptainer that makes images.
    """

    def __init__(self, root: Path, installation: Installation) -> None:
        self.root = root
        self._installation = installation
        self._held: dict[str, IO[str]] = {}
        weakref.finalize(self, _let_go, self._held)
        self._checked: set[str] = set()

    def find(self, key: str) -> Card | None:
        """The image of this key, held from now on; None where it is not made yet.

        Raises:
            RunEnded: `host_error` where its SIF is not what was made.
        """
        self._hold(key)
        try:
            told = json.loads((self._folder(key) / "image.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        card = Card(tuple(told["command"]), told["variables"], told["working_folder"], told["sif"])
        if key not in self._checked:
            if _sha256(self._folder(key) / "image.sif") != card.sif:
                raise RunEnded(
                    Status.HOST_ERROR,
                    f"{self._folder(key) / 'image.sif'} was changed after it was made:"
                    " remove its folder, and it is made anew",
                )
            self._checked.add(key)
        return card

    @contextmanager
    def making(self, key: str) -> Iterator[Path]:
        """A folder to make an image in, while nobody else makes the same; removed in the end."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{key[:16]}.making").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{owner_mark()}-", dir=self.root))
            try:
                yield made
            finally:
                remove_tree_if_possible(made)

    def build(self, key: str, folder: Path, source: str, card: Card) -> Card:
        """Make a SIF and move it to its place.

        Args:
            key: what it is known by.
            folder: of `making`.
            source: what Apptainer builds from: a URI, or the path of a definition file.
            card: how it is started.
        Raises:
            BuildFailed: Apptainer ended with an error.
        """
        place = folder / "made"
        place.mkdir()
        self.make_sif(folder, place / "image.sif", source)
        done = Card(card.command, card.variables, card.working_folder, _sha256(place / "image.sif"))
        (place / "image.json").write_text(json.dumps(asdict(done), indent=1), encoding="utf-8")
        self._folder(key).parent.mkdir(exist_ok=True)
        place.rename(self._folder(key))
        self._checked.add(key)
        return done

    def make_sif(self, folder: Path, sif: Path, source: str) -> None:
        """Have Apptainer make a SIF, with its temporary files in `folder`.

        Args:
            folder: of `making`.
            sif: what is made.
            source: as `build` takes it.
        Raises:
            BuildFailed: Apptainer ended with an error.
        """
        quick = _QUICK if self._installation.kind == "apptainer" else ()
        self._apptainer(folder, "build", *quick, str(sif), source)

    def startable(self, key: str) -> Path:
        """What is started: the SIF, or the folder that it is unpacked to once where it cannot be mounted.

        Raises:
            RunEnded: `engine_unavailable` where it cannot be unpacked.
        """
        sif, unpacked = self._folder(key) / "image.sif", self._folder(key) / "unpacked"
        if self._installation.can_mount:
            return sif
        if not unpacked.is_dir():
            with self.making(key) as folder:
                if not unpacked.is_dir():
                    logger.warning(
                        "this machine cannot mount a SIF (squashfuse and /dev/fuse are needed):"
                        " it is unpacked once, to %s",
                        unpacked,
                    )
                    try:
                        self._apptainer(folder, "build", "--sandbox", str(folder / "box"), str(sif))
                    except BuildFailed as error:
                        raise RunEnded(
                            Status.ENGINE_UNAVAILABLE, f"the SIF cannot be unpacked: {error}"
                        ) from error
                    (folder / "box").rename(unpacked)
        return unpacked

    def sif_of(self, key: str) -> str | None:
        """`sha256:…` of the SIF of this key; None where there is none.

        Raises:
            RunEnded: as `find`.
        """
        card = self.find(key)
        return None if card is None else card.sif

    def nbytes(self, key: str) -> int:
        """Size of the SIF."""
        return (self._folder(key) / "image.sif").stat().st_size

    def release(self) -> None:
        """This process uses no image any more."""
        _let_go(self._held)

    def _apptainer(self, folder: Path, *words: str) -> None:
        """Run Apptainer with nothing of the caller's options, its temporary files in `folder`."""
        program = self._installation.program
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        given = {
            name: os.environ[name] for name in (*_PROXIES, *_AUTHORITIES) if name in os.environ
        }
        variables = {
            "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": str(scratch),
            "APPTAINER_CONFIGDIR": str(scratch),
            "APPTAINER_CACHEDIR": str(scratch),
            "APPTAINER_TMPDIR": str(scratch),
            "LC_ALL": "C.UTF-8",
            **given,
        }
        _run([str(program), *words], variables, scratch)

    def _folder(self, key: str) -> Path:
        return self.root / "images" / key

    def _hold(self, key: str) -> None:
        if key not in self._held:
            self.root.mkdir(parents=True, exist_ok=True)
            self._held[key] = (self.root / f"{key[:16]}.used").open("a")
            fcntl.flock(self._held[key], fcntl.LOCK_SH)


def _let_go(held: dict[str, IO[str]]) -> None:
    for lock in held.values():
        lock.close()
    held.clear()


def _run(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> None:
    """Run a build to its end.

    Raises:
        BuildFailed: it ended with an error, or not at all.
    """
    try:
        done = subprocess.run(
            command,
            env=variables, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=BUILD_SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildFailed(str(error)) from error
    if done.returncode != 0:
        raise BuildFailed(quoted("\n".join(done.stdout.splitlines()[-LAST_LINES:])))


def remove_half_made(root: Path) -> int:
    """Remove what harnesses that are gone were making; returns how many folders."""
    removed = 0
    for folder in root.glob(f"{_BUILDING}*"):
        mark = folder.name.removeprefix(_BUILDING).rpartition("-")[0]
        if is_owner_gone(mark):
            removed += remove_tree_if_possible(folder)
    return removed


def remove_images(root: Path) -> int:
    """Remove every image that no living harness uses; returns how many."""
    removed = 0
    for folder in (root / "images").glob("*"):
        with (
            (root / f"{folder.name[:16]}.used").open("a") as lock,
            contextlib.suppress(BlockingIOError),
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed += remove_tree_if_possible(folder)
    return removed


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
