"""Attacks 9 to 12, 18 and 22 on real containers: numbers, forgeries, hogs, immortals, clocks, models."""

from __future__ import annotations

import shutil
import time

import pytest

from harness.common.statuses import Cause, Status
from harness.records.parts import Mark
from tests.hostile.conftest import on_others

pytestmark = pytest.mark.engine


def value(run, metric: str, grid: str | None = None) -> float | None:
    found = run.record.metric(metric, grid)
    assert found is not None
    return found.value


def test_9_a_constant_map_is_worth_exactly_one_half(attack) -> None:
    run = attack("ties")
    assert run.record.is_ok
    assert value(run, "image_auroc") == 0.5
    assert value(run, "pixel_auroc", "native") == 0.5
    assert value(run, "pixel_auroc", "paper") == 0.5


@pytest.mark.parametrize("kind", ["two", "denormal", "huge"])
def test_9_two_values_give_the_closed_form_however_small_or_large(attack, open_small, kind) -> None:
    run = attack("ties", "--set", f"kind={kind}")
    assert run.record.is_ok, run.record.outcome
    caught = {True: 0, False: 0}
    pixels = {True: 0, False: 0}
    for sample in open_small.split("test"):
        bright, mask = open_small.image(sample) > 127, open_small.mask(sample)
        for truth in (True, False):
            caught[truth] += int((bright & (mask == truth)).sum())
            pixels[truth] += int((mask == truth).sum())
    # One threshold between the two values: AUROC = (1 + sensitivity - false-positive rate) / 2.
    sensitivity, false_alarms = caught[True] / pixels[True], caught[False] / pixels[False]
    expected = (1 + sensitivity - false_alarms) / 2
    assert value(run, "pixel_auroc", "native") == pytest.approx(expected, abs=1e-15)


def test_9_nan_and_infinity_are_never_scored(attack) -> None:
    run = attack("nan")
    assert run.record.outcome.status is Status.NON_FINITE
    assert run.record.metrics == []


def test_10_a_forged_success_is_a_missing_answer(attack) -> None:
    run = attack("early_exit")
    assert run.record.outcome.status is Status.MISSING_ANSWER
    assert run.code == 4
    assert run.record.metrics == []
    assert "image_auroc" in run.log, "it did print its forgery"


@pytest.mark.parametrize(
    ("name", "options", "limits", "status", "cause"),
    [
        ("fork_bomb", [], {"image_seconds": 2, "pids": 40}, Status.IMAGE_TIMEOUT, None),
        ("memory_hog", [], {"memory_mib": 128}, Status.OUT_OF_MEMORY, None),
        (
            "memory_hog",
            ["--set", "child=awaited"],
            {"memory_mib": 128, "image_seconds": 5},
            Status.OUT_OF_MEMORY,
            None,
        ),
        ("fills", ["--set", "where=/tmp"], {"tmp_mib": 4}, Status.CRASHED, Cause.TMP_FULL),
        ("fills", ["--set", "where=/dev/shm"], {"shm_mib": 4}, Status.CRASHED, Cause.SHM_FULL),
        ("stderr_flood", [], {"log_bytes": 100_000}, Status.LOG_FLOOD, None),
        ("gpu_hog", [], {}, Status.OUT_OF_GPU_MEMORY, None),
    ],
)
def test_11_a_hog_has_its_status_and_the_next_run_is_healthy(
    attack, name, options, limits, status, cause
) -> None:
    free = shutil.disk_usage("/").free
    run = attack(name, *options, **limits)
    assert run.record.outcome.status is status, run.record.outcome
    assert run.record.outcome.cause is cause
    assert run.record.metrics == []
    facts = run.record.engine_facts
    assert bool(facts.memory_kills) == (status is Status.OUT_OF_MEMORY)
    assert facts.met_memory_limit is not False, "the group may be gone before a last look at it"
    if cause:
        assert facts.full_folders == [options[1].removeprefix("where=")]
    assert run.record.outcome.remedy in run.terminal.replace("\n  ", " ")
    assert shutil.disk_usage("/").free > free - 512 * 1024**2
    assert attack("honest").record.is_ok


