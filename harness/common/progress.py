"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with a label, how much is done, and of how much (None: nobody knows)."""
CountProgress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""
