"""Builds sites from made-up records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.material import Material
from harness.records import Record
from harness.statistics import summarise
from leaderboard.builder import build


@pytest.fixture
def build_site(tmp_path: Path) -> Callable[..., Path]:
    """Builds a site from records (and other fields of `Material`) and returns its folder."""

    def made(records: Iterable[Record], name: str = "site", **options: Any) -> Path:
        records = tuple(records)
        material = Material(rows=summarise(records), records=records, **options)
        return build(material, tmp_path / name, version="0.1.0", commit="c0ffee").parent

    return made
