"""The canary kernel: right for every GPU that PyTorch serves, and no error of the driver is missed."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harness.engines import canary

HAS_DRIVER = Path("/dev/nvidiactl").exists()


def said(*command: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    (line,) = done.stdout.splitlines()
    assert done.stderr == ""
    return done.returncode, json.loads(line)


@pytest.mark.skipif(HAS_DRIVER, reason="this machine has a driver")
@pytest.mark.parametrize("is_text", [False, True])
def test_without_a_driver_it_says_so_from_its_file_and_from_its_text(is_text: bool) -> None:
    source = Path(canary.__file__)
    program = ["-c", source.read_text()] if is_text else [str(source)]
    code, told = said(sys.executable, "-I", "-S", *program, "predict")
    assert code == told["code"] == canary.EXIT_NO_GPU
    assert "libcuda.so.1" in told["said"]


@pytest.mark.skipif(not HAS_DRIVER, reason="needs a GPU")
def test_on_a_gpu_it_computes() -> None:
    code, told = said(sys.executable, "-I", "-S", canary.__file__)
    assert (code, told["said"]) == (0, "the GPU computes")
    assert told["gpu"]


def assembler() -> Path | None:
    """NVIDIA's assembler of PTX: it comes with PyTorch's Triton, or with CUDA."""
    spec = find_spec("triton")
    places = [
        Path(each) / "backends/nvidia/bin/ptxas"
        for each in (spec and spec.submodule_search_locations) or []
    ]
    places += [Path(found)] if (found := shutil.which("ptxas")) else []
    return next((place for place in places if place.is_file()), None)


@pytest.mark.skipif(assembler() is None, reason="needs ptxas (it comes with PyTorch for CUDA)")
@pytest.mark.parametrize(
    "target", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
)
def test_its_kernel_is_assembled_for_every_gpu(tmp_path: Path, target: str) -> None:
    (tmp_path / "canary.ptx").write_bytes(canary.PTX)
    command = [str(assembler()), f"-arch={target}", str(tmp_path / "canary.ptx")]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class FakeLibrary:
    """A `libcuda` whose GPU is this process: its memory is ours, its kernel a loop.

    Args:
        fails: the call that returns an error.
        code: that error.
        breaks: index of a number that comes out wrong.
        lacks: a function that this driver does not have.
    """

    def __init__(
        self, fails: str = "", code: int = 0, breaks: int | None = None, lacks: str = ""
    ) -> None:
        self.fails, self.code, self.breaks, self.lacks = fails, code, breaks, lacks
        self.called: list[str] = []
        self.memory: Any = None

    def __getattr__(self, name: str) -> Any:
        if name == self.lacks or not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            self.called.append(name)
            if name == self.fails:
                return self.code
            getattr(self, f"do_{name}")(*arguments)
            return 0

        return call

    def do_cuInit(self, flags: ctypes.c_uint) -> None:  # noqa: N802 - as CUDA spells it, and so on
        assert flags.value == 0

    def do_cuDeviceGet(self, device: Any, ordinal: ctypes.c_int) -> None:  # noqa: N802
        assert ordinal.value == 0
        device._obj.value = 7

    def do_cuDeviceGetName(self, name: Any, size: ctypes.c_int, device: ctypes.c_int) -> None:  # noqa: N802
        assert (size.value, device.value) == (256, 7)
        name.value = b"NVIDIA H200"

    def do_cuDevicePrimaryCtxRetain(self, context: Any, device: ctypes.c_int) -> None:  # noqa: N802
        context._obj.value = 0x1234

    def do_cuCtxSetCurrent(self, context: ctypes.c_void_p) -> None:  # noqa: N802
        assert context.value == 0x1234

    def do_cuModuleLoadData(self, module: Any, image: ctypes.c_char_p) -> None:  # noqa: N802
        assert image.value is not None
        assert b".entry canary(" in image.value
        module._obj.value = 0x5678

    def do_cuModuleGetFunction(self, function: Any, module: Any, name: ctypes.c_char_p) -> None:  # noqa: N802
        assert (module.value, name.value) == (0x5678, b"canary")
        function._obj.value = 0x9ABC

    def do_cuMemAlloc_v2(self, pointer: Any, size: ctypes.c_size_t) -> None:  # noqa: N802
        self.memory = (ctypes.c_float * (size.value // 4))()
        pointer._obj.value = ctypes.addressof(self.memory)

    def do_cuMemsetD8_v2(self, pointer: Any, value: ctypes.c_ubyte, size: ctypes.c_size_t) -> None:  # noqa: N802
        ctypes.memset(pointer.value, value.value, size.value)

    def do_cuLaunchKernel(self, function: Any, *rest: Any) -> None:  # noqa: N802
        *grid, stream, parameters, extra = rest
        assert (function.value, stream, extra) == (0x9ABC, None, None)
        assert [each.value for each in grid] == [256, 1, 1, 256, 1, 1, 0]
        address = ctypes.cast(parameters[0], ctypes.POINTER(ctypes.c_uint64)).contents.value
        assert address == ctypes.addressof(self.memory)
        for index in range(grid[0].value * grid[3].value):
            self.memory[index] = 3.0 * index + 1.0
        if self.breaks is not None:
            self.memory[self.breaks] += 1

    def do_cuCtxSynchronize(self) -> None:  # noqa: N802
        pass

    def do_cuMemcpyDtoH_v2(self, to: ctypes.c_void_p, pointer: Any, size: ctypes.c_size_t) -> None:  # noqa: N802
        ctypes.memmove(to, pointer.value, size.value)

    def do_cuMemFree_v2(self, pointer: Any) -> None:  # noqa: N802
        assert pointer.value == ctypes.addressof(self.memory)

    def do_cuDevicePrimaryCtxRelease_v2(self, device: ctypes.c_int) -> None:  # noqa: N802
        assert device.value == 7

    def do_cuGetErrorName(self, code: int, text: Any) -> None:  # noqa: N802
        text._obj.value = {100: b"CUDA_ERROR_NO_DEVICE", 719: b"CUDA_ERROR_LAUNCH_FAILED"}.get(code)


def test_a_gpu_that_computes_is_well_and_is_given_back_what_was_taken() -> None:
    library = FakeLibrary()
    found = canary.examine(lambda _: library)
    assert found == canary.Found(canary.EXIT_WELL, "the GPU computes", "NVIDIA H200")
    assert {"cuMemFree_v2", "cuDevicePrimaryCtxRelease_v2"} <= set(library.called)


CALLS = tuple(name.removeprefix("do_") for name in vars(FakeLibrary) if name.startswith("do_"))
BEFORE_A_GPU = ("cuInit", "cuDeviceGet", "cuDeviceGetName")


@pytest.mark.parametrize("name", [name for name in CALLS if name != "cuGetErrorName"])
def test_no_error_of_the_driver_is_missed(name: str) -> None:
    found = canary.examine(lambda _: FakeLibrary(fails=name, code=719))
    wanted = canary.EXIT_NO_GPU if name in BEFORE_A_GPU else canary.EXIT_FAILED
    assert found.code == wanted
    assert f"{name}: CUDA_ERROR_LAUNCH_FAILED (719)" in found.said


def test_what_is_not_there_is_told_from_what_fails() -> None:
    none = canary.examine(lambda _: FakeLibrary(fails="cuInit", code=100))
    assert (none.code, "CUDA_ERROR_NO_DEVICE (100)" in none.said) == (canary.EXIT_NO_GPU, True)
    unknown = canary.examine(lambda _: FakeLibrary(fails="cuCtxSynchronize", code=4242))
    assert "error 4242" in unknown.said
    old = canary.examine(lambda _: FakeLibrary(lacks="cuDevicePrimaryCtxRelease_v2"))
    assert (old.code, "does not have it" in old.said) == (canary.EXIT_FAILED, True)


@pytest.mark.parametrize("index", [0, 4711, canary.COUNT - 1])
def test_one_wrong_number_is_found(index: int) -> None:
    found = canary.examine(lambda _: FakeLibrary(breaks=index))
    assert found.code == canary.EXIT_WRONG
    assert f"1 of 65536 numbers are wrong, the first at {index}" in found.said
