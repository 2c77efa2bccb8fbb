"""A trained model as one file, to move between machines: its card, then its files, in a plain tar.

    model-card.json
    files/<path>            in the order of the card; `objects/<sha256>` where a name is too long

Any tar program unpacks it. We read it ourselves, because it may come from a stranger: each header
must be the next one that the card announces, a regular file of that very size, and each file is
held to its hash. So there is no member to surprise us: no link, no device, no `..`, no name of
another's choice, no size that was not announced, and nothing is written outside the store.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from harness.common.errors import EnvironmentFault, StoreUnusable, UsageError
from harness.common.room_to_write import DISK_FULL
from harness.records.store import replacing
from harness.trained.model_card import (
    FILES_FOLDER,
    MAX_CARD_BYTES,
    MODEL_CARD_NAME,
    ModelCard,
    ModelFile,
    read_model_card,
)
from harness.trained.model_store import ModelStore, StoredModel, copy_hashed

MAX_ARCHIVE_BYTES = 16 * 1024**3  # of a model, as much as a training may leave by default
MAX_ARCHIVE_NAMES = 10_000  # files and folders, the same
_BLOCK = tarfile.BLOCKSIZE
_NAME_BYTES = 100  # a longer name would need a header of its own


def export(store: ModelStore, model: StoredModel, target: Path) -> None:
    """Write one stored model to a file, whole or not at all.

    Raises:
        UsageError: the file exists.
        StoreUnusable: a stored file was changed; nothing is written.
        EnvironmentFault: the file cannot be written.
    """
    if target.exists():
        raise UsageError("the file exists already", where=str(target), fix="give another name")
    if problems := store.problems(model):
        raise StoreUnusable(
            f"the stored model {model.card.name} is damaged: {'; '.join(problems)}",
            where=str(store.folder_of(model.card)),
            fix="python -m harness.models verify",
        )
    card = model.card
    with _file_problems(target), replacing(target) as path, path.open("wb") as file:
        content = card.content()
        _write_header(file, MODEL_CARD_NAME, len(content))
        file.write(content)
        _pad(file, len(content))
        for member in card.files:
            _write_header(file, member_name(member), member.size)
            with (store.folder_of(card) / member.path).open("rb") as stream:
                if not copy_hashed(stream, file, member):
                    what = f"{card.called(member)} changed while it was read"
                    raise StoreUnusable(what, where=str(store.root))
            _pad(file, member.size)
        file.write(bytes(2 * _BLOCK))


def import_archive(
    store: ModelStore,
    source: Path,
    *,
    max_bytes: int = MAX_ARCHIVE_BYTES,
    max_names: int = MAX_ARCHIVE_NAMES,
) -> ModelCard:
    """Read one model from a file into the store; it counts as brought from elsewhere.

    Raises:
        StoreUnusable: the file is not such an archive, or not a whole one; nothing is kept.
        EnvironmentFault: the file cannot be read, or the store not written; nothing is kept.
    """
    with _file_problems(source), source.open("rb") as file:
        size = _read_header(file, MODEL_CARD_NAME, source)
        if size > MAX_CARD_BYTES:
            raise _refused(f"the card has {size} bytes, more than {MAX_CARD_BYTES}", source)
        card = read_model_card(file.read(size), str(source))
        _skip_padding(file, size, source)
        if card.nbytes > max_bytes:
            raise _refused(f"the model has {card.nbytes} bytes, more than {max_bytes}", source)
        if (names := _count_names(card)) > max_names:
            raise _refused(
                f"the model has {names} files and folders, more than {max_names}", source
            )
        with store.filling(card, "imported") as folder:
            for member in card.files:
                _take_member(file, card, member, folder, source)
            _check_end(file, source)
    return card


def _count_names(card: ModelCard) -> int:
    """Files and the folders that they lie in: what the store would make."""
    folders = {parent for file in card.files for parent in PurePosixPath(file.path).parents}
    return len(card.files) + len(folders - {PurePosixPath()})


def member_name(file: ModelFile) -> str:
    """The name of a model's file in the archive."""
    name = f"{FILES_FOLDER}/{file.path}"
    return name if len(name.encode()) <= _NAME_BYTES else f"objects/{file.sha256}"


def _take_member(
    file: BinaryIO, card: ModelCard, member: ModelFile, folder: Path, source: Path
) -> None:
    called = card.called(member)
    size = _read_header(file, member_name(member), source, called=called)
    if size != member.size:
        raise _refused(f"{called} has {size} bytes, the card says {member.size}", source)
    target = folder / member.path
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with target.open("xb") as copied:
        if not copy_hashed(file, copied, member):
            raise _refused(f"{called} was changed or cut: its hash is not the card's", source)
    _skip_padding(file, member.size, source)


def _write_header(file: BinaryIO, name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    file.write(info.tobuf(tarfile.GNU_FORMAT))


def _pad(file: BinaryIO, size: int) -> None:
    file.write(bytes(-size % _BLOCK))


def _read_header(file: BinaryIO, name: str, source: Path, *, called: str = "") -> int:
    """The size that the next header announces; it must be a regular file of that name."""
    shown = called or name
    block = file.read(_BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
        raise _refused(f"{shown} was expected, and there is no header ({error})", source) from None
    if info.type != tarfile.REGTYPE or info.name != name or info.size < 0:
        raise _refused(f"the file {shown} was expected, and something else is there", source)
    return info.size


def _skip_padding(file: BinaryIO, size: int, source: Path) -> None:
    if any(padding := file.read(-size % _BLOCK)) or len(padding) < -size % _BLOCK:
        raise _refused("it is cut, or has bytes between its files", source)


def _check_end(file: BinaryIO, source: Path) -> None:
    rest = file.read(20 * _BLOCK + 1)  # tar programs fill up to twenty blocks
    if any(rest) or not 2 * _BLOCK <= len(rest) <= 20 * _BLOCK:
        raise _refused("it is cut, or holds more than its card announces", source)


def _refused(what: str, source: Path) -> StoreUnusable:
    return StoreUnusable(
        f"the archive is refused: {what}",
        where=str(source),
        fix="bring a file that `python -m harness.models export` wrote; nothing was kept",
    )


@contextlib.contextmanager
def _file_problems(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in DISK_FULL:
            what = "the disk is full; nothing half-written was left"
        raise EnvironmentFault(f"the file cannot be used: {what}", where=str(path)) from error
