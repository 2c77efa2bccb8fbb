"""Runs on a Ray cluster: each is a Ray task, placed by Ray, checked by its node, stored here.

What a node does is in `node.py`, what it checks in `node_check.py`, what becomes of what it
sends in `runner.py` and `arrivals.py`; `tasks.py` alone asks Ray for work. Traps:
- A task of Ray's own retries would run again unseen: `max_retries=0`, and the campaign's rule
  for faults decides.
- Ray kills the tasks of a campaign that dies, so nothing is left running by its death.
- Ray prints on standard output what its nodes have to say; results stand there, so it goes
  into a file of the campaign's logs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.campaigns.command import Command, command_of
from harness.campaigns.faults import Ended
from harness.campaigns.offer import Offer
from harness.campaigns.plan import LOGS
from harness.campaigns.ray.node_check import differences_in_words, harness_facts
from harness.campaigns.ray.nodes import Node, NodeNeed, Nodes
from harness.campaigns.ray.runner import WAIT_SECONDS, RayRunner
from harness.campaigns.ray.tasks import Tasks
from harness.common.errors import (
    ClusterUnavailable,
    DeviceUnavailable,
    UsageError,
)
from harness.common.paths import REPOSITORY
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.campaigns.plan import CampaignPlan
    from harness.engines.base import Engine, Limits
    from harness.entries.campaign_grid import Cell
    from harness.running.request import Request

CONNECT_SECONDS = 10.0  # for the first answer of an address
# Tasks that are asked for at a time, at least: more than there is room for, so that nodes that
# join later, or that Ray's autoscaler starts for what waits, are given work.
FLIGHTS = 64


@contextlib.contextmanager
def connect_to_cluster(
    options: argparse.Namespace, address: str, reporter: cli.Reporter
) -> Iterator[RayCluster]:
    """The cluster at an address, else of $RAY_ADDRESS, else that this machine is a node of.

    Raises:
        ClusterUnavailable: none answers, or Ray is not installed.
    """
    ray = _import_ray()
    address = address or os.environ.get("RAY_ADDRESS", "") or "auto"
    on_term = signal.getsignal(signal.SIGTERM)
    with _words_of_ray(options):
        _init(ray, address)
        signal.signal(signal.SIGTERM, on_term)  # Ray's own would end us without clean-up
        try:
            yield RayCluster(ray, options, reporter)
        finally:
            ray.shutdown()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray will do in its next version anyway, and warns of until then.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ClusterUnavailable(
            "Ray is not installed",
            where="--on ray",
            fix="pip install 'ray>=2.50' (the extra [ray]), on every node in the same version",
        ) from error
    return ray


def _init(ray: Any, address: str) -> None:
    fix = (
        "start one with `ray start --head` and join it from this machine with"
        " `ray start --address=HOST:6379 --num-cpus=0`, then name it with --on ray:HOST:6379 or"
        " RAY_ADDRESS; docs/cluster.md has recipes"
    )
    if address.startswith("ray://"):
        raise ClusterUnavailable(
            "the campaign is no Ray client: its machine must be a node of the cluster",
            where=address,
            fix=fix,
        )
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError, SystemExit) as error:
        words = " ".join(str(error).split())
        if isinstance(error, SystemExit):  # how Ray's own library gives up
            words = "something else listens there"
        raise ClusterUnavailable(
            f"no Ray cluster answers: {words}", where=address, fix=fix
        ) from error


@contextlib.contextmanager
def _words_of_ray(options: argparse.Namespace) -> Iterator[None]:
    """What Ray prints goes into a file where there is a folder of logs, else nowhere."""
    path = Path(os.devnull)
    if options.action in ("run", "resume"):
        path = options.results / LOGS / "ray.log"
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream, contextlib.redirect_stdout(stream):
        yield


class RayCluster:
    """A cluster that this process is connected to.

    Args:
        ray: the module.
        options: the campaign's.
        reporter: told what nodes are left out for.
    """

    def __init__(self, ray: Any, options: argparse.Namespace, reporter: cli.Reporter) -> None:
        self._ray, self._options, self._tell = ray, options, reporter.event
        self._harness = harness_facts()
        self._nodes = Nodes(self._living, NodeNeed(1, 0), self._tell)

    def offer(self, limits: Limits) -> Offer:
        """The nodes that have this harness, the engine and the device; see `offer.OffersRuns`."""
        options = self._options
        if options.device not in ("cpu", "cuda"):
            raise UsageError(
                "on a cluster Ray chooses the GPU", where="--device", fix="--device cuda"
            )
        if options.jobs is not None and options.jobs < 1:
            raise UsageError("at least one run at a time", where="--jobs")
        need = NodeNeed(1, 1) if options.device == "cuda" else NodeNeed(limits.threads, 0)
        self._nodes = Nodes(self._living, need, self._tell)
        told = self._survey()
        engine = self._engine(told)
        kind = self._gpu_model(told) if need.gpus else "cpu"
        for node, each in told.items():
            if engine.name not in each["engines"]:
                self._nodes.close(node, f"the engine {engine.name} does not answer there")
            elif need.gpus and kind not in each["gpus"]:
                models = ", ".join(sorted(set(each["gpus"]))) or "none that the driver tells of"
                self._nodes.close(node, f"its GPUs are of another model: {models}")
        places = [
            node.name for node in self._nodes.open() for _ in range(need.places(node))
        ]  # one name for each run at a time
        lacking = {self._isolation(node, told, engine.name) for node in self._nodes.open()}
        return Offer(engine, kind, tuple(places), "; ".join(sorted(lacking - {""})))

    def _isolation(self, node: Node, told: Mapping[str, Mapping[str, Any]], engine: str) -> str:
        """What does not hold on a node, by its name; empty where everything does."""
        lacking = told[node.id].get("isolation", {}).get(engine, "") if node.id in told else ""
        return f"{node.name}: {lacking}" if lacking else ""

    def check(self, requests: Sequence[Request]) -> None:
        """Images are named so that every node means the same; the rest each node checks itself."""
        for request in requests:
            source = request.entry.source
            is_pinned = "@sha256:" in source or source.startswith("sha256:")
            if request.entry.kind == "image" and not is_pinned:
                raise UsageError(
                    "nodes may have different images under one tag",
                    where=source,
                    fix="name the image by its digest: name@sha256:…",
                )

    def runs(self, plan: CampaignPlan, cells: Sequence[Cell]) -> Iterator[Ended]:
        """Every cell once; yields each as it ends."""
        plan.store.sweep()
        flights = self._options.jobs or max(FLIGHTS, 2 * len(plan.slots))
        runner = RayRunner(
            Tasks(self._ray, self._nodes),
            plan,
            [f"flight {number}" for number in range(min(flights, len(cells)))],
            lambda cell: self._job(cell, plan),
            wait_seconds=self._options.wait_for_nodes,
            replace=self._options.replace,
        )
        return runner.run(cells)

    def _living(self) -> list[Node]:
        found = [each for each in self._ray.nodes() if each["Alive"]]
        hosts = Counter(each["NodeManagerHostname"] for each in found)
        nodes = []
        for each in found:
            host, size = each["NodeManagerHostname"], each["Resources"]
            name = host if hosts[host] == 1 else f"{host}/{each['NodeID'][:8]}"
            nodes.append(Node(each["NodeID"], name, size.get("CPU", 0), size.get("GPU", 0)))
        return nodes

    def _survey(self) -> dict[str, dict[str, Any]]:
        """What each node that is large enough says of itself; those that cannot are closed.

        Raises:
            ClusterUnavailable: none is left.
        """
        nodes, deadline = self._nodes, self._options.wait_for_nodes
        ended = threading.Event()
        while not nodes.able() and deadline > 0 and self._options.action in ("run", "resume"):
            ended.wait(WAIT_SECONDS)
            deadline -= WAIT_SECONDS
        answers = Tasks(self._ray, nodes).facts([node.id for node in nodes.able()])
        told = {}
        for node, answer in answers.items():
            if problem := answer.get("problem"):
                nodes.close(node, problem)
            elif other := differences_in_words(answer["harness"], self._harness):
                nodes.close(node, f"the harness there is another one: {'; '.join(other)}")
            else:
                told[node] = answer
        if not told:
            raise ClusterUnavailable(
                f"no node of the cluster can do a run that asks for {nodes.need}",
                where="--on ray",
                fix="ray start gives a node its --num-cpus and --num-gpus; docs/cluster.md says"
                " what else it needs",
            )
        return told

    def _engine(self, told: Mapping[str, Mapping[str, Any]]) -> Engine:
        """The engine that is asked for, else the first isolated one that some node has."""
        from harness.engines import engine_names, make_engine

        if self._options.engine != "auto":
            return make_engine(self._options.engine)
        has = {name for each in told.values() for name in each["engines"]}
        return make_engine(next(name for name in engine_names() if name in has))

    def _gpu_model(self, told: Mapping[str, Mapping[str, Any]]) -> str:
        """The one model that this campaign's records are of.

        Raises:
            UsageError: there are several, and none is named.
            DeviceUnavailable: no node has one, or the one that is named.
        """
        models = Counter(name for each in told.values() for name in each["gpus"])
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(models.items())) or "none"
        wanted = self._options.gpu_model
        if wanted is None and len(models) > 1:
            raise UsageError(
                f"the cluster has GPUs of several models: {listed}; equal runs need equal ones",
                where="--device cuda",
                fix=f"name one: --gpu-model '{models.most_common(1)[0][0]}'",
            )
        if wanted not in {None, *models} or not models:
            raise DeviceUnavailable(
                f"no node has {wanted or 'a GPU'} as its driver tells; found: {listed}",
                where="--gpu-model" if wanted else "--device cuda",
                fix="name one that is there, or start a node that has it",
            )
        return str(wanted or next(iter(models)))

    def _job(self, cell: Cell, plan: CampaignPlan) -> dict[str, Any]:
        """The run as a node is asked for it (`fit.Job`)."""
        command = _for_nodes(command_of(cell, self._options.device, plan, self._options))
        return {
            "command": dataclasses.asdict(command),
            "harness": self._harness,
            "expected": plan.expected(cell),
        }


def _for_nodes(command: Command) -> Command:
    """The call with paths that mean the same elsewhere: in the checkout, else absolute."""
    place = list(command.place)
    root = os.environ.get("BMAD_DATA")
    if place[0] in ("--benchmark", "--suite") and "--data-root" not in place and root:
        place += ["--data-root", root]
    option = ""
    for number, text in enumerate(place):
        option = text if text.startswith("--") else option
        is_path = option in ("--pack", "--data-root") or (
            option == "--suite" and text.endswith(".toml")
        )
        if is_path and text != option:
            place[number] = _portable(text)
    return dataclasses.replace(
        command,
        source=_portable(command.source) if Path(command.source).exists() else command.source,
        place=tuple(place),
        weights=_portable(command.weights) if command.weights else None,
        replace=False,  # its results folder is fresh
    )


def _portable(text: str) -> str:
    path = Path(text).resolve()
    inside = path.is_relative_to(REPOSITORY)
    return path.relative_to(REPOSITORY).as_posix() if inside else str(path)
