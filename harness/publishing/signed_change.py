"""A maintainer's signature over a change: made outside of it, and verified with the base's keys alone.

    python -m harness.publish sign --base origin/main --key KEY --out change.sig
    python -m harness.publish check --base origin/main --signature change.sig

What is signed is where the change forks off its base, and by SHA-256 the content of each file that
it adds, changes or removes: of none of them can a byte change, and no other file can be added. The
file is handed to CI beside the change (docs/maintaining.md). Trap: a key that comes with the change
is the change's own word for itself; the keys are read from the base's commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from harness.common.errors import KeyUnusable, UsageError
from harness.common.git_contents import GitContents, GitUnusable, history, resolve
from harness.publishing.signing import SIGNATURE_BYTES, Signer, Verifier, verifier_of
from harness.records.record import canonical_json

CHANGE_FORMAT = "bmad-change-1"


def change_message(repository: Path, fork: str, paths: Iterable[str]) -> bytes:
    """What is signed: equal bytes for equal changes of equal states.

    Args:
        repository: the checkout with the change.
        fork: commit at which it leaves its base.
        paths: the files that it adds, changes or removes.
    Raises:
        UsageError: one of them is no regular file.
    """
    files = {path: _file_hash(repository / path) for path in sorted(paths)}
    return canonical_json({"format": CHANGE_FORMAT, "fork": fork, "files": files})


def _file_hash(path: Path) -> str | None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError("it is no regular file, and cannot be signed", where=str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def sign_change(signer: Signer, message: bytes) -> str:
    """The content of a signature's file: the key's id and the signature, on one line."""
    return f"{signer.id} {signer.sign(message).hex()}\n"


def who_signed(text: str, message: bytes, keys: Mapping[str, Verifier]) -> str:
    """The name of the key that signed exactly this change.

    Args:
        text: content of the signature's file.
        message: `change_message` of the change.
        keys: those of the base (`keys_at`), by id.
    Raises:
        UsageError: the file is no signature, its key is not the base's, or the change is another.
    """
    key, _, told = text.strip().partition(" ")
    try:
        signature = bytes.fromhex(told)
    except ValueError:
        signature = b""
    if len(signature) != SIGNATURE_BYTES:
        raise UsageError("the file holds no signature of a change", where="--signature")
    if key not in keys:
        raise UsageError(f"no key of the base has the id {key[:80]!r}", where="--signature")
    if not keys[key].accepts(signature, message):
        raise UsageError(
            f"{keys[key].name} did not sign this change as it is here",
            where="--signature",
            fix="python -m harness.publish sign, on the same files and the same base",
        )
    return keys[key].name


def keys_at(repository: Path, revision: str, folder: PurePosixPath) -> dict[str, Verifier]:
    """The public keys that a commit holds, by id; whatever is there that is none counts not.

    Raises:
        UsageError: git cannot tell.
    """
    found = {}
    try:
        tip = history(repository, resolve(repository, revision))[0]
    except GitUnusable as error:
        raise UsageError(f"git cannot read {revision!r}: {error}", where=str(repository)) from error
    with GitContents(repository) as git:
        for name in git.files(tip.tree, str(folder)):
            path = folder / name
            content = git.file(tip.tree, str(path))
            if path.suffix != ".pem" or content is None:
                continue
            try:
                key = verifier_of(content, path.stem, where=str(path))
            except KeyUnusable:
                continue
            found[key.id] = key
    return found
