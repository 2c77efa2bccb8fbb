"""The options that say which images: what is accepted reaches the packs and every later command."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.common.errors import DataMissing, PackInvalid
from harness.console import cli, data_options


def parsed(*line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    data_options.add(parser)
    return parser.parse_args(line)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An image-level pack of a few images."""
    root = tmp_path / "own"
    for number, place in enumerate(("train/good", "train/good", "test/good", "test/Ungood")):
        path = root / place / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(path)
    return root


def test_what_is_accepted_is_said_and_given_on(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "test/good/slice.dcm").write_bytes(b"x")
    with cli.reporting() as reporter:
        with pytest.raises(PackInvalid, match=r"slice\.dcm"):
            data_options.open_packs(parsed("--pack", str(own)), tmp_path / "cache", reporter)
        options = parsed("--accept", "unread-formats", "--rehash", "--pack", str(own))
        packs = data_options.open_packs(options, tmp_path / "cache", reporter)
    assert packs[0].card.accepted == ("unread-formats",)
    way = data_options.places(packs, options)[packs[0].name]
    assert way == ("--pack", str(own), "--accept", "unread-formats")
    assert data_options.read_accepted(parsed(*way)) == {"unread-formats"}
    assert "own: files that are not used: 1 unread-formats" in capsys.readouterr().err


def test_a_name_that_is_no_utf_8_ends_before_anything_runs(own: Path, tmp_path: Path) -> None:
    place = os.fsencode(own / "test/good")
    (own / "test/good/2.png").rename(os.fsdecode(place + b"/M\xfcller.png"))
    with cli.reporting() as reporter, pytest.raises(PackInvalid, match="its name is not UTF-8"):
        data_options.open_packs(parsed("--pack", str(own)), tmp_path / "cache", reporter)


def test_a_data_root_of_nothing_known_says_what_lies_there(own: Path, tmp_path: Path) -> None:
    with cli.reporting() as reporter, pytest.raises(DataMissing) as error:
        data_options.open_packs(parsed("--data-root", str(tmp_path)), tmp_path / "cache", reporter)
    assert f"own is a pack of no known name: give it with --pack {own}" in error.value.what


def test_an_archive_is_no_data_root(tmp_path: Path) -> None:
    (tmp_path / "bmad.zip").write_bytes(b"PK\x03\x04")
    with cli.reporting() as reporter, pytest.raises(DataMissing, match="a file, not a folder"):
        data_options.open_packs(
            parsed("--data-root", str(tmp_path / "bmad.zip")), tmp_path / "cache", reporter
        )
