"""Runs as tasks of a Ray cluster: asked for in order, listened to, stored, tried elsewhere when lost.

    here       the node that has the task
    started    the node is fit; the run has begun
    log, file  pieces of its log, and of its results
    ended      exit code and seconds
    unfit      in place of all these: why never on this node
    busy       in place of all these: why not now

A try holds the run's lock from before the task is asked for to after its record is stored.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.campaigns.faults import End, Ended, Try
from harness.campaigns.plan import LOGS
from harness.campaigns.ray.arrivals import Arrival, arriving, differences_of
from harness.campaigns.ray.tasks import Tasks, in_words
from harness.campaigns.runner import STOP_SECONDS, Runner
from harness.common.errors import (
    ClusterUnavailable,
    EnvironmentFault,
    HarnessError,
    InfrastructureFault,
)
from harness.common.statuses import Status
from harness.console import cli
from harness.console.ends import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from harness.campaigns.plan import CampaignPlan
    from harness.entries.campaign_grid import Cell
    from harness.records.record import Record

WAIT_SECONDS = 1.0


class _NoRoom(Exception):
    """No living node is left that this task may go to."""


class _Stopped(Exception):
    """The campaign ends."""


class InTurn:
    """Lets every cell be asked for in the campaign's order, so that Ray starts them in it.

    Args:
        cells: in order; each is taken up by some thread before a later one is.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._waiting, self._changed = deque(cells), threading.Condition()

    def wait(self, cell: Cell) -> None:
        """Until all earlier cells have been asked for, or never will be."""
        with self._changed:
            while cell in self._waiting and self._waiting[0] != cell:
                self._changed.wait()

    def leave(self, cell: Cell) -> None:
        """The cell has been asked for, or never will be."""
        with self._changed:
            if cell in self._waiting:
                self._waiting.remove(cell)
            self._changed.notify_all()


