"""What the driver tells of the GPUs, and what is said when it does not."""

from __future__ import annotations

import time

import pynvml
import pytest

from harness.common.errors import DeviceUnavailable
from harness.engines.gpu import nvidia
from harness.engines.process import ProcessEngine
from harness.records.isolation import MeasuredIsolation
from harness.running.machine import machine
from tests.fake_nvml import Driver, FakeGpu

MIB = 1024**2


def test_every_gpu_is_told_with_who_computes_on_it(driver: Driver) -> None:
    driver.has(
        FakeGpu("GPU-a", used_mib=600, processes={7: 512, 8: None}),
        FakeGpu("GPU-b", processes=None, name="NVIDIA L4", total_mib=23034),
    )
    first, second = nvidia.gpus()
    assert (first.index, first.uuid, first.name) == (0, "GPU-a", "NVIDIA H200")
    assert (first.driver, first.cuda) == ("580.95.05", "13.0")
    assert (first.used_bytes, first.total_bytes) == (600 * MIB, 143_771 * MIB)
    assert first.processes == (
        nvidia.ComputeProcess(7, 512 * MIB),
        nvidia.ComputeProcess(8, None),
    )
    assert (second.name, second.processes) == ("NVIDIA L4", None)
    driver.cuda = 12080
    assert nvidia.look("GPU-b").cuda == "12.8"


def test_a_gpu_is_idle_when_nobody_computes_on_it_and_its_memory_is_free(driver: Driver) -> None:
    driver.has(
        FakeGpu("GPU-a", 600), FakeGpu("GPU-b", 600, {7: 100}), FakeGpu("GPU-c", 2000),
        FakeGpu("GPU-d", 600, None), FakeGpu("GPU-e", 2000, None),
    )  # fmt: skip
    assert [gpu.is_idle for gpu in nvidia.gpus()] == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("device", "uuid"), [("cuda", "GPU-a"), ("cuda:1", "GPU-b"), ("cuda:GPU-b", "GPU-b")]
)
def test_a_gpu_is_found_by_its_index_or_its_uuid(driver: Driver, device: str, uuid: str) -> None:
    driver.has(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    assert nvidia.find(device).uuid == uuid


def test_a_gpu_that_is_not_there_is_told_with_those_that_are(driver: Driver) -> None:
    driver.has(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    with pytest.raises(DeviceUnavailable, match=r"no GPU '2'.*cuda:0 \(NVIDIA H200\), cuda:1"):
        nvidia.find("cuda:2")


@pytest.mark.parametrize("trouble", ["is_absent", "is_not_loaded"])
def test_without_a_driver_there_is_no_gpu_and_one_error_where_one_is_asked_for(
    driver: Driver, trouble: str
) -> None:
    getattr(driver, trouble)()
    assert nvidia.gpus() == []
    words = {"is_absent": "Library Not Found", "is_not_loaded": "Driver Not Loaded"}[trouble]
    with pytest.raises(DeviceUnavailable, match=words) as caught:
        nvidia.find("cuda:0")
    assert "--device cpu" in caught.value.fix
    assert words in nvidia.fault_of("GPU-a")


def test_a_lost_gpu_takes_no_other_with_it_and_is_named(driver: Driver) -> None:
    driver.has(FakeGpu("GPU-a", is_lost=True), FakeGpu("GPU-b"))
    assert [(gpu.index, gpu.uuid) for gpu in nvidia.gpus()] == [(1, "GPU-b")]
    with pytest.raises(DeviceUnavailable, match="GPU 0: GPU is lost"):
        nvidia.find("cuda:0")
    assert nvidia.fault_of("GPU-a") == "NVML: GPU is lost"
    assert nvidia.fault_of("GPU-gone") == "NVML: Not Found"
    assert nvidia.fault_of("GPU-b") == ""


def test_a_driver_that_hangs_is_a_fault_and_hangs_nobody(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: time.sleep(1))
    assert nvidia.gpus() == []
    assert nvidia.fault_of("GPU-a") == "NVML: no answer within 0.2 s"
    with pytest.raises(DeviceUnavailable, match="no answer"):
        nvidia.find("cuda:0")


def test_an_error_of_ours_is_no_fault_of_the_driver(driver: Driver, monkeypatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        nvidia.gpus()


def test_the_record_holds_model_driver_and_cuda_version(driver: Driver) -> None:
    driver.has(FakeGpu("GPU-a"))
    here = machine(ProcessEngine(), "cuda:0", 2, MeasuredIsolation())
    assert (here.device, here.driver, here.cuda) == ("NVIDIA H200", "580.95.05", "13.0")
    cpu = machine(ProcessEngine(), "cpu", 2, MeasuredIsolation())
    assert (cpu.device, cpu.driver, cpu.cuda) == ("cpu", None, None)
