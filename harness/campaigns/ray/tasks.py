"""The two Ray tasks of a campaign, what a node has and one run; and Ray's errors in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.campaigns.ray import node as on_node
from harness.campaigns.ray.nodes import Nodes
from harness.common.paths import REPOSITORY

if TYPE_CHECKING:
    from harness.entries.campaign_grid import Cell

SURVEY_SECONDS = 180.0  # for every node to say what it has
MESSAGES_AHEAD = 4  # a node waits when so many are not fetched: 16 MiB of files
# Of Ray's errors, which fill a screen each, what has happened.
RAY_MEANINGS = {
    "NodeDiedError": "the node was lost",
    "WorkerCrashedError": "its worker process died",
    "OutOfMemoryError": "Ray ended the run: the node was short of memory",
    "ObjectLostError": "what it sent was lost on the way",
    "OwnerDiedError": "what it sent was lost on the way",
    "RuntimeEnvSetupError": "its runtime environment cannot be set up",
}


class Tasks:
    """The two Ray tasks: what a node has, and one run.

    Args:
        ray: the module, connected.
        nodes: the cluster's.
    """

    def __init__(self, ray: Any, nodes: Nodes) -> None:
        self.ray, self.nodes = ray, nodes
        ray.cloudpickle.register_pickle_by_value(on_node)  # nodes import nothing of ours
        work = on_node.run

        def run(job: dict[str, Any], checkout: str) -> Iterator[tuple[str, Any]]:
            import ray

            context = ray.get_runtime_context()
            yield "here", context.get_node_id()
            device = job["command"]["device"]
            if device != "cpu":  # an index or a UUID, as this node counts
                device = f"cuda:{context.get_accelerator_ids()['GPU'][0]}"
            yield from work(job, checkout, device)

        self._run, self._facts = ray.remote(run), ray.remote(on_node.node_facts)

    def start(self, job: Mapping[str, Any], cell: Cell, left_out: Sequence[str]) -> Any:
        """A run somewhere but on these nodes; returns the generator of its messages."""
        options: dict[str, Any] = {
            "num_cpus": self.nodes.need.cpus,
            "num_gpus": self.nodes.need.gpus,
            "max_retries": 0,
            "num_returns": "streaming",
            "_generator_backpressure_num_objects": MESSAGES_AHEAD,
            "name": str(cell),
        }
        if left_out:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(left_out)})"}
        return self._run.options(**options).remote(dict(job), str(REPOSITORY))

    def facts(self, nodes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What each of these nodes has; those that do not say so in time have a problem."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked = {
            self._facts.options(
                num_cpus=0, max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            ).remote(str(REPOSITORY)): node
            for node in nodes
        }  # fmt: skip
        answers: dict[str, dict[str, Any]] = {}
        if not asked:
            return answers
        ready, late = self.ray.wait(list(asked), num_returns=len(asked), timeout=SURVEY_SECONDS)
        for reference in ready:
            try:
                answers[asked[reference]] = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                answers[asked[reference]] = {"problem": f"it does not answer: {in_words(error)}"}
        for reference in late:
            self.ray.cancel(reference, force=True)
            answers[asked[reference]] = {"problem": f"it said nothing in {SURVEY_SECONDS:.0f} s"}
        return answers


def in_words(error: BaseException, most: int = 200) -> str:
    """An error on one short line: what it means here, where we know, else its own words."""
    if known := RAY_MEANINGS.get(type(error).__name__):
        return known
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else text[:most] + "…"