class RayRunner(Runner):
    """Each run is a Ray task; the slots are tasks that may be asked for at a time.

    Args:
        tasks: how tasks are started.
        plan: the campaign's.
        slots: a name for each task that is asked for at a time; Ray starts what has room.
        job: a run as a node is asked for it.
        wait_seconds: wait so long for a node where none is left.
        replace: move records of other runs to history.
    """

    def __init__(
        self,
        tasks: Tasks,
        plan: CampaignPlan,
        slots: Sequence[str],
        job: Callable[[Cell], Mapping[str, Any]],
        *,
        wait_seconds: float,
        replace: bool,
    ) -> None:
        super().__init__(slots, plan.logs)
        self._tasks, self._nodes, self._ray = tasks, tasks.nodes, tasks.ray
        self._plan, self._job = plan, job
        self._wait_seconds, self._replace = wait_seconds, replace
        self._turns = InTurn(())

    def run(self, cells: Sequence[Cell]) -> Iterator[Ended]:
        """See `Runner.run`."""
        self._turns = InTurn(cells)
        return super().run(cells)

    def once(self, cell: Cell, slot: str, log: Path) -> Try:  # noqa: ARG002 - they are all alike
        """One try on some node, under the run's lock; its record is in the store at the end."""
        name = cell.run
        try:
            with self._plan.store.lock(name):
                before = self._plan.store.find(name)
                if self._is_finished(cell, before):
                    return Try(0)
                return self._somewhere(cell, before, log)
        except _Stopped:
            return Try(EXIT_INTERRUPTED)
        except HarnessError as error:
            _note(log, cli.render_error(error))
            return Try(error.exit_code, is_last=isinstance(error, ClusterUnavailable))
        finally:
            self._turns.leave(cell)

    def _is_finished(self, cell: Cell, before: Record | None) -> bool:
        """Whether another campaign has done it since this one was planned."""
        if before is None or not before.is_settled:
            return False
        return not differences_of(before, self._plan.expected(cell))

    def _somewhere(self, cell: Cell, before: Record | None, log: Path) -> Try:
        """On the first node that is fit for it."""
        while True:
            self._turns.wait(cell)
            left_out = self._room(cell, log)
            with arriving(self._plan.store.root / LOGS) as arrival:
                try:
                    tried = self._fly(cell, left_out, log, arrival)
                except _NoRoom:
                    continue
                if tried is None:
                    continue
                if tried.end in (End.FINISHED, End.FAILED):
                    arrival.store(
                        self._plan.store,
                        cell.run,
                        expected=self._plan.expected(cell),
                        before=before,
                        replace=self._replace,
                    )
                return tried

    def _room(self, cell: Cell, log: Path) -> list[str]:
        """The nodes to leave out, once there is one to take.

        Raises:
            ClusterUnavailable: no living node is fit, or none came in time.
        """
        waited = 0.0
        while (left_out := self._nodes.left_out(cell)) is None:
            if waited >= self._wait_seconds:
                raise ClusterUnavailable(
                    f"no node of the cluster offers {self._nodes.need}, after {waited:.0f} s",
                    fix="start one, then resume",
                )
            if not waited:
                _note(log, f"waiting for a node that offers {self._nodes.need}")
            if self._stop.wait(WAIT_SECONDS):
                raise _Stopped
            waited += WAIT_SECONDS
        return left_out

    def _fly(self, cell: Cell, left_out: Sequence[str], log: Path, arrival: Arrival) -> Try | None:
        """One task; None where its node was not fit."""
        node, tried = "", None
        try:
            for kind, told in self._messages(cell, left_out):
                if kind == "here":
                    node = told
                elif kind == "started":
                    _note(log, f"node {self._nodes.name(node)}: {' '.join(told)}")
                elif kind == "log":
                    with log.open("ab") as stream:
                        stream.write(told)
                elif kind == "file":
                    arrival.write(*told)
                elif kind == "unfit":
                    self._nodes.see_unfit(cell, node, told)
                    return None
                elif kind == "busy":
                    tried = self._fault(cell, node, log, told)
                elif kind == "ended":
                    tried = Try(*told)
                    self._nodes.see(cell, node, tried.end)
        except self._ray.exceptions.RayError as error:
            if tried is None:  # what had arrived whole by then counts
                tried = self._broken_off(cell, node, log, error)
        return tried or self._fault(cell, node, log, "it fell silent")

    def _broken_off(self, cell: Cell, node: str, log: Path, error: Exception) -> Try:
        """A node or worker that died is the node's fault; an error of what it ran there is a bug."""
        if not isinstance(error, self._ray.exceptions.RayTaskError):
            return self._fault(cell, node, log, in_words(error))
        if isinstance(error.cause, OSError):
            return self._fault(cell, node, log, in_words(error.cause))
        _note(log, str(error))
        return Try(HarnessError.exit_code)

    def _fault(self, cell: Cell, node: str, log: Path, words: str) -> Try:
        """The node's fault, told at once."""
        name = self._nodes.name(node) if node else "a node"
        fault = InfrastructureFault(Status.HOST_ERROR, f"{name}: {words}")
        _note(log, cli.render_error(fault))
        self._nodes.tell(f"{cell}: {name}: {words}; it will be tried again")
        if node:
            self._nodes.see(cell, node, End.NOT_DONE)
        return Try(EnvironmentFault.exit_code)

    def _messages(self, cell: Cell, left_out: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """What a task has to say, as it comes.

        Raises:
            _Stopped: the campaign ends; so has the task, or it had a minute to.
            _NoRoom: the task can never start.
            RayError: the node or the worker is gone.
        """
        generator = self._tasks.start(self._job(cell), cell, left_out)
        self._turns.leave(cell)
        has_started = False
        while True:
            ready, _ = self._ray.wait([generator], timeout=WAIT_SECONDS)
            if self.is_stopped:
                self._cancel(generator)
                raise _Stopped
            if ready:
                try:
                    reference = next(generator)
                except StopIteration:
                    return
                has_started = True
                yield self._ray.get(reference)
            elif not has_started and not self._has_room(left_out):
                self._cancel(generator)
                raise _NoRoom

    def _has_room(self, left_out: Sequence[str]) -> bool:
        return any(node.id not in left_out for node in self._nodes.able())

    def _cancel(self, generator: Any) -> None:
        """End a task as Ctrl-C would, and wait until it has cleaned up."""
        self._ray.cancel(generator)
        waited = 0.0
        while waited < STOP_SECONDS:
            ready, _ = self._ray.wait([generator], timeout=WAIT_SECONDS)
            if not ready:
                waited += WAIT_SECONDS
                continue
            try:
                self._ray.get(next(generator))
            except (StopIteration, self._ray.exceptions.RayError):
                return


def _note(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(text + "\n")
