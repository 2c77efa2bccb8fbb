"""A real Ray cluster of several nodes on this machine, as a process of its own that ends with us.

    python tests/ray_cluster.py FOLDER

One JSON line in, one out: `{"add": {environment}, "gpus": n}` starts a node, `{"kill": id}` ends one
without a warning and `{"remove": id}` with one, the end of standard input ends them all. So no Ray process outlives the
tests, by whatever death of theirs, and pytest imports no Ray.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SIZE = {"num_cpus": 2, "object_store_memory": 80 * 1024**2, "include_dashboard": False}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LAST_LINES = 40


class ClusterEnded(Exception):
    """The cluster's process is gone; the message ends with its last words."""


class RayNodes:
    """The test's end of the pipe."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self.address: str = self._answer()["address"]

    def add(self, gpus: int = 0, **environment: str) -> str:
        """Start a node of two CPUs, and of GPUs as far as Ray knows, with these variables; its id."""
        return self._ask(add=environment, gpus=gpus)["id"]

    def kill(self, node: str) -> None:
        """End a node as a power cut would."""
        self._ask(kill=node)

    def remove(self, node: str) -> None:
        """End a node that says so to the others."""
        self._ask(remove=node)

    def _ask(self, **question: object) -> dict[str, str]:
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, str]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        last = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        code = self._process.wait()
        raise ClusterEnded("\n".join([f"the cluster's process has ended with {code}:", *last]))


def home_of_ray(folder: Path) -> dict[str, str]:
    """The environment in which Ray writes below this folder alone; makes what it expects there.

    Without it, Ray writes the address of its newest cluster into /tmp/ray, and fails where
    nobody has ever started a cluster: it makes the folder that it is told, never that one.
    """
    (folder / "ray").mkdir(exist_ok=True)
    return {"RAY_TMPDIR": str(folder)}


@contextlib.contextmanager
def ray_cluster(folder: Path) -> Iterator[RayNodes]:
    """A head without CPUs; add nodes as you need them.

    Args:
        folder: for all that Ray writes; its path must be short, because sockets lie there.
    Raises:
        ClusterEnded: it does not start, or ends while it is asked for something.
    """
    log = folder / "cluster.log"
    with log.open("w") as stream, subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True,
        env=os.environ | QUIET | home_of_ray(folder), start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield RayNodes(process, log)
        finally:
            process.stdin.close()
            process.wait(60)


def of_cluster(folder: Path) -> list[int]:
    """Processes that still work for the cluster of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{folder}/" in path.read_text(errors="replace"):
                found.append(int(path.parent.name))
    return found


def main(folder: str) -> None:
    """Serve until standard input ends."""
    from ray.cluster_utils import Cluster

    head = SIZE | {"num_cpus": 0, "temp_dir": f"{folder}/ray"}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = {}
    try:
        print(json.dumps({"address": cluster.address}), flush=True)
        for line in sys.stdin:
            question = json.loads(line)
            if "add" in question:
                node = cluster.add_node(**SIZE, num_gpus=question["gpus"], env_vars=question["add"])
                nodes[node.node_id] = node
                print(json.dumps({"id": node.node_id}), flush=True)
            else:
                is_graceful = "remove" in question
                node = nodes.pop(question["remove" if is_graceful else "kill"])
                cluster.remove_node(node, allow_graceful=is_graceful)
                print("{}", flush=True)
    finally:
        cluster.shutdown()
        for process in of_cluster(Path(folder)):
            if process != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
