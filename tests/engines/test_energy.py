"""Joules of a stretch of time, by counters that grow, begin anew, are set back, or tell nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.common.owner import owner_mark
from harness.engines import energy, powercap
from harness.engines.energy import Counter, EnergyMeter, GpuCounter, ProcessorCounter
from harness.engines.environment import REGISTER, give_cpus, take_cpus
from harness.engines.gpu import nvidia
from harness.records.energy import Counted, EnergyGap, added
from tests.fake_nvml import Driver, FakeGpu

JOULE = 1_000_000  # microjoules
RANGE = 262_144 * JOULE


@pytest.fixture(autouse=True)
def own_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run of anybody else is on this machine."""
    (tmp_path / "register").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "register"))
    monkeypatch.setattr("tempfile.tempdir", None)


@dataclass
class Processor:
    """A powercap folder, and the clock by which it is looked at."""

    root: Path
    seconds: float = 0.0
    zones: dict[str, Path] = field(default_factory=dict)

    def zone(self, folder: str, name: str, microjoules: int, limit: int = RANGE) -> None:
        """A zone, or another count of one."""
        made = self.root / folder
        made.mkdir(parents=True, exist_ok=True)
        for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", limit)):  # fmt: skip
            (made / file).write_text(f"{value}\n")

    def package(self, microjoules: int, seconds: float = 1.0) -> None:
        """The only package's count so much later."""
        self.seconds += seconds
        self.zone("intel-rapl:0", "package-0", microjoules)

    def meter(self) -> EnergyMeter:
        return EnergyMeter([ProcessorCounter(lambda: self.seconds)])


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processor:
    made = Processor(tmp_path / "powercap")
    monkeypatch.setattr(powercap, "POWERCAP", made.root)
    return made


@pytest.fixture
def gpu(driver: Driver) -> FakeGpu:
    made = FakeGpu("GPU-a", energy_mj=5_000_000)
    driver.has(made)
    return made


def gpu_meter() -> EnergyMeter:
    return EnergyMeter([GpuCounter("GPU-a")])


# --- the processor ---------------------------------------------------------------------------


def test_each_stretch_is_told_by_itself_and_their_sum_is_the_whole(processor) -> None:
    processor.package(7 * JOULE)
    meter = processor.meter()
    begun = meter.look()
    processor.package(57 * JOULE)
    first = meter.look()
    processor.package(57 * JOULE + 250_000)
    last = meter.look()
    assert first.since(begun) == {"processor": Counted(joules=50)}
    assert last.since(first) == {"processor": Counted(joules=0.25)}
    assert last.since(begun) == {"processor": Counted(joules=50.25)}


def test_a_counter_that_begins_anew_goes_on_being_counted(processor) -> None:
    processor.package(RANGE - 40 * JOULE)
    meter = processor.meter()
    begun = meter.look()
    for _ in range(3):  # three times round, looked at twice in each
        processor.package(60 * JOULE, seconds=200.0)
        meter.look()
        processor.package(RANGE - 40 * JOULE, seconds=261.0)
        meter.look()
    processor.package(60 * JOULE)
    spent = meter.look().since(begun)["processor"]
    assert spent.joules == pytest.approx(3 * 262_144 + 100)


def test_two_looks_within_a_moment_may_see_it_begin_anew(processor) -> None:
    processor.package(RANGE - 1000)
    meter = processor.meter()
    begun = meter.look()
    processor.package(300_000, seconds=1e-5)
    assert meter.look().since(begun)["processor"].joules == pytest.approx(0.301)


def test_all_packages_are_added_and_their_parts_and_doubles_are_not(processor) -> None:
    zones = [
        ("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"), ("intel-rapl:2", "psys"),
        ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"), ("intel-rapl-mmio:0", "package-0"),
    ]  # fmt: skip
    for folder, name in zones:
        processor.zone(folder, name, 0)
    meter = processor.meter()
    begun = meter.look()
    processor.seconds = 1.0
    for number, (folder, name) in enumerate(zones):
        processor.zone(folder, name, 10**number * JOULE)
    assert meter.look().since(begun)["processor"].joules == 11
    assert meter.counters[0].source == "RAPL (package-0 and package-1)"


def set_back(processor: Processor) -> None:
    processor.package(3 * JOULE)


def look_too_late(processor: Processor) -> None:
    processor.package(200_000 * JOULE, seconds=263.0)


def lose(processor: Processor) -> None:
    (processor.root / "intel-rapl:0" / "energy_uj").unlink()


@pytest.mark.parametrize(
    ("harm", "gap"),
    [
        (set_back, EnergyGap.WENT_BACK),
        (look_too_late, EnergyGap.TOO_RARE),
        (lose, EnergyGap.NOT_ANSWERED),
    ],
)
def test_what_ended_before_a_counter_failed_is_told_and_nothing_after_it(
    processor, harm: Callable[[Processor], None], gap: EnergyGap
) -> None:
    processor.package(100_000 * JOULE)
    meter = processor.meter()
    begun = meter.look()
    processor.package(100_050 * JOULE)
    first = meter.look()
    harm(processor)
    second = meter.look()
    processor.package(200_000 * JOULE)  # it tells again: too late
    third = meter.look()
    assert first.since(begun) == {"processor": Counted(joules=50)}
    for before, after in ((first, second), (begun, third), (second, third)):
        assert after.since(before) == {"processor": Counted(reason=gap)}


