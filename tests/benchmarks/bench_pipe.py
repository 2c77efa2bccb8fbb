"""Times the pipe: an answer through the contract against a raw copy of the same bytes.

    python tests/benchmarks/bench_pipe.py [--engine process docker] [--images 400]

For each of the six benchmarks' image sizes the echo entry (baselines/echo) answers images
in a whole session, and a program without frames takes and gives the same number of bytes through
the same engine: pipes of a subprocess, or a container's attach stream. They take turns of a few
images, so that another job on the machine disturbs both alike.

Then what harness and contract add to an entry that takes 30 ms an image: whole sessions with a
sleeping entry, its maps scored on both grids, against the sleep alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere
HERE = Path(__file__).resolve().parent
REPORT = ROOT / "build" / "bench-pipe.json"
SLEEP_SECONDS = 0.03
TURN = 8  # images before the other pipe has its turn
ENGINES = ("process", "docker")


@dataclass(frozen=True)
class Size:
    """What one image of a benchmark moves."""

    benchmark: str
    shape: tuple[int, ...]
    maps: bool = True

    @property
    def sent(self) -> int:
        """Bytes of an image."""
        return int(np.prod(self.shape))

    @property
    def received(self) -> int:
        """Bytes of its float32 map; of a short line where none is wanted."""
        return 4 * self.shape[0] * self.shape[1] if self.maps else 100


SIZES = (
    Size("brain", (240, 240, 3)),
    Size("camelyon16", (256, 256, 3)),
    Size("liver", (512, 512)),
    Size("oct2017", (496, 512)),
    Size("resc", (1024, 512)),
    Size("rsna", (1024, 1024), maps=False),
)


class ContractPipe:
    """A session with the echo entry."""

    def __init__(self, engine: object, size: Size) -> None:
        from harness.session import PredictSession

        self._size = size
        self._running, launch, hello = started(engine, ROOT / "baselines" / "echo", size)
        self._session = PredictSession(self._running, launch, hello)
        self._session.start()

    def seconds(self, images: int) -> list[float]:
        """Per image, by the session's own clock."""
        from harness.session import Question

        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, self._size.shape, dtype=np.uint8)
        answers = self._session.ask(Question(image, None) for _ in range(images))
        return [answer.latency_seconds for answer in answers]

    def close(self) -> None:
        """End the session as a run does."""
        self._session.finish()
        self._running.stop()


def started(engine, folder: Path, size: Size, **params: float):
    """An entry's folder, started to predict; what runs, the launch and the hello."""
    from harness.engines.base import Launch
    from harness.provenance import folder_identity
    from harness.session import Hello

    program = engine.prepare_folder(folder, folder.name, folder_identity(folder))
    launch = Launch(program, "predict")
    hello = Hello(size.benchmark, 0, "cpu", maps_wanted=size.maps, params=params)
    return engine.start(launch), launch, hello


class RawPipe:
    """The same bytes without frames: written, then read, by one thread."""

    def __init__(
        self, write: Callable, read: Callable, end: Callable[[], None], size: Size
    ) -> None:
        self._write, self._read, self._end, self._size = write, read, end, size
        self._image = bytes(size.sent)
        self._write(b"%d %d\n" % (size.sent, size.received))

    def seconds(self, images: int) -> list[float]:
        """Per image: from before the first byte out to the last byte in."""
        took = []
        for _ in range(images):
            began = time.perf_counter()
            self._write(self._image)
            self._read(self._size.received)
            took.append(time.perf_counter() - began)
        return took

    def close(self) -> None:
        """End the program."""
        self._end()


def raw_process(_engine: object, size: Size) -> RawPipe:
    """Through pipes as large as the process engine's."""
    import fcntl
    import subprocess

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

    return RawPipe(write, read, end, size)


def raw_docker(engine, size: Size) -> RawPipe:
    """Through an attach stream of a container with the options of every entry."""
    from harness.engines.base import Launch
    from harness.engines.docker_container import remove_container
    from harness.engines.docker_options import Place, container_settings
    from harness.provenance import tree_hash

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

    return RawPipe(socket.sendall, read, end, size)


RAW = {"process": raw_process, "docker": raw_docker}


