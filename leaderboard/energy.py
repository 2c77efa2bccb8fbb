"""Energy as the pages show it: a table for each benchmark, and one cell for each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.board.energy_means import WORDS
from harness.board.rows import Row
from harness.records.energy import EnergyPart
from leaderboard import formats
from leaderboard.addresses import entry_page

NA = "NA"
NOT_MEANT = "\N{EN DASH}"
SHARED = "shared with other runs or programs"
HEADS = (
    "GPU, per image", "Processor, per image", "GPU, training", "Processor, training",
)  # fmt: skip


@dataclass(frozen=True)
class EnergyLine:
    """One entry in a benchmark's table of energy."""

    title: str
    """The method's name."""
    page: str
    """Its page, from the site's root."""
    cells: tuple[str, ...]
    """One per head in `HEADS`."""
    remarks: str
    """Whether its GPU or processor was shared, and why a number is missing."""


def energy_lines(rows: Sequence[Row]) -> tuple[EnergyLine, ...]:
    """The rows of a benchmark that any energy is known of, the least per image first: by the GPU's
    where that is known, then by the processor's."""
    known = [row for row in rows if any(joules is not None for joules in _joules(row))]
    known.sort(key=lambda row: (*_sort_keys(row), formats.plain(row.title)))
    return tuple(map(_line, known))


def run_energy(parts: Sequence[EnergyPart]) -> str:
    """One run's energy in a line: `GPU 12.3 J per image, 4.50 MJ training; …`."""
    return "; ".join(map(_part, parts)) or "not recorded"


def _joules(row: Row) -> tuple[float | None, ...]:
    return (
        row.gpu_joules_per_image,
        row.processor_joules_per_image,
        row.gpu_train_joules,
        row.processor_train_joules,
    )


def _sort_keys(row: Row) -> tuple[float, ...]:
    return tuple(
        float("inf") if joules is None else joules
        for joules in (row.gpu_joules_per_image, row.processor_joules_per_image)
    )


def _line(row: Row) -> EnergyLine:
    gpu, processor = (any(gap.startswith(WORDS[of]) for gap in row.energy_gaps) for of in WORDS)
    trains = row.train_seconds is not None
    # NA is what should have been counted; where no GPU was, or no training, there is a dash.
    is_missing = (gpu, processor, gpu and trains, processor and trains)
    remarks = [*([SHARED] if row.is_energy_shared else []), *row.energy_gaps]
    return EnergyLine(
        title=formats.plain(row.title),
        page=entry_page(row.entry),
        cells=tuple(
            (NA if missing else NOT_MEANT) if joules is None else formats.energy(joules)
            for joules, missing in zip(_joules(row), is_missing, strict=True)
        ),
        remarks="; ".join(remarks),
    )


def _part(part: EnergyPart) -> str:
    told = [
        f"{formats.energy(counted.joules)} {what}"
        for counted, what in ((part.per_image, "per image"), (part.train, "training"))
        if counted is not None and counted.joules is not None
    ]
    reasons = dict.fromkeys(
        span.reason.value for span in part.spans().values() if span.reason is not None
    )
    told += [f"{NA}: {reason}" for reason in reasons]
    told += [SHARED] if part.is_shared and part.total.joules is not None else []
    return f"{WORDS[part.of]} {', '.join(told) or NA}"
