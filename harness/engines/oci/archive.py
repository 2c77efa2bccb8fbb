"""An image archive (`docker save`) of a stranger's: looked at in bounded memory, before anything unpacks it.

Traps:
- Layers may be compressed and sparse, and hold names without number or end: bytes, names and
  headers of all layers are added up before the load (tar_headers.py).
- An archive may carry tags and manifests of its own: what is handed on is a new archive of its
  configuration and its layers alone (`ArchivedImage.tar_stream`).
- Who unpacks it may not compare the layers with the hashes that the configuration gives, and the
  configuration's own hash is the image's identity: `check_layers` does.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import posixpath
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from harness.common.errors import EntryInvalid
from harness.common.foreign_text import one_line
from harness.common.json_text import BadJson, parse_json
from harness.engines.oci.tar_headers import BadTar, Member, Window, members

MAX_MEMBERS = 10_000  # of the archive itself
MAX_LAYERS = 127  # as many as an engine stacks
MAX_LAYER_NAMES = 150_000  # files and folders of all layers; torch, CUDA and Debian are 60,000
MAX_UNPACKED_BYTES = 64 * 1024**3
MAX_MANIFEST_BYTES = 1024**2
_CHUNK = 1 << 20
# Their dictionaries alone may be larger than what the measuring may take.
_UNMEASURED = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}


@dataclass(frozen=True)
class ArchivedImage:
    """The one image of an archive that is open, measured and within the bounds."""

    path: Path
    """Of the archive, for messages."""
    config: bytes
    """The image's configuration (OCI image specification, «Image Configuration»)."""
    content: dict[str, Any]
    """What the configuration says."""
    layers: tuple[tuple[int, IO[bytes]], ...]
    """Size and content of each layer, from the first; readable while the archive is open."""

    @property
    def image_id(self) -> str:
        """`sha256:…` of the configuration: the image's id in a Docker engine."""
        return "sha256:" + hashlib.sha256(self.config).hexdigest()

    def inspected(self) -> dict[str, Any]:
        """The configuration in the words of a Docker engine's inspection, as `vetting` reads it."""
        config, rootfs = self.content.get("config"), self.content.get("rootfs")
        return {
            "Id": self.image_id,
            "Architecture": self.content.get("architecture"),
            "Os": self.content.get("os"),
            "Config": config if isinstance(config, dict) else {},
            "RootFS": {"Layers": rootfs.get("diff_ids") if isinstance(rootfs, dict) else None},
        }

    def check_layers(self) -> None:
        """Compare each layer, unpacked, with the hash that the configuration gives.

        Raises:
            EntryInvalid: they differ in number or in content.
        """
        told = self.inspected()["RootFS"]["Layers"]
        if not isinstance(told, list) or len(told) != len(self.layers):
            refuse(self.path, "its configuration names other layers than it holds")
        for wanted, (_, opened) in zip(told, self.layers, strict=True):
            found = hashlib.sha256()
            with _plain_layer(self.path, opened) as plain:
                while piece := plain.read(_CHUNK):
                    found.update(piece)
            opened.seek(0)
            if wanted != f"sha256:{found.hexdigest()}":
                refuse(self.path, f"a layer is not the {one_line(wanted)} of its configuration")

    def tar_stream(self, name: str) -> Iterator[bytes]:
        """A new archive of the image, piece by piece: a large image needs no second file.

        Args:
            name: the tag that the image has in it.
        """
        parts: list[tuple[str, int, IO[bytes]]] = [
            ("config.json", len(self.config), io.BytesIO(self.config))
        ]
        parts += [
            (f"layer-{number}.tar", size, opened)
            for number, (size, opened) in enumerate(self.layers)
        ]
        names = [part for part, _, _ in parts[1:]]
        own = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": names}]).encode()
        parts.append(("manifest.json", len(own), io.BytesIO(own)))
        for part, size, content in parts:
            entry = tarfile.TarInfo(part)
            entry.size = size
            yield entry.tobuf()
            while piece := content.read(_CHUNK):
                yield piece
            yield b"\0" * (-size % tarfile.BLOCKSIZE)
        yield b"\0" * tarfile.RECORDSIZE


@contextmanager
def opened_image(archive: Path) -> Iterator[ArchivedImage]:
    """The image of an archive that holds exactly one.

    Raises:
        EntryInvalid: the archive is not one, holds more than one image, links that lead
            out of it, or more than may be unpacked.
    """
    with _opened(archive) as source:
        yield _image_of(_Members(source, archive))


@contextmanager
def _opened(archive: Path) -> Iterator[IO[bytes]]:
    """The archive as a seekable file; a compressed one is unpacked first, up to the bound."""
    try:
        with archive.open("rb") as packed, tempfile.TemporaryFile() as plain:
            source: IO[bytes] = packed
            if packed.read(2) == b"\x1f\x8b":
                packed.seek(0)
                for piece in _inflated(packed, archive):
                    plain.write(piece)
                source = plain
            source.seek(0)
            yield source
    except (BadTar, zlib.error, EOFError) as error:
        refuse(archive, f"it is not a tar file: {one_line(error)}")
    except OSError as error:
        refuse(archive, f"it cannot be read: {error.strerror}")


def _inflated(packed: IO[bytes], archive: Path) -> Iterator[bytes]:
    """Pieces of a gzip stream, until its end or the bound."""
    total = 0
    unpacker = zlib.decompressobj(wbits=31)
    while data := packed.read(_CHUNK):
        while data:
            piece = unpacker.decompress(data, _CHUNK)
            total += len(piece)
            if total > MAX_UNPACKED_BYTES:
                refuse(archive, f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
            yield piece
            data = unpacker.unconsumed_tail
            if unpacker.eof:  # gzip members may follow one another
                data, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)


