"""A benchmark is its content: digests of pixels and masks, the list of known releases, and names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import BENCHMARKS, Pack, open_pack
from harness.benchmarks.known import known_line, known_releases
from harness.benchmarks.version import NO_PATIENTS
from harness.common.errors import UsageError
from harness.records.releases import KnownReleases

from .conftest import Picture, pictures, write

Change = Callable[[list[Picture]], list[Picture]]


def of_brain(*digests: str) -> KnownReleases:
    return known_releases("\n".join(known_line("brain", digest) for digest in digests))


def test_the_committed_list_names_no_release_and_the_generated_pack_is_known() -> None:
    known = known_releases()
    assert set(known.digests) == set(BENCHMARKS)
    assert {name for name, digests in known.digests.items() if digests} == {"demo"}
    assert known.name_of("demo", "sha256:" + "0" * 64) == "demo~000000"


@pytest.mark.parametrize("visibility", ["open", "hidden"])
def test_a_pack_that_says_it_is_brain_stands_as_what_it_is(
    tmp_path: Path, cache: Path, visibility: str
) -> None:
    folder = write(tmp_path / "Brain", pictures())
    (folder / "pack.toml").write_text(f'name = "brain"\nvisibility = "{visibility}"\n')
    pack = open_pack(folder, cache)
    assert pack.name == f"brain~{pack.digest[7:13]}"
    assert (pack.base, pack.card.name, pack.card.visibility) == ("brain", "brain", visibility)
    assert pack.version == f"brain-{pack.digest[7:19]}"
    listed = open_pack(folder, cache, known=of_brain(pack.digest))
    assert listed == replace(pack, name="brain")
    elsewhere = known_releases(known_line("liver", pack.digest))
    assert open_pack(folder, cache, known=elsewhere) == pack


def test_a_name_of_its_own_claims_nothing(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "ours", pictures())
    assert (open_pack(folder, cache).name, open_pack(folder, cache).base) == ("ours", None)
    (folder / "pack.toml").write_text('name = "brain-disjoint"\nbase = "brain"\n')
    pack = open_pack(folder, cache)
    assert (pack.name, pack.base) == ("brain-disjoint", "brain")


def test_nobody_gives_himself_a_marked_name(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "Brain", pictures())
    (folder / "pack.toml").write_text('name = "brain~000000"\n')
    with pytest.raises(Exception, match=r"pack\.toml, name"):
        open_pack(folder, cache)


# -- the digest ---------------------------------------------------------------------------------


def other_pixel(plan: list[Picture]) -> list[Picture]:
    pixels = plan[8].pixels.copy()
    pixels[11, 9] ^= 1
    return [*plan[:8], replace(plan[8], pixels=pixels), *plan[9:]]


def other_mask(plan: list[Picture]) -> list[Picture]:
    mask = np.array(plan[-1].mask)
    mask[0, 0] = 255
    return [*plan[:-1], replace(plan[-1], mask=mask)]


def other_label(plan: list[Picture]) -> list[Picture]:
    return [*plan[:9], replace(plan[9], is_anomalous=True, mask=plan[-1].mask), *plan[10:]]


def other_split(plan: list[Picture]) -> list[Picture]:
    return [replace(plan[0], split="valid"), *plan[1:]]


def other_shape(plan: list[Picture]) -> list[Picture]:
    return [replace(plan[0], pixels=plan[0].pixels.reshape(10, 12)), *plan[1:]]


def swapped_masks(plan: list[Picture]) -> list[Picture]:
    one, two = plan[-1], plan[-2]
    return [*plan[:-2], replace(two, mask=one.mask), replace(one, mask=two.mask)]


@pytest.mark.parametrize(
    "change",
    [
        other_pixel, other_mask, other_label, other_split, other_shape, swapped_masks,
        lambda plan: plan[1:], lambda plan: plan[:-1],
    ],
)  # fmt: skip
def test_whatever_is_changed_of_a_pack_changes_its_digest(
    tmp_path: Path, cache: Path, change: Change
) -> None:
    honest = open_pack(write(tmp_path / "a/Brain", pictures()), cache, benchmark="brain")
    changed = open_pack(
        write(tmp_path / "b/Brain", change(pictures())), cache, benchmark="brain",
        known=of_brain(honest.digest),
    )  # fmt: skip
    assert changed.digest != honest.digest
    assert changed.name == f"brain~{changed.digest[7:13]}"


@pytest.mark.parametrize("suffix", [".bmp", ".tif"])
def test_another_lossless_format_and_other_file_names_have_the_same_digest(
    tmp_path: Path, cache: Path, suffix: str
) -> None:
    folder = write(tmp_path / "a/Brain", pictures())
    again = tmp_path / "b/Brain"
    for path in folder.rglob("*.png"):
        target = again / path.relative_to(folder).with_suffix(suffix)
        target = target.with_name(f"x{target.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.save(target)
    honest, copy = (open_pack(each, cache, benchmark="brain") for each in (folder, again))
    assert (copy.digest, copy.name) == (honest.digest, honest.name)


# -- whose the images are -----------------------------------------------------------------------


def with_groups(folder: Path, cache: Path, patients: dict[str, str]) -> Pack:
    lines = ["key,patient,subclass", *(f"{key},{who},x" for key, who in patients.items())]
    (folder / "groups.csv").write_text("\n".join(lines) + "\n")
    return open_pack(folder, cache, benchmark="brain")


def test_an_edited_groups_csv_is_another_digest_of_the_patients(
    tmp_path: Path, cache: Path
) -> None:
    folder = write(tmp_path / "Brain", pictures())
    plain = open_pack(folder, cache, benchmark="brain")
    keys = [sample.key for sample in plain.split("test")]
    own = {sample.key: sample.group for sample in plain.split("test")}
    assert with_groups(folder, cache, own).patients == plain.patients  # it says what names say
    merged = with_groups(folder, cache, own | {keys[0]: own[keys[1]]})
    swapped = with_groups(folder, cache, own | {keys[0]: own[keys[1]], keys[1]: own[keys[0]]})
    assert len({plain.patients, merged.patients, swapped.patients}) == 3
    assert {plain.digest} == {merged.digest, swapped.digest}  # the images are the same
    assert {plain.version} == {merged.version, swapped.version}


def test_without_patients_the_digest_says_so(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "ours", pictures())
    pack = open_pack(folder, cache)
    assert pack.patients == NO_PATIENTS == "none"
    (folder / "pack.toml").write_text('patients = "independent"\n')
    assert open_pack(folder, cache).patients == NO_PATIENTS  # the intervals are the same
    key = pack.samples[0].key
    (folder / "groups.csv").write_text(f"key,patient\n{key},p1\n")
    one = open_pack(folder, cache).patients
    (folder / "groups.csv").write_text(f"key,patient\n{key},p2\n")
    assert one.startswith("sha256:")
    assert open_pack(folder, cache).patients != one


def test_names_of_files_are_no_part_of_either_digest(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "ours", pictures())
    pack = open_pack(folder, cache)
    first = pack.split("train")[0].image_path
    shutil.move(first, first.with_stem("zzz"))
    moved = open_pack(folder, cache)
    assert (moved.digest, moved.patients) == (pack.digest, pack.patients)


# -- the list -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("brain = [", "is not one"),
        ('brian = ["sha256:' + "0" * 64 + '"]', "brian is none of brain"),
        ('brain = "sha256:' + "0" * 64 + '"', "brain has no list"),
        ("brain = []", "brain has no list"),
        ('brain = ["sha256:123"]', "'sha256:123', which is no digest"),
        ('brain = ["sha256:' + "G" * 64 + '"]', "which is no digest"),
        ("brain = [7]", "7, which is no digest"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_fault(text: str, told: str) -> None:
    with pytest.raises(UsageError, match="known releases") as error:
        known_releases(text, where="origin/main:known.toml")
    assert told in error.value.what
    assert error.value.where == "origin/main:known.toml"
    assert "--known-line" in error.value.fix
