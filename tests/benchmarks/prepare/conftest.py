"""Downloads of all six sources, written once a session, and one way to prepare them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks.prepare import splits
from harness.benchmarks.prepare.preparing import PackRequest, PreparedPack, prepare
from harness.benchmarks.prepare.recipe import Options
from harness.benchmarks.prepared_files import MANIFEST_NAME

from . import raw_fixtures

ALL = ("brain", "liver", "resc", "oct2017", "rsna", "camelyon16")
Preparing = Callable[..., PreparedPack]
Ready = Callable[[str], PreparedPack]


def write_liver(folder: Path) -> Path:
    """Both collections, each in its folder."""
    raw_fixtures.lits(folder / "LiTS")
    return raw_fixtures.btcv(folder / "BTCV").parent


WRITERS: dict[str, Callable[[Path], Path]] = {
    "brain": raw_fixtures.brats,
    "liver": write_liver,
    "resc": raw_fixtures.challenge,
    "oct2017": raw_fixtures.kaggle_oct,
    "rsna": raw_fixtures.rsna,
    "camelyon16": raw_fixtures.camelyon,
}


class Downloads(dict[str, Path]):
    """The raw folder of each benchmark, written when it is first asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, benchmark: str) -> Path:
        self[benchmark] = WRITERS[benchmark](self.root / benchmark)
        return self[benchmark]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Raw folders by benchmark."""
    return Downloads(tmp_path_factory.mktemp("raw"))


@pytest.fixture
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Camelyon16's lists, short enough for small slides."""
    lists = raw_fixtures.slide_lists()
    monkeypatch.setattr(splits, "patches", lists.__getitem__)


@pytest.fixture(scope="session")
def ready(
    raw: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], PreparedPack]:
    """The `paper` pack of a benchmark's fixture, made once a session; to be read alone."""
    out = tmp_path_factory.mktemp("ready")
    lists = raw_fixtures.slide_lists()

    @cache
    def run(benchmark: str) -> PreparedPack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(splits, "patches", lists.__getitem__)
            options = Options((raw[benchmark],), volume_slices=raw_fixtures.RESC_SLICES)
            request = PackRequest(benchmark, options, out, is_keeping_on=True)
            return prepare(request, lambda *_: None)

    return run


@pytest.fixture
def preparing(raw: dict[str, Path], tmp_path: Path, short_lists: None) -> Preparing:
    """Prepares a benchmark's fixture in this process; options and request fields by keyword."""

    def run(benchmark: str, **changes: object) -> PreparedPack:
        fields = {name: changes.pop(name) for name in [*changes] if name in REQUEST}
        defaults: dict[str, object] = {}
        if "raw" not in changes:
            defaults["raw"] = (raw[benchmark],)
        if benchmark == "resc":
            defaults["volume_slices"] = raw_fixtures.RESC_SLICES
        options = Options(**{**defaults, **changes})  # type: ignore[arg-type]
        base: dict[str, object] = {"out": tmp_path / "out", "is_keeping_on": True}
        request = PackRequest(benchmark, options, **{**base, **fields})  # type: ignore[arg-type]
        return prepare(request, lambda *_: None)

    return run


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The manifest of a prepared pack."""
    return [json.loads(line) for line in (folder / MANIFEST_NAME).read_text().splitlines()]


def pixels_of(path: Path) -> np.ndarray:
    """A decoded image."""
    with Image.open(path) as image:
        return np.array(image)


def form_of(path: Path) -> tuple[str, tuple[int, int]]:
    """Mode, and width and height."""
    with Image.open(path) as image:
        return image.mode, image.size


def keys_of(folder: Path, split: str, is_anomalous: bool) -> list[str]:
    """Names of the images of one class of one split, sorted; the files must be there."""
    place = folder / split / ("Ungood" if is_anomalous else "good") / "img"
    names = sorted(path.stem for path in place.glob("*.png"))
    stated = [
        Path(row["key"]).stem
        for row in rows_of(folder)
        if row["split"] == split and row["is_anomalous"] == is_anomalous
    ]
    assert names == sorted(stated)
    return names


REQUEST = ("out", "name", "workers", "limit_cases", "is_strict", "is_keeping_on", "is_dry")
