"""Reads a stranger's tar member by member, in bounded memory, and refuses what is ambiguous.

`tarfile` reads the whole of a long name or a pax header into memory before it hands the member
over, follows chains of them by recursion, and keeps every member. Here each header is looked at
before its content is read. The rules are those of the engine's own reader (Go's archive/tar),
so that what is measured is what the engine unpacks; where readers differ, the tar is refused.

Format: POSIX.1-2017, pax, «ustar Interchange Format» and «pax Header Block»; GNU tar manual,
«Basic Tar Format», for long names, base-256 numbers and sparse files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 512
MAX_EXTENSION_BYTES = 1 << 20  # of one long name or pax header; the engine's own bound as well
MAX_EXTENSIONS = 8  # in a row, before the member that they speak of
MAX_SPARSE_BLOCKS = 4096  # of a map of holes: 86,000 of them
MAX_NAME_BYTES = 4096  # the longest path of the kernel
MAX_PART_BYTES = 255  # the longest name of a file
MAX_DEPTH = 128
_CHUNK = 1 << 20
_EXTENSIONS = {b"L", b"K", b"x", b"g"}
_FILES = {b"0", b"\0", b"7", b"S"}
_WITHOUT_CONTENT = {b"1", b"2", b"3", b"4", b"5", b"6"}
_SPARSE_SIZES = ("GNU.sparse.realsize", "GNU.sparse.size")


class BadTar(Exception):
    """The stream is no tar, or one that cannot be measured; its text says why, without names."""


@dataclass(frozen=True)
class Member:
    """One member of a tar."""

    name: str
    """As the archive spells it; bytes that are no UTF-8 are escaped."""
    kind: bytes
    """The header's type flag."""
    size: int
    """Bytes of its content in the stream."""
    unpacked: int
    """Bytes that it takes unpacked, holes included."""
    link: str
    """What a link points to; empty for all else."""
    offset: int
    """Of its content, from the start of the stream."""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind in _FILES

    @property
    def is_sparse(self) -> bool:
        """Whether holes were left out of its content."""
        return self.kind == b"S" or self.unpacked != self.size


def members(stream: IO[bytes]) -> Iterator[Member]:
    """The members of a tar, in order; the stream is read to the tar's end.

    The caller may seek between two members where the stream can.

    Raises:
        BadTar: it is none, or exceeds a bound of this module.
    """
    reader = _Reader(stream)
    while (member := reader.next_member()) is not None:
        yield member


