"""Peak GPU memory of a session: by its processes where the driver tells them, else by difference."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from harness.engines.gpu.memory import GpuMemoryGauge
from tests.fake_nvml import Driver, FakeGpu

MIB = 1024**2
OWN, CHILD, STRANGER = 101, 102, 999


def is_own(process: int) -> bool:
    return process in (OWN, CHILD)


@pytest.fixture
def gpu(driver: Driver) -> FakeGpu:
    made = FakeGpu("GPU-a", used_mib=600)
    driver.has(made)
    return made


@pytest.fixture
def peak(driver: Driver, gpu: FakeGpu) -> Callable[..., float | None]:
    """Peak MiB of a session in which the GPU's state changes step by step."""

    def measure(*states: tuple[float, dict | None], after: dict | None = None) -> float | None:
        gauge = GpuMemoryGauge.of("cuda:GPU-a")
        with gauge.watching(is_own):
            for used, processes in states:
                gpu.used_mib, gpu.processes = used, processes
                wait_for_two_looks(driver)
            gpu.used_mib, gpu.processes = 600, after or {}
        return None if gauge.peak_bytes is None else gauge.peak_bytes / MIB

    return measure


def wait_for_two_looks(driver: Driver) -> None:
    calls, deadline = driver.calls, time.monotonic() + 10
    while driver.calls < calls + 16:  # a look is eight calls
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_memory_of_all_its_processes_is_added_and_strangers_do_not_count(peak) -> None:
    states = (
        (5600, {STRANGER: 5000}),
        (6700, {STRANGER: 5000, OWN: 700, CHILD: 400}),
        (6300, {STRANGER: 5000, OWN: 700}),
    )
    assert peak(*states, after={STRANGER: 5000}) == 1100


def test_without_memory_by_process_it_is_what_is_used_above_the_start(peak) -> None:
    assert peak((600, {}), (1800, {OWN: None, CHILD: 300}), (900, {OWN: None})) == 1200


def test_under_other_numbers_it_is_what_is_used_above_the_start(peak) -> None:
    """As in a container: the driver tells the host's numbers, or lists nothing."""
    assert peak((1800, {4242: 1200})) == 1200
    assert peak((1500, {})) == 900


def test_a_difference_is_told_only_when_nobody_else_computes(peak, gpu) -> None:
    assert peak((1800, {OWN: None, STRANGER: None})) is None
    assert peak((1800, {4242: 1200}), after={4242: 1200}) is None, "it outlived the entry"
    gpu.processes = {STRANGER: 100}
    assert peak((1800, {STRANGER: 1300})) is None, "it was there before"
    gpu.processes = None
    assert peak((1800, None)) is None, "the driver does not tell who computes"


def test_a_session_that_holds_nothing_or_a_driver_that_falls_silent_tells_nothing(
    peak, gpu, driver
) -> None:
    assert peak((600, {})) is None
    gpu.is_lost = True
    gauge = GpuMemoryGauge.of("cuda:GPU-a")
    with gauge.watching(is_own):
        pass
    assert gauge.peak_bytes is None


def test_a_run_on_the_cpu_asks_no_driver(driver) -> None:
    gauge = GpuMemoryGauge.of("cpu")
    with gauge.watching(is_own):
        pass
    assert gauge.peak_bytes is None
    assert driver.calls == 0


@pytest.mark.parametrize(
    ("before", "during", "after", "is_seen"),
    [
        ({}, {OWN: 700, CHILD: 100}, {}, False),
        ({}, {OWN: 700, STRANGER: 100}, {}, True),
        ({STRANGER: 100}, {OWN: 700}, {}, True),
        ({}, {OWN: 700}, {STRANGER: 100}, True),
        ({}, {}, {}, False),
        ({}, {4242: 700}, {}, None),  # the entry under another number, or somebody else
        (None, None, None, None),
    ],
)
def test_whether_others_compute_on_the_gpu_is_told_where_it_can_be(
    driver, gpu, before, during, after, is_seen
) -> None:
    gpu.processes = before
    gauge = GpuMemoryGauge.of("cuda:GPU-a")
    with gauge.watching(is_own):
        gpu.processes = during
        wait_for_two_looks(driver)
        gpu.processes = after
    assert gauge.has_seen_others is is_seen
