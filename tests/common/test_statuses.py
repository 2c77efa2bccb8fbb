"""Statuses and causes: every way into every status has a remedy that can be typed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from harness.common.errors import InfrastructureFault
from harness.common.statuses import CAUSE_TABLE, Cause, Fault, RunEnded, Status, remedy_of
from harness.console import cli
from harness.engines.base import Limits

ROOT = Path(__file__).resolve().parents[2]
WAYS = [
    *((status, None) for status in Status),
    *((status, cause) for cause in Cause for status in sorted(cause.entry.statuses)),
]
VALUES = {"--limit": [], "--set": ["a=1"], "--preset": ["demo"], "--seed": ["0"], "--pack": ["DIR"]}


@pytest.mark.parametrize(("status", "cause"), WAYS)
def test_what_a_remedy_names_can_be_typed(status: Status, cause: Cause | None) -> None:
    remedy = remedy_of(status, cause)
    assert remedy.endswith(".")
    verbs = re.findall(r"python -m\s+harness\.(\w+)", remedy)
    options = re.findall(r"(--[a-z-]+)(?: (\w+)=N)?", remedy)
    for verb in verbs:
        module = importlib.import_module(f"harness.{verb}")
        assert module.main is not None
    # Options stand for those of `check`, where a run is tried, and of `evaluate` alike.
    for verb in ("check", "evaluate"):
        parser = importlib.import_module(f"harness.{verb}").build_parser()
        for option, name in options:
            words = [f"{name}=1"] if name else VALUES[option]
            if words:
                parser.parse_args(["ENTRY", option, *words])
    for name in {name for _, name in options if name}:
        assert name in Limits().as_dict()
        cli.read_limits([f"{name}=1"])


def test_the_table_of_causes_is_complete_and_each_is_a_way_that_is_taken() -> None:
    assert set(CAUSE_TABLE) == set(Cause)
    source = "".join(
        path.read_text() for path in (ROOT / "harness").rglob("*.py") if path.name != "statuses.py"
    )
    for cause in Cause:
        assert cause.entry.sentence.endswith(".")
        assert cause.entry.statuses
        assert f"Cause.{cause.name}" in source, f"nothing ends a run by {cause}"


def test_a_cause_that_leads_elsewhere_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no way into"):
        RunEnded(Status.NON_FINITE, "x", cause=Cause.SHM_FULL)


def test_a_cause_never_moves_the_blame_by_itself() -> None:
    for cause in Cause:
        faults = {status.fault for status in cause.entry.statuses}
        assert len(faults) == 1 or cause is Cause.MACHINE_MEMORY
        if not cause.entry.can_pass:
            assert faults == {Fault.INFRASTRUCTURE}


def test_a_fault_of_the_infrastructure_tells_its_cause_and_whether_it_can_pass() -> None:
    plain = InfrastructureFault(Status.IMAGE_UNAVAILABLE, "reg/x:1")
    assert plain.can_pass
    for cause in (Cause.REFUSED_LOGIN, Cause.NO_SUCH_IMAGE, Cause.DISK_FULL):
        told = InfrastructureFault(Status.IMAGE_UNAVAILABLE, "reg/x:1", cause)
        assert not told.can_pass
        assert cause.entry.sentence in told.what
        assert told.fix == cause.entry.remedy
    for cause in (Cause.RATE_LIMIT, Cause.NO_REGISTRY):
        assert InfrastructureFault(Status.IMAGE_UNAVAILABLE, "reg/x:1", cause).can_pass
