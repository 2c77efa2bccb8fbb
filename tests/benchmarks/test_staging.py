"""What an entry sees of the training images: pixels, and nothing else."""

from __future__ import annotations

import multiprocessing
import re
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from harness.benchmarks import open_pack, stage_training

from .conftest import changed, pictures, save, write


def chunks(path: Path) -> list[str]:
    """Chunk types of a PNG file, in order, equal neighbours once."""
    data, position, kinds = path.read_bytes(), 8, []
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        kinds.append(data[position + 4 : position + 8].decode())
        position += 12 + length
    return [kind for n, kind in enumerate(kinds) if n == 0 or kinds[n - 1] != kind]


def test_staged_files_hold_the_pixels_and_nothing_else(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "own", pictures())
    original = folder / "train/good/img/00001_60.png"
    with Image.open(original) as image:
        image.load()
    image.save(original, dpi=(300, 300))
    pack = open_pack(folder, cache)
    staged = stage_training(pack, cache)
    files = sorted(staged.iterdir())
    assert len(files) == 3
    for path in files:
        assert re.fullmatch(r"[0-9a-f]{20}\.png", path.name)
        assert chunks(path) == ["IHDR", "IDAT", "IEND"]
        assert path.stat().st_mtime == 315532800
    with_names = {sample.pixel_sha256[:20]: sample for sample in pack.split("train")}
    for path in files:
        with Image.open(path) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), pack.image(with_names[path.stem]))


def test_staged_files_have_the_pack_s_one_mode(tmp_path: Path, cache: Path) -> None:
    plan = pictures()
    plan[-1] = changed(plan[-1], pixels=np.stack([plan[-1].pixels] * 3, axis=2))
    staged = stage_training(open_pack(write(tmp_path / "own", plan), cache), cache)
    for path in staged.iterdir():
        with Image.open(path) as image:
            assert image.mode == "RGB"


def test_repeated_images_are_all_staged(pack_folder: Path, cache: Path) -> None:
    save(pack_folder / "train/good/img/again.png", pictures()[0].pixels)
    staged = stage_training(open_pack(pack_folder, cache), cache)
    assert sum(path.stem.endswith("-2") for path in staged.iterdir()) == 1
    assert len(list(staged.iterdir())) == 4


def test_staging_is_done_once_and_can_be_read_by_others(pack_folder: Path, cache: Path) -> None:
    pack = open_pack(pack_folder, cache)
    staged = stage_training(pack, cache)
    before = {path.name: path.stat().st_ctime_ns for path in staged.iterdir()}
    assert stage_training(pack, cache) == staged
    assert {path.name: path.stat().st_ctime_ns for path in staged.iterdir()} == before
    assert staged.stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in staged.iterdir())


def _stage(folder: Path, cache: Path) -> str:
    return str(stage_training(open_pack(folder, cache), cache))


def test_several_processes_may_stage_at_once(pack_folder: Path, cache: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        folders = pool.starmap(_stage, [(pack_folder, cache)] * 8)
    assert len(set(folders)) == 1
    assert len(list(Path(folders[0]).iterdir())) == 3
    assert [path.name for path in (cache / "training").iterdir()] == [Path(folders[0]).name]
