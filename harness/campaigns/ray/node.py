"""What a node of a Ray cluster does: ask its harness whether a run fits, run it, hand back the files.

This code travels to the node as it is (it is not imported there), so it stands on the
standard library alone; the harness of the node is spoken to as a process. Traps:
- Ray kills the children of a worker that ends, outright. So the run is a grandchild: its
  standard input ends with the worker, and it goes as it would on Ctrl-C, containers removed.
- Ray sets CUDA_VISIBLE_DEVICES for its worker; a run names its GPU itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = "BMAD_CHECKOUT"
NODE_POLL_SECONDS = 0.2
NODE_STOP_SECONDS = 60.0
CHUNK_BYTES = 4 * 1024**2
# Starts the run one generation down, and ends as it ends.
SHIELD = "import subprocess, sys\nsys.exit(subprocess.Popen(sys.argv[1:]).wait() % 256)"

Message = tuple[str, Any]


class NotUsable(Exception):
    """The node has no harness that answers; the message says why."""


def node_facts(checkout: str) -> dict[str, Any]:
    """What the node's harness says of the node, or `{"problem": …}`."""
    try:
        return _ask(_checkout(checkout), "facts", None)
    except NotUsable as problem:
        return {"problem": str(problem)}


def run(job: Mapping[str, Any], checkout: str, device: str) -> Iterator[Message]:
    """One run on this node.

    Yields:
        `unfit` with a list of reasons, or `busy` with one, and nothing more; else `started`
        with the call, `log` with bytes as they come, `file` with a path below the results
        folder and its next bytes, and last `ended` with (exit code, seconds).
    """
    job = {**job, "owner": os.getpid(), "command": {**job["command"], "device": device}}
    try:
        place = _checkout(checkout)
        verdict = _ask(place, "check", job)
    except NotUsable as problem:
        yield "unfit", [str(problem)]
        return
    if verdict["problems"]:
        yield "unfit", verdict["problems"]
        return
    if verdict["busy"]:
        yield "busy", verdict["busy"]
        return
    work = Path(verdict["work"])
    try:
        yield "started", verdict["arguments"]
        began = time.monotonic()
        code = yield from _evaluate(verdict["arguments"], place, work / "log")
        seconds = time.monotonic() - began
        yield from _files(work / "results")
        yield "ended", (code, seconds)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _checkout(given: str) -> str:
    """The node's checkout of the harness: where it says, else where the campaign's lies."""
    own = os.environ.get(CHECKOUT)
    place = own or given
    if not (Path(place) / "harness" / "campaigns" / "ray" / "node_check.py").is_file():
        told = f"${CHECKOUT} names" if own else f"{CHECKOUT} is not set, and the campaign's is"
        raise NotUsable(f"there is no checkout of this harness: {told} {place}")
    return place


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}


def _ask(place: str, question: str, job: Mapping[str, Any] | None) -> dict[str, Any]:
    """One question to the node's harness."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.campaigns.ray.node_check", question],
        input=json.dumps(job), capture_output=True, text=True, cwd=place, env=_environment(),
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise NotUsable(f"the harness in {place} does not start: {words[0]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # whatever was printed before
    return answer


def _evaluate(arguments: Sequence[str], place: str, log: Path) -> Generator[Message, None, int]:
    """The run itself; yields its log as it comes and returns its exit code."""
    call = [sys.executable, "-m", "harness.campaigns.one_run", *arguments]
    with log.open("wb") as stream, log.open("rb") as told:
        process = subprocess.Popen(
            [sys.executable, "-c", SHIELD, *call],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stream,
            cwd=place, env=_environment(), start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None:
                if text := told.read():
                    yield "log", text
                time.sleep(NODE_POLL_SECONDS)
        finally:
            _end(process)
        if text := told.read():
            yield "log", text
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the run by the end of its standard input; it takes what it started with it."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(NODE_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _files(results: Path) -> Iterator[Message]:
    """Every file of the results folder but its locks, piece by piece."""
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results)
        if not path.is_file() or name.parts[0].startswith("."):
            continue
        with path.open("rb") as stream:
            piece = stream.read(CHUNK_BYTES)
            yield "file", (name.as_posix(), piece)  # an empty file is one too
            while piece := stream.read(CHUNK_BYTES):
                yield "file", (name.as_posix(), piece)
