"""Trained models, kept by content: so that a finished training is never repeated.

    <store>/objects/<model hash>/…            the files of one model, written whole or not at all
    <store>/trained/<key>-<model>.json        its card: trained by this machine's harness
    <store>/imported/<key>-<model>.json       its card: brought from elsewhere, only claims

The store lies in `$BMAD_MODELS`, else in the user's data folder of this platform. Only what was
trained here stands in for a training; an imported card could say anything. A card's time of
change is the last use of its model. Traps: files are hashed while they are copied out, so a
byte that changed is found at the moment that counts; a shared lock keeps `clean` away from
what is being written or read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import platformdirs

from harness.common.errors import EnvironmentFault, StoreUnusable, UsageError
from harness.common.foreign_text import one_line
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.removal import remove_tree, remove_tree_if_possible
from harness.common.room_to_write import DISK_FULL
from harness.records.store import TEMPORARY_PREFIX, replacing
from harness.trained import model_folder
from harness.trained.model_card import ModelCard, ModelFile, read_model_card

Origin = Literal["trained", "imported"]
ORIGINS: tuple[Origin, ...] = ("trained", "imported")
OBJECTS = "objects"
MARK_CHARACTERS = 16  # of a hash in a file's name
SHORTEST_PREFIX = 6
_CHUNK = 1 << 20


def default_models() -> Path:
    """`$BMAD_MODELS`, else `models` in the user's data folder of this platform."""
    stated = os.environ.get("BMAD_MODELS")
    if stated:
        return Path(stated).expanduser()
    return platformdirs.user_data_path("bmad", False) / "models"


@dataclass(frozen=True)
class StoredModel:
    """A model in the store."""

    card: ModelCard
    """What it is."""
    origin: Origin
    """Trained by this machine's harness, or brought from elsewhere."""
    path: Path
    """The card's file."""
    last_used: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class ModelStore:
    """Reads and writes one store."""

    root: Path
    """Its folder; made when it is first written to."""

    def folder_of(self, card: ModelCard) -> Path:
        """Where the files of a model lie or would lie."""
        return self.root / OBJECTS / _hex(card.model)

    def check(self) -> None:
        """See that the store can be written, before a training of hours ends in it.

        Raises:
            EnvironmentFault: it cannot.
        """
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()

    def models(self) -> list[StoredModel]:
        """All models, by name and time.

        Raises:
            StoreUnusable: a card is damaged.
        """
        found = []
        for origin in ORIGINS:
            for path in (self.root / origin).glob("*.json"):
                with contextlib.suppress(FileNotFoundError):  # removed while we looked
                    card = read_model_card(path.read_bytes(), str(path))
                    found.append(StoredModel(card, origin, path, path.stat().st_mtime))
        return sorted(found, key=lambda model: (model.card.name, model.card.made, model.origin))

    def find_trained(self, key: str) -> StoredModel | None:
        """The newest model that was trained here under this run key."""
        found = [
            StoredModel(card, "trained", path, path.stat().st_mtime)
            for path in (self.root / "trained").glob(f"{_mark(key)}-*.json")
            if (card := read_model_card(path.read_bytes(), str(path))).key == key
        ]
        return max(found, key=lambda model: model.card.made, default=None)

    def trained_with_hash(self, model: str) -> list[StoredModel]:
        """The models with this content that were trained here, under whatever keys."""
        return [
            found
            for found in self.models()
            if found.card.model == model and found.origin == "trained"
        ]

    def matching(self, text: str) -> list[StoredModel]:
        """The models that a hash, the beginning of one, or a run's name stands for.

        Raises:
            UsageError: it stands for none.
        """
        models, prefix = self.models(), text.removeprefix("sha256:")
        found = [
            model
            for model in models
            if text == model.card.name
            or (len(prefix) >= SHORTEST_PREFIX and _hex(model.card.model).startswith(prefix))
        ]
        if not found:
            raise UsageError(
                f"no stored model is {text!r}; there are: {_names(models)}",
                where=str(self.root),
                fix="python -m harness.models list",
            )
        return found

    def named(self, text: str) -> StoredModel:
        """The one model that a hash, the beginning of one, or a run's name stands for.

        Raises:
            UsageError: it stands for none, or for several; they are listed.
        """
        found = self.matching(text)
        if len({model.card.model for model in found}) > 1:
            raise UsageError(
                f"{text!r} stands for several models: {_names(found)}",
                where=str(self.root),
                fix="give more of the hash",
            )
        return max(found, key=lambda model: model.origin == "trained")

    def keep(self, folder: Path, card: ModelCard, origin: Origin = "trained") -> None:
        """Copy a model folder of the host's into the store, with its card.

        Raises:
            EnvironmentFault: the disk is full, or the store cannot be written; nothing is left.
            StoreUnusable: the files are not those of the card.
        """
        with self.filling(card, origin) as fresh:
            copy_verified(folder, card, fresh)

    @contextlib.contextmanager
    def filling(self, card: ModelCard, origin: Origin) -> Iterator[Path]:
        """A fresh folder for the card's files; at the end of the block both are in the store."""
        with self._writing(), self._locked(fcntl.LOCK_SH):
            objects = self.root / OBJECTS
            objects.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=objects, prefix=f"{TEMPORARY_PREFIX}{owner_mark()}-"))
            try:
                yield fresh
                fresh.chmod(0o755)
                _sync_tree(fresh)
                _put(fresh, self.folder_of(card))
            finally:
                remove_tree_if_possible(fresh)
            path = self.root / origin / f"{_mark(card.key)}-{_mark(card.model)}.json"
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(card.content())

    def fetch(self, model: StoredModel, destination: Path) -> None:
        """Copy a model's files into an empty folder; each is hashed on the way.

        Raises:
            StoreUnusable: a file was changed or is missing; the message names it.
        """
        with self._locked(fcntl.LOCK_SH):
            copy_verified(self.folder_of(model.card), model.card, destination)
            with contextlib.suppress(OSError):  # a store that is only read
                os.utime(model.path)

    def problems(self, model: StoredModel) -> list[str]:
        """What is wrong with a model's files: one sentence for each that is not as it was kept."""
        folder = self.folder_of(model.card)
        card = model.card
        found = [
            f"{card.called(file)} {problem}"
            for file in card.files
            if (problem := _problem_with(folder, file))
        ]
        expected = {file.path for file in card.files}
        with contextlib.suppress(OSError):
            found += [
                f"{one_line(path.relative_to(folder).as_posix())} is not of the model"
                for path in model_folder.ordinary_files(folder)
                if path.relative_to(folder).as_posix() not in expected
            ]
        return found

    def remove(self, models: list[StoredModel]) -> int:
        """Remove models; returns the bytes that became free.

        Raises:
            EnvironmentFault: another process is using the store.
        """
        with self._writing(), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            for model in models:
                model.path.unlink(missing_ok=True)
            return self._remove_unreferenced()

    def sweep(self) -> int:
        """Remove what a killed writer left; returns the bytes that became free.

        Nothing is removed while a card cannot be read: which files it names is not known.
        `harness.models` tells of such a card, and no run that does not need it fails by it.
        """
        if not self.root.is_dir():
            return 0
        try:
            with self._writing(), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                return self._remove_unreferenced()
        except (StoreBusy, StoreUnusable):
            return 0

    def _remove_unreferenced(self) -> int:
        used = {_hex(model.card.model) for model in self.models()}
        freed = 0
        for folder in (self.root / OBJECTS).glob("*"):
            name = folder.name.removeprefix(TEMPORARY_PREFIX)
            if name != folder.name and not is_owner_gone(name.partition("-")[0]):
                continue
            if folder.name not in used:
                freed += model_folder.size_of(folder)
                remove_tree(folder)
        return freed

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as handle:
            try:
                fcntl.flock(handle, how)
            except BlockingIOError as error:
                raise StoreBusy(
                    "another process is using the model store at this moment",
                    where=str(self.root),
                    fix="wait for it",
                ) from error
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn the operating system's refusals into one clear error."""
        try:
            yield
        except OSError as error:
            if error.errno in DISK_FULL:
                what = "the disk is full; nothing half-written was left"
            else:
                what = f"the model store cannot be written: {error.strerror}"
            raise EnvironmentFault(
                what,
                where=str(self.root),
                fix="free some space (python -m harness.clean --models-unused-for DAYS), name another"
                " folder with BMAD_MODELS=DIR, or keep no model with --no-keep-model;"
                " a finished training is not repeated",
            ) from error


