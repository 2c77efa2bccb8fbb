"""A counter of energy beside a power draw: alike where both are true, and not where one is not."""

from __future__ import annotations

import time

import pytest

from harness.engines.gpu.nvidia import DriverFault
from tests.benchmarks.energy_check import measure
from tests.fake_nvml import Driver, FakeGpu


class DrawingGpu(FakeGpu):
    """Draws 100 W, and 300 W from `at` on; counts what it draws, or a share of it."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__("GPU-a")
        self.at = time.monotonic() + 0.2
        self.power_mw = lambda: 100_000 if time.monotonic() < self.at else 300_000
        self.energy_mj = lambda: round(share * self.drawn(time.monotonic()))

    def drawn(self, now: float) -> float:
        """Millijoules since `at`, more than 0 after a second before it."""
        return 100_000 + (now - self.at) * (100_000 if now < self.at else 300_000)


def test_power_integrated_is_the_energy_counted(driver: Driver) -> None:
    driver.has(DrawingGpu())
    check = measure("GPU-a", lambda: time.sleep(0.5))
    assert check.seconds >= 0.5
    assert 5 < check.samples < 40
    assert check.counter_joules == pytest.approx(0.2 * 100 + 0.3 * 300, rel=0.1)
    assert check.ratio == pytest.approx(1, abs=0.05)
    assert check.is_alike()


@pytest.mark.parametrize("share", [0.5, 0.8, 1.3, 0.0])
def test_a_counter_that_tells_another_energy_is_found(driver: Driver, share: float) -> None:
    driver.has(DrawingGpu(share))
    check = measure("GPU-a", lambda: time.sleep(0.3))
    assert not check.is_alike()
    assert check.ratio is None if share == 0 else check.ratio == pytest.approx(1 / share, rel=0.1)


@pytest.mark.parametrize("what", ["energy", "power"])
def test_a_gpu_that_tells_only_one_of_them_is_a_fault(driver: Driver, what: str) -> None:
    gpu = DrawingGpu()
    setattr(gpu, {"energy": "energy_mj", "power": "power_mw"}[what], None)
    driver.has(gpu)
    with pytest.raises(DriverFault, match=f"tells no {what}"):
        measure("GPU-a", lambda: None)


def test_a_gpu_that_is_lost_meanwhile_is_a_fault_and_the_work_s_own_error_is_its_own(
    driver: Driver,
) -> None:
    gpu = DrawingGpu()
    driver.has(gpu)

    def lose() -> None:
        gpu.is_lost = True
        time.sleep(0.1)

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure("GPU-a", fail)
    with pytest.raises(DriverFault, match="GPU is lost"):
        measure("GPU-a", lose)
