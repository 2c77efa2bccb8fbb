"""An answer of the echo entry through the contract, and a raw copy of the same bytes."""

from __future__ import annotations

import fcntl
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from harness.engines.base import Engine, Launch
from harness.engines.docker import DockerEngine
from harness.engines.docker.container import remove_container
from harness.engines.docker.options import Place, container_settings
from harness.entries.identity import tree_hash
from harness.session.conversation import PredictSession, Question
from tests.benchmarks.pipe.starting import ROOT, Size, engine_of, started

HERE = Path(__file__).resolve().parent
TURN = 8  # images before the other pipe has its turn


class ContractPipe:
    """A session with the echo entry."""

    def __init__(self, engine: Engine, size: Size) -> None:
        self._size = size
        self._running, launch, hello = started(engine, ROOT / "baselines" / "echo", size, {})
        self._session = PredictSession(self._running, launch, hello)
        self._session.start()

    def seconds(self, images: int) -> list[float]:
        """Per image, by the session's own clock."""
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, self._size.shape, dtype=np.uint8)
        answers = self._session.ask(Question(image, None) for _ in range(images))
        return [answer.latency_seconds for answer in answers]

    def close(self) -> None:
        """End the session as a run does."""
        self._session.finish()
        self._running.stop()


class RawPipe:
    """The same bytes without frames: written, then read, by one thread."""

    def __init__(self, write: Callable, read: Callable, end: Callable[[], None]) -> None:
        self._write, self._read, self._end = write, read, end

    def begin(self, size: Size, sleep_seconds: float = 0.0) -> Self:
        """Tell the program what it takes and gives, and how long it sleeps in between."""
        self._image, self._received = bytes(size.sent), size.received
        self._write(b"%d %d %g\n" % (size.sent, size.received, sleep_seconds))
        return self

    def seconds(self, images: int) -> list[float]:
        """Per image: from before the first byte out to the last byte in."""
        took = []
        for _ in range(images):
            began = time.perf_counter()
            self._write(self._image)
            self._read(self._received)
            took.append(time.perf_counter() - began)
        return took

    def close(self) -> None:
        """End the program."""
        self._end()


def raw_process(_engine: Engine) -> RawPipe:
    """Through pipes as large as the process engine's."""
    child = subprocess.Popen(
        [sys.executable, str(HERE / "raw_copy" / "copy.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    into, out = child.stdin.fileno(), child.stdout.fileno()
    for fd in (into, out):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
    room = memoryview(bytearray(1 << 20))

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(into, rest) :]

    def read(count: int) -> None:
        while count:
            count -= os.readv(out, [room[: min(count, len(room))]])

    def end() -> None:
        child.stdin.close()
        child.wait()

    return RawPipe(write, read, end)


def raw_docker(engine: DockerEngine) -> RawPipe:
    """Through an attach stream of a container with the options of every entry."""
    folder, client = HERE / "raw_copy", engine.client
    program = engine.prepare_folder(folder, "raw-copy", tree_hash([folder], base=folder))
    name = f"bmad-raw-copy-{os.getpid()}"
    place = Place("65534:65534", tuple(sorted(os.sched_getaffinity(0))), None, "")
    settings = container_settings(Launch(program, "predict"), place, {})
    client.create_container_from_config(settings, name)
    stream = client.attach_socket(name, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    client.start(name)
    socket = stream._sock
    socket.setblocking(True)
    room = memoryview(bytearray(1 << 20))

    def fill(count: int) -> None:
        done = 0
        while done < count:
            done += socket.recv_into(room[done:count])

    def read(count: int) -> None:
        while count:
            fill(8)
            length = int.from_bytes(room[4:8], "big")
            fill(length)
            count -= length

    def end() -> None:
        stream.close()
        remove_container(client, name)

    return RawPipe(socket.sendall, read, end)


RAW = {"process": raw_process, "docker": raw_docker}


@contextmanager
def both(engine_name: str, size: Size) -> Iterator[dict[str, ContractPipe | RawPipe]]:
    """Both programs, started and warm."""
    engine = engine_of(engine_name)
    pipes: dict[str, ContractPipe | RawPipe] = {}
    try:
        pipes["contract"] = ContractPipe(engine, size)
        pipes["raw"] = RAW[engine_name](engine).begin(size)
        for pipe in pipes.values():
            pipe.seconds(5)
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.close()


def compare(engine_name: str, size: Size, images: int) -> dict[str, object]:
    """Milliseconds of both, and their ratio: the median, and the quartile that noise reaches less."""
    took: dict[str, list[float]] = {"contract": [], "raw": []}
    with both(engine_name, size) as pipes:
        for _ in range(images // TURN):
            for name, pipe in pipes.items():
                took[name] += pipe.seconds(TURN)
    quartiles = {name: statistics.quantiles(seconds, n=4) for name, seconds in took.items()}
    lower, median = (quartiles["contract"][n] / quartiles["raw"][n] for n in (0, 1))
    return {
        "engine": engine_name,
        "benchmark": size.benchmark,
        "bytes": size.sent + size.received,
        "contract_ms": round(1000 * quartiles["contract"][1], 3),
        "raw_ms": round(1000 * quartiles["raw"][1], 3),
        "ratio": round(median, 2),
        "ratio_of_lower_quartiles": round(lower, 2),
    }
