"""Where the runs of a campaign happen: on this machine, or on a Ray cluster.

Both answer the same three questions: what is there to run on, can these runs go there, and
what came of them. What a run is, what is left to do and whose fault an end is are no
business of theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.common.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from harness.campaigns.faults import Done
    from harness.campaigns.grid import Cell
    from harness.campaigns.plan import Plan
    from harness.console.cli import Reporter
    from harness.engines.base import Engine, Limits
    from harness.running.request import Request


@dataclass(frozen=True)
class Offer:
    """What there is to run on at this moment."""

    engine: Engine
    """What starts the entries."""
    device: str
    """Kind of device, as run keys hold it: `cpu`, or the GPU's model."""
    slots: tuple[str, ...]
    """One run at a time on each."""


class Where(Protocol):
    """A machine or a cluster that does runs."""

    def offer(self, limits: Limits) -> Offer:
        """What there is to run on.

        Raises:
            EnvironmentFault: nothing, or no engine answers.
            UsageError: the options ask for what cannot be.
        """

    def check(self, requests: Sequence[Request]) -> None:
        """Raise a `HarnessError` for what these runs lack, as far as it can be known before them."""

    def runs(self, plan: Plan, cells: Sequence[Cell]) -> Iterator[Done]:
        """Every cell once; yields each as it ends."""


def find(
    options: argparse.Namespace, reporter: Reporter
) -> contextlib.AbstractContextManager[Where]:
    """What `--on` names.

    Raises:
        UsageError: it names nothing.
        ClusterUnavailable: no Ray cluster answers, or Ray is not installed.
    """
    kind, _, address = options.on.partition(":")
    if options.on == "here":
        from harness.campaigns.this_machine import ThisMachine

        return contextlib.nullcontext(ThisMachine(options))
    if kind == "ray":
        from harness.campaigns.ray.cluster import connect

        return connect(options, address, reporter)
    raise UsageError(
        f"there is no place {options.on!r}", where="--on", fix="here, ray or ray:HOST:PORT"
    )