class StoreBusy(EnvironmentFault):
    """Another process is using the model store."""


def copy_verified(source: Path, card: ModelCard, destination: Path) -> None:
    """Copy a model's files and see that each is the one of the card.

    Raises:
        StoreUnusable: one is not; the message names it.
    """
    for file in card.files:
        target = destination / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (source / file.path).open("rb") as stream, target.open("xb") as copied:
                is_same = copy_hashed(stream, copied, file) and not stream.read(1)
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise StoreUnusable(
                f"{card.called(file)} of the model {card.name} was changed after it was kept,"
                " or is missing",
                where=str(source),
                fix=f"python -m harness.models remove {_hex(card.model)[:12]}, then train or"
                " import it again",
            )
    for folder in (destination, *(path for path in destination.rglob("*") if path.is_dir())):
        folder.chmod(0o755)  # so that a container's user can read it


def copy_hashed(source: BinaryIO, destination: BinaryIO, file: ModelFile) -> bool:
    """Copy one file's bytes, no more than it has; whether they are the right ones."""
    digest, left = hashlib.sha256(), file.size
    while left and (data := source.read(min(_CHUNK, left))):
        digest.update(data)
        destination.write(data)
        left -= len(data)
    os.fchmod(destination.fileno(), 0o644)
    return left == 0 and digest.hexdigest() == file.sha256


def _names(models: list[StoredModel]) -> str:
    return ", ".join(f"{m.card.name} {_hex(m.card.model)[:12]}" for m in models) or "none"


def _put(fresh: Path, target: Path) -> None:
    """Give a folder its place; where the same content lies there, whatever is damaged is mended."""
    if not target.exists():
        with contextlib.suppress(OSError):  # another process was first
            fresh.rename(target)
            return
    for path in sorted(fresh.rglob("*")):
        place = target / path.relative_to(fresh)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            path.replace(place)


def _problem_with(folder: Path, file: ModelFile) -> str | None:
    path = folder / file.path
    if path.is_symlink() or not path.is_file():
        return "is missing"
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return None if digest == file.sha256 else "was changed"


def _sync_tree(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _mark(digest: str) -> str:
    return _hex(digest)[:MARK_CHARACTERS]