class _Members:
    """A vetted view of an archive: its members by name, and what may still be unpacked."""

    def __init__(self, source: IO[bytes], path: Path) -> None:
        self.path = path
        self._source = source
        self._left = MAX_UNPACKED_BYTES
        self._names_left = MAX_LAYER_NAMES
        self._members: dict[str, Member] = {}
        for count, member in enumerate(members(source), start=1):
            if count > MAX_MEMBERS:
                refuse(path, f"it has more than {MAX_MEMBERS} members")
            self._members[posixpath.normpath(member.name)] = self._vetted(member)

    def _vetted(self, member: Member) -> Member:
        name = posixpath.normpath(member.name)
        if name.startswith(("/", "..")) or member.name.startswith("/"):
            refuse(self.path, f"the member {one_line(member.name)} lies outside of it")
        is_plain = member.is_file or member.kind in (tarfile.DIRTYPE, tarfile.SYMTYPE)
        if not is_plain or member.is_sparse:
            refuse(self.path, f"the member {one_line(member.name)} is neither a file nor a folder")
        self.spend(member.size)
        return member

    def spend(self, nbytes: int) -> None:
        """Count bytes that the engine will write."""
        self._left -= nbytes
        if self._left < 0:
            refuse(self.path, f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")

    def spend_names(self, count: int) -> None:
        """Count files and folders that the engine will make."""
        self._names_left -= count
        if self._names_left < 0:
            refuse(self.path, f"its layers hold more than {MAX_LAYER_NAMES} files and folders")

    def file(self, name: object) -> tuple[Member, IO[bytes]]:
        """A regular member; engines write a layer that comes twice as a link to the first."""
        member = self._members.get(posixpath.normpath(str(name)))
        if member is not None and member.kind == tarfile.SYMTYPE:
            target = posixpath.join(posixpath.dirname(member.name), member.link)
            member = self._members.get(posixpath.normpath(target))
        if member is None or not member.is_file:
            refuse(self.path, f"the file {one_line(name)}, which its manifest names, is not in it")
        return member, io.BufferedReader(Window(self._source, member), _CHUNK)

    def json_file(self, name: object) -> tuple[bytes, Any]:
        """A member that holds JSON: its bytes, and what they say."""
        member, opened = self.file(name)
        if member.size > MAX_MANIFEST_BYTES:
            refuse(self.path, f"{one_line(name)} is larger than {MAX_MANIFEST_BYTES} bytes")
        content = opened.read()
        try:
            return content, parse_json(content)
        except BadJson as error:
            refuse(self.path, f"{one_line(name)} is not JSON: {one_line(error)}")


def _image_of(archive: _Members) -> ArchivedImage:
    """The image of an archive; what its layers unpack to has been added up when this returns."""
    _, manifest = archive.json_file("manifest.json")
    if not isinstance(manifest, list) or len(manifest) != 1:
        count = len(manifest) if isinstance(manifest, list) else "no"
        refuse(archive.path, f"it holds {count} images, and exactly one is wanted")
    image = manifest[0] if isinstance(manifest[0], dict) else {}
    layers = image.get("Layers")
    config, content = archive.json_file(image.get("Config"))
    if not isinstance(layers, list) or not isinstance(content, dict):
        refuse(archive.path, "its manifest names no configuration and layers")
    if len(layers) > MAX_LAYERS:
        refuse(archive.path, f"it has {len(layers)} layers, more than {MAX_LAYERS}")
    found = []
    for layer_name in layers:
        layer, opened = archive.file(layer_name)
        _measure_layer(archive, opened)
        found.append((layer.size, opened))
    return ArchivedImage(archive.path, config, content, tuple(found))


def _measure_layer(archive: _Members, opened: IO[bytes]) -> None:
    """Add up what a layer's files unpack to, and their names."""
    try:
        with _plain_layer(archive.path, opened) as plain:
            known: set[int] = set()
            for member in members(plain):
                archive.spend(member.unpacked)
                archive.spend_names(1 + _new_folders(member.name, known))
            while rest := plain.read(_CHUNK):  # what a compressed layer hides behind its end
                archive.spend(len(rest))
    except BadTar as error:
        refuse(archive.path, f"a layer is not a tar file that can be measured: {error}")
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the archive itself cannot be read
            raise
        refuse(archive.path, "a layer's compression is broken")
    opened.seek(0)


@contextmanager
def _plain_layer(archive: Path, opened: IO[bytes]) -> Iterator[IO[bytes]]:
    """A layer unpacked as it is read; the layer itself stays open."""
    magic = opened.read(6)
    opened.seek(0)
    for begin, kind in _UNMEASURED.items():
        if magic.startswith(begin):
            refuse(archive, f"a layer is compressed with {kind}, which cannot be measured")
    if magic.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=opened) as plain:
            yield plain  # type: ignore[misc]  # its read takes and gives the same
    elif magic.startswith(b"BZh"):
        with bz2.BZ2File(opened) as plain:
            yield plain
    else:
        yield opened


def _new_folders(name: str, known: set[int]) -> int:
    """How many folders above a name appear for the first time; the engine makes them unasked."""
    path = posixpath.normpath("/" + name)
    known.add(hash(path))
    count = 0
    while (path := posixpath.dirname(path)) != "/" and hash(path) not in known:
        known.add(hash(path))
        count += 1
    return count


def refuse(archive: Path, problem: str) -> NoReturn:
    """End with why this archive is not taken.

    Raises:
        EntryInvalid: always.
    """
    raise EntryInvalid(
        f"the image archive cannot be loaded: {problem}",
        where=str(archive),
        fix="make it with: docker save --output archive.tar IMAGE",
    )
