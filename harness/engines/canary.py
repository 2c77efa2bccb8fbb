"""The canary kernel: computes a little on the first GPU and checks it; a program of its own.

Run where an entry would run, with nothing of an entry: the standard library, and the driver's
`libcuda.so.1` through ctypes. It prints one line of JSON and ends with

    0  the GPU computes        3  there is no driver or no GPU
    4  a call failed           5  the numbers are wrong

(1 and 2 are Python's own.) The kernel is PTX of 2019, which every driver since translates for its
GPU, whatever came after; `out[i] = 3 i + 1` in single precision is exact for these i.
"""

from __future__ import annotations

import array
import ctypes
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EXIT_WELL, EXIT_NO_GPU, EXIT_FAILED, EXIT_WRONG = 0, 3, 4, 5
LIBRARY = "libcuda.so.1"
THREADS, BLOCKS = 256, 256
COUNT = THREADS * BLOCKS
KERNEL = b"canary"
# sm_50: the oldest GPU that any build of PyTorch 2 serves.
PTX = b"""
.version 6.4
.target sm_50
.address_size 64

.visible .entry canary(.param .u64 canary_out)
{
    .reg .b32 %r<5>;
    .reg .f32 %f<5>;
    .reg .b64 %rd<5>;

    ld.param.u64 %rd1, [canary_out];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.u32 %r4, %r1, %r2, %r3;
    cvt.rn.f32.u32 %f1, %r4;
    mov.f32 %f2, 0f40400000;
    mov.f32 %f3, 0f3F800000;
    fma.rn.f32 %f4, %f1, %f2, %f3;
    mul.wide.u32 %rd3, %r4, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.f32 [%rd4], %f4;
    ret;
}
"""


@dataclass(frozen=True)
class Found:
    """What the canary found."""

    code: int
    """One of the exit codes above."""
    said: str
    """In words, for people."""
    gpu: str = ""
    """The GPU's model, where it came so far."""


class CallFailed(Exception):
    """A call of the driver did not return 0."""


class Driver:
    """The driver's library; every call is checked.

    Args:
        library: the loaded library, or what stands in for it.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the library.

        Raises:
            CallFailed: it is not there, or returned an error.
        """
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise CallFailed(f"{name}: the driver does not have it") from None
        if (code := function(*arguments)) != 0:
            raise CallFailed(f"{name}: {self._words(code)}")

    def _words(self, code: int) -> str:
        text = ctypes.c_char_p()
        told = self._library.cuGetErrorName(code, ctypes.byref(text)) == 0 and text.value
        return f"{told.decode()} ({code})" if told else f"error {code}"


def first_gpu(driver: Driver) -> tuple[ctypes.c_int, str]:
    """The first GPU and its model."""
    driver.call("cuInit", ctypes.c_uint(0))
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    driver.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    driver.call("cuDeviceGetName", name, ctypes.c_int(len(name)), device)
    return device, name.value.decode(errors="replace")


def compute(driver: Driver, device: ctypes.c_int) -> array.array[float]:
    """The kernel's numbers, brought back from the GPU."""
    context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    driver.call("cuCtxSetCurrent", context)
    driver.call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(PTX))
    driver.call("cuModuleGetFunction", ctypes.byref(function), module, ctypes.c_char_p(KERNEL))
    numbers = array.array("f", bytes(4 * COUNT))
    size = ctypes.c_size_t(4 * COUNT)
    memory = ctypes.c_uint64()  # CUdeviceptr
    driver.call("cuMemAlloc_v2", ctypes.byref(memory), size)
    driver.call("cuMemsetD8_v2", memory, ctypes.c_ubyte(0xFF), size)
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(memory))
    grid = [ctypes.c_uint(n) for n in (BLOCKS, 1, 1, THREADS, 1, 1, 0)]  # and no shared memory
    driver.call("cuLaunchKernel", function, *grid, None, parameters, None)
    driver.call("cuCtxSynchronize")
    address = ctypes.c_void_p(numbers.buffer_info()[0])
    driver.call("cuMemcpyDtoH_v2", address, memory, size)
    driver.call("cuMemFree_v2", memory)
    driver.call("cuDevicePrimaryCtxRelease_v2", device)
    return numbers


def examine(load: Callable[[str], Any] = ctypes.CDLL) -> Found:
    """Compute on the first GPU, and tell how it went.

    Args:
        load: opens a library by its name, or raises OSError.
    """
    try:
        driver = Driver(load(LIBRARY))
    except OSError as error:
        return Found(EXIT_NO_GPU, f"there is no CUDA driver here: {error}")
    try:
        device, name = first_gpu(driver)
    except CallFailed as error:
        return Found(EXIT_NO_GPU, f"there is no GPU here: {error}")
    try:
        numbers = compute(driver, device)
    except CallFailed as error:
        return Found(EXIT_FAILED, f"the kernel failed: {error}", name)
    wrong = [i for i, number in enumerate(numbers) if number != 3 * i + 1]
    if wrong:
        first = f"the first at {wrong[0]}: {numbers[wrong[0]]} in place of {3 * wrong[0] + 1}"
        return Found(EXIT_WRONG, f"{len(wrong)} of {COUNT} numbers are wrong, {first}", name)
    return Found(EXIT_WELL, "the GPU computes", name)


if __name__ == "__main__":
    found = examine()
    print(json.dumps({"code": found.code, "said": found.said, "gpu": found.gpu}), flush=True)
    sys.exit(found.code)
