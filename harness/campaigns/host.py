"""The host of a campaign's runs: this machine, or a Ray cluster.

Both answer the same three questions: what is there to run on, can these runs go there, and
what came of them. What a run is, what is left to do and whose fault an end is are no
business of theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from harness.campaigns.offer import OffersRuns
from harness.common.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from harness.campaigns.faults import Ended
    from harness.campaigns.plan import CampaignPlan
    from harness.console.cli import Reporter
    from harness.entries.campaign_grid import Cell


class Host(OffersRuns, Protocol):
    """A machine or a cluster that does runs."""

    def runs(self, plan: CampaignPlan, cells: Sequence[Cell]) -> Iterator[Ended]:
        """Every cell once; yields each as it ends."""


def find_host(
    options: argparse.Namespace, reporter: Reporter
) -> contextlib.AbstractContextManager[Host]:
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
        from harness.campaigns.ray.cluster import connect_to_cluster

        return connect_to_cluster(options, address, reporter)
    raise UsageError(
        f"there is no place {options.on!r}", where="--on", fix="here, ray or ray:HOST:PORT"
    )
