"""What the commits of a git repository hold: files by their contents, read by one process.

    with GitContents(root) as git:
        git.file(tree, "baselines/padim/entry.toml")      bytes, or None
        git.listing(tree, ["baselines/kit"])              SHA-256 of every source file below it

Hashes are taken over the contents themselves: git's own are SHA-1 in most repositories, and two
contents can be made that share one. Trap: `git replace` and a partial clone can put other
contents in an object's place, or ask the network for it; both are switched off.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.common.source_files import LEFT_OUT, MAX_DEPTH

_FOLDER, _FILES = "40000", ("100644", "100755")  # modes of git
_SECONDS = 120.0
_ENVIRONMENT = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}


class GitUnusable(Exception):
    """git is not there, or cannot tell; the message says why, in its own words."""


@dataclass(frozen=True)
class Commit:
    """One commit, and what it holds."""

    id: str
    """Its hash."""
    tree: str
    """Hash of its root folder."""


@dataclass(frozen=True)
class _Item:
    """One name in a folder."""

    mode: str
    id: str


@dataclass
class Known:
    """What was read before; contents never change under a hash, so it holds for good."""

    trees: dict[str, dict[str, _Item]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    listings: dict[str, dict[str, str] | None] = field(default_factory=dict)


class GitContents:
    """Reads objects of one repository.

    Args:
        root: the repository.
        known: what an earlier reader of the same repository knows, to be gone on with.
    """

    def __init__(self, root: Path, known: Known | None = None) -> None:
        self._root = root
        self._known = known or Known()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["git", "-C", str(self._root), "cat-file", "--batch"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | _ENVIRONMENT,
        )  # fmt: skip
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def file(self, tree: str, path: str) -> bytes | None:
        """The content of a regular file below a root folder; None where there is none."""
        found = self._find(tree, path)
        return self._read(found.id, b"blob") if found and found.mode in _FILES else None

    def files(self, tree: str, path: str) -> list[str]:
        """The names of a folder's own files; none where it is not there."""
        found = self._find(tree, path)
        items = self._items(found.id) if found and found.mode == _FOLDER else {}
        return sorted(name for name, item in items.items() if item.mode in _FILES)

    def ids(self, tree: str, paths: Iterable[str]) -> tuple[str | None, ...]:
        """The hash of each file or folder as git has it; None where it is not there."""
        found = [self._find(tree, path) for path in paths]
        return tuple(item.id if item else None for item in found)

    def listing(self, tree: str, paths: Iterable[str], *, base: str = "") -> dict[str, str] | None:
        """SHA-256 (hex) of the source files at and below these paths, by relative path.

        Args:
            tree: root folder of a commit.
            paths: files and folders.
            base: folder to which the told paths are relative.
        Returns:
            None where a path is not there, or holds what is no plain file.
        """
        told: dict[str, str] = {}
        for path in paths:
            found = self._find(tree, path)
            below = self._below(found) if found else None
            if below is None:
                return None
            prefix = path.removeprefix(base).lstrip("/")
            told |= {"/".join(filter(None, (prefix, name))): value for name, value in below.items()}
        return told

    def _below(self, item: _Item, depth: int = 0) -> dict[str, str] | None:
        """The source files at ("" is its name) or below an item; None for links and the like."""
        if item.mode in _FILES:
            return {"": self._sha256(item.id)}
        if item.mode != _FOLDER or depth > MAX_DEPTH:
            return None
        if item.id not in self._known.listings:
            self._known.listings[item.id] = self._gathered(item, depth)
        return self._known.listings[item.id]

    def _gathered(self, folder: _Item, depth: int) -> dict[str, str] | None:
        told: dict[str, str] = {}
        for name, item in self._items(folder.id).items():
            below = {} if name in LEFT_OUT else self._below(item, depth + 1)
            if below is None:
                return None
            told |= {f"{name}/{at}" if at else name: value for at, value in below.items()}
        return told

    def _find(self, tree: str, path: str) -> _Item | None:
        found = _Item(_FOLDER, tree)
        for part in path.split("/"):
            if found.mode != _FOLDER:
                return None
            inner = self._items(found.id).get(part)
            if inner is None:
                return None
            found = inner
        return found

    def _items(self, tree: str) -> Mapping[str, _Item]:
        if tree not in self._known.trees:
            content, items, at = self._read(tree, b"tree") or b"", {}, 0
            width = len(tree) // 2
            while at < len(content):
                start, space, end = at, content.index(b" ", at), content.index(b"\0", at)
                name = content[space + 1 : end].decode("utf-8", "surrogateescape")
                at = end + 1 + width
                items[name] = _Item(content[start:space].decode(), content[end + 1 : at].hex())
            self._known.trees[tree] = items
        return self._known.trees[tree]

    def _sha256(self, blob: str) -> str:
        if blob not in self._known.hashes:
            content = self._read(blob, b"blob")
            # Of what is not there (a partial clone) the hash is that of nothing that exists.
            told = hashlib.sha256(content).hexdigest() if content is not None else "missing"
            self._known.hashes[blob] = told
        return self._known.hashes[blob]

    def _read(self, name: str, kind: bytes) -> bytes | None:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return None
        stdin.write(name.encode() + b"\n")
        stdin.flush()
        _, found, *size = stdout.readline().split() or (b"", b"missing")
        if not size:
            return None
        content = stdout.read(int(size[0]) + 1)[:-1]
        return content if found == kind else None


def resolve(root: Path, revision: str) -> str:
    """The commit that a revision names.

    Raises:
        GitUnusable: none, or git is not there.
    """
    wanted = ("--verify", "--end-of-options", f"{revision}^{{commit}}")
    return _told(root, "rev-parse", *wanted).strip()


def history(root: Path, commit: str) -> list[Commit]:
    """A commit and all that it goes back to, newest first.

    Raises:
        GitUnusable: git cannot tell.
    """
    lines = _told(root, "log", "--format=%H %T", commit, "--").splitlines()
    return [Commit(*line.split()) for line in lines]


def _told(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, check=True, timeout=_SECONDS,
            env=os.environ | _ENVIRONMENT,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        first = next(iter(error.stderr.splitlines()), "").removeprefix("fatal: ")
        is_unknown = "Needed a single revision" in first
        raise GitUnusable("git knows no such revision" if is_unknown else first) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise GitUnusable(f"git cannot be run: {error}") from error
    return done.stdout