def test_11_a_childs_death_for_memory_that_is_survived_is_told(attack) -> None:
    run = attack("memory_hog", "--set", "child=forgotten", memory_mib=128)
    assert run.record.is_ok, run.record.outcome
    assert run.record.engine_facts.memory_kills == 1
    assert Mark.KILLED_FOR_MEMORY in run.record.marks
    assert any("memory_mib" in warning for warning in run.record.warnings)
    assert Mark.KILLED_FOR_MEMORY.value in run.terminal


@pytest.mark.parametrize("name", ["hanging_start", "hanging_image", "ignores_term", "stops_itself"])
def test_12_what_never_ends_is_ended_by_the_hosts_clock(attack, name) -> None:
    limits = {"start_seconds": 4} if name == "hanging_start" else {"image_seconds": 1}
    began = time.monotonic()
    run = attack(name, **limits)
    is_start = name == "hanging_start"
    wanted = Status.START_TIMEOUT if is_start else Status.IMAGE_TIMEOUT
    assert run.record.outcome.status is wanted, run.record.outcome
    assert time.monotonic() - began < 60
    assert attack("honest").record.is_ok


@on_others
@pytest.mark.parametrize("name", ["ignores_term", "stops_itself"])
def test_12_no_engine_keeps_what_does_not_want_to_end(attacked, attack, name) -> None:
    run = attack(name, image_seconds=1)
    assert run.record.outcome.status is Status.IMAGE_TIMEOUT, run.record.outcome


@on_others
@pytest.mark.parametrize("where", ["/tmp", "/dev/shm"])
def test_11_no_engine_gives_more_room_than_it_was_asked_for(attacked, attack, where) -> None:
    run = attack("fills", "--set", f"where={where}", tmp_mib=4, shm_mib=4)
    causes = {"/tmp": Cause.TMP_FULL, "/dev/shm": Cause.SHM_FULL}
    assert run.record.outcome.status is Status.CRASHED, run.record.outcome
    assert run.record.outcome.cause is causes[where]


@on_others
@pytest.mark.parametrize(
    ("name", "bound", "limits", "status"),
    [
        ("fork_bomb", "pids", {"image_seconds": 2, "pids": 40}, Status.IMAGE_TIMEOUT),
        ("memory_hog", "memory", {"memory_mib": 128}, Status.OUT_OF_MEMORY),
    ],
)
def test_11_what_an_engine_bounds_ends_in_itself_and_what_it_does_not_is_recorded(
    attacked, attack, name, bound, limits, status
) -> None:
    measured = attack("honest", results="before", **limits).record.machine.measured
    if bound in measured.unbounded:
        pytest.skip(f"this {attacked.name} bounds no {bound} here, and the record says so")
    assert attack(name, **limits).record.outcome.status is status


def test_18_work_between_the_images_is_in_the_total_and_in_the_next_latency(
    attack, open_small
) -> None:
    seconds = 0.05
    run = attack("precomputes", "--set", f"seconds={seconds}")
    assert run.record.is_ok
    times = run.record.times
    asked = len(open_small.split("test")) + len(open_small.split("valid"))
    assert times.predict >= seconds * (asked - 1), "the total holds all of the work"
    assert times.latency.median > seconds * 0.8, "and the clock of an image does not stop for it"


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ("link", {}), ("folder_link", {}), ("fifo", {}), ("unix_socket", {}), ("device", {}),
        ("sparse", {"model_bytes": 10_000_000}), ("many", {"model_files": 500}), ("deep", {}),
    ],
)  # fmt: skip
def test_22_what_is_no_model_is_never_copied(attack, cache, kind, limits) -> None:
    free = shutil.disk_usage("/").free
    run = attack("model_bomb", "--set", f"kind={kind}", **limits)
    assert run.record.outcome.status is Status.BAD_MODEL, run.record.outcome
    assert run.record.metrics == []
    assert "root:" not in run.terminal, "no file of the host was followed"
    assert shutil.disk_usage("/").free > free - 512 * 1024**2
