"""An engine for tests: the entry is a plain Python function behind real pipes.

    def program(stdin, stdout, stderr):
        stdout.write(b"hello\\n")
        stdout.flush()

    with run_function(program) as running:
        running.receive_line(64, time.monotonic() + 5)

The function runs in a thread. Its return is exit code 0, `SystemExit` the code it carries,
any other exception a traceback on its stderr and exit code 1. A thread cannot be killed:
`stop` closes the pipes, waits `stop_seconds`, and then gives it up as killed (code None), so
a test of an entry that hangs should let it wait on `stdin` or on an event of the test's own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from harness.engines.base import (
    DeadlinePassed,
    Engine,
    EngineFacts,
    Exit,
    Launch,
    Limits,
    Program,
)
from harness.engines.pump import PipeRunning, Pipes
from harness.records.isolation import IsolationLevel, MeasuredIsolation

EntryFunction = Callable[[BinaryIO, BinaryIO, BinaryIO], None]
"""(stdin, stdout, stderr), all binary and buffered as a real program's are (stderr is not)."""


def run_function(
    function: EntryFunction,
    *,
    limits: Limits | None = None,
    paths: Mapping[str, str] | None = None,
    exit_code: int | None = None,
    is_out_of_memory: bool = False,
    facts: EngineFacts | None = None,
) -> FunctionRunning:
    """Start a function as if it were an entry.

    Args:
        function: the program.
        limits: `log_bytes` and `stop_seconds` count here.
        paths: what `Running.paths` tells.
        exit_code: reported in place of the function's own.
        is_out_of_memory: reported as the engine's word in `Exit`.
        facts: what the engine tells when it is asked.
    """
    running = FunctionRunning(
        function, limits or Limits(), paths or {}, exit_code, is_out_of_memory
    )
    running.told_facts = facts or EngineFacts()
    return running


class FunctionEngine(Engine):
    """An engine whose every program is one function; what was launched stands in `launches`."""

    name = "function"
    at_most: IsolationLevel = "none"

    def __init__(self, function: EntryFunction, canary: EntryFunction | None = None) -> None:
        self._function = function
        self._canary = canary or _well
        self.launches: list[Launch] = []

    def check(self) -> None:
        """Always there."""

    def describe(self) -> str:
        return "function (in a thread)"

    def prepare_folder(self, folder: Path, name: str, identity: str) -> Program:
        return Program(name=name, identity=identity)

    def prepare_image(self, reference: str, name: str) -> Program:
        return Program(name=name, identity="image:sha256:" + "0" * 64, image=reference)

    def prepare_archive(self, archive: Path, name: str) -> Program:
        return Program(name=name, identity="image:sha256:" + "1" * 64, image=str(archive))

    def start(self, launch: Launch) -> FunctionRunning:
        self.launches.append(launch)
        paths = {name: str(path) for name, path in launch.folders().items()}
        return run_function(self._function, limits=launch.limits, paths=paths)

    def start_source(self, launch: Launch, source: str) -> FunctionRunning:
        """Whatever the program is, the canary's function stands in for it."""
        return run_function(self._canary, limits=launch.limits)

    def measure(self, launch: Launch) -> MeasuredIsolation:
        """Nothing holds a thread."""
        return MeasuredIsolation()

    def plan(self, launch: Launch) -> str:
        return f"{getattr(self._function, '__name__', 'function')}() {launch.verb}"


class FunctionRunning(PipeRunning):
    """One function in its thread."""

    def __init__(
        self,
        function: EntryFunction,
        limits: Limits,
        paths: Mapping[str, str],
        exit_code: int | None,
        is_out_of_memory: bool,
    ) -> None:
        pipes = Pipes.open()
        super().__init__(pipes.ours, limits.log_bytes, paths)
        self._stop_seconds = limits.stop_seconds
        self._code = 0
        self._exit: Exit | None = None
        self._given_code = exit_code
        self._is_out_of_memory = is_out_of_memory
        self._thread = threading.Thread(
            target=self._run, args=(function, pipes.theirs), name="entry", daemon=True
        )
        self._thread.start()

    def _run(self, function: EntryFunction, descriptors: tuple[int, int, int]) -> None:
        stdin = os.fdopen(descriptors[0], "rb")
        stdout = os.fdopen(descriptors[1], "wb")
        stderr = os.fdopen(descriptors[2], "wb", buffering=0)
        try:
            function(stdin, stdout, stderr)
            stdout.flush()
        except SystemExit as ending:
            self._code = ending.code if isinstance(ending.code, int) else int(bool(ending.code))
        except Exception:  # noqa: BLE001 - as an interpreter does: a program's errors are its own
            self._code = 1
            _write_last_words(stderr, traceback.format_exc())
        for file in (stdin, stdout, stderr):
            _close(file)

    told_facts = EngineFacts()

    def facts(self) -> EngineFacts:
        return self.told_facts

    def wait(self, deadline: float) -> Exit:
        if self._exit is None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                raise DeadlinePassed("the program did not end in time")
            self._finish_draining(time.monotonic() + 1.0)
            code = self._code if self._given_code is None else self._given_code
            self._exit = Exit(code, self._is_out_of_memory)
        self._inbox.check_log()
        return self._exit

    def stop(self) -> Exit:
        self.close_input()
        if self._exit is None:
            deadline = time.monotonic() + self._stop_seconds
            while self._thread.is_alive() and time.monotonic() < deadline:
                self._thread.join(0.05)
            code = self._code if self._given_code is None else self._given_code
            killed = self._thread.is_alive()
            if not killed:
                self._finish_draining(time.monotonic() + 1.0)
            self._exit = Exit(None) if killed else Exit(code, self._is_out_of_memory)
        self._release()
        return self._exit

    @property
    def peak_memory_bytes(self) -> int | None:
        return None


def _well(_stdin: BinaryIO, stdout: BinaryIO, _stderr: BinaryIO) -> None:
    """The canary of a GPU that is well."""
    stdout.write(b'{"code": 0, "said": "the GPU computes"}\n')


def _write_last_words(stderr: BinaryIO, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the harness has gone first
        stderr.write(text.encode())


def _close(file: BinaryIO) -> None:
    with contextlib.suppress(BrokenPipeError):  # unflushed output, and nobody to read it
        file.close()
