"""Levels of isolation, by what holds; what a record may say of it, an older one too."""

from __future__ import annotations

import itertools

import pytest
from pydantic import ValidationError

from harness.records.isolation import (
    BOUNDS,
    MeasuredIsolation,
    engine_of,
    forbidden,
    isolation_level,
    lacks,
)
from harness.records.machine import MachinePart
from harness.records.record import Record
from harness.records.run_key import RunKey
from tests.record_factory import record

FLAGS = (
    "network_off", "own_pids", "own_ipc", "root_read_only", "no_capabilities", "seccomp",
    "memory_bounded", "pids_bounded", "tmp_bounded", "shm_bounded",
)  # fmt: skip
ALL = dict.fromkeys(FLAGS, True)
NO_CGROUPS = MeasuredIsolation(**ALL | {"memory_bounded": False, "pids_bounded": None})


def test_a_container_is_where_all_holds_and_the_same_user_where_only_bounds_or_the_filter_fail() -> (
    None
):
    for values in itertools.product((True, False, None), repeat=3):
        bounds = dict(zip(("memory_bounded", "tmp_bounded", "seccomp"), values, strict=True))
        wanted = "container" if all(values) else "same user"
        assert isolation_level(MeasuredIsolation(**ALL | bounds)) == wanted


@pytest.mark.parametrize("name", FLAGS[:5])
@pytest.mark.parametrize("value", [False, None])
def test_without_network_isolation_and_what_it_stands_on_there_is_none(name, value) -> None:
    assert isolation_level(MeasuredIsolation(**ALL | {name: value})) == "none"


def test_whose_user_it_is_decides_no_level() -> None:
    assert isolation_level(MeasuredIsolation(**ALL, other_user=False)) == "container"


def test_what_is_missing_is_told_in_words() -> None:
    assert lacks(MeasuredIsolation(**ALL)) == ()
    assert lacks(NO_CGROUPS) == ("memory and pids not bounded",)
    assert lacks(MeasuredIsolation(**ALL | {"seccomp": False, "tmp_bounded": False})) == (
        "no filter of system calls", "tmp not bounded",
    )  # fmt: skip
    assert lacks(MeasuredIsolation())[0] == "its network is not off"
    assert lacks(MeasuredIsolation())[-1] == "memory, pids and tmp not bounded"
    no_size = MeasuredIsolation(**ALL | {"shm_bounded": False})
    assert (isolation_level(no_size), lacks(no_size)) == ("same user", ("shm not bounded",))


def test_the_record_names_what_is_unbounded_and_cannot_say_otherwise() -> None:
    told = NO_CGROUPS.model_dump(mode="json")
    assert told["unbounded"] == ["memory", "pids"]
    assert MeasuredIsolation.model_validate(told) == NO_CGROUPS
    with pytest.raises(ValidationError, match="unbounded"):
        MeasuredIsolation.model_validate(told | {"unbounded": []})
    assert MeasuredIsolation(shm_bounded=False).unbounded == BOUNDS


def test_a_record_of_before_shm_was_looked_at_reads_as_it_was() -> None:
    old = {name: True for name in FLAGS if name != "shm_bounded"} | {"unbounded": []}
    assert isolation_level(MeasuredIsolation.model_validate(old)) == "container"
    unbounded = old | {"memory_bounded": False, "unbounded": ["memory"]}
    assert MeasuredIsolation.model_validate(unbounded).unbounded == ("memory",)
    again = MeasuredIsolation.model_validate(unbounded).model_dump(mode="json")
    assert MeasuredIsolation.model_validate(again).unbounded == ("memory",)


@pytest.mark.parametrize(
    ("isolation", "measured"),
    [
        ("container", NO_CGROUPS),
        ("same user", MeasuredIsolation(**ALL)),
        ("container", MeasuredIsolation()),
        ("same user", None),
    ],
)
def test_a_record_whose_level_is_not_what_was_measured_is_none(isolation, measured) -> None:
    machine = record().machine.model_dump() | {"isolation": isolation, "measured": measured}
    with pytest.raises(ValidationError, match="isolation"):
        MachinePart.model_validate(machine)


@pytest.mark.parametrize(("isolation", "engine"), [("container", "docker"), ("none", "process")])
def test_a_record_of_an_older_harness_stays_valid_with_its_key(isolation, engine) -> None:
    old = record(isolation=isolation, entry__checkpoint_rule={}).model_dump(mode="json")
    del old["machine"]["measured"]
    read = Record.model_validate(old)
    assert (read.machine.measured, read.machine.lacks) == (None, ())
    key = RunKey.of_record(read)
    assert key is not None
    assert key.parts["engine"] == engine


def test_the_engine_of_a_record_is_its_own_word_since_it_is_measured() -> None:
    assert engine_of("podman 4.3.1 (API 1.41)", "container", None) == "docker"
    assert engine_of("apptainer 1.4.5", "same user", NO_CGROUPS) == "apptainer"
    assert engine_of("process (Python 3.11)", "none", MeasuredIsolation()) == "process"
    measured = record(
        isolation="same user", machine__measured=NO_CGROUPS, machine__engine="apptainer 1.4.5",
        entry__checkpoint_rule={},
    )  # fmt: skip
    key = RunKey.of_record(measured)
    assert key is not None
    assert key.parts["engine"] == "apptainer"


@pytest.mark.parametrize(
    ("isolation", "visibility", "is_foreign", "is_allowed"),
    [
        ("container", "hidden", True, True),
        ("same user", "open", True, True),
        ("same user", "open", False, True),
        ("same user", "hidden", False, False),
        ("same user", "hidden", True, False),
        ("none", "open", False, True),
        ("none", "open", True, False),
        ("none", "hidden", False, False),
    ],
)
def test_hidden_packs_want_a_container_and_strangers_at_least_no_network(
    isolation, visibility, is_foreign, is_allowed
) -> None:
    assert (forbidden(isolation, visibility, is_foreign=is_foreign) is None) == is_allowed
