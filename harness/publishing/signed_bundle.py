"""Bundles: one run's record with its evidence in one signed file, in which no byte can change unseen.

    manifest.json    format, run, key, and the name, size and SHA-256 of every part
    signature        64 bytes: ed25519 over manifest.json
    record.json      the record; of a hidden pack its public form
    evidence.npz     histograms and scores (open packs alone)

A bundle is a plain zip, stored, that any program opens. Trap: a zip has bytes that nobody
reads (dates, attributes, a second directory). So a bundle has one way only in which its
content can be written, and it is compared with that, byte for byte.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.common.errors import BundleBroken
from harness.common.json_text import parse_json
from harness.publishing.signing import SIGNATURE_BYTES, Signer, Verifier
from harness.records.record import canonical_json

BUNDLE_FORMAT = "bmad-bundle-1"
SUFFIX = ".bundle.zip"
MANIFEST, SIGNATURE, RECORD, EVIDENCE = "manifest.json", "signature", "record.json", "evidence.npz"
SIGNED_PARTS = (RECORD, EVIDENCE)
PARTS = (MANIFEST, SIGNATURE, *SIGNED_PARTS)
MAX_BUNDLE_BYTES = 1024**3

# PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16; the first of January 1980.
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_DATE = (1 << 5) | 1
_MODE = 0o100644 << 16


@dataclass(frozen=True)
class Bundle:
    """The parts of a bundle whose signature and hashes were checked."""

    run: str
    """benchmark/entry/seed-n."""
    signer: str
    """Name of the key that signed it."""
    key: str
    """Id of that key."""
    record: bytes
    """The record's file."""
    evidence: bytes | None
    """The evidence's file."""


def seal(run: str, parts: Mapping[str, bytes], signer: Signer) -> bytes:
    """A bundle's bytes: the same content and key give the same bytes.

    Args:
        run: benchmark/entry/seed-n.
        parts: `record.json`, and `evidence.npz` where it may leave the machine.
        signer: who signs.
    """
    signed = [(name, parts[name]) for name in SIGNED_PARTS if name in parts]
    manifest = canonical_json(
        {
            "format": BUNDLE_FORMAT,
            "run": run,
            "key": signer.id,
            "parts": [
                {"name": name, "size": len(content), "sha256": _sha256(content)}
                for name, content in signed
            ],
        }
    )
    return _packed([(MANIFEST, manifest), (SIGNATURE, signer.sign(manifest)), *signed])


def unseal(content: bytes, keys: Mapping[str, Verifier], *, where: str) -> Bundle:
    """The parts of a bundle, if every byte is as it was signed.

    Args:
        content: the file.
        keys: public keys that are trusted, by id.
        where: the file's name, for messages.
    Raises:
        BundleBroken: a byte differs, the signature does not fit, or the key is not known.
    """
    parts = _parts_of(content, where)
    manifest = _manifest(parts[MANIFEST], where)
    key = keys.get(manifest["key"])
    if key is None:
        raise BundleBroken(
            where,
            [f"{MANIFEST}: it was signed with the key {manifest['key']}, which is not trusted"],
        )
    if not key.accepts(parts[SIGNATURE], parts[MANIFEST]):
        raise BundleBroken(
            where, [f"{SIGNATURE}: it was not made over this {MANIFEST} by {key.name}"]
        )
    _check_parts(manifest, parts, where)
    return Bundle(manifest["run"], key.name, key.id, parts[RECORD], parts.get(EVIDENCE))


