"""Spreading work over processes: in order, a bounded number under way, and no orphan left behind.

Processes, not threads, because decompressing and scaling hold the interpreter. They are spawned,
so that nothing of the parent (locks, progress threads) is copied into them. Trap: a spawned worker
keeps both ends of the pool's pipes, so it would outlive a parent that was killed: each watches its
parent and goes with it.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from harness.common.errors import EnvironmentFault

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 2  # jobs per worker that wait or run


def default_workers() -> int:
    """As many as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[Result]:
    """Results of all jobs, in their order.

    Args:
        function: at the top level of a module; everything it takes and gives is pickled.
        jobs: taken only as fast as they are done.
        workers: number of processes; 1 does the work in this one.

    Raises:
        EnvironmentFault: a worker was killed, for example because memory ran out.
    """
    if workers <= 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise EnvironmentFault(
                "a worker process was killed (often because memory ran out)",
                fix="run the same command again: it goes on where it stopped; with fewer --workers"
                " it needs less memory",
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _begin() -> None:
    """In a worker: Ctrl-C and a closed terminal are the parent's to handle, and its end is ours."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
