"""Harnesses to be killed: real processes that run `evaluate`, forked from one that is warm.

An interpreter with all imports takes seconds to start, and a test of kills needs many. So one
process imports everything, and forks a harness for each command that it reads:

    with Nursery(cache) as nursery:
        harness = nursery.start("tests/sample_entries/honest", "--results", "r")
        os.kill(harness, signal.SIGKILL)
        code = nursery.wait()              # as `subprocess` counts: -9
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from select import select
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]

NURSERY = """
import atexit, json, os, signal, sys
import harness.engines
from harness import check, evaluate, site
from harness.board import terminal_tables
from harness.console import cli
from harness.entries import identity
from harness.records import store
from harness.running import run
from harness.session import conversation, scoring
from harness.benchmarks import demo_pack, open_pack
from harness.engines import apptainer, docker, podman, process
from harness.metrics import scorer, evidence, pixels
from harness.metrics.kernels import exact, regions
from tests.engine_images import LIGHT_ENGINES

choose = harness.engines.choose_engine
harness.engines.choose_engine = (
    lambda wanted: LIGHT_ENGINES[wanted]() if wanted in LIGHT_ENGINES else choose(wanted)
)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        sys.argv = ["evaluate", *json.loads(line)]
        code = cli.run_verb(lambda _: evaluate.main(sys.argv[1:]))
        sys.stderr.flush()
        atexit._run_exitfuncs()  # as at the end of a harness that is no fork
        os._exit(code)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Nursery:
    """Starts harnesses, one at a time.

    Args:
        cache: their cache folder.
        log: file that takes what they say on standard error.
    """

    def __init__(self, cache: Path, log: Path, **environment: str) -> None:
        self._log = log.open("ab")
        self._said = b""
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            cwd=REPOSITORY,
            env={**os.environ, "BMAD_CACHE": str(cache), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def start(self, *arguments: object) -> int:
        """Start `evaluate` with these arguments; returns the process id of the harness."""
        assert self._process.stdin is not None
        line = json.dumps([str(each) for each in arguments]) + "\n"
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()
        return int(self._read())

    def wait(self) -> int:
        """The exit code of the harness that was started last; negative = that signal."""
        return int(self._read())

    def has_ended(self, within: float) -> bool:
        """Whether it ends by itself in so many seconds; returns as soon as it does."""
        assert self._process.stdout is not None
        return b"\n" in self._said or bool(select([self._process.stdout], [], [], within)[0])

    def run(self, *arguments: object) -> int:
        """Start and wait."""
        self.start(*arguments)
        return self.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        while b"\n" not in self._said:  # no buffer of the file's own: `has_ended` asks the pipe
            piece = os.read(self._process.stdout.fileno(), 1024)
            assert piece, "the nursery has died: see its log"
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        finally:
            self._process.kill()
            self._process.stdout.close()
            self._log.close()