def test_where_the_kernel_shows_no_package_that_is_the_reason(processor) -> None:
    meter = processor.meter()
    assert meter.look().since(meter.look())["processor"].reason is EnergyGap.NO_COUNTER
    processor.zone("intel-rapl:0", "psys", 0)
    meter = processor.meter()
    assert meter.look().since(meter.look())["processor"].reason is EnergyGap.NO_COUNTER
    assert meter.counters[0].source == "RAPL"


def test_a_counter_for_root_alone_is_said_to_be_that(processor, monkeypatch) -> None:
    """As the kernel does it since 2020; these tests may be root themselves."""
    processor.package(0)
    read = Path.read_text

    def refuse(path: Path, *args: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *args)

    monkeypatch.setattr(Path, "read_text", refuse)
    meter = processor.meter()
    assert meter.look().since(meter.look())["processor"].reason is EnergyGap.NOT_PERMITTED


# --- the GPU -------------------------------------------------------------------------------


def test_the_gpus_millijoules_become_joules(gpu) -> None:
    meter = gpu_meter()
    begun = meter.look()
    gpu.energy_mj = 5_012_345
    assert meter.look().since(begun)["gpu"].joules == pytest.approx(12.345)


def test_a_gpu_whose_driver_was_loaded_again_tells_nothing_of_that_stretch(gpu) -> None:
    meter = gpu_meter()
    begun = meter.look()
    gpu.energy_mj = 20
    assert meter.look().since(begun)["gpu"].reason is EnergyGap.WENT_BACK


@pytest.mark.parametrize("trouble", ["lost", "no driver"])
def test_a_gpu_that_does_not_answer_is_the_reason_and_no_error(gpu, driver, trouble) -> None:
    meter = gpu_meter()
    begun = meter.look()
    if trouble == "lost":
        gpu.is_lost = True
    else:
        driver.is_not_loaded()
    assert meter.look().since(begun)["gpu"].reason is EnergyGap.NOT_ANSWERED


def test_a_gpu_without_the_counter_says_so(gpu) -> None:
    gpu.energy_mj = None
    meter = gpu_meter()
    assert meter.look().since(meter.look())["gpu"].reason is EnergyGap.NO_COUNTER


def test_a_driver_that_hangs_is_waited_for_once(gpu, monkeypatch) -> None:
    monkeypatch.setattr(nvidia, "ANSWER_SECONDS", 0.2)
    meter = gpu_meter()
    begun, never = meter.look(), threading.Event()
    gpu.energy_mj = lambda: never.wait(5) or 0
    started = time.monotonic()
    for _ in range(20):
        spent = meter.look().since(begun)
    assert time.monotonic() - started < 2
    assert spent["gpu"].reason is EnergyGap.NOT_ANSWERED
    never.set()


# --- the meter -----------------------------------------------------------------------------


def test_a_run_on_a_gpu_is_counted_by_both_and_one_on_the_cpu_by_the_processor(
    gpu, processor
) -> None:
    assert [c.of for c in EnergyMeter.of("cuda:GPU-a").counters] == ["gpu", "processor"]
    assert [c.of for c in EnergyMeter.of("cpu").counters] == ["processor"]


class OneJoule(Counter):
    """Counts a joule with each look."""

    of = "processor"
    covers = source = ""

    def __init__(self) -> None:
        self.looks = 0

    def step(self) -> float:
        self.looks += 1
        return 1.0


def test_while_it_counts_it_looks_by_itself_and_no_longer() -> None:
    counter = OneJoule()
    meter = EnergyMeter([counter])
    begun = meter.look()
    with meter.counting(period_seconds=0.01):
        deadline = time.monotonic() + 10
        while counter.looks < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    looks = counter.looks
    time.sleep(0.05)
    assert counter.looks == looks
    assert meter.look().since(begun)["processor"].joules == looks - 1


def test_the_period_is_short_enough_for_the_smallest_range_in_use() -> None:
    """65,533 J: older processors. Three looks may fail to come before it is too rare."""
    assert 4 * energy.PERIOD_SECONDS * energy.MOST_WATTS < 65_533


def test_another_harness_run_is_seen_and_the_own_is_not(tmp_path) -> None:
    cpus = take_cpus(1)
    meter = EnergyMeter([])
    meter.look()
    assert meter.has_seen_other_runs is False
    register = tmp_path / "register" / f"{REGISTER}-{os.getuid()}"
    claim = register / f"{owner_mark(os.getppid())}-0-0"
    claim.touch()
    meter.look()
    claim.unlink()
    meter.look()
    assert meter.has_seen_other_runs is True
    give_cpus(cpus)


def test_where_the_register_is_somebody_elses_nobody_can_tell(tmp_path) -> None:
    (tmp_path / "register" / f"{REGISTER}-{os.getuid()}").symlink_to(tmp_path)
    assert EnergyMeter([]).has_seen_other_runs is None


def test_parts_are_added_and_one_that_was_not_counted_leaves_no_sum() -> None:
    two = {"gpu": Counted(joules=2), "processor": Counted(reason=EnergyGap.NOT_PERMITTED)}
    assert added(two, {"gpu": Counted(joules=3)}) == {"gpu": Counted(joules=5)}
    assert added({}, {"gpu": Counted(joules=3)})["gpu"].reason is EnergyGap.NOT_COUNTED
    assert added(two, {"processor": Counted(joules=1)})["processor"].reason is EnergyGap.NOT_PERMITTED  # fmt: skip