def _manifest(content: bytes, where: str) -> dict[str, Any]:
    try:
        manifest = parse_json(content)
        is_ours = canonical_json(manifest) == content and manifest["format"] == BUNDLE_FORMAT
        shapes = [(part["name"], part["size"], part["sha256"]) for part in manifest["parts"]]
        texts = (manifest["run"], manifest["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleBroken(where, [f"{MANIFEST}: it is none ({type(error).__name__})"]) from error
    if not is_ours or set(manifest) != {"format", "run", "key", "parts"} or not shapes:
        raise BundleBroken(where, [f"{MANIFEST}: it is not of the format {BUNDLE_FORMAT}"])
    if not all(isinstance(text, str) for text in texts):
        raise BundleBroken(where, [f"{MANIFEST}: run and key must be texts"])
    return dict(manifest)


def _check_parts(manifest: Mapping[str, Any], parts: Mapping[str, bytes], where: str) -> None:
    listed = {part["name"]: part for part in manifest["parts"]}
    there = set(parts) - {MANIFEST, SIGNATURE}
    problems = [f"{name}: it is signed and not there" for name in sorted(set(listed) - there)]
    problems += [f"{name}: it is there and not signed" for name in sorted(there - set(listed))]
    problems += [
        f"{name}: it is not the one that was signed"
        for name, part in listed.items()
        if name in there
        and (part["size"], part["sha256"]) != (len(parts[name]), _sha256(parts[name]))
    ]
    if problems:
        raise BundleBroken(where, problems)


def _packed(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """The one zip that holds these parts."""
    body, directory, count = b"", b"", 0
    for name, content in parts:
        crc, size, text = zlib.crc32(content), len(content), name.encode()
        head = (20, 0, 0, 0, _DATE, crc, size, size, len(text), 0)
        directory += _CENTRAL.pack(
            b"PK\x01\x02", 0x0314, *head, 0, 0, 0, _MODE, len(body)
        ) + text  # fmt: skip
        body += _LOCAL.pack(b"PK\x03\x04", *head) + text + content
        count += 1
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


def _parts_of(content: bytes, where: str) -> dict[str, bytes]:
    """The parts by name, if the file is the one zip that holds them.

    The headers before the parts and the directory behind them say the same: where one of the
    two was changed, the other still tells what the file was.
    """
    found = _by_headers(content) or _by_directory(content)
    if found is None:
        raise BundleBroken(where, ["the file is no bundle, or changed in several places"])
    parts = [(name, content[start:end]) for name, start, end in found]
    wanted = _packed(parts)
    if wanted != content:
        raise BundleBroken(where, [_difference(content, wanted, found)])
    return dict(parts)


_Found = Sequence[tuple[str, int, int]]


def _by_headers(content: bytes) -> _Found | None:
    """Name, start and end of each part by the headers before them."""
    found, at = [], 0
    while content[at : at + 4] == b"PK\x03\x04" and at + _LOCAL.size <= len(content):
        *_, size, length, _extra = _LOCAL.unpack_from(content, at)
        start = at + _LOCAL.size + length
        name = content[at + _LOCAL.size : start]
        found.append((name, start, start + size))
        at = start + size
    directory = sum(_CENTRAL.size + len(name) for name, _, _ in found)
    return _acceptable(found) if at + directory + _END.size == len(content) else None


def _by_directory(content: bytes) -> _Found | None:
    """The same by the directory behind them."""
    directory = sum(_CENTRAL.size + len(name) for name in PARTS)
    for missing in (0, _CENTRAL.size + len(EVIDENCE)):
        at = len(content) - _END.size - directory + missing
        found = []
        while at >= 0 and content[at : at + 4] == b"PK\x01\x02":
            fields = _CENTRAL.unpack_from(content, at)
            size, length, offset = fields[9], fields[10], fields[16]
            name = content[at + _CENTRAL.size : at + _CENTRAL.size + length]
            start = offset + _LOCAL.size + length
            found.append((name, start, start + size))
            at += _CENTRAL.size + length
        if (parts := _acceptable(found)) is not None and at + _END.size == len(content):
            return parts
    return None


def _acceptable(found: Sequence[tuple[bytes, int, int]]) -> _Found | None:
    """The parts, if they are the ones of a bundle in their order, one behind the other."""
    names = [name.decode("latin-1") for name, _, _ in found]
    if names not in ([*PARTS], [*PARTS[:-1]]):
        return None
    at = 0
    for name, start, end in found:
        if start != at + _LOCAL.size + len(name) or end < start:
            return None
        at = end
    sizes = {name: end - start for name, (_, start, end) in zip(names, found, strict=True)}
    if sizes[SIGNATURE] != SIGNATURE_BYTES or at > MAX_BUNDLE_BYTES:
        return None
    return [(name, start, end) for name, (_, start, end) in zip(names, found, strict=True)]


def _difference(content: bytes, wanted: bytes, found: _Found) -> str:
    """Where the file differs from the one zip of its parts, in words that name the part."""
    at = next(
        (n for n, (a, b) in enumerate(zip(content, wanted, strict=False)) if a != b),
        min(len(content), len(wanted)),
    )
    header = 0
    for name, start, end in found:
        if header <= at < start:
            crc = header + 14
            both = content[crc : crc + 4], _directory_crc(content, found, name)
            if crc <= at < crc + 4 and both[0] == both[1]:
                return f"{name}: its content was changed"
            return f"{name}: byte {at} of the file, in the header before it, was changed"
        header = end
    return f"the directory at the end of the file: byte {at} was changed"


def _directory_crc(content: bytes, found: _Found, name: str) -> bytes:
    """The checksum of a part as the directory has it."""
    at = found[-1][2]
    for each, _, _ in found:
        if each == name:
            return content[at + 16 : at + 20]
        at += _CENTRAL.size + len(each)
    return b""


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
