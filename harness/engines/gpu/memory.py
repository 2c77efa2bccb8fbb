"""The peak GPU memory of a session's processes, as the NVIDIA driver counts it.

What is counted: all memory that the entry's processes hold on their GPU, the CUDA context and
the libraries' own buffers included. So it is some hundred MiB above what PyTorch reports, and
what PyTorch caches counts as held. It is looked at ten times a second: a shorter peak may be
missed.

Trap: where the harness runs in a container, the driver numbers the entry's processes otherwise or
lists none. There, and where it tells no memory by process, the GPU's memory in use above that
before the start is taken, but only when nobody else was seen to compute on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from harness.engines.gpu import nvidia

PERIOD_SECONDS = 0.1
JOIN_SECONDS = 5.0  # a driver that hangs takes the watching thread with it, and nobody else


class GpuMemoryGauge:
    """Watches one GPU during one session; made before the entry is started.

    Args:
        uuid: the GPU's; empty for a run on the CPU, which holds no GPU memory.
    """

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._stop = threading.Event()
        self._before = self._look()
        self._by_process: int | None = None
        self._above_before = 0
        self._has_seen_own = False
        self._has_seen_others = False
        self._after: nvidia.Gpu | None = None

    @classmethod
    def of(cls, device: str) -> Self:
        """For `cpu` or `cuda:<UUID>`."""
        return cls(device.partition(":")[2])

    @contextmanager
    def watching(self, owns: Callable[[int], bool]) -> Iterator[None]:
        """Look until the block's end, by when the entry has ended.

        Args:
            owns: whether a process is the entry's; called from another thread.
        """
        if not self._uuid:
            yield
            return
        thread = threading.Thread(target=self._watch, args=(owns,), name="gpu-memory", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(JOIN_SECONDS)
            self._after = None if thread.is_alive() else self._look()

    @property
    def peak_bytes(self) -> int | None:
        """The peak so far; None where nothing can be told."""
        if self._by_process is not None:
            return self._by_process
        was_busy_after = self._after is None or bool(self._after.processes)
        has_others = was_busy_after or (self._has_seen_own and self._has_seen_others)
        return self._above_before or None if not has_others else None

    @property
    def has_seen_others(self) -> bool | None:
        """Whether a program that is not the entry's was seen to compute on the GPU before, during or
        after the session; None where that cannot be told."""
        ends = (self._before, self._after)
        was_busy = any(gpu is not None and gpu.processes for gpu in ends)
        if was_busy or (self._has_seen_own and self._has_seen_others):
            return True
        is_told = all(gpu is not None and gpu.processes is not None for gpu in ends)
        return False if is_told and not self._has_seen_others else None

    def _watch(self, owns: Callable[[int], bool]) -> None:
        while True:
            if (gpu := self._look()) is not None:
                self._note(gpu, owns)
            if self._stop.wait(PERIOD_SECONDS):
                return

    def _note(self, gpu: nvidia.Gpu, owns: Callable[[int], bool]) -> None:
        processes = gpu.processes or ()
        own = [process.used_bytes for process in processes if owns(process.pid)]
        self._has_seen_own |= bool(own)
        self._has_seen_others |= len(own) < len(processes)
        told = [used for used in own if used is not None]
        if own and len(told) == len(own):
            self._by_process = max(self._by_process or 0, sum(told))
        if self._before is not None and self._before.processes == ():
            self._above_before = max(self._above_before, gpu.used_bytes - self._before.used_bytes)

    def _look(self) -> nvidia.Gpu | None:
        """The GPU now; a fault of the driver is not the gauge's to report."""
        if not self._uuid:
            return None
        try:
            return nvidia.look(self._uuid)
        except nvidia.DriverFault:
            return None
