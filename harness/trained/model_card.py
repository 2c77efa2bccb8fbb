"""What is known of a trained model: who, how, on which pack, and the hash of each of its files.

A card proves that the files are those it speaks of, and that its key belongs to its settings;
it does not prove that the model was trained as it says. That is known only of models which
this machine's own store saw trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from harness.common.disclosure import Artefact, Visibility, may_leave
from harness.common.errors import StoreUnusable
from harness.common.foreign_text import one_line
from harness.common.json_text import BadJson, parse_as
from harness.records.energy import Spent
from harness.records.parts import Part, Sha256
from harness.records.record import TrainingPart, content_hash
from harness.trained.model_folder import (
    MAX_FOLDER_DEPTH,
    MAX_PATH_BYTES,
    NotOrdinary,
    files_hash,
    ordinary_files,
)

MODEL_CARD_NAME = "model-card.json"
FILES_FOLDER = "files"
MAX_CARD_BYTES = 8 * 1024**2  # 10,000 files, as many as a training may leave by default, are 2
_NAME_BYTES = 255


class ModelFile(Part):
    """One file of a trained model."""

    path: str
    """Relative, with `/`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    """Bytes."""

    @model_validator(mode="after")
    def _path_stays_below_its_folder(self) -> Self:
        names = self.path.split("/")
        is_safe = all(
            name not in ("", ".", "..")
            and "\\" not in name
            and name.isprintable()
            and len(name.encode()) <= _NAME_BYTES
            for name in names
        )
        is_short = len(names) <= MAX_FOLDER_DEPTH + 1 and len(self.path.encode()) <= MAX_PATH_BYTES
        if not is_safe or not is_short:
            raise ValueError(
                f"'{one_line(self.path, 60)}' is not the path of a file below the model's folder"
            )
        return self


class ModelCard(Part):
    """One trained model."""

    schema_version: Literal[1] = 1
    key: Sha256
    """Run key of the training: the hash of `parts`."""
    parts: dict[str, Any]
    """What decided the training's result, by name: identity, params, pack, seed, engine…"""
    model: Sha256
    """Hash over the files."""
    entry: str
    """Name of the entry."""
    title: str
    """The method's name as its authors write it."""
    licence: str
    """The method's licence, as its entry says."""
    preset: str
    """Hyper-parameter preset."""
    benchmark: str
    """Name of the pack, or suite, with the regime where that is not one-class (`Record.place`)."""
    visibility: Visibility
    """The pack's."""
    pack_licence: str
    """Terms of the images that it learned from."""
    seed: int
    training: TrainingPart
    """How the checkpoint was chosen, as in the record."""
    seconds: float
    """Time of the training, all parts."""
    peak_ram_mib: float | None = None
    """Of the training, where the host saw it."""
    peak_gpu_mib: float | None = None
    """Of the training on a GPU, where the host saw it."""
    energy: Spent = Field(default_factory=dict)
    """Of the training, all parts; empty where an older harness wrote the card."""
    made: str
    """End of the training, ISO 8601 in UTC."""
    harness_commit: str | None = None
    """Git commit of the harness."""
    files: list[ModelFile]
    """All files, sorted by path."""

    @model_validator(mode="after")
    def _hashes_are_those_of_the_content(self) -> Self:
        if content_hash(self.parts) != self.key:
            raise ValueError("the key is not that of the settings")
        if hash_of(self.files) != self.model or self.training.model != self.model:
            raise ValueError("the model's hash is not that of its files")
        paths = {file.path for file in self.files}
        parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
        if len(paths) < len(self.files) or paths & parents:
            raise ValueError("a file's path stands twice, or is a folder too")
        return self

    @property
    def name(self) -> str:
        """The run that trained it, in words."""
        return one_line(f"{self.benchmark}/{self.entry}/seed-{self.seed}")

    def called(self, file: ModelFile) -> str:
        """A file in a message: its path, or, of a hidden pack's model, its number in the card.

        The entry chose the paths, and it may have chosen them by what it saw.
        """
        if may_leave(Artefact.ENTRY_WORDS, self.visibility):
            return one_line(file.path)
        return f"file {self.files.index(file) + 1}"

    @property
    def nbytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)

    @property
    def is_portable(self) -> bool:
        """Whether the card is small enough to be read again."""
        return len(self.content()) <= MAX_CARD_BYTES

    def content(self) -> bytes:
        """The card as it stands in a file."""
        return self.model_dump_json(indent=1).encode() + b"\n"


class BadName(StoreUnusable):
    """A file of a model has a name that no card can carry.

    Args:
        path: its path in the model's folder; the entry chose it.
        folder: the model's folder.
    """

    def __init__(self, path: str, folder: Path) -> None:
        super().__init__(
            f"{one_line(path)} is not the path of a file below the model's folder",
            where=str(folder),
        )
        self.path = path


def hash_of(files: Iterable[ModelFile]) -> str:
    """The model's hash, from the hashes of its files."""
    return files_hash((file.path, file.sha256) for file in files)


def list_model_files(folder: Path) -> list[ModelFile]:
    """Every file of a model folder with its hash, sorted by path; nothing is followed by link.

    Raises:
        BadName: a file has a name that no card can carry.
        StoreUnusable: something is neither a regular file nor a folder, or cannot be read.
    """
    files = []
    try:
        for path in ordinary_files(folder):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files.append(_model_file(path.relative_to(folder).as_posix(), digest, path, folder))
    except NotOrdinary as error:
        raise StoreUnusable(
            "a model folder holds regular files and folders alone", where=str(error)
        ) from error
    except OSError as error:
        raise StoreUnusable(
            f"the model folder cannot be read: {error.strerror}",
            where=str(error.filename or folder),
        ) from error
    return files


def _model_file(relative: str, digest: str, path: Path, folder: Path) -> ModelFile:
    try:
        return ModelFile(path=relative, sha256=digest, size=path.stat().st_size)
    except ValidationError:
        raise BadName(relative, folder) from None


def read_model_card(content: bytes, where: str) -> ModelCard:
    """A card from a file's content.

    Raises:
        StoreUnusable: it is not a card, or does not agree with itself.
    """
    try:
        if len(content) > MAX_CARD_BYTES:
            raise StoreUnusable(f"a card is at most {MAX_CARD_BYTES} bytes", where=where)
        return parse_as(ModelCard.model_validate_json, content)
    except BadJson as error:
        raise StoreUnusable(
            f"this is not the card of a trained model: {error}",
            where=where,
            fix="remove it, and train or import the model again",
        ) from error
