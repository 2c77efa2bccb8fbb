"""Folders that the tests use."""

from __future__ import annotations

from harness.common.paths import BASELINES, REPOSITORY

__all__ = ["BASELINES", "ENTRIES", "REPOSITORY"]

ENTRIES = REPOSITORY / "tests" / "sample_entries"
"""One folder for each kind of behaviour, each a whole entry."""
