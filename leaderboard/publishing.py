"""Puts a site's files in place: each one whole or not at all, and no others touched.

Every site holds a manifest of its files. Trap: a folder that holds files but no manifest
is somebody else's; nothing is written there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from harness.common.errors import StoreUnusable
from harness.common.json_text import parse_json
from harness.common.room_to_write import access_problem

MANIFEST = "data/manifest.json"


def publish(files: Mapping[str, bytes], out: Path, *, is_made_up: bool = False) -> None:
    """Make `out` hold exactly these files, besides what others have put there since.

    A file whose bytes are right is left alone; files of the last build that are not in
    this one are removed.

    Args:
        files: content by path relative to `out`, with forward slashes.
        out: the site's folder; made when it is missing.
        is_made_up: the site shows example data; it never takes the place of a real one.
    Raises:
        StoreUnusable: the folder holds something else, or cannot be written.
    """
    with _writing_problems(out):
        stale = _listed(out, is_made_up=is_made_up) - set(files)
        out.mkdir(parents=True, exist_ok=True)
        # The manifest goes first: after a kill in between, the next build still knows the files.
        known = {**_digests(files), **dict.fromkeys(stale, "")}
        _write(out / MANIFEST, _manifest(known, is_made_up=is_made_up))
        for path, content in sorted(files.items()):
            _write(out / path, content)
        for path in sorted(stale):
            _remove(out, path)
        _write(out / MANIFEST, _manifest(_digests(files), is_made_up=is_made_up))


def check_target(out: Path, *, is_made_up: bool = False) -> None:
    """See that a site can be written to a folder; nothing is written yet.

    Args:
        out: the site's folder; it may be missing.
        is_made_up: the site will show example data.
    Raises:
        StoreUnusable: the folder holds something else, or may not be written.
    """
    with _writing_problems(out):
        _listed(out, is_made_up=is_made_up)
    if problem := access_problem(out):
        raise StoreUnusable(
            f"the site cannot be written: {problem}",
            where=str(out),
            fix="choose another folder with --out DIR",
        )


def _listed(out: Path, *, is_made_up: bool) -> set[str]:
    """The files of the last build.

    Raises:
        StoreUnusable: the folder holds files and no manifest of ours.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return set()
    try:
        manifest = parse_json((out / MANIFEST).read_bytes())
        listed, was_made_up = manifest["files"], bool(manifest.get("is_made_up"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreUnusable(
            "the folder holds files that are not a site built by this program",
            where=str(out),
            fix="choose a new or empty folder with --out DIR",
        ) from error
    if was_made_up != is_made_up:
        kinds = ("a site of records", "a made-up example")
        raise StoreUnusable(
            f"the folder holds {kinds[was_made_up]}, and {kinds[is_made_up]} is to be written",
            where=str(out),
            fix="choose another folder with --out DIR",
        )
    return {path for path in listed if _is_inside(path)}


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not PurePosixPath(path).is_absolute()


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def _manifest(digests: Mapping[str, str], *, is_made_up: bool) -> bytes:
    content = {"files": digests, "is_made_up": is_made_up}
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, unless it holds these bytes already."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove(out: Path, path: str) -> None:
    """Remove a file of the last build, and the folders that it leaves empty."""
    (out / path).unlink(missing_ok=True)
    for parent in PurePosixPath(path).parents[:-1]:
        with contextlib.suppress(OSError):  # not empty, or gone already
            (out / parent).rmdir()


@contextlib.contextmanager
def _writing_problems(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnusable(
            f"the site cannot be written: {error.strerror}",
            where=str(error.filename or out),
            fix="check permissions and free space, or choose another folder with --out DIR",
        ) from error
