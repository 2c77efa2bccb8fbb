"""The benchmarks as published: counts that add up, names that are read, one file each."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.benchmarks import BENCHMARKS, specs
from harness.benchmarks.spec import NameReading, read_name

# Names of released files, of the sources, and of files written by BMAD's code (datasets.md).
NAMES = [
    ("brain", "00124_60", NameReading("00124", "patient")),
    ("brain", "BraTS2021_00495_99", NameReading("00495", "patient")),
    ("brain", "TCGA_CS_4943_20000902_12", NameReading("TCGA_CS_4943", "patient")),
    ("brain", "IMG_1", NameReading()),
    ("liver", "7_412", NameReading("7", "volume")),
    ("liver", "0023_101", NameReading("0023", "volume")),
    ("liver", "img_0001_77_hist", NameReading("img_0001", "volume")),
    ("resc", "7_64", NameReading("7", "volume")),
    ("resc", "PC022_MacularCube512x128_4-28-2014_17-15-21_OS_sn1_cube_z_5", NameReading("PC022", "patient")),
    ("resc", "P0067_MacularCube512x128_x_1", NameReading("P0067", "patient")),
    ("oct2017", "CNV-1016042-1", NameReading("1016042", "patient", "CNV")),
    ("oct2017", "NORMAL-4872585-1", NameReading("4872585", "patient", "NORMAL")),
    ("rsna", "Normal-0004cfab-14fd", NameReading()),
    ("rsna", "Lung_Opacity_0004cfab-14fd", NameReading(None, None, "Lung_Opacity")),
    ("rsna", "No-Not-Normal_0004cfab", NameReading(None, None, "No-Not-Normal")),
    ("camelyon16", "tumor_064_18070_119351", NameReading("tumor_064", "slide")),
    ("camelyon16", "test_113_110080_34432", NameReading("test_113", "slide")),
    ("camelyon16", "1080", NameReading()),
    ("demo", "p012_3", NameReading("p012", "patient")),
]  # fmt: skip


@pytest.mark.parametrize(("benchmark", "stem", "reading"), NAMES)
def test_file_names_give_patient_and_subclass(
    benchmark: str, stem: str, reading: NameReading
) -> None:
    assert read_name(stem, BENCHMARKS[benchmark].name_rules) == reading


def test_the_six_and_the_demo_are_there() -> None:
    assert list(BENCHMARKS) == ["brain", "camelyon16", "demo", "liver", "oct2017", "resc", "rsna"]


# Table 1 of the paper: train, valid, test.
TABLE_1 = {
    "brain": (7500, 83, 3715),
    "liver": (1542, 166, 1493),
    "resc": (4297, 115, 1805),
    "oct2017": (26315, 32, 968),
    "rsna": (8000, 1490, 17194),
    "camelyon16": (5088, 236, 1997),
}


@pytest.mark.parametrize("name", TABLE_1)
def test_known_counts_add_up_to_table_1(name: str) -> None:
    spec = BENCHMARKS[name]
    assert spec.table1 == TABLE_1[name]
    if name != "camelyon16":  # the coordinate files and Table 1 disagree, and the spec says so
        assert all(known.counts.totals == spec.table1 for known in spec.counts)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_spec_says_what_a_reader_needs(name: str) -> None:
    spec = BENCHMARKS[name]
    for field in ("title", "modality", "licence", "citation", "source", "access", "show_evidence"):
        assert getattr(spec, field), field
    if name != "demo":
        assert spec.known_leaks


@pytest.mark.parametrize("name", ["brain", "liver", "resc", "rsna"])
def test_images_are_not_shown_without_evidence(name: str) -> None:
    assert not BENCHMARKS[name].may_show_images


def test_a_new_benchmark_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(specs.__file__).with_name("demo.py").read_text()
    (tmp_path / "skin.py").write_text(source.replace('name="demo"', 'name="skin"'))
    monkeypatch.setattr(specs, "__path__", [*specs.__path__, str(tmp_path)])
    assert specs._listed()["skin"].name == "skin"


def test_a_file_without_a_spec_of_its_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(specs.__file__).with_name("demo.py").read_text()
    (tmp_path / "eye.py").write_text(source)
    monkeypatch.setattr(specs, "__path__", [*specs.__path__, str(tmp_path)])
    with pytest.raises(TypeError, match=r"eye\.py must export SPEC"):
        specs._listed()
