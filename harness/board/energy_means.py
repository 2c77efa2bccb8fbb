"""Energy of a row: means over its runs of what each counter counted, and why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from harness.records.energy import Counted, EnergyOf
from harness.records.record import Record

WORDS: dict[EnergyOf, str] = {"gpu": "GPU", "processor": "processor"}


@dataclass(frozen=True)
class EnergyMeans:
    """What the runs of one row used, those alone that ended well."""

    gpu_per_image: float | None
    """Joules of the GPU per timed test image."""
    processor_per_image: float | None
    """Joules of the processor packages per timed test image."""
    gpu_train: float | None
    """Joules of the GPU per training."""
    processor_train: float | None
    """Joules of the processor packages per training."""
    gaps: tuple[str, ...]
    """Why a run tells none: `processor: …`, each reason once."""
    is_shared: bool
    """Whether another run, or another program on the GPU, was seen beside one of the runs."""


def energy_means(records: Iterable[Record]) -> EnergyMeans:
    """The means over the runs that have the count; a run without it is named in `gaps`."""
    ended = [record for record in records if record.is_ok]
    return EnergyMeans(
        gpu_per_image=_mean(_counted(ended, "gpu", "per_image")),
        processor_per_image=_mean(_counted(ended, "processor", "per_image")),
        gpu_train=_mean(_counted(ended, "gpu", "train")),
        processor_train=_mean(_counted(ended, "processor", "train")),
        gaps=_gaps(ended),
        is_shared=any(part.is_shared for record in ended for part in record.energy),
    )


def _counted(
    records: Sequence[Record], of: EnergyOf, span: Literal["per_image", "train"]
) -> list[Counted]:
    return [
        part.spans()[span]
        for record in records
        for part in record.energy
        if part.of == of and span in part.spans()
    ]


def _mean(counted: Sequence[Counted]) -> float | None:
    told = [each.joules for each in counted if each.joules is not None]
    return fmean(told) if told else None


def _gaps(records: Sequence[Record]) -> tuple[str, ...]:
    told = {
        f"{WORDS[part.of]}: {span.reason.value}": None
        for record in records
        for part in record.energy
        for name, span in part.spans().items()
        if span.reason is not None and name in ("per_image", "train")
    }
    return tuple(told)
