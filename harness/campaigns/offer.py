"""What a machine or a cluster offers a campaign: what there is to run on, asked before anything is planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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
    isolation: str = ""
    """In words, what does not stand between an entry and a machine here; empty where everything does,
    or it is not known before an entry is prepared."""


class OffersRuns(Protocol):
    """What can be asked before there is a plan."""

    def offer(self, limits: Limits) -> Offer:
        """What there is to run on.

        Raises:
            EnvironmentFault: nothing, or no engine answers.
            UsageError: the options ask for what cannot be.
        """

    def check(self, requests: Sequence[Request]) -> None:
        """Raise a `HarnessError` for what these runs lack, as far as it can be known before them."""
