"""What an entry left in its model folder: watched while it trains, copied out with distrust.

Traps:
- The folder belongs to a stranger's program. A link, a FIFO or a device in it is never
  followed or opened for reading: names are opened relative to their folder's descriptor,
  without following links and without waiting, and the descriptor is asked what it is.
- A file's size may lie in both directions: a sparse file is large and takes no space, so
  the size and the blocks are both bounded; a file may grow while it is copied, so the bytes
  that are read are bounded too.
- A folder that its entry has closed to us (mode 000), a name or a path that is too long to be
  written again: the entry's doing, so `bad_model`, and never a fault of this machine.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.common.statuses import RunEnded, Status
from harness.engines.base import Limits, Running

FOLDER_POLL_SECONDS = 1.0  # an entry that writes 1 GB/s is caught one or two GB past its bound
MAX_FOLDER_DEPTH = 32
MAX_PATH_BYTES = 1024  # of a file below the model folder: with what stands before it, the host can
# That of `harness.contract.serve`, whose import would bring numpy; a test holds both equal.
STATE_FOLDER = ".training"
_CHUNK = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def copy(source: Path, destination: Path, limits: Limits) -> None:
    """Copy the regular files and folders of a model folder, and nothing else.

    The training's own state, where it was left, is no part of the model; it is counted.

    Args:
        source: the folder that the entry could write to; the entry has ended.
        destination: an existing, empty folder of the host. Files become 0644 and folders
            0755, so that the entry can read them whatever user it runs as.
        limits: `model_bytes` and `model_files` bound what is copied.
    Raises:
        RunEnded: `bad_model` for anything else than regular files and folders, and for more
            of them than the limits allow; `host_error` when the host's disk is full.
    """
    with _opened_root(source) as root:
        budget = _Budget(limits)
        for path, opened, status in _contents(root, budget):
            target = destination / path
            if stat.S_ISDIR(status.st_mode):
                target.mkdir()
                target.chmod(0o755)
            else:
                _copy_file(opened, target, status.st_size)


def pack(source: Path, archive: BinaryIO, limits: Limits) -> None:
    """Write the same files and folders as one tar archive, while the entry still runs.

    What the entry removes or adds to meanwhile is left out, as is the training's own state, which
    it may go on writing; a file that gets shorter is an error.

    Args:
        source: the folder that the entry can write to.
        archive: takes the archive from where it stands.
        limits: `model_bytes` and `model_files` bound what is copied.
    Raises:
        RunEnded: as `copy` does.
    """
    with (
        _opened_root(source) as root,
        tarfile.TarFile(
            fileobj=archive,
            mode="w",
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
            copybufsize=_CHUNK,
        ) as packed,
    ):
        for path, opened, status in _contents(root, _Budget(limits), is_running=True):
            member = tarfile.TarInfo(path)
            if stat.S_ISDIR(status.st_mode):
                member.type = tarfile.DIRTYPE
                packed.addfile(member)
            else:
                member.size = status.st_size
                _pack_file(packed, member, opened)


def unpack(archive: BinaryIO, destination: Path) -> None:
    """Write what `pack` wrote into an existing, empty folder of the host, as `copy` would have."""
    with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8") as packed:
        for member in packed:
            target = destination / member.name
            data = packed.extractfile(member)
            if data is None:
                target.mkdir()
                target.chmod(0o755)
            else:
                with target.open("xb") as file:
                    shutil.copyfileobj(data, file, _CHUNK)
                target.chmod(0o644)


def has_training_state(folder: Path) -> bool:
    """Whether a training left a state of its own here, to go on from after an interruption."""
    try:
        root = os.open(folder, _OPEN | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        state = os.open(STATE_FOLDER, _OPEN | os.O_DIRECTORY, dir_fd=root)
    except OSError:  # not there, or a link, or nothing that we may look into
        return False
    finally:
        os.close(root)
    try:
        with os.scandir(state) as entries:
            return next(entries, None) is not None
    finally:
        os.close(state)


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder, as deep as a model may be; what cannot be read is 0."""
    try:
        opened = os.open(folder, _OPEN | os.O_DIRECTORY)
    except OSError:
        return 0
    try:
        return _size(
            opened, MAX_FOLDER_DEPTH + 2
        )  # an interrupted training's part lies in its home
    finally:
        os.close(opened)


