"""The verb `prepare`: its options, their mistakes, and what it prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import prepare
from harness.benchmarks import BENCHMARKS, find_packs, open_pack
from harness.common.errors import EnvironmentFault, PackInvalid, RawDataInvalid, UsageError


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BMAD_SALT", raising=False)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    random = np.random.Generator(np.random.PCG64(0))
    for number in range(24):
        kind = "Ungood" if number % 4 == 0 else "good"
        path = tmp_path / "raw" / kind / f"p{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return tmp_path / "raw"


def options_of(*arguments: str):
    line = ["brain", "--raw", "r", "--out", "o", *arguments]
    return prepare.read_request(prepare.build_parser().parse_args(line)).options


def test_every_benchmark_but_the_demo_can_be_prepared() -> None:
    assert set(prepare.benchmarks()) == set(BENCHMARKS) - {"demo"}


def test_a_folder_becomes_a_pack_that_is_found_and_opened(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["folder", "--raw", str(ours), "--out", str(tmp_path / "out"), "--name", "ours",
            "--hidden", "--patient-rule", r"(?P<patient>p\d+)", "--workers", "1"]  # fmt: skip
    assert prepare.main(line) == 0
    found = find_packs(tmp_path / "out")
    assert list(found) == ["ours"]
    pack = open_pack(found["ours"], tmp_path / "cache2")
    assert pack.card.visibility == "hidden"
    assert f"version: {pack.version}" in capsys.readouterr().out


def test_a_sealed_pack_of_unknown_patients_is_refused_before_anything_is_made(
    ours: Path, tmp_path: Path
) -> None:
    line = ["folder", "--raw", str(ours), "--out", str(tmp_path / "out"), "--name", "ours",
            "--hidden", "--workers", "1"]  # fmt: skip
    with pytest.raises(RawDataInvalid, match="--independent-patients"):
        prepare.main(line)
    assert not list((tmp_path / "out").rglob("*.png"))
    assert prepare.main([*line, "--independent-patients"]) == 0
    pack = open_pack(find_packs(tmp_path / "out")["ours"], tmp_path / "cache2")
    assert pack.card.patients == "independent"


def test_a_dry_run_prints_counts_and_writes_nothing(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["folder", "--raw", str(ours), "--out", str(tmp_path / "out"), "--dry-run",
            "--workers", "1"]  # fmt: skip
    assert prepare.main(line) == 0
    out = capsys.readouterr().out
    assert "source, normal images: 18" in out
    assert "nothing written" in out
    assert not (tmp_path / "out").exists()


def test_a_pack_that_cannot_be_one_is_said_to_be_none(ours: Path, tmp_path: Path) -> None:
    for path in (ours / "Ungood").iterdir():
        path.unlink()
    line = ["folder", "--raw", str(ours), "--out", str(tmp_path / "out"), "--workers", "1"]
    with pytest.raises(PackInvalid, match="test holds no abnormal image"):
        prepare.main(line)


def test_values_are_read() -> None:
    assert options_of("--slices", "50:110").slices == (50, 110)
    assert options_of("--modality", "t1").modality == "t1"
    liver = ["liver", "--raw", "a", "b", "--out", "o"]
    read = prepare.read_request(
        prepare.build_parser().parse_args([*liver, "--window=-100:400", "--volumes", "3-5"])
    )
    assert read.options.window == (-100.0, 400.0)
    assert read.options.lits_volumes == (3, 4, 5)
    assert read.options.raw == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--slices", "100:60"], "is not A:B"),
        (["--slices", "60:200"], "is not A:B"),
        (["--window", "code"], "--window is an option of liver"),
        (["--hidden"], "--hidden is an option of folder"),
        (["--nih-mapping", "x"], "--nih-mapping is an option of rsna"),
        (["--workers", "0"], "0 is not a positive number"),
        (["--limit-cases", "-3"], "-3 is not a positive number"),
        (["--name", "Not A Name"], "is not a name for a pack"),
        (["--variant", "resplit"], "needs a secret salt of at least 16"),
        (["--salt-file", "x"], "a salt is for --variant resplit"),
        (["--variant", "other"], "invalid choice"),
    ],
)
def test_wrong_options_are_said_to_be_wrong(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options_of(*arguments)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["liver", "--window", "250:-200"], "neither code, paper-text nor LOW:HIGH"),
        (["liver", "--volumes", "5-3"], "is not A-B"),
        (["folder", "--size", "0x10"], "is not WIDTHxHEIGHT"),
        (["folder", "--shares", "0.6:0.5"], "is not V:T"),
        (["folder", "--patient-rule", "(p"], "is no regular expression"),
        (["folder", "--patient-rule", "p\\d"], "has no group"),
    ],
)
def test_wrong_values_are_said_to_be_wrong(line: list[str], message: str) -> None:
    source, option, value = line
    arguments = [source, "--raw", "r", "--out", "o", f"{option}={value}"]
    with pytest.raises(UsageError, match=message):
        prepare.read_request(prepare.build_parser().parse_args(arguments))


def test_a_misspelt_benchmark_is_guessed() -> None:
    arguments = prepare.build_parser().parse_args(["brian", "--raw", "r", "--out", "o"])
    with pytest.raises(UsageError, match="unknown benchmark 'brian'") as error:
        prepare.read_request(arguments)
    assert "did you mean brain?" in error.value.fix


def test_a_salt_is_read_from_file_or_environment_and_a_short_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "salt").write_text("  a long enough secret\n")
    resplit = ["--variant", "resplit"]
    read = options_of(*resplit, "--salt-file", str(tmp_path / "salt"))
    assert read.salt == "a long enough secret"
    monkeypatch.setenv("BMAD_SALT", "another long secret of ours")
    assert options_of(*resplit).salt == "another long secret of ours"
    assert options_of().salt is None
    monkeypatch.setenv("BMAD_SALT", "short")
    with pytest.raises(UsageError) as error:
        options_of(*resplit)
    assert "short" not in str(error.value).replace("shorter", "")
    with pytest.raises(EnvironmentFault, match="the salt cannot be read"):
        options_of(*resplit, "--salt-file", str(tmp_path / "nowhere"))


def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    ours: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    line = ["folder", "--raw", str(ours), "--out", str(tmp_path / "file/out"), "--workers", "1"]
    with pytest.raises(EnvironmentFault, match="cannot be made"):
        prepare.main(line)