def engine_of(name: str) -> object:
    """The engine; containers on the small base, without torch."""
    from harness.engines.process import ProcessEngine
    from tests.engine_images import LightDockerEngine

    return ProcessEngine() if name == "process" else LightDockerEngine()


@contextmanager
def both(engine_name: str, size: Size) -> Iterator[dict[str, ContractPipe | RawPipe]]:
    """Both programs, started and warm."""
    engine = engine_of(engine_name)
    pipes: dict[str, ContractPipe | RawPipe] = {}
    try:
        pipes["contract"] = ContractPipe(engine, size)
        pipes["raw"] = RAW[engine_name](engine, size)
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


def overhead(engine_name: str, side: tuple[int, int], images: int) -> dict[str, object]:
    """What a session with a sleeping entry takes beyond its sleep, maps scored on both grids.

    The entry tells how long it slept: a busy machine wakes it late, which is not the pipe's time.
    """
    from harness.metrics import GroundTruth, RunScorer, TruthImage
    from harness.session import PredictSession, Question

    size = Size("demo", side)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, side, dtype=np.uint8) for _ in range(8)]
    mask = np.zeros(side, np.bool_)
    mask[:40, :40] = True
    truth = GroundTruth.compile(
        [
            TruthImage(f"{n:05}", n % 2 == 0, f"{n:05}", None, lambda: pictures[0],
                       (lambda: mask) if n % 2 == 0 else (lambda: np.zeros_like(mask)))
            for n in range(images)
        ],
        has_masks=True,
    )  # fmt: skip
    folder = HERE / "sleeping"
    running, launch, hello = started(engine_of(engine_name), folder, size, seconds=SLEEP_SECONDS)
    with running, tempfile.TemporaryDirectory() as spool:
        session = PredictSession(running, launch, hello)
        session.start()
        for _ in session.ask(Question(pictures[0], None) for _ in range(3)):
            pass
        scorer = RunScorer(truth, None, spool=Path(spool), maps=True)
        latencies, slept = [], 0.0
        began = time.perf_counter()
        questions = (Question(pictures[n % 8], f"{n:05}") for n in range(images))
        for answer in session.ask(questions):
            scorer.add("test", str(answer.token), answer.score, answer.anomaly_map)
            latencies.append(answer.latency_seconds)
            slept += answer.score
        seconds = time.perf_counter() - began
        session.finish()
    return {
        "engine": engine_name,
        "size": "x".join(map(str, side)),
        "images": images,
        "latency_ms": round(1000 * statistics.median(latencies), 3),
        "per_image_ms": round(1000 * seconds / images, 3),
        "slept_ms": round(1000 * slept / images, 3),
        "added": round(seconds / slept - 1, 4),
    }


def main() -> None:
    """Measure, print a table, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", nargs="+", choices=[size.benchmark for size in SIZES])
    parser.add_argument("--images", type=int, default=400)
    options = parser.parse_args()
    copies, added = [], []
    print(
        f"{'engine':8} {'benchmark':11} {'bytes':>9} {'contract ms':>12} {'raw ms':>8} {'ratio':>6}"
    )
    for name in options.engine:
        for size in SIZES:
            if options.only and size.benchmark not in options.only:
                continue
            row = compare(name, size, options.images)
            copies.append(row)
            print(
                f"{name:8} {size.benchmark:11} {row['bytes']:9} {row['contract_ms']:12}"
                f" {row['raw_ms']:8} {row['ratio']:6} {row['ratio_of_lower_quartiles']:16}",
                flush=True,
            )
    print(
        f"\n{'engine':8} {'size':10} {'latency ms':>11} {'ms an image':>12} {'slept':>7} {'added':>7}"
    )
    for name in options.engine:
        for side in ((256, 256), (512, 1024)):
            row = overhead(name, side, 200)
            added.append(row)
            print(
                f"{name:8} {row['size']:10} {row['latency_ms']:11} {row['per_image_ms']:12}"
                f" {row['slept_ms']:7} {100 * row['added']:6.1f}%",
                flush=True,
            )
    REPORT.parent.mkdir(exist_ok=True)
    report = {
        "machine": platform.processor() or platform.machine(),
        "copies": copies,
        "sleep": added,
    }
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten to {REPORT}")


if __name__ == "__main__":
    main()
