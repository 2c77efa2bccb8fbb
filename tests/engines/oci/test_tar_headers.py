"""Our reader of tars, against Python's own: the same members, and nothing that is ambiguous."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from harness.engines.oci.tar_headers import BadTar, Window, members

NAMES = ["a", "d/", "d/" + "long" * 40, "x" * 101, "deep/" * 30 + "f" * 200, "ü/é", "n\nn"]


def packed(form: int) -> bytes:
    """Files, folders and links with names short and long."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for number, name in enumerate(NAMES):
            entry = tarfile.TarInfo(name)
            content = bytes([number]) * (number * 511)
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            entry = tarfile.TarInfo(f"link{kind.decode()}")
            entry.type, entry.linkname = kind, "target/" * 40
            tar.addfile(entry)
    return out.getvalue()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_members_are_those_that_another_reader_finds(form: int, compressed: bool) -> None:
    data = packed(form)
    stream = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))) if compressed else None
    found = [
        (m.name.rstrip("/"), m.kind, m.size, m.link, m.offset)
        for m in members(stream or io.BytesIO(data))
    ]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        wanted = [(m.name, m.type, m.size, m.linkname, m.offset_data) for m in tar]
    assert [f[:4] for f in found] == [w[:4] for w in wanted]
    assert [f[4] for f in found if f[1] == b"0"] == [w[4] for w in wanted if w[1] == b"0"]


def test_a_window_is_one_members_content() -> None:
    data = packed(tarfile.GNU_FORMAT)
    stream = io.BytesIO(data)
    found = [member for member in members(stream) if member.is_file]
    window = io.BufferedReader(Window(stream, found[-1]))
    assert window.read() == bytes([6]) * (6 * 511)
    assert window.seek(-2, io.SEEK_END) == found[-1].size - 2
    assert window.read(5) == bytes([6]) * 2


def raw(name: str = "x", kind: bytes = b"0", size: int = 0, content: bytes = b"") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT) + content.ljust(-(-len(content) // 512) * 512, b"\0")


def pax(records: bytes) -> bytes:
    return raw("p", b"x", len(records), records)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"certainly not a tar file" * 100, "checksum|number"),
        (raw()[:300], "cut"),
        (raw(size=5000, content=b"x" * 600), "cut"),
        (raw("x", b"L", 5000, b"x" * 600), "cut"),
        (raw("l", b"L", 2, b"y") + bytes(1024), "speaks of another member"),
        (raw("x", b"Z"), "kind"),
        (raw("x/", b"\0", 512, b"x" * 512), "folder by its name"),
        (pax(b"12 size=512\n" * 2) + raw(), "twice"),
        (pax(b"11 size=-5\n") + raw(), "number"),
        (pax(b"99 size=5\n") + raw(), "broken"),
        (pax(b"5 a=b\n") + raw(), "broken"),
        (pax(b"6 a=b\n") * 2 + raw(), "contradict"),
        (pax(b"6 a=b\n") + raw("g", b"g", 6, b"6 a=b\n") + raw(), "contradict"),
        (raw("y" * 99 + "/" + "z") + bytes(512) + b"x" * 512, "empty header"),
        (raw("l", b"L", 300, b"n" * 299) + raw(), "part of a name"),
        (raw("l", b"L", 5000, b"n/" * 2500) + raw(), "longer than 4096"),
    ],
)
def test_what_is_cut_broken_or_ambiguous_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadTar, match=reason):
        list(members(io.BytesIO(data)))


def test_a_size_that_a_pax_header_states_and_holes_are_counted() -> None:
    said = pax(b"12 size=600\n") + raw("x", b"0", 0, b"x" * 600) + raw("y")
    assert [(m.name, m.size) for m in members(io.BytesIO(said))] == [("x", 600), ("y", 0)]
    holes = pax(b"30 GNU.sparse.realsize=100000\n") + raw("x")
    (member,) = members(io.BytesIO(holes))
    assert (member.size, member.unpacked, member.is_sparse) == (0, 100_000, True)
