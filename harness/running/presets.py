"""Which entries can be run with the preset that is asked for, on which packs: known before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.common.errors import UsageError
from harness.common.foreign_text import one_line
from harness.common.near_misses import did_you_mean

if TYPE_CHECKING:
    from harness.benchmarks import Pack
    from harness.console.cli import Reporter
    from harness.entries.entry import Entry


def base_of(pack: Pack) -> str:
    """The benchmark by whose settings a pack is run."""
    return pack.settings_name


def check_presets(
    entries: Sequence[Entry], packs: Iterable[Pack], preset: str | None, reporter: Reporter
) -> None:
    """See that every entry has the preset that is asked for; all that lack it are named at once.

    On the demo pack they run with their defaults instead, which is said.

    Raises:
        UsageError: an entry lacks the preset, and it is not `demo` on the demo pack alone.
    """
    from harness.entries.entry import DEFAULT_PRESET, DEMO_PRESET

    lacking = [entry.name for entry in entries if preset and not entry.has_preset(preset)]
    if preset is None or not lacking:
        return
    elsewhere = [pack.name for pack in packs if base_of(pack) != "demo" or preset != DEMO_PRESET]
    if not elsewhere:
        reporter.event(
            f"have no preset {preset}, and run with their defaults: {', '.join(lacking)}"
        )
        return
    known = [{DEFAULT_PRESET, *entry.document.get("presets", {})} for entry in entries]
    shared = sorted(set.intersection(*known))
    every = "presets that all have" if len(entries) > 1 else "presets"
    raise UsageError(
        f"{', '.join(lacking)} ha{'s' if len(lacking) == 1 else 've'} no preset {preset!r}",
        where=f"--preset, on {', '.join(elsewhere)}",
        fix=f"{did_you_mean(preset, shared)}{every}: {one_line(', '.join(shared))}",
    )
