"""`groups.csv`: patients of packs whose file names do not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.benchmarks import open_pack
from harness.benchmarks.groups import GROUPS_NAME, groups_csv
from harness.benchmarks.spec import NameReading
from harness.common.errors import PackInvalid


def keys(folder: Path, cache: Path) -> list[str]:
    return [sample.key for sample in open_pack(folder, cache).samples]


def test_patients_and_subclasses_come_from_the_file(pack_folder: Path, cache: Path) -> None:
    names = keys(pack_folder, cache)
    rows = [f"{name},p{number % 3},{'CNV' if 'Ungood' in name else ''}" for number, name in
            enumerate(names)]  # fmt: skip
    (pack_folder / GROUPS_NAME).write_text("key,patient,subclass\n" + "\n".join(rows) + "\n")
    pack = open_pack(pack_folder, cache)
    assert [sample.group for sample in pack.samples] == [f"p{n % 3}" for n in range(len(names))]
    assert {sample.subclass for sample in pack.samples if sample.is_anomalous} == {"CNV"}
    assert pack.card.group_unit == "patient"
    assert pack.card.groups.test == 3
    assert any("patients are in both valid and test" in remark for remark in pack.card.remarks)


def test_the_version_does_not_depend_on_it(pack_folder: Path, cache: Path) -> None:
    before = open_pack(pack_folder, cache).version
    first = keys(pack_folder, cache)[0]
    (pack_folder / GROUPS_NAME).write_text(f"key,slide\n{first},s1\n")
    assert open_pack(pack_folder, cache).version == before


def test_an_image_that_it_leaves_out_is_read_by_its_name(pack_folder: Path, cache: Path) -> None:
    (pack_folder / "pack.toml").write_text("name_rules = ['(?P<patient>\\d{5})_60']\n")
    names = keys(pack_folder, cache)
    (pack_folder / GROUPS_NAME).write_text(f"key,patient\n{names[0]},someone\n{names[1]},\n")
    pack = open_pack(pack_folder, cache)
    assert pack.samples[0].group == "someone"
    assert pack.samples[1].group == Path(names[1]).stem[:5]
    assert pack.samples[2].group == Path(names[2]).stem[:5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,patient\n", "begins with 'name,patient'"),
        ("key,doctor\n", "begins with 'key,doctor'"),
        ("", "begins with ''"),
        ("key,patient\nno/such.png,p1\n", "line 2: there is no image no/such.png"),
        ("key,patient\n{0},p1\n{0},p2\n", "line 3: {0} stands there twice"),
    ],
)
def test_what_is_wrong_with_it_is_said(
    text: str, message: str, pack_folder: Path, cache: Path
) -> None:
    first = keys(pack_folder, cache)[0]
    (pack_folder / GROUPS_NAME).write_text(text.format(first))
    with pytest.raises(PackInvalid) as error:
        open_pack(pack_folder, cache)
    assert message.format(first) in str(error.value)


def test_bytes_that_are_no_text_are_refused(pack_folder: Path, cache: Path) -> None:
    (pack_folder / GROUPS_NAME).write_bytes(b"key,patient\n\xff\xfe,p1\n")
    with pytest.raises(PackInvalid, match=r"groups.csv, line 2: not UTF-8 \(byte 0xff\)"):
        open_pack(pack_folder, cache)


def test_what_is_written_is_what_is_read(pack_folder: Path, cache: Path) -> None:
    names = keys(pack_folder, cache)
    stated = {
        name: NameReading(f"volume, {number}", "volume", 'a "kind"' if number % 2 else None)
        for number, name in enumerate(names)
    }
    (pack_folder / GROUPS_NAME).write_text(groups_csv(stated))
    assert [s.group for s in open_pack(pack_folder, cache).samples] == [
        reading.group for reading in stated.values()
    ]


def test_a_variant_is_read_with_its_benchmarks_knowledge(pack_folder: Path, cache: Path) -> None:
    (pack_folder / "pack.toml").write_text(
        'name = "brain-disjoint"\nbase = "brain"\nvariant = "disjoint"\n'
    )
    pack = open_pack(pack_folder, cache)
    assert pack.name == "brain-disjoint"
    assert pack.version.startswith("brain-disjoint-")
    assert "BraTS" in pack.card.citation
    assert pack.card.variant == "disjoint"
