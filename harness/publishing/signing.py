"""Keys and signatures: ed25519, by the package `cryptography`.

    private key    one file of the maintainer's (PEM, PKCS 8), readable by its owner alone
    public keys    leaderboard/keys/<name>.pem, in the repository

Trap: a private key that others can read has to be taken for theirs; it is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import KeyUnusable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE_BYTES = 64
OTHERS = stat.S_IRWXG | stat.S_IRWXO
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Signer:
    """A maintainer's private key."""

    key: Ed25519PrivateKey
    """The key itself."""
    id: str
    """Id of its public half."""

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return bytes(self.key.sign(message))


@dataclass(frozen=True)
class Verifier:
    """A maintainer's public key."""

    name: str
    """Whose it is: the name of its file."""
    key: Ed25519PublicKey
    """The key itself."""
    id: str
    """`ed25519:` and the hash of its 32 bytes."""

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature was made with the private half over exactly this message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def generate_key(path: Path, public: Path) -> str:
    """Make a new pair of keys; returns the public key's id.

    Args:
        path: file of the private key; must not be there.
        public: file of the public key; must not be there.
    Raises:
        KeyUnusable: a file is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not NAME.fullmatch(public.stem):
        raise KeyUnusable(
            f"{public.stem!r} is not a name for a key",
            fix="use lower-case letters, digits, '.', '_' and '-'",
        )
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    told = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if public.exists():
        raise KeyUnusable("the file exists already and is not overwritten", where=str(public))
    _write_new(path, secret, mode=0o600)
    _write_new(public, told, mode=0o644)
    return _id(key.public_key())


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise KeyUnusable(
            "the file exists already and is not overwritten", where=str(path)
        ) from error
    except OSError as error:
        raise KeyUnusable(
            f"the key cannot be written: {error.strerror}", where=str(path)
        ) from error


def read_private(path: Path) -> Signer:
    """A private key from its file.

    Raises:
        KeyUnusable: not there, no such key, not the caller's own, or readable by others.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(64 * 1024)
    except OSError as error:
        raise KeyUnusable(
            f"the private key cannot be read: {error.strerror}",
            where=str(path),
            fix="python -m harness.bundle key FILE makes a pair of keys",
        ) from error
    if found.st_uid != os.geteuid() or found.st_mode & OTHERS:
        raise KeyUnusable(
            "others may read or write the private key",
            where=str(path),
            fix=f"chmod 600 {path}; make a new key if somebody may have read it",
        )
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise KeyUnusable(
            "the file holds no private key without a password", where=str(path)
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable("the private key is not of the kind ed25519", where=str(path))
    return Signer(key, _id(key.public_key()))


def read_public(path: Path) -> Verifier:
    """A public key from its file.

    Raises:
        KeyUnusable: not there, or no such key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KeyUnusable(
            f"the public key cannot be read: {error.strerror}", where=str(path)
        ) from error
    return verifier_of(content, path.stem, where=str(path))


def verifier_of(content: bytes, name: str, *, where: str) -> Verifier:
    """A public key from the content of its file.

    Raises:
        KeyUnusable: it is no such key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(content)
    except ValueError as error:
        raise KeyUnusable("the file holds no public key", where=where) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable("the public key is not of the kind ed25519", where=where)
    return Verifier(name, key, _id(key))


def trusted(place: Path) -> dict[str, Verifier]:
    """The public keys of a folder, or of one file, by id.

    Raises:
        KeyUnusable: a file is no public key.
    """
    paths = sorted(place.glob("*.pem")) if place.is_dir() else [place]
    return {found.id: found for found in map(read_public, paths)}


def _id(key: Ed25519PublicKey) -> str:
    return "ed25519:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()
