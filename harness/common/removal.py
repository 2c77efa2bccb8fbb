"""Removes a tree that a stranger's program may have written, whatever its shape.

Traps:
- A tree can be deeper than Python's stack, than the number of files that may be open, and than
  the longest path. So there is no recursion and no path: one descriptor goes down name by name
  and up by `..`, and each step up is held against the folder it must lead to.
- A folder can be unreadable (mode 000) or write-protected: it is the program's own, and is
  opened for us before it is emptied. A link is removed, never followed.
- What cannot be removed is passed over, told at the end, and holds up nothing else.
- A program that still runs may write as fast as we remove: there is an end to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLE = getattr(os, "O_PATH", 0)  # a descriptor that needs no permission; Linux has it
_AT_ONCE = 64  # folders noted per level before they are emptied: bounds the memory of a deep tree
_MOST_STUCK = 10_000  # names that cannot be removed; past it their folder is given up
_MOST_NAMES = 50_000_000  # past it, somebody is still writing
Identity = tuple[int, int]


def remove_tree(path: Path) -> None:
    """Remove a folder and all that is in it, or the file or link that is there instead.

    Everything that can be removed is removed before anything is raised.

    Raises:
        OSError: the first reason why something is left, or there is nothing of this name.
    """
    removal = _Removal()
    outside = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.stat(path.name, dir_fd=outside, follow_symlinks=False)
        removal.remove(path.name, outside)
    finally:
        os.close(outside)
    if removal.problem is not None:
        problem = removal.problem
        raise OSError(problem.errno, problem.strerror, str(path)) from problem


def remove_tree_if_possible(path: Path) -> bool:
    """The same for rubbish that may stay: nothing is raised; whether it is gone."""
    with contextlib.suppress(OSError):
        remove_tree(path)
    return not os.path.lexists(path)


@dataclass
class _Level:
    """One folder on the way down."""

    name: str
    """In the folder above."""
    identity: Identity
    """What the step back up into it must find."""
    folders: list[str] = field(default_factory=list)
    """Noted in it, and not yet emptied."""
    stuck: set[str] = field(default_factory=set)
    """Names in it that cannot be removed."""


class _Removal:
    """One walk; `problem` is the first thing that went wrong."""

    def __init__(self) -> None:
        self.problem: OSError | None = None
        self._seen = 0

    def remove(self, name: str, outside: int) -> None:
        """Remove what bears this name in the folder of a descriptor."""
        self._here = os.dup(outside)
        self._levels = [_Level("", _identity(self._here), [name])]
        try:
            while self._step():
                pass
        except OSError as error:  # the tree is changed under us, or the disk fails
            self._note(error)
        finally:
            os.close(self._here)

    def _step(self) -> bool:
        """Go down one folder, look for more, or go up one; False at the end."""
        level = self._levels[-1]
        if level.folders:
            self._enter(level.folders.pop())
        elif len(self._levels) == 1:
            return False
        elif not self._look():
            self._leave()
        return True

    def _enter(self, name: str) -> None:
        """Go down into a folder; whatever else bears the name is removed."""
        with self._passed_over(name):
            if not stat.S_ISDIR(os.stat(name, dir_fd=self._here, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=self._here)
                return
            inner = _opened(name, self._here)
            os.close(self._here)
            self._here = inner
            self._levels.append(_Level(name, _identity(inner)))

    def _look(self) -> bool:
        """Remove the files of this folder and note its next folders; whether there was anything."""
        level, found = self._levels[-1], False
        with os.scandir(self._here) as entries:
            for entry in entries:
                if entry.name in level.stuck:
                    continue
                if len(level.folders) >= _AT_ONCE:
                    break
                found = True
                self._count()
                with self._passed_over(entry.name):
                    if entry.is_dir(follow_symlinks=False):
                        level.folders.append(entry.name)
                    else:
                        os.unlink(entry.name, dir_fd=self._here)
        return found and len(level.stuck) <= _MOST_STUCK

    def _count(self) -> None:
        self._seen += 1
        if self._seen > _MOST_NAMES:
            raise OSError(errno.EBUSY, "it is being written while it is removed")

    def _leave(self) -> None:
        """Go up, and remove the folder that is empty now."""
        above = os.open("..", _FOLDER, dir_fd=self._here)
        os.close(self._here)
        self._here = above
        left = self._levels.pop()
        if _identity(above) != self._levels[-1].identity:
            raise OSError(errno.EBUSY, "a folder was moved while it was being removed")
        with self._passed_over(left.name):
            os.rmdir(left.name, dir_fd=self._here)

    @contextlib.contextmanager
    def _passed_over(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass  # another was first
        except OSError as error:
            self._note(error)
            self._levels[-1].stuck.add(name)

    def _note(self, error: OSError) -> None:
        self.problem = self.problem or error


def _identity(folder: int) -> Identity:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino


def _opened(name: str, parent: int) -> int:
    """A descriptor of a folder that we may read, enter and empty, as far as its owner may."""
    try:
        opened = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        _unlock(name, parent)
        opened = os.open(name, _FOLDER, dir_fd=parent)
    try:
        if os.fstat(opened).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            with contextlib.suppress(PermissionError):  # another user's: perhaps it is empty
                os.fchmod(opened, stat.S_IRWXU)
        os.stat("..", dir_fd=opened)  # the way back
    except OSError:
        os.close(opened)
        raise
    return opened


def _unlock(name: str, parent: int) -> None:
    """Make a folder readable that cannot be opened; a link in its place is not followed."""
    if not _HANDLE:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent, follow_symlinks=False)
        return
    handle = os.open(name, _HANDLE | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{handle}").chmod(stat.S_IRWXU)
    finally:
        os.close(handle)
