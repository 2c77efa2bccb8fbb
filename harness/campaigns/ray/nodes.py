"""What the campaign knows of a cluster's nodes: which can take a run, which never, which no more.

Placing a run among those that can is Ray's; here is only which ones it must leave out. A
node is known by Ray's id, which a node that was started again does not keep.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.campaigns.faults import End, FaultsInARow
from harness.common.errors import ClusterUnavailable
from harness.entries.campaign_grid import Cell

LOOK_SECONDS = 1.0  # between two looks at the cluster


@dataclass(frozen=True)
class Node:
    """One living node."""

    id: str
    """Ray's."""
    name: str
    """For people."""
    cpus: float
    """In all."""
    gpus: float
    """In all."""


@dataclass(frozen=True)
class NodeNeed:
    """What one run asks Ray for."""

    cpus: int
    """CPUs."""
    gpus: int
    """GPUs, one or none."""

    def places(self, node: Node) -> int:
        """How many runs the node does at a time."""
        by_cpu = int(node.cpus // self.cpus)
        return min(by_cpu, int(node.gpus // self.gpus)) if self.gpus else by_cpu

    def __str__(self) -> str:
        return f"{self.gpus} GPU and {self.cpus} CPU" if self.gpus else f"{self.cpus} CPUs"


class Nodes:
    """The living nodes and what was found out about them; shared by the threads of a campaign.

    Args:
        look: the living nodes now.
        need: what a run asks for.
        tell: told once what a node is left out for.
    """

    def __init__(
        self, look: Callable[[], Sequence[Node]], need: NodeNeed, tell: Callable[[str], None]
    ) -> None:
        self.need, self._look, self.tell = need, look, tell
        self._lock = threading.Lock()
        self._seen: tuple[float, list[Node]] = (float("-inf"), [])
        self._names: dict[str, str] = {}
        self._closed: dict[str, str] = {}  # node -> why no run at all goes there
        self._unfit: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self._avoided: dict[Cell, set[str]] = defaultdict(set)
        self._faults: dict[str, FaultsInARow] = {}
        self._told: set[tuple[str, str]] = set()

    def able(self) -> list[Node]:
        """The living nodes that are large enough for a run."""
        with self._lock:
            instant, nodes = self._seen
            if time.monotonic() - instant > LOOK_SECONDS:
                nodes = [node for node in self._look() if self.need.places(node) > 0]
                self._seen = (time.monotonic(), nodes)
                self._names |= {node.id: node.name for node in nodes}
            return nodes

    def name(self, node: str) -> str:
        """A node's name for people."""
        return self._names.get(node, node[:8])

    def open(self) -> list[Node]:
        """Those that are not left out of everything."""
        return [node for node in self.able() if node.id not in self._closed]

    def close(self, node: str, reason: str) -> None:
        """No run goes there from now on."""
        self._closed[node] = reason
        self._tell_once(node, reason)

    def see_unfit(self, cell: Cell, node: str, problems: Sequence[str]) -> None:
        """A node has said that runs like this one cannot happen there."""
        reason = "; ".join(problems)
        self._unfit[_kind(cell)][node] = reason
        self._tell_once(node, f"not fit for {cell.variant.name} on {cell.place}: {reason}")

    def see(self, cell: Cell, node: str, end: End) -> None:
        """A run has ended there; after too many faults in a row the node is given up."""
        if end is End.NOT_DONE:
            self._avoided[cell].add(node)
        places = next((self.need.places(n) for n in self.able() if n.id == node), 1)
        faults = self._faults.setdefault(node, FaultsInARow(places))
        faults.see(end)
        if faults.is_too_many and node not in self._closed:
            self.close(node, f"given up after {places + 1} faults in a row")

    def left_out(self, cell: Cell) -> list[str] | None:
        """Ids of the living nodes where Ray must not place this run; None = no node is there.

        Where another is left, a node on which it has failed before is left out too.

        Raises:
            ClusterUnavailable: nodes are there, and none of them can do it.
        """
        able = self.able()
        if not able:
            return None
        refusing = self._closed | self._unfit[_kind(cell)]
        willing = [node for node in able if node.id not in refusing]
        if not willing:
            said = "; ".join(f"{node.name}: {refusing[node.id]}" for node in able)
            raise ClusterUnavailable(
                f"no node of the cluster can do this run: {said}",
                fix="mend one of them, then resume; docs/cluster.md says what a node needs",
            )
        avoided = self._avoided[cell]
        if all(node.id in avoided for node in willing):
            avoided = set()
        return [node.id for node in able if node.id in refusing or node.id in avoided]

    def _tell_once(self, node: str, reason: str) -> None:
        if (node, reason) not in self._told:
            self._told.add((node, reason))
            self.tell(f"node {self.name(node)}: {reason}")


def _kind(cell: Cell) -> tuple[str, str]:
    """What a node's fitness hangs on: a seed changes nothing."""
    return cell.variant.name, cell.place
