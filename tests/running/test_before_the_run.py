"""What can be known before a run is said before it, and what comes after a good run is no fault of it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import evaluate
from harness.common.errors import EnvironmentFault, InfrastructureFault, StoreUnusable, UsageError
from harness.common.room_to_write import DISK_FULL
from harness.engines.process import ProcessEngine
from harness.entries.opening import open_entry
from harness.records.store import Store
from harness.running import run as running
from harness.running.presets import check_presets
from harness.trained import interrupted_training
from tests.paths import BASELINES, ENTRIES


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def call(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Evaluate the honest entry into `tmp_path/results`, or elsewhere."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setenv("BMAD_MODELS", str(cache / "models"))

    def call_(*more: object, entry: str = "honest", results: Path = tmp_path / "results") -> int:
        arguments = [ENTRIES / entry, "--engine", "process", "--results", results, *more]
        return evaluate.main([str(each) for each in arguments])

    return call_


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        pytest.fail("a program was started")

    monkeypatch.setattr(ProcessEngine, "start", start)


# -- folders ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_start")
@pytest.mark.parametrize("place", ["file", "file/below", "/dev/null"])
def test_results_that_cannot_be_written_are_said_before_anything_starts(
    call: Callable[..., int], tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreUnusable, match="the results folder cannot be written") as refused:
        call(results=tmp_path / place)
    assert str(tmp_path / place) == refused.value.where
    assert "--results DIR" in refused.value.fix
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.usefixtures("no_start")
def test_a_full_disk_is_said_before_anything_starts(
    call: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harness.common.room_to_write.os.posix_fallocate", full)
    with pytest.raises(StoreUnusable, match=r"the disk is full \(\d+ MiB free\)"):
        call()


@pytest.mark.usefixtures("no_start")
def test_a_file_where_a_runs_folder_must_lie_is_said_before_anything_starts(
    call: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "demo").write_text("")
    with pytest.raises(StoreUnusable, match="demo is no folder"):
        call()


@pytest.mark.usefixtures("no_start")
def test_a_cache_that_is_a_file_is_said_before_anything_starts(
    call: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFault, match="the cache folder cannot be written"):
        call()


@pytest.mark.usefixtures("no_start")
def test_a_dry_run_makes_no_folder_and_tells_its_calls_as_json_too(
    call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--dry-run", "--json", results=tmp_path / "a" / "b") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["run"], told["verb"]) == ("demo/honest/seed-0", "predict")
    assert "harness.contract" in told["call"]
    assert not (tmp_path / "a").exists()


def test_missing_parents_are_made_and_a_foreign_site_folder_makes_no_good_run_fail(
    call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "a" / "b" / "results"
    site = results.parent / "site"
    site.mkdir(parents=True)
    (site / "mine.txt").write_text("mine")
    assert call(results=results) == 0
    out, err = capsys.readouterr()
    assert len(Store(results).records()) == 1
    assert [path.name for path in site.iterdir()] == ["mine.txt"]
    before, _, after = err.partition("demo/honest/seed-0: running")
    assert "the site will not be built: the folder holds files that are not a site" in before
    assert "the site was not built" in after
    assert str(site) in before
    assert str(site) in after
    assert f"records: {results}" in out
    assert "site: " not in out


@pytest.mark.parametrize("number", DISK_FULL)
@pytest.mark.parametrize("where", ["training", "work folder"])
def test_a_disk_that_is_full_in_mid_run_is_the_machines_fault_and_leaves_nothing(
    call: Callable[..., int],
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    where: str,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, "no room")

    target = (interrupted_training, "hold") if where == "training" else (running, "record_of")
    monkeypatch.setattr(*target, full)
    with pytest.raises(InfrastructureFault, match="the disk is full") as ended:
        call(entry="trainer")
    assert ended.value.exit_code == 5
    assert list((tmp_path / "results").rglob("seed-*")) == []
    assert list((tmp_path / "results").rglob(".writing-*")) == []
    assert list((cache / "work").iterdir()) == []


# -- presets ------------------------------------------------------------------------------------


class _Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, text: str) -> None:
        self.lines.append(text)


def _pack(name: str, base: str | None = None) -> SimpleNamespace:
    card = SimpleNamespace(base=base, name=name)
    return SimpleNamespace(name=name, base=base, card=card, settings_name=base or name)


WITH, WITHOUT, ALSO_WITHOUT = "padim", "trivial-mean-grey", "trivial-image-size"


def _entries(*names: str) -> list:
    return [open_entry(str(BASELINES / name)) for name in names]


def test_on_the_demo_pack_an_entry_without_the_preset_runs_with_its_defaults_and_it_is_said() -> (
    None
):
    told = _Told()
    entries = _entries(WITH, WITHOUT, ALSO_WITHOUT)
    check_presets(entries, [_pack("demo")], "demo", told)
    (line,) = told.lines
    assert WITHOUT in line
    assert ALSO_WITHOUT in line
    assert WITH not in line
    settings = [entry.settings("demo", preset="demo") for entry in entries]
    assert [each.preset for each in settings] == ["demo", "bmad", "bmad"]
    assert settings[1] == entries[1].settings("demo")


def test_elsewhere_all_entries_without_the_preset_are_named_at_once() -> None:
    packs = [_pack("demo"), _pack("brain")]
    told = _Told()
    with pytest.raises(UsageError) as refused:
        check_presets(_entries(WITH, WITHOUT, ALSO_WITHOUT), packs, "demo", told)
    assert f"{WITHOUT}, {ALSO_WITHOUT} have no preset 'demo'" in refused.value.what
    assert "brain" in refused.value.where
    assert "bmad" in refused.value.fix
    assert told.lines == []
    with pytest.raises(UsageError, match="has no preset 'dmo'"):
        check_presets(_entries(WITH), [_pack("demo")], "dmo", told)


def test_where_all_have_the_preset_or_none_is_asked_for_nothing_is_said() -> None:
    told = _Told()
    check_presets(_entries(WITH, WITHOUT), [_pack("brain")], None, told)
    check_presets(_entries(WITH, WITHOUT), [_pack("brain")], "bmad", told)
    check_presets(_entries(WITH), [_pack("brain")], "demo", told)
    assert told.lines == []


@pytest.mark.usefixtures("no_start")
def test_the_call_itself_runs_an_entry_without_the_preset_on_the_demo_pack_alone(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--preset", "demo", "--dry-run") == 0
    assert "run with their defaults: honest" in capsys.readouterr().err
    with pytest.raises(UsageError, match="honest has no preset 'paper'"):
        call("--preset", "paper", "--dry-run")
