"""The GPUs of this machine, as the NVIDIA driver's own library (NVML) tells of them.

The one module that imports pynvml, and only once somebody asks. Traps:
- NVML counts GPUs by their place on the bus, CUDA by their speed: index 0 of one may be another
  GPU for the other. So whatever is handed on names a GPU by its UUID.
- The first nvmlInit of a process wakes every GPU, which takes seconds; the later ones only count.
  So nobody calls nvmlShutdown, and every question may begin with an init.
- A driver can hang for ever. So what the harness waits for is asked in a thread of its own.
- Inside a container, NVML lists the processes of a GPU by the host's numbers, or not at all.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from harness.common.errors import DeviceUnavailable

_Answer = TypeVar("_Answer")

MIB = 1024**2
ANSWER_SECONDS = 120.0  # the first question may wake eight GPUs
IDLE_MIB = 1024  # a driver keeps a few hundred MiB for itself on a GPU that nobody uses


class DriverFault(Exception):
    """The driver, or one GPU, does not answer; the message is what NVML said."""


@dataclass(frozen=True)
class ComputeProcess:
    """One process that computes on a GPU."""

    pid: int
    """Its number; inside a container perhaps the host's."""
    used_bytes: int | None
    """GPU memory that it holds, its CUDA context included; None where the driver does not tell."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver sees it at this moment."""

    index: int
    """NVML's number, which may change with a restart."""
    uuid: str
    """`GPU-…`, which never changes."""
    name: str
    """Its model."""
    driver: str
    """Version of the driver."""
    cuda: str
    """Newest CUDA version that the driver serves: `13.0`."""
    used_bytes: int
    """Memory in use, by whomever."""
    total_bytes: int
    """Memory in all."""
    processes: tuple[ComputeProcess, ...] | None
    """Who computes on it; None where the driver does not tell."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody else uses it."""
        return not self.processes and self.used_bytes < IDLE_MIB * MIB

    @property
    def use(self) -> str:
        """What it is in use by, for a message."""
        who = "?" if self.processes is None else str(len(self.processes))
        return f"{self.name} in use by {who} processes, {self.used_bytes // MIB} MiB"


def gpus() -> list[Gpu]:
    """Every GPU that answers, by index; none where there is no driver."""
    return _look_at_all()[0]


def find(device: str) -> Gpu:
    """The GPU named `cuda:<index or UUID>`, or `cuda` for the first.

    Raises:
        DeviceUnavailable: this machine has no such GPU, or it does not answer.
    """
    wanted = device.partition(":")[2] or "0"
    found, problems = _look_at_all()
    for gpu in found:
        if wanted in (str(gpu.index), gpu.uuid):
            return gpu
    listed = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in found) or "none"
    raise DeviceUnavailable(
        f"there is no GPU {wanted!r} on this machine; found: {listed}"
        + "".join(f"; {problem}" for problem in problems),
        where=f"--device {device}",
        fix="use --device cpu, or install the NVIDIA driver and check that nvidia-smi lists the GPU",
    )


def look(uuid: str) -> Gpu:
    """One GPU, now; waits as long as the driver takes.

    Raises:
        DriverFault: there is none of this UUID any more, or it does not answer.
    """
    with _asking() as nvml:
        return _read(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))


def energy_joules(uuid: str) -> float | None:
    """Joules that a GPU has used since its driver was loaded; None where the driver does not tell.

    (Volta and newer have the counter; a slice of a GPU under MIG has none.)

    Raises:
        DriverFault: the GPU or its driver does not answer.
    """
    told = _in_time(lambda: _told(uuid, "nvmlDeviceGetTotalEnergyConsumption"))
    return None if told is None else told / 1000  # told in millijoules


def power_watts(uuid: str) -> float | None:
    """What a GPU draws now, in watts; None where the driver does not tell.

    Trap: newer GPUs tell the mean over the last second.

    Raises:
        DriverFault: as `energy_joules`.
    """
    told = _in_time(lambda: _told(uuid, "nvmlDeviceGetPowerUsage"))
    return None if told is None else told / 1000  # told in milliwatts


def fault_of(uuid: str) -> str:
    """What the driver says is wrong with a GPU; empty where it answers as it should."""
    try:
        _in_time(lambda: look(uuid))
    except DriverFault as fault:
        return f"NVML: {fault}"
    return ""


def _look_at_all() -> tuple[list[Gpu], list[str]]:
    """Every GPU that answers, and what is said in place of the others."""
    try:
        return _in_time(_all_one_by_one)
    except DriverFault as fault:
        return [], [f"NVML: {fault}"]


def _in_time(question: Callable[[], _Answer]) -> _Answer:
    """The answer of a driver that may hang.

    Raises:
        DriverFault: there is none in time; or as the question.
    """
    answers: queue.SimpleQueue[tuple[_Answer | None, Exception | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((question(), None))
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            answers.put((None, error))

    threading.Thread(target=ask, name="nvml", daemon=True).start()
    try:
        answer, error = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise DriverFault(f"no answer within {ANSWER_SECONDS:g} s") from None
    if error is not None:
        raise error
    return cast("_Answer", answer)


def _all_one_by_one() -> tuple[list[Gpu], list[str]]:
    found, problems = [], []
    with _asking() as nvml:
        count = nvml.nvmlDeviceGetCount()
    for index in range(count):
        try:
            with _asking() as nvml:
                found.append(_read(nvml, nvml.nvmlDeviceGetHandleByIndex(index)))
        except DriverFault as fault:  # one lost GPU takes no other with it
            problems.append(f"NVML on GPU {index}: {fault}")
    return found, problems


@contextmanager
def _asking() -> Iterator[Any]:
    """NVML, ready; whatever it has to complain of is a `DriverFault`."""
    import pynvml

    try:
        pynvml.nvmlInit()
        yield pynvml
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
        raise DriverFault(str(error)) from error


def _read(nvml: Any, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    cuda = nvml.nvmlSystemGetCudaDriverVersion_v2()  # 13000 is 13.0
    return Gpu(
        index=nvml.nvmlDeviceGetIndex(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        driver=nvml.nvmlSystemGetDriverVersion(),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
        used_bytes=memory.used,
        total_bytes=memory.total,
        processes=_processes(nvml, handle),
    )


def _told(uuid: str, question: str) -> int | None:
    """The answer to one of NVML's questions about a GPU; None where it has none to give."""
    with _asking() as nvml:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        try:
            return int(getattr(nvml, question)(handle))
        except (
            nvml.NVMLError_NotSupported,
            nvml.NVMLError_NoPermission,
            nvml.NVMLError_FunctionNotFound,  # a library older than the question
        ):
            return None


def _processes(nvml: Any, handle: Any) -> tuple[ComputeProcess, ...] | None:
    try:
        told = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
        return None
    return tuple(ComputeProcess(each.pid, each.usedGpuMemory) for each in told)
