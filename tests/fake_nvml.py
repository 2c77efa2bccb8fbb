"""An NVIDIA driver that is not there: pynvml's functions, and the GPUs that a test gives it.

    driver.has(FakeGpu("GPU-a", used_mib=600, processes={4711: 512}))
    driver.gpus[0].is_lost = True          # from now on NVML says so
    driver.is_absent()                     # no library, as on a machine without NVIDIA's driver

Types and errors are pynvml's own: strings decoded, `usedGpuMemory` None where the driver does not
tell, one subclass of `NVMLError` for each return code.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

MIB = 1024**2
TEXTS = {
    pynvml.NVML_ERROR_GPU_IS_LOST: "GPU is lost",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "Not Supported",
    pynvml.NVML_ERROR_NOT_FOUND: "Not Found",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "Invalid Argument",
}
Processes = dict[int, float | None]
Told = int | Callable[[], int] | None


@dataclass
class FakeGpu:
    """One GPU; whatever a test changes in it, the next call tells."""

    uuid: str
    used_mib: float = 4
    processes: Processes | Callable[[], Processes] | None = field(default_factory=dict)
    """MiB by process id, or what gives it; None = NVML does not support the question."""
    name: str = "NVIDIA H200"
    total_mib: float = 143_771
    is_lost: bool = False
    energy_mj: Told = None
    """Millijoules since its driver was loaded, or what gives them; None = not supported."""
    power_mw: Told = None
    """Milliwatts that it draws, likewise."""


class Driver:
    """What stands in for the driver's library."""

    def __init__(self) -> None:
        self.gpus: list[FakeGpu] = []
        self.cuda = 13000
        self.trouble: type[pynvml.NVMLError] | None = None
        self.is_ready = False
        self.calls = 0

    def has(self, *gpus: FakeGpu) -> None:
        """From now on these are its GPUs, in this order."""
        self.gpus, self.trouble = list(gpus), None

    def is_absent(self) -> None:
        """There is no such library on this machine."""
        self.trouble = pynvml.NVMLError_LibraryNotFound

    def is_not_loaded(self) -> None:
        """The library is there, the kernel's module is not."""
        self.trouble = pynvml.NVMLError_DriverNotLoaded

    # pynvml's functions, by their own names.

    def nvmlInit(self) -> None:  # noqa: N802 - as pynvml spells it, and so on
        if self.trouble is not None:
            raise self.trouble
        self.is_ready = True

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._check()
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        self._check()
        if not 0 <= index < len(self.gpus):
            raise pynvml.NVMLError_InvalidArgument
        return self._alive(self.gpus[index])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: N802
        self._check()
        for gpu in self.gpus:
            if gpu.uuid == uuid:
                return self._alive(gpu)
        raise pynvml.NVMLError_NotFound

    def nvmlDeviceGetIndex(self, handle: FakeGpu) -> int:  # noqa: N802
        return self.gpus.index(self._alive(handle))

    def nvmlDeviceGetUUID(self, handle: FakeGpu) -> str:  # noqa: N802
        return self._alive(handle).uuid

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:  # noqa: N802
        return self._alive(handle).name

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        self._check()
        return "580.95.05"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        self._check()
        return self.cuda

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu) -> Any:  # noqa: N802
        gpu = self._alive(handle)
        memory = pynvml.c_nvmlMemory_t()
        memory.total = ctypes.c_ulonglong(int(gpu.total_mib * MIB))
        memory.used = ctypes.c_ulonglong(int(gpu.used_mib * MIB))
        memory.free = memory.total - memory.used
        return memory

    def nvmlDeviceGetComputeRunningProcesses(self, handle: FakeGpu) -> list[Any]:  # noqa: N802
        gpu = self._alive(handle)
        told = gpu.processes() if callable(gpu.processes) else gpu.processes
        if told is None:
            raise pynvml.NVMLError_NotSupported
        return [
            pynvml.nvmlFriendlyObject(
                {
                    "pid": pid,
                    "usedGpuMemory": None if mib is None else int(mib * MIB),
                    "gpuInstanceId": 0xFFFFFFFF,
                    "computeInstanceId": 0xFFFFFFFF,
                }
            )
            for pid, mib in dict(told).items()
        ]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeGpu) -> int:  # noqa: N802
        return self._number(self._alive(handle).energy_mj)

    def nvmlDeviceGetPowerUsage(self, handle: FakeGpu) -> int:  # noqa: N802
        return self._number(self._alive(handle).power_mw)

    def nvmlErrorString(self, code: int) -> str:  # noqa: N802
        return TEXTS.get(code, f"error {code}")

    def _check(self) -> None:
        self.calls += 1
        if not self.is_ready:
            raise pynvml.NVMLError_Uninitialized
        if self.trouble is not None:
            raise self.trouble

    def _number(self, told: Told) -> int:
        if told is None:
            raise pynvml.NVMLError_NotSupported
        return told() if callable(told) else told

    def _alive(self, gpu: FakeGpu) -> FakeGpu:
        self._check()
        if gpu.is_lost:
            raise pynvml.NVMLError_GpuIsLost
        return gpu


def install(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Put a driver without GPUs in the place of the real one."""
    made = Driver()
    for name in dir(made):
        if name.startswith("nvml"):
            monkeypatch.setattr(pynvml, name, getattr(made, name))
    return made
