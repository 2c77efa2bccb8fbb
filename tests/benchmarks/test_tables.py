"""Tables are read strictly: no row is swallowed by a mark that is not closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.benchmarks import open_pack
from harness.benchmarks.tables import BadTable, read_rows
from harness.common.errors import PackInvalid


def table(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_rows_keep_their_line_and_blank_lines_are_passed_over(end: bytes, tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + end.join([b"key,patient", b"", b'"a, b",p1', b"c,", b""])
    rows = read_rows(table(tmp_path, content))
    assert [(row.line, row.fields) for row in rows] == [
        (1, ("key", "patient")), (3, ("a, b", "p1")), (4, ("c", "")),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'a,b\n1,2\n"3,4\n5,6\n', 'line 3: a quotation mark (") is opened and not closed'),
        (b'a,b\n"1,2\n3,4\n5,"6"\n', "line 2: "),
        (b'a,b\n1,"2\n3,4"\n', 'line 2: a quotation mark (") is opened and not closed'),
        (b'a,b\n1,2\n"3"4,5\n', "line 3: "),
        (b"a,b\n\xff,2\n", "line 2: not UTF-8 (byte 0xff)"),
        (b"\xff\xfea\0,\0", "is UTF-16, expected UTF-8 text"),
        (b"\x1f\x8b\x08", "is a gzip archive, expected UTF-8 text: unpack it"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(content: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadTable) as error:
        read_rows(table(tmp_path, content))
    assert str(error.value).startswith("t.csv")
    assert told in str(error.value)


def test_an_unclosed_mark_in_groups_csv_never_makes_patients_unknown(
    pack_folder: Path, cache: Path
) -> None:
    keys = [sample.key for sample in open_pack(pack_folder, cache).samples]
    rows = [f"{key},p{number}" for number, key in enumerate(keys)]
    rows[4] = f'"{rows[4]}'
    (pack_folder / "groups.csv").write_text("\n".join(["key,patient", *rows, ""]))
    with pytest.raises(PackInvalid) as error:
        open_pack(pack_folder, cache)
    assert error.value.problems == (
        'groups.csv, line 6: a quotation mark (") is opened and not closed on the line',
    )
    assert error.value.fix == "mend groups.csv, then run it again"


def test_a_row_of_too_many_fields_is_named(pack_folder: Path, cache: Path) -> None:
    (pack_folder / "groups.csv").write_text("key,patient\ntest/good/img/00008_60.png,a,b\n")
    with pytest.raises(PackInvalid, match=r"line 2: 3 fields, expected 2: a comma in a name"):
        open_pack(pack_folder, cache)
