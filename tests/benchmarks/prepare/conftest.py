"""Downloads of all six sources, written once a session, and one way to prepare them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.benchmarks.prepare import splits
from harness.benchmarks.prepare.preparing import Prepared, Request, prepare
from harness.benchmarks.prepare.recipe import Options

from . import raw_fixtures

ALL = ("brain", "liver", "resc", "oct2017", "rsna", "camelyon16")
Preparing = Callable[..., Prepared]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The raw folder of every benchmark."""
    root = tmp_path_factory.mktemp("raw")
    liver = raw_fixtures.btcv(root / "liver" / "BTCV").parent
    raw_fixtures.lits(liver / "LiTS")
    return {
        "brain": raw_fixtures.brats(root / "brain"),
        "liver": liver,
        "resc": raw_fixtures.challenge(root / "resc"),
        "oct2017": raw_fixtures.kaggle_oct(root / "oct2017"),
        "rsna": raw_fixtures.rsna(root / "rsna"),
        "camelyon16": raw_fixtures.camelyon(root / "camelyon16"),
    }


@pytest.fixture
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Camelyon16's lists, short enough for small slides."""
    lists = raw_fixtures.slide_lists()
    monkeypatch.setattr(splits, "patches", lists.__getitem__)


@pytest.fixture
def preparing(raw: dict[str, Path], tmp_path: Path, short_lists: None) -> Preparing:
    """Prepares a benchmark's fixture in this process; options and request fields by keyword."""

    def run(benchmark: str, **changes: object) -> Prepared:
        fields = {name: changes.pop(name) for name in [*changes] if name in REQUEST}
        defaults: dict[str, object] = {"raw": (raw.get(benchmark),)}
        if benchmark == "resc":
            defaults["volume_slices"] = raw_fixtures.RESC_SLICES
        options = Options(**{**defaults, **changes})  # type: ignore[arg-type]
        base: dict[str, object] = {"out": tmp_path / "out", "is_keeping_on": True}
        request = Request(benchmark, options, **{**base, **fields})  # type: ignore[arg-type]
        return prepare(request, lambda *_: None)

    return run


REQUEST = ("out", "name", "workers", "limit_cases", "is_strict", "is_keeping_on", "is_dry")
