"""What was reviewed: what stands, or stood, in the protected branch.

    reviewed = protected_branch()                     origin/main, or what $BMAD_REVIEWED_BRANCH names
    reviewed.find_folder(program.source, "padim")     the committed folder of these contents, or None
    reviewed.find_submission("mine")                  the merged submission of this name, or None

A source folder is reviewed where its own files and all that is delivered into its image (kit,
contract, Dockerfile, lock file) are those of one commit that the branch goes back to. Contents
count and no commit's name, so a squashed or rebased merge does no harm; and one commit holds them
all, since an old kit under a new folder was looked at by nobody.

Trap: a record says itself of which sources it was made. Whoever asks here recomputes the identity
from what git holds; what the record says is where to look, and never the proof.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from harness.common.errors import EntryInvalid, UsageError
from harness.common.git_contents import (
    Commit,
    GitContents,
    GitUnusable,
    Known,
    history,
    resolve,
)
from harness.common.paths import REPOSITORY
from harness.common.source_files import SHARED_SOURCES
from harness.common.toml_text import BadToml, parse_toml
from harness.entries.campaign_grid import CAMPAIGNS, Campaign, campaign_of
from harness.entries.entry import Entry, EntryTable, SubmissionTable, parse, supervision_of
from harness.entries.identity import (
    ENTRY_FILE,
    Digests,
    identity_of,
    list_contents,
    method_of,
    shared_sources,
)

BRANCH_VARIABLE = "BMAD_REVIEWED_BRANCH"
DEFAULT_BRANCH = "origin/main"
FOLDERS = ("baselines", "submissions")
SUBMISSION_FILES = "submissions"


@dataclass(frozen=True)
class ReviewedFolder:
    """A source folder as a commit of the protected branch holds it."""

    entry: Entry
    """What its entry.toml says: the committed settings."""
    commit: str
    """That commit."""
    path: str
    """Where the folder lies in it."""
    method: str
    """Hash of what it does, whatever it calls itself."""


class Reviewed(ABC):
    """What was reviewed, for whoever asks."""

    branch: str
    """What it is called in messages."""
    why: str = ""
    """Why nothing is reviewed at all; empty where something can be."""

    @abstractmethod
    def find_folder(
        self, source: str, name: str, commit: str | None = None
    ) -> ReviewedFolder | None:
        """The reviewed folder of this identity.

        Args:
            source: identity of the folder and of what it stands on (`folder_identity`).
            name: the folder's own name.
            commit: where to look first; its name proves nothing.
        """

    @abstractmethod
    def find_submission(self, name: str) -> Entry | None:
        """The submission of this name that was merged, as its file says."""

    @abstractmethod
    def campaigns(self) -> tuple[Campaign, ...]:
        """The campaigns that are committed."""

    def file(self, path: str) -> bytes | None:  # noqa: ARG002 - only a branch has files
        """A file of the branch as it is now; None where it has none of this path."""
        return None

    @abstractmethod
    def missing(self, folder: Path) -> str:
        """What keeps a folder here from being reviewed, in one sentence."""


@dataclass(frozen=True)
class ReviewedSet(Reviewed):
    """What is told here, and nothing else."""

    folders: Mapping[str, ReviewedFolder] = field(default_factory=dict)
    """By identity."""
    submissions: Mapping[str, Entry] = field(default_factory=dict)
    """By name."""
    committed: tuple[Campaign, ...] = ()
    """Campaigns."""
    why: str = ""
    branch: str = "what was reviewed"

    def find_folder(
        self,
        source: str,
        name: str,  # noqa: ARG002 - contents alone tell
        commit: str | None = None,  # noqa: ARG002
    ) -> ReviewedFolder | None:
        """See `Reviewed`."""
        return self.folders.get(source)

    def find_submission(self, name: str) -> Entry | None:
        """See `Reviewed`."""
        return self.submissions.get(name)

    def campaigns(self) -> tuple[Campaign, ...]:
        """See `Reviewed`."""
        return self.committed

    def missing(self, folder: Path) -> str:  # noqa: ARG002 - it is the same for all
        """See `Reviewed`."""
        return self.why or f"it is not in {self.branch}"


NOTHING_REVIEWED = ReviewedSet(why="nothing was told of what is reviewed")


def protected_branch(branch: str | None = None, *, root: Path = REPOSITORY) -> Reviewed:
    """What a branch of a repository holds; nothing, with the reason, where git cannot tell.

    Args:
        branch: a revision; None is what $BMAD_REVIEWED_BRANCH names, else `origin/main`.
        root: the repository.
    """
    name = branch or os.environ.get(BRANCH_VARIABLE) or DEFAULT_BRANCH
    if not (root / ".git").exists():
        return ReviewedSet(
            why="this harness is in no git repository, so nobody can tell", branch=name
        )
    try:
        return _branch_at(root, name, resolve(root, name))
    except GitUnusable as error:
        why = f"there is no branch {name} here ({error}); --reviewed-branch names another"
        return ReviewedSet(why=why, branch=name)


@lru_cache(maxsize=4)
def _branch_at(root: Path, name: str, commit: str) -> ProtectedBranch:
    return ProtectedBranch(root, name, commit)


class ProtectedBranch(Reviewed):
    """A branch of a git repository, read where it is asked of.

    Args:
        root: the repository.
        branch: what it is called.
        tip: its commit.
    """

    def __init__(self, root: Path, branch: str, tip: str) -> None:
        self.branch = branch
        self._root = root
        self._known = Known()
        self._history: list[Commit] = history(root, tip)
        self._found: dict[tuple[str, str], ReviewedFolder | None] = {}

    def find_folder(
        self, source: str, name: str, commit: str | None = None
    ) -> ReviewedFolder | None:
        """See `Reviewed`."""
        if (source, name) not in self._found:
            with self._contents() as git:
                self._found[source, name] = self._look(git, source, name, commit)
        return self._found[source, name]

    def find_submission(self, name: str) -> Entry | None:
        """See `Reviewed`: as the branch has it now."""
        with self._contents() as git:
            content = git.file(self._tip.tree, f"{SUBMISSION_FILES}/{name}.toml")
        document = _document(content)
        if document is None:
            return None
        where = f"{SUBMISSION_FILES}/{name}.toml"
        try:
            table = parse(SubmissionTable, document.get("entry", {}), where)
            declared = supervision_of(document, where)
        except EntryInvalid:
            return None
        return Entry("submission", table, where, document=document, supervision=declared)

    def campaigns(self) -> tuple[Campaign, ...]:
        """See `Reviewed`: those that the branch has now."""
        found = []
        with self._contents() as git:
            for name in git.files(self._tip.tree, CAMPAIGNS):
                document = _document(git.file(self._tip.tree, f"{CAMPAIGNS}/{name}"))
                try:
                    found.append(campaign_of(document or {}, where=name))
                except UsageError:
                    continue
        return tuple(found)

    def file(self, path: str) -> bytes | None:
        """See `Reviewed`."""
        with self._contents() as git:
            return git.file(self._tip.tree, path)

    def missing(self, folder: Path) -> str:
        """See `Reviewed`: the first file that differs from the branch as it is now."""
        name, own = folder.resolve().name, list_contents([folder], base=folder)
        with self._contents() as git:
            for place in FOLDERS:
                theirs = git.listing(self._tip.tree, [f"{place}/{name}"], base=f"{place}/{name}")
                if theirs is not None:
                    differs = _first_difference(own, theirs, prefix=f"{place}/{name}/")
                    break
            else:
                return f"no folder {name} is in {self.branch}"
            shared = git.listing(self._tip.tree, SHARED_SOURCES) or {}
        differs = differs or _first_difference(shared_sources(), shared)
        if differs is None:
            return f"it is not as in {self.branch}"
        return f"{differs} is not as in {self.branch}, nor all together in a commit before"

    @property
    def _tip(self) -> Commit:
        return self._history[0]

    def _contents(self) -> GitContents:
        return GitContents(self._root, self._known)

    def _look(
        self, git: GitContents, source: str, name: str, first: str | None
    ) -> ReviewedFolder | None:
        # A commit is told apart by what it holds of these alone; most hold the same.
        paths = [f"{place}/{name}" for place in FOLDERS]
        seen: set[tuple[str | None, ...]] = set()
        for commit in sorted(self._history, key=lambda each: each.id != first):
            held = git.ids(commit.tree, (*SHARED_SOURCES, *paths))
            if held in seen:
                continue
            seen.add(held)
            shared = git.listing(commit.tree, SHARED_SOURCES)
            for path in paths if shared is not None else ():
                own = git.listing(commit.tree, [path], base=path)
                if own and shared and identity_of(own, shared) == source:
                    content = git.file(commit.tree, f"{path}/{ENTRY_FILE}")
                    return _folder(own, content, commit.id, path)
        return None


def _folder(own: Digests, content: bytes | None, commit: str, path: str) -> ReviewedFolder | None:
    document = _document(content)
    if document is None:
        return None
    try:
        table = parse(EntryTable, document.get("entry", {}), path)
        declared = supervision_of(document, path)
    except EntryInvalid:
        return None
    entry = Entry(
        "folder", table, path, document=document, folder_name=path.rpartition("/")[2],
        supervision=declared,
    )  # fmt: skip
    return ReviewedFolder(entry, commit, path, method_of(own, document))


def _document(content: bytes | None) -> dict[str, object] | None:
    if content is None:
        return None
    try:
        return parse_toml(content.decode("utf-8"))
    except (BadToml, UnicodeDecodeError):
        return None


def _first_difference(ours: Digests, theirs: Digests, prefix: str = "") -> str | None:
    """The first file that is not the same in both."""
    names = sorted(ours.keys() | theirs.keys())
    return next((prefix + name for name in names if ours.get(name) != theirs.get(name)), None)
