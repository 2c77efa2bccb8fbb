"""One container: how it is created, its pipe through the engine's attach stream, its certain end.

Traps, all seen on a real engine:
- Created without StdinOnce, or started before we are attached: closing our half gives the
  entry no end of file, and its first output is lost.
- While the attach stream is not drained, kill, inspect and remove hang. So a thread drains
  it to its end, waits for nobody and drops what passes a bound; and the end of a run shuts
  our socket down first, then kills, then removes and verifies.
- The SDK reads the answer's headers through a buffer of its own and hands out the raw
  socket behind it. That is safe only because nothing is written before the start.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import DockerException, NotFound

from harness.common.statuses import Cause, RunEnded, Status
from harness.engines.base import DeadlinePassed, EngineFacts, Exit, Launch
from harness.engines.docker.gauges import SAMPLE_SECONDS, MemoryGauge
from harness.engines.docker.options import PATHS
from harness.engines.docker.own_processes import names_container, pid_namespace
from harness.engines.full_folders import FolderGauge
from harness.engines.memory_events import OwnMemory
from harness.engines.pump import READ_BYTES, Inbox, PumpedRunning

REMOVE_SECONDS = 30.0  # from the KILL to the engine's word that the container is gone
_ENDED_BY_TERM = 128 + signal.SIGTERM
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.25  # between questions for the state
ENGINE_FAULTS = (DockerException, requests.RequestException)
"""What a call of the SDK raises when the engine refuses, is gone or does not answer in time."""


class Demultiplexer:
    """Takes the attach stream apart: 8-byte headers (stream, length), then that many bytes.

    Payload is handed on as it comes and never kept, so no length that a header announces
    costs memory.
    """

    def __init__(self, sinks: Mapping[int, Callable[[memoryview], None]]) -> None:
        self._sinks = sinks
        self._header = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Hand on what one read of the socket has brought."""
        rest = memoryview(data)
        while rest:
            if self._left == 0:
                wanted = 8 - len(self._header)
                self._header += bytes(rest[:wanted])
                rest = rest[wanted:]
                if len(self._header) < 8:
                    return
                self._stream = self._header[0]
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
            part = rest[: self._left]
            if part and self._stream in self._sinks:
                self._sinks[self._stream](part)
            self._left -= len(part)
            rest = rest[len(part) :]


def start_container(
    client: docker.APIClient,
    launch: Launch,
    settings: Mapping[str, Any],
    name: str,
    on_end: Callable[[], None],
    *,
    cpus: Collection[int] = (),
) -> ContainerRunning:
    """Create, attach, start: in this order, and all undone when one step fails.

    Args:
        client: the engine's API.
        launch: what is started.
        settings: the create call's body, of `container_settings`.
        name: a name that no other container has; it is known before the engine is asked,
            so that even an interrupted create can be undone.
        on_end: called once, when the container is gone.
        cpus: those that the harness holds it to, where the engine cannot.
    Raises:
        DockerException, requests.RequestException: what the engine said.
    """
    running: ContainerRunning | None = None
    try:
        container = client.create_container_from_config(settings, name)["Id"]
        stream = client.attach_socket(
            name, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
        )
        running = ContainerRunning(
            client,
            name,
            stream,
            launch,
            on_end,
            container=container,
            has_memory_limit=settings["HostConfig"]["Memory"] > 0,
        )
        if cpus:
            running.keep_to(cpus)
        client.start(name)
        running.watch()
    except BaseException:  # Ctrl-C too
        if running is not None:
            running.end_now()
        else:
            remove_container(client, name)
            on_end()
        raise
    return running


def remove_container(client: docker.APIClient, name: str) -> None:
    """Kill and remove a container, and ask until the engine says that it is gone.

    Raises:
        RunEnded: `engine_unavailable` when it is still there after `REMOVE_SECONDS`.
    """
    deadline = time.monotonic() + REMOVE_SECONDS
    problem: object = "it is still there"
    while time.monotonic() < deadline:
        try:
            client.remove_container(name, v=True, force=True)
            client.inspect_container(name)
        except NotFound:
            return
        except ENGINE_FAULTS as error:  # busy, or a removal is in progress: ask again
            problem = error
        time.sleep(0.1)
    raise RunEnded(
        Status.ENGINE_UNAVAILABLE,
        f"the engine could not remove the container {name}: {problem}",
        cause=Cause.CONTAINER_LEFT,
    )


