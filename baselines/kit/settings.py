"""Hyper-parameters that are words: what they can be, and one sentence where they are not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def check_choice(params: Mapping[str, Any], name: str, known: Collection[str]) -> None:
    """Raise `ValueError` unless the parameter is one of the known words."""
    if params[name] not in known:
        raise ValueError(f"{name} is {params[name]!r}; it can be {' or '.join(known)}")
