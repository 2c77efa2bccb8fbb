"""The part of a record that says on what a run happened, and what stood between it and the entry."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from harness.records.isolation import (
    IsolationLevel,
    MeasuredIsolation,
    engine_of,
    isolation_level,
    lacks,
)
from harness.records.parts import Part


class MachinePart(Part):
    """On what."""

    engine: str
    """Engine and its version."""
    isolation: IsolationLevel
    """What stood between the entry and the machine: `none` takes no rank, `same user` one for
    reviewed entries on open packs alone."""
    measured: MeasuredIsolation | None = None
    """What of it was seen to hold; None where an older harness wrote the record."""
    device: str
    """`cpu` or the GPU's model."""
    driver: str | None = None
    """NVIDIA driver version."""
    cuda: str | None = None
    """CUDA version of the driver."""
    cpu: str
    """Processor model."""
    threads: int
    """CPU threads given to the entry."""
    memory_mib: int
    """RAM of the machine."""
    python: str
    """Python version of the harness."""

    @property
    def engine_name(self) -> str:
        """Name of the engine: a part of the run key."""
        return engine_of(self.engine, self.isolation, self.measured)

    @property
    def lacks(self) -> tuple[str, ...]:
        """In words, what of its isolation does not hold; empty where nothing was measured."""
        return () if self.measured is None else lacks(self.measured)

    @model_validator(mode="after")
    def _isolation_follows(self) -> Self:
        if self.measured is None and self.isolation == "same user":
            raise ValueError("isolation 'same user' was measured, and is not told how")
        if self.measured is not None and self.isolation != isolation_level(self.measured):
            raise ValueError(f"isolation {self.isolation!r} is not what was measured")
        return self