class ContainerRunning(PumpedRunning):
    """One container that we are attached to.

    Args:
        client, name, launch, on_end: as for `start_container`.
        container: the container's id.
        has_memory_limit: whether the engine was asked to hold it to one.
        stream: what the SDK's `attach_socket` gave; it owns the connection.
    """

    def __init__(
        self,
        client: docker.APIClient,
        name: str,
        stream: Any,
        launch: Launch,
        on_end: Callable[[], None],
        *,
        container: str,
        has_memory_limit: bool,
    ) -> None:
        paths = {name: PATHS[name] for name in launch.folders()}
        self._client = client
        self._name = name
        self._container = container
        self._stream = stream
        self._socket: socket.socket = getattr(stream, "_sock", stream)
        self._socket.setblocking(False)
        self._stop_seconds = launch.limits.stop_seconds
        self._on_end = on_end
        self._gauge: MemoryGauge | None = None
        self._process: int | None = None
        self._pids: int | None = None  # its pid namespace
        self._memory = None if has_memory_limit else OwnMemory()
        self._folders: FolderGauge | None = None
        self._was_killed_for_memory = False
        self._exit: Exit | None = None
        self._is_ended = False
        super().__init__(self._socket.fileno(), Inbox(launch.limits.log_bytes), paths)
        self._drain = threading.Thread(target=self._drain_stream, name="drain", daemon=True)
        self._drain.start()

    def watch(self) -> None:
        """Find the container's gauges; it is running now."""
        process = self._state()["Pid"]
        if process:
            self._gauge = MemoryGauge(process, self._container)
            if self._gauge.is_its_own or names_container(process, self._container):
                self._process = process
                self._pids = pid_namespace(process)
                self._folders = FolderGauge(process)

    def keep_to(self, cpus: Collection[int]) -> None:
        """Hold the container to these CPUs, for an engine that cannot: before it is started.

        Podman has its first process ready by then, which waits; what it becomes and starts inherits.
        """
        if process := self._state()["Pid"]:
            with contextlib.suppress(OSError):  # another user's
                os.sched_setaffinity(process, cpus)

    def _look(self, *, is_due: bool = False) -> None:
        """Read the gauges, the folders' too where it is time."""
        if self._gauge is not None and self._gauge.sample(is_due=is_due) and self._folders:
            self._folders.sample()

    def _drain_stream(self) -> None:
        demultiplexer = Demultiplexer({1: self._inbox.add_output, 2: self._inbox.add_log})
        room = memoryview(bytearray(READ_BYTES))  # one for all reads, see drain_pipes
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while True:
            poll.poll(SAMPLE_SECONDS * 1000)
            self._look()
            try:
                count = self._socket.recv_into(room)
            except BlockingIOError:
                continue
            except OSError:  # the engine cut the connection: for the entry that is its end
                count = 0
            if not count:
                break
            demultiplexer.feed(room[:count])
        self._inbox.end_output()

    def _end_input(self) -> None:
        self._look(is_due=True)  # the group's last moments: read it while it is there
        with contextlib.suppress(OSError):  # the engine has closed its side already
            self._socket.shutdown(socket.SHUT_WR)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._client.inspect_container(self._name)["State"]
        return state

    def wait(self, deadline: float) -> Exit:
        if self._exit is None:
            try:
                self._exit = self._wait_for_exit(deadline)
            except ENGINE_FAULTS as error:
                raise engine_lost(error) from error
        self._inbox.check_log()
        return self._exit

    def _wait_for_exit(self, deadline: float) -> Exit:
        """Ask the engine until it says that the container has ended."""
        pause = _FIRST_PAUSE_SECONDS
        while (state := self._state())["Running"]:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise DeadlinePassed("the container did not end in time")
            # The stream's end usually is the container's; the engine's state follows at once.
            self._drain.join(min(remaining, _LONGEST_PAUSE_SECONDS))
            if not self._drain.is_alive():
                time.sleep(min(remaining, pause))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        self._drain.join(max(1.0, deadline - time.monotonic()))
        return Exit(_signed(state["ExitCode"]), self._is_out_of_memory(state))

    def _is_out_of_memory(self, state: Mapping[str, Any]) -> bool:
        """The engine's word; its event may come a moment after the end that it explains.

        A child's death is an event too, and its parent may have ended by it with any code but 0.
        """
        for _ in range(5):
            if state["OOMKilled"] or state["ExitCode"] in (0, _ENDED_BY_TERM):
                break
            time.sleep(0.1)
            state = self._state()
        self._was_killed_for_memory |= bool(state["OOMKilled"])
        return bool(state["OOMKilled"])

    def facts(self) -> EngineFacts:
        if not self._is_ended:
            self._look(is_due=True)
        if not self._is_ended and self._exit is None:
            try:
                self._was_killed_for_memory |= bool(self._state()["OOMKilled"])
            except ENGINE_FAULTS as error:
                raise engine_lost(error) from error
        if self._memory is not None:
            return self._facts_without_limit(self._memory)
        events = self._gauge.events if self._gauge is not None else None
        return EngineFacts(
            memory_kills=max(events.kills if events else 0, int(self._was_killed_for_memory)),
            # Without a kill it tells nothing: the last one may have come after the last look.
            met_memory_limit=events.limit_hits > 0 if events and events.kills else None,
            full_folders=self._folders.full if self._folders else (),
            exit_code=self._exit.code if self._exit else None,
        )

    def _facts_without_limit(self, memory: OwnMemory) -> EngineFacts:
        """As of a process: only the job that the harness runs in, or the machine, can have killed."""
        code = self._exit.code if self._exit else None
        return EngineFacts(
            memory_kills=memory.kills(is_killed=code == -signal.SIGKILL),
            has_memory_limit=False,
            full_folders=self._folders.full if self._folders else (),
            exit_code=code,
        )

    def stop(self) -> Exit:
        if self._is_ended:
            return self._exit or Exit(None)
        try:
            self.close_input()
            if self._exit is None:
                self._terminate()
        finally:  # also when Ctrl-C comes a second time
            self.end_now()
        return self._exit or Exit(None)

    def _terminate(self) -> None:
        """TERM, and `stop_seconds` to obey it; what the engine makes of it is seen later."""
        with contextlib.suppress(*ENGINE_FAULTS, DeadlinePassed):
            self._client.kill(self._name, "SIGTERM")
        with contextlib.suppress(*ENGINE_FAULTS, DeadlinePassed):
            self._exit = self._wait_for_exit(time.monotonic() + self._stop_seconds)

    def end_now(self) -> None:
        """Shut our socket down, kill, remove, verify."""
        self._is_ended = True
        self._is_input_open = False
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._note_late_exit()
            remove_container(self._client, self._name)
        finally:
            self._drain.join()
            if self._folders is not None:
                self._folders.close()
            self._stream.close()
            self._socket.close()
            self._inbox.alarm.close()
            self._on_end()

    def _note_late_exit(self) -> None:
        """Keep how it ended when that was by itself, although nobody waited for it."""
        with contextlib.suppress(*ENGINE_FAULTS):
            state = self._state()
            if self._exit is None and state["Status"] == "exited":
                self._exit = Exit(_signed(state["ExitCode"]), self._is_out_of_memory(state))

    @property
    def peak_memory_bytes(self) -> int | None:
        return None if self._gauge is None else self._gauge.peak_bytes

    @property
    def main_process(self) -> int | None:
        """Only while its group, or its mounts, say that the number is the container's."""
        return None if self._is_ended or self._exit is not None else self._process

    def owns(self, process: int) -> bool:
        with contextlib.suppress(OSError):  # under both versions, its group's name holds the id
            if self._container.encode() in Path(f"/proc/{process}/cgroup").read_bytes():
                return True
        return self._pids is not None and pid_namespace(process) == self._pids


def _signed(exit_code: int) -> int:
    """128 + n, the container's way to say `ended by signal n`, as -n."""
    return 128 - exit_code if 128 < exit_code <= 128 + 64 else exit_code


def engine_lost(error: Exception) -> RunEnded:
    """The typed end of a run whose engine failed in the middle."""
    return RunEnded(Status.ENGINE_UNAVAILABLE, f"the container engine failed: {error}")
