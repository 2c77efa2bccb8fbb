"""What stands between an entry and the machine is measured before a run, and decides whether there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import check, evaluate
from harness.common.errors import EnvironmentFault
from harness.engines.process import ProcessEngine
from harness.records.isolation import MeasuredIsolation
from harness.records.record import Record
from harness.running import run as running
from harness.session.conversation import PredictSession
from tests.hostile.conftest import small_pack
from tests.paths import ENTRIES

HELD = dict.fromkeys(
    (
        "network_off", "own_pids", "own_ipc", "root_read_only", "no_capabilities", "seccomp",
        "memory_bounded", "pids_bounded", "tmp_bounded", "shm_bounded",
    ),
    True,
)  # fmt: skip
CONTAINER = MeasuredIsolation(**HELD, tmp_mib=1024)
SAME_USER = MeasuredIsolation(**HELD | {"memory_bounded": False, "pids_bounded": False}, tmp_mib=7)
Measured = Callable[[MeasuredIsolation], None]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Measured:
    """Have the process engine pass for one that isolates, and be measured so."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))

    def hold(measured: MeasuredIsolation) -> None:
        monkeypatch.setattr(ProcessEngine, "at_most", "container")
        monkeypatch.setattr(ProcessEngine, "measure", lambda *_: measured)

    return hold


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessEngine, "start", lambda *_: pytest.fail("a program was started"))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Record, str]]:
    """Evaluate the honest entry; its record, and what was told."""

    def call(*more: object) -> tuple[Record, str]:
        arguments = [
            ENTRIES / "honest", "--engine", "process", "--results", tmp_path / "results",
            "--no-site", "--json", *more,
        ]  # fmt: skip
        assert evaluate.main([str(each) for each in arguments]) == 0
        told = capsys.readouterr()
        (record,) = json.loads(told.out)
        return Record.model_validate(record), told.err

    return call


@pytest.mark.usefixtures("no_start")
@pytest.mark.parametrize("verb", [evaluate, check])
@pytest.mark.parametrize("measured", [SAME_USER, MeasuredIsolation()])
def test_a_hidden_pack_is_given_to_containers_alone_and_nothing_starts_before(
    held, cache, tmp_path, verb, measured
) -> None:
    small_pack(cache, tmp_path / "hidden", visibility="hidden")
    held(measured)
    with pytest.raises(EnvironmentFault, match="memory") as refused:
        verb.main(
            [str(ENTRIES / "honest"), "--pack", str(tmp_path / "hidden"), "--engine", "process"]
        )
    assert refused.value.exit_code == 5
    assert "docs/isolation.md" in refused.value.fix


def test_the_level_and_what_is_missing_stand_in_the_record_and_are_told(held, run) -> None:
    held(SAME_USER)
    record, told = run()
    assert (record.machine.isolation, record.machine.measured) == ("same user", SAME_USER)
    assert "isolation: same user (memory and pids not bounded)" in told
    assert record.unranked_reason == "demonstration pack, unreviewed"


def test_a_container_is_no_news_and_a_process_has_been_told_of_before(held, run) -> None:
    held(CONTAINER)
    record, told = run()
    assert record.machine.isolation == "container"
    assert "isolation:" not in told


def test_a_process_is_measured_as_nothing(cache, monkeypatch, run) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    record, told = run()
    assert (record.machine.isolation, record.machine.measured) == ("none", MeasuredIsolation())
    assert record.machine.engine_name == "process"
    assert "isolation:" not in told


@pytest.mark.parametrize("measured", [SAME_USER, MeasuredIsolation()])
def test_the_entry_is_told_how_large_its_tmp_is(held, run, monkeypatch, measured) -> None:
    """And the record keeps what was asked for beside what was measured."""
    limits = []

    class Telling(PredictSession):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            limits.append(self._hello.limits["tmp_mib"])

    monkeypatch.setattr(running, "PredictSession", Telling)
    held(measured)
    record, _ = run("--limit", "tmp_mib=64")
    assert limits == [measured.tmp_mib or 64]
    assert record.limits["tmp_mib"] == 64