class NotOrdinary(Exception):
    """A link, a pipe or a device lies where files were expected; its text is the path."""


def ordinary_files(folder: Path) -> list[Path]:
    """Every file below a folder of the host's, sorted by the parts of its path.

    Raises:
        NotOrdinary: something is neither a regular file nor a folder.
        OSError: the folder cannot be read.
    """
    files: list[Path] = []
    folders = [folder]
    while folders:  # no recursion: how deep it is, is another's choice
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if not _is_ordinary(status):
                    raise NotOrdinary(entry.path)
                (files if stat.S_ISREG(status.st_mode) else folders).append(Path(entry.path))
    return sorted(files, key=lambda path: path.relative_to(folder).parts)


def files_hash(files: Iterable[tuple[str, str]]) -> str:
    """`sha256:…` over pairs of relative path and SHA-256 of content, in order of the paths."""
    digest = hashlib.sha256()
    for path, content in sorted(files, key=lambda item: item[0].split("/")):
        digest.update(f"{path}\0{content}\n".encode())
    return "sha256:" + digest.hexdigest()


def model_hash(folder: Path) -> str:
    """`sha256:…` over the relative path and content of every file of a copied model folder."""
    found = []
    for path in ordinary_files(folder):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        found.append((path.relative_to(folder).as_posix(), content))
    return files_hash(found)