class Window(io.RawIOBase):
    """The content of one member, as a file of its own.

    Args:
        stream: the seekable tar.
        member: of it.
    """

    def __init__(self, stream: IO[bytes], member: Member) -> None:
        self._stream, self._begin, self._size = stream, member.offset, member.size
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted from the start, from here or from the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read at most as much as is left of the member."""
        view = memoryview(buffer)
        self._stream.seek(self._begin + self._at)
        data = self._stream.read(max(0, min(len(view), self._size - self._at)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Reader:
    """Goes through a stream; knows where it is, because a compressed one cannot tell."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._at = 0  # of what was read
        self._until = 0  # where the next header begins
        self._last_byte: int | None = None  # of the member before it

    def next_member(self) -> Member | None:
        """The next member with what the headers before it say of it; None at the tar's end."""
        told: dict[str, str] = {}
        kinds = b""
        for _ in range(MAX_EXTENSIONS + 1):
            block = self._header()
            if block is None:
                if told:
                    raise BadTar("it ends after a header that speaks of another member")
                return None
            kind, size = block[156:157], _number(block[124:136])
            if kind not in _EXTENSIONS:
                return self._member(block, kind, size, told)
            if kind in kinds.replace(b"g", b"") or (kind == b"g" and told):
                raise BadTar("headers of one member contradict one another")
            kinds += kind
            told |= self._extension(kind, size)
        raise BadTar(f"more than {MAX_EXTENSIONS} headers speak of one member")

    def _header(self) -> bytes | None:
        """The next header; None at two blocks of zeros or the stream's end."""
        if self._last_byte is not None:  # a cut file is found here, and not by what reads it
            self._skip_to(self._last_byte)
            if not self._read(1):
                raise BadTar("it is cut")
        self._skip_to(self._until)
        block = self._read(BLOCK)
        if not any(block):
            if any(self._read(BLOCK)):
                raise BadTar("it has an empty header")
            return None
        if len(block) < BLOCK:
            raise BadTar("it is cut")
        if _checksum(block) not in _sums(block):
            raise BadTar("a header has a wrong checksum")
        self._until, self._last_byte = self._at, None
        return block

    def _member(self, block: bytes, kind: bytes, size: int, told: dict[str, str]) -> Member:
        if kind not in _FILES | _WITHOUT_CONTENT:
            raise BadTar("a member is of a kind that cannot be measured")
        size = _decimal(told["size"]) if "size" in told else size
        name = told.get("GNU.sparse.name") or told.get("path") or _plain_name(block)
        _check_name(name)
        if kind == b"\0" and name.endswith("/") and size:
            raise BadTar("a member is a file by its kind and a folder by its name")
        unpacked = max([size, *(_decimal(told[key]) for key in _SPARSE_SIZES if key in told)])
        if kind in _WITHOUT_CONTENT:
            size = unpacked = 0
        if kind == b"S":
            unpacked = max(size, _number(block[483:495]))
            self._skip_sparse_map(has_more=block[482] != 0)
        offset = self._at
        self._until = offset + size + -size % BLOCK
        link = told.get("linkpath") or _text(block[157:257])
        if len(link) > MAX_NAME_BYTES:
            raise BadTar(f"a link is longer than {MAX_NAME_BYTES} bytes")
        self._last_byte = offset + size - 1 if size else None
        return Member(name, kind, size, unpacked, link if kind in b"12" else "", offset)

    def _extension(self, kind: bytes, size: int) -> dict[str, str]:
        """What a long name or a pax header says of the member after it."""
        if size > MAX_EXTENSION_BYTES:
            raise BadTar(f"a header has {size} bytes, more than {MAX_EXTENSION_BYTES}")
        content = self._read(size)
        if len(content) < size:
            raise BadTar("it is cut")
        self._until = self._at + -size % BLOCK
        if kind == b"g":  # of the whole archive: the engine passes it over, and so do we
            return {}
        if kind == b"x":
            return _pax_records(content)
        return {"path" if kind == b"L" else "linkpath": _text(content)}

    def _skip_sparse_map(self, *, has_more: bool) -> None:
        for _ in range(MAX_SPARSE_BLOCKS):
            if not has_more:
                return
            block = self._read(BLOCK)
            if len(block) < BLOCK:
                raise BadTar("it is cut")
            has_more = block[504] != 0
        raise BadTar("a sparse file has too many holes")

    def _read(self, nbytes: int) -> bytes:
        data = b""
        while len(data) < nbytes and (piece := self._stream.read(nbytes - len(data))):
            data += piece
        self._at += len(data)
        return data

    def _skip_to(self, offset: int) -> None:
        """Go forward: also where somebody else has moved the stream in between."""
        if self._stream.seekable():
            self._at = self._stream.seek(offset)
        while self._at < offset and self._read(min(_CHUNK, offset - self._at)):
            pass


def _checksum(block: bytes) -> int:
    return _octal(block[148:156])


def _sums(block: bytes) -> tuple[int, int]:
    """A header's sum with a blank checksum; some old writers counted with signs."""
    blank = block[:148] + b" " * 8 + block[156:]
    plain = sum(blank)
    return plain, plain - 256 * sum(byte > 127 for byte in blank)


def _number(field: bytes) -> int:
    """A size: octal digits, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40 or value >= 1 << 63:
            raise BadTar("a size is negative or too large")
        return value
    return _octal(field)


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise BadTar("a number in a header is none")
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise BadTar("a number in a header is none")
    return int(text)


def _pax_records(content: bytes) -> dict[str, str]:
    """The records `length key=value` of a pax header, each exactly as long as it says."""
    told: dict[str, str] = {}
    at = 0
    while at < len(content):
        blank = content.find(b" ", at, at + 8)
        digits = content[at:blank] if blank > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = content[blank + 1 : end].partition(b"=")
        if end > len(content) or not key or not equals or not value.endswith(b"\n"):
            raise BadTar("a pax header is broken")
        name = _text(key)
        if name in told and name == "size":
            raise BadTar("a pax header states a size twice")
        told[name] = value[:-1].decode("utf-8", "surrogateescape")
        at = end
    return told


def _plain_name(block: bytes) -> str:
    name, prefix = _text(block[:100]), _text(block[345:500])
    # GNU's own format keeps times where the standard keeps the prefix.
    is_posix = block[257:263] == b"ustar\0"
    return f"{prefix}/{name}" if is_posix and prefix else name


def _check_name(name: str) -> None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
        raise BadTar(f"a name is longer than {MAX_NAME_BYTES} bytes")
    if any(len(part.encode("utf-8", "surrogateescape")) > MAX_PART_BYTES for part in parts):
        raise BadTar(f"a part of a name is longer than {MAX_PART_BYTES} bytes")
    if len(parts) > MAX_DEPTH:
        raise BadTar(f"folders lie more than {MAX_DEPTH} deep in one another")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