@contextlib.contextmanager
def watch_model_folder(running: Running, folder: Path, limits: Limits) -> Iterator[None]:
    """Look at the model folder while its entry runs; too much in it interrupts the session.

    The calls on `running` then raise `RunEnded` with `bad_model`. The caller still stops it.
    """
    done = threading.Event()

    root = os.open(folder, _OPEN | os.O_DIRECTORY)

    def look() -> None:
        while not done.wait(FOLDER_POLL_SECONDS):
            try:
                with _host_faults("looked at"):
                    _measure(root, 0, _Budget(limits))
            except RunEnded as problem:
                running.interrupt(problem)
                return
            except OSError as error:  # a traceback of this thread would print the file's name
                running.interrupt(_bad(f"it cannot be looked at ({error.strerror})"))
                return

    thread = threading.Thread(target=look, name="watch-model", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.close(root)


@dataclass
class _Budget:
    """What may still be copied."""

    limits: Limits
    files: int = 0
    nbytes: int = 0

    def count_name(self) -> None:
        """One more name in a folder."""
        self.files += 1
        if self.files > self.limits.model_files:
            raise _bad(f"it holds more than {self.limits.model_files} files")

    def count_bytes(self, nbytes: int) -> None:
        """More bytes, of which the limit is all that is told."""
        self.nbytes += nbytes
        if self.nbytes > self.limits.model_bytes:
            raise _bad(f"it holds more than {self.limits.model_bytes} bytes")

    def count_file(self, status: os.stat_result) -> None:
        """A file, by its size or by its blocks, whichever is more."""
        self.count_bytes(max(status.st_size, status.st_blocks * 512))


def _bad(what: str) -> RunEnded:
    return RunEnded(Status.BAD_MODEL, f"the model folder: {what}")


@contextlib.contextmanager
def _host_faults(done: str) -> Iterator[None]:
    """Refusals of the operating system by whose doing they are."""
    try:
        yield
    except PermissionError:
        raise _bad("a folder or file of it is closed to its reader") from None
    except OSError as error:
        raise RunEnded(
            Status.HOST_ERROR, f"the model folder cannot be {done}: {error.strerror}"
        ) from error


@contextlib.contextmanager
def _opened_root(source: Path) -> Iterator[int]:
    """Descriptor of the model folder itself, in whose place its entry may have left something else."""
    with _host_faults("copied"):
        try:
            root = os.open(source, _OPEN | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise _bad("it is no folder any more") from None
            raise
        try:
            yield root
        finally:
            os.close(root)


def _size(folder: int, levels: int) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    total += status.st_size
                elif stat.S_ISDIR(status.st_mode) and levels:
                    inner = os.open(entry.name, _OPEN | os.O_DIRECTORY, dir_fd=folder)
                    try:
                        total += _size(inner, levels - 1)
                    finally:
                        os.close(inner)
    return total


def _is_ordinary(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def _check_depth(depth: int) -> None:
    if depth > MAX_FOLDER_DEPTH:
        raise _bad(f"folders lie more than {MAX_FOLDER_DEPTH} deep in one another")


def _check_path(nbytes: int) -> None:
    if nbytes > MAX_PATH_BYTES:
        raise _bad(f"the path of a file in it is longer than {MAX_PATH_BYTES} bytes")


def _contents(
    folder: int, budget: _Budget, *, is_running: bool = False, depth: int = 0, above: str = ""
) -> Iterator[tuple[str, int, os.stat_result]]:
    """Each folder and each file of the model: path, descriptor and status; all are counted.

    Args:
        is_running: the entry still runs: names may vanish, and its own state is its own.
    """
    _check_depth(depth)
    gone = (FileNotFoundError,) if is_running else ()
    with os.scandir(folder) as entries:  # one by one: a million names are never listed at once
        for entry in entries:
            budget.count_name()
            _check_path(len(os.fsencode(above + entry.name)))
            is_state = depth == 0 and entry.name == STATE_FOLDER
            if is_state and is_running and entry.is_dir(follow_symlinks=False):
                continue
            with contextlib.suppress(*gone), _opened(entry.name, folder) as (opened, status):
                if not stat.S_ISDIR(status.st_mode):
                    budget.count_file(status)
                    yield above + entry.name, opened, status
                elif is_state:
                    _measure(opened, depth + 1, budget)
                else:
                    path = above + entry.name
                    yield path, opened, status
                    yield from _contents(
                        opened, budget, is_running=is_running, depth=depth + 1, above=f"{path}/"
                    )


@contextlib.contextmanager
def _opened(name: str, folder: int) -> Iterator[tuple[int, os.stat_result]]:
    """A regular file or folder by its name, looked at before and after it is opened."""
    special = "it holds something that is neither a regular file nor a folder"
    if not _is_ordinary(os.stat(name, dir_fd=folder, follow_symlinks=False)):
        raise _bad(special)
    try:
        opened = os.open(name, _OPEN, dir_fd=folder)
    except FileNotFoundError:  # it was there a moment ago
        raise
    except OSError as error:
        raise _bad(f"one of its names cannot be opened ({error.strerror})") from None
    try:
        status = os.fstat(opened)
        if not _is_ordinary(status):
            raise _bad(special)
        yield opened, status
    finally:
        os.close(opened)


def _copy_file(opened: int, target: Path, size: int) -> None:
    """Copy as many bytes as were counted, and find no more."""
    left = size
    with target.open("xb") as file:
        while data := os.read(opened, _CHUNK):
            left -= len(data)
            if left < 0:
                raise _bad("a file grew while it was copied")
            file.write(data)
    target.chmod(0o644)


def _pack_file(packed: tarfile.TarFile, member: tarfile.TarInfo, opened: int) -> None:
    """As many bytes as were counted; those that were added since are left out."""
    with os.fdopen(opened, "rb", closefd=False) as data:
        try:
            packed.addfile(member, data)
        except OSError as error:
            if error.errno is not None:  # the host's
                raise
            raise _bad("a file got shorter while it was copied") from None


def _measure(folder: int, depth: int, budget: _Budget) -> None:
    """Count what is there now; a name that vanishes while we look is not there."""
    _check_depth(depth)
    with os.scandir(folder) as entries:
        for entry in entries:
            budget.count_name()
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                budget.count_file(status)
                if stat.S_ISDIR(status.st_mode):
                    with _opened(entry.name, folder) as (opened, _):
                        _measure(opened, depth + 1, budget)
