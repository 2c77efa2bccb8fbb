"""A campaign: its grid, its costs, its slots, and runs that are killed, resumed and told apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import campaign
from harness.benchmarks import demo_pack
from harness.board.rows import summarise
from harness.board.setting_choice import choices, validation_value
from harness.campaigns import plan, report, slots
from harness.campaigns.costs import UNKNOWN, CostedMethod, Costs, Images
from harness.campaigns.faults import End, Ended, Try
from harness.campaigns.grounds import CampaignGrounds, asked_of, check_entries
from harness.campaigns.outcome import reproduction
from harness.campaigns.runner import Runner
from harness.common.errors import DeviceUnavailable, StoreConflict, UsageError
from harness.entries.campaign_grid import (
    Campaign,
    Cell,
    EntryVariant,
    GridSettings,
    asks_for,
    is_left_out,
    read_campaign,
    sources,
    variants,
)
from harness.entries.entry import Entry, EntryTable
from harness.entries.opening import open_folder
from harness.records.record import CheckpointPart, TrainingPart
from harness.records.regime import Regime
from harness.records.store import Store
from leaderboard.paper import method_key, read_paper
from tests.fake_nvml import FakeGpu
from tests.paths import ENTRIES, REPOSITORY


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def call(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """`campaign` on the process engine: exit code, standard output and standard error."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))

    def run(action: str, *arguments: object):
        capsys.readouterr()
        code = campaign.main(
            [action, *map(str, arguments), "--engine", "process", "--results",
             str(tmp_path / "results"), "--no-site"]
        )  # fmt: skip
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


# --- the grid ----------------------------------------------------------------------------


def test_the_papers_campaign_is_450_runs_of_the_fifteen_methods_of_its_tables() -> None:
    table2 = read_campaign("table2")
    found = {
        str(folder): open_folder(folder)
        for folder in map(Path, sources(table2))
        if not is_left_out(table2, folder.name)
    }
    titles = {method_key(entry.table.title) for entry in found.values()}
    assert titles == {method_key(value.method) for value in read_paper()}
    named = {source: entry.name for source, entry in found.items()}
    assert len(cells(table2, variants(table2, named), found, table2.benchmarks)) == 450


def cells(campaign, found, entries, benchmarks, suite=None) -> list[Cell]:
    """The runs of a campaign on packs of these names, and on one suite."""
    asked = tuple(
        (each, ("own",) if each.suite else tuple(benchmarks)) for each, _ in asked_of(campaign)
    )
    return CampaignGrounds(asked, {}, {}).cells(campaign, found, entries)


def trains(name: str, *, does: bool = True) -> Entry:
    return Entry("folder", EntryTable(name=name, title=name, trains=does), name)


def test_a_grid_over_regimes_has_each_run_once_and_in_a_place_of_its_own(tmp_path: Path) -> None:
    suite = tmp_path / "own.toml"
    suite.write_text('name = "own"\nmembers = ["brain", "liver"]\n')
    made = Campaign(
        name="grid", entries=("a",), seeds=(0, 1), shots=(1, 4), suites=(str(suite),),
        regimes=("one-class", "one-class-256", "few-shot", "unified"),
    )  # fmt: skip
    entries = {"a": trains("a"), "z": trains("z", does=False)}
    found = [str(cell) for cell in cells(made, variants(made, {"a": "a"}), entries, ["brain"])]
    assert found[:5] == [
        "brain/a/seed-0", "brain@one-class-256/a/seed-0", "brain@shots-1/a/seed-0",
        "brain@shots-4/a/seed-0", "own@unified/a/seed-0",
    ]  # fmt: skip
    assert len(found) == 10
    # What trains nothing is zero-shot whatever is asked: its runs of all shots are one.
    found = [str(cell) for cell in cells(made, variants(made, {"z": "z"}), entries, ["brain"])]
    assert found[:3] == [
        "brain/z/seed-0", "brain@zero-shot-256/z/seed-0", "own@zero-shot/z/seed-0",
    ]  # fmt: skip
    assert len(found) == 6
    image = Entry("archive", EntryTable(name="i", title="I"), "i.tar")
    check_entries(made.model_copy(update={"regimes": ("one-class",)}), {"i.tar": image})
    with pytest.raises(UsageError, match="i is an image, and whether it trains only its engine"):
        check_entries(made, {"i.tar": image})


def test_a_campaign_speaks_of_the_regimes_that_it_runs_alone() -> None:
    plain, few, unified = map(read_campaign, ("table2", "few-shot", "unified"))
    native, of_256 = Regime(name="one-class"), Regime(name="one-class", delivery="256")
    four = Regime(name="few-shot", shots=4)
    three = Regime(name="unified", suite="unified-3", delivery="256")
    own = Regime(name="unified", suite="own", delivery="256")
    asked = [
        [asks_for(made, regime) for regime in (native, of_256, four, three, own)]
        for made in (plain, few, unified)
    ]
    assert asked == [
        [True, False, False, False, False],
        [False, False, True, False, False],
        [False, True, False, True, False],
    ]
    assert asks_for(plain, Regime(name="zero-shot"))
    assert not asks_for(few.model_copy(update={"shots": (1,)}), four)


@pytest.mark.parametrize("name", ["unified", "few-shot"])
def test_the_campaigns_of_the_other_regimes_ship(name: str) -> None:
    shipped = read_campaign(name)
    assert shipped.benchmarks == read_campaign("table2").benchmarks
    assert shipped.leave_out == ("template", "echo", "trivial-*", "canary*")
    assert len(shipped.seeds) == 5
    asked = [each for each, _ in asked_of(shipped)]
    if name == "few-shot":
        assert [each.shots for each in asked] == [1, 2, 4, 8, 16]
    else:
        assert [each.suite and each.suite.name for each in asked] == [
            None,
            "unified-3",
            "unified-6",
        ]
        assert {each.delivery for each in asked} == {"256"}


def test_runs_come_seed_by_seed_and_each_setting_has_a_name_of_its_own() -> None:
    made = Campaign(
        name="grid",
        entries=("a", "b"),
        settings=(
            GridSettings(entries=("b",), values={"rate": [0.1, 0.01], "layers": [["x", "y"]]}),
        ),
    )
    found = variants(made, {"folder/a": "a", "folder/b": "b"})
    assert [v.name for v in found] == [
        "a", "b", "b.rate-0.1.layers-x-y", "b.rate-0.01.layers-x-y",
    ]  # fmt: skip
    assert found[2].overrides == (("rate", "0.1"), ("layers", '["x", "y"]'))
    made = made.model_copy(update={"seeds": (0, 1)})
    entries = {f"folder/{name}": trains(name) for name in "ab"}
    order = [str(cell) for cell in cells(made, found[:2], entries, ["brain", "liver"])]
    assert order[:3] == ["brain/a/seed-0", "brain/b/seed-0", "liver/a/seed-0"]
    assert order[4] == "brain/a/seed-1"


def test_a_long_setting_gets_a_name_that_fits_and_no_two_are_equal() -> None:
    values = {f"parameter_number_{n}": [f"value-{n}"] for n in range(9)}
    long = EntryVariant("a", "a", tuple((k, v[0]) for k, v in values.items()))
    other = EntryVariant("a", "a", (*long.overrides[:-1], ("parameter_number_8", "else")))
    assert len(long.name) <= 64
    assert long.name != other.name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'x'\n", "entries: Field required"),
        ("name = 'X Y'\nentries = ['a']\n", "name: String should match"),
        ("name = 'x'\nentries = ['a']\nseed = [1]\n", "seed: Extra inputs"),
        ("name = ", "not valid TOML"),
        ("name = 'x'\nentries = ['a']\nregimes = ['few']\n", "regimes.0: Input should be"),
        ("name = 'x'\nentries = ['a']\nshots = [4]\n", "shots is of few-shot, which is none"),
        ("name = 'x'\nentries = ['a']\nsuites = ['unified-3']\n", "suites is of unified"),
        ("name = 'x'\nentries = ['a']\nregimes = ['few-shot']\nshots = [3]\n", "3 shots"),
        ("name = 'x'\nentries = ['a']\nregimes = ['unified', 'unified']\n", "stands there twice"),
    ],
)
def test_a_file_that_is_no_campaign_is_refused_with_all_its_problems(tmp_path, text, words) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_campaign(str(path))


def test_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no campaign 'tabel2'") as error:
        read_campaign("tabel2")
    assert "table2" in error.value.fix
    with pytest.raises(UsageError, match="no entry is called 'nothing'"):
        variants(
            Campaign(
                name="x", entries=("a",),
                settings=(GridSettings(entries=("nothing",), values={"rate": [1]}),),
            ),
            {"a": "a"},
        )  # fmt: skip


# --- costs and slots ---------------------------------------------------------------------


def test_a_cost_is_that_of_earlier_runs_else_scaled_else_unknown(make_record) -> None:
    here = make_record(entry="padim")
    pack, times = here.pack, here.times
    other = here.model_copy(update={"seed": 1})
    costs = Costs([here, other], here.machine.device)
    images = Images(2 * pack.train, 2 * (pack.valid + pack.test_normal + pack.test_anomalous))
    found = costs.estimate("padim", here.entry.preset, pack.benchmark, images)
    assert (found.seconds, found.basis) == (times.total, "2 earlier")
    scaled = costs.estimate("padim", here.entry.preset, "liver", images)
    moving = (times.train or 0) + (times.predict or 0)
    assert scaled.seconds == pytest.approx(times.total + moving)
    assert scaled.basis == f"scaled from {pack.benchmark}"
    few = here.model_copy(update={"regime": Regime(name="few-shot", shots=4), "seed": 2})
    alike = Costs([here, few], here.machine.device)
    told = alike.estimate("padim", here.entry.preset, "liver@shots-4", images)
    assert told.basis == "scaled from brain@shots-4"
    assert alike.estimate("padim", here.entry.preset, "brain@shots-4", images).basis == "1 earlier"
    assert alike.estimate("padim", here.entry.preset, "brain", images).basis == "1 earlier"
    assert costs.estimate("padim", "official", pack.benchmark, images).seconds is None
    assert costs.estimate("rd4ad", here.entry.preset, pack.benchmark, images).seconds is None
    assert Costs([here], "another").estimate("padim", "bmad", "brain", images).seconds is None


def test_without_a_record_the_shipped_table_tells_and_the_plan_says_so(make_record) -> None:
    entry = open_folder(REPOSITORY / "baselines" / "stfpm")
    images, nothing = Images(7500, 3798, 83), Costs([], "NVIDIA H200")
    bmad = CostedMethod("stfpm", entry.settings("brain", preset="bmad").params, "brain")
    found = nothing.estimate("stfpm", "bmad", "brain", images, bmad)
    assert found.seconds is not None
    assert found.basis == "estimated from FLOPs, not measured"
    demo = CostedMethod("stfpm", entry.settings("demo").params, "demo")
    assert nothing.estimate("stfpm", "demo", "demo", images, demo).seconds is None
    record = make_record(entry="stfpm")
    known = Costs([record], record.machine.device)
    own = known.estimate("stfpm", record.entry.preset, record.pack.benchmark, images, bmad)
    assert own.basis == "1 earlier"
    two = [Cell(EntryVariant("stfpm", "stfpm"), "brain", seed) for seed in (0, 1)]
    planned = [plan.Planned(cell, plan.RunState.TO_DO, "", found) for cell in two]
    grid = Campaign(name="x", entries=("stfpm",))
    whole = plan.CampaignPlan(grid, (), tuple(planned), None, {}, ("cpu",), "")
    assert "times: 2 estimated from FLOPs, not measured" in report.plan_text(whole)


def test_a_plan_of_several_regimes_has_a_table_for_each_no_wider_than_its_benchmarks() -> None:
    variant = EntryVariant("stfpm", "stfpm")
    few = [Regime(name="few-shot", shots=shots) for shots in (1, 4)]
    whole = [Regime(name="unified", suite=f"unified-{n}", delivery="256") for n in (3, 6)]
    cells = [Cell(variant, name, 0, regime) for regime in few for name in ("brain", "liver")]
    cells += [Cell(variant, str(regime.suite), 0, regime) for regime in whole]
    runs = tuple(plan.Planned(cell, plan.RunState.TO_DO, "", UNKNOWN) for cell in cells)
    grid = Campaign(name="x", entries=("stfpm",))
    text = report.plan_text(plan.CampaignPlan(grid, (), runs, None, {}, ("cpu",), ""))
    titles = [line for line in text.splitlines() if line.startswith("x: ")]
    assert titles == ["x: few-shot, k = 1", "x: few-shot, k = 4", "x: unified"]
    heads = [line.split()[1:-2] for line in text.splitlines() if line.startswith(" entry")]
    assert heads == [
        ["brain@shots-1", "liver@shots-1"],
        ["brain@shots-4", "liver@shots-4"],
        ["unified-3@unified", "unified-6@unified"],
    ]
    assert "0/0" not in text
    assert "6 runs: 6 to do" in text


def test_every_idle_gpu_does_one_run_and_is_named_by_its_uuid(driver) -> None:
    used = FakeGpu("GPU-b", used_mib=20000, processes={4711: 19000})
    driver.has(FakeGpu("GPU-a"), used, FakeGpu("GPU-c", used_mib=4000), FakeGpu("GPU-d", 600))
    assert slots.slots("cuda", None, 2) == ["cuda:GPU-a", "cuda:GPU-d"]
    assert slots.is_free("cuda:GPU-a")
    assert not slots.is_free("cuda:GPU-b")
    driver.has(used)
    with pytest.raises(DeviceUnavailable, match="NVIDIA H200 in use by 1 processes, 20000 MiB"):
        slots.slots("cuda", None, 2)


def test_a_gpu_that_is_named_by_its_index_is_watched_by_its_uuid(driver) -> None:
    driver.has(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    assert slots.slots("cuda:1", None, 2) == ["cuda:GPU-b"]
    with pytest.raises(DeviceUnavailable, match="no GPU '2'"):
        slots.slots("cuda:2", None, 2)


def test_the_cores_of_a_machine_without_a_gpu_are_shared_out(monkeypatch) -> None:
    monkeypatch.setattr(slots.os, "cpu_count", lambda: 8)
    assert slots.slots("cpu", None, 2) == ["cpu"] * 4
    assert slots.slots("cpu", 1, 2) == ["cpu"]
    assert slots.slots("cpu", None, 16) == ["cpu"]
    for device in ("cuda", "cuda:0"):
        with pytest.raises(UsageError):
            slots.slots(device, 2, 2)


def test_a_machine_without_a_driver_has_no_gpu(driver) -> None:
    driver.is_absent()
    with pytest.raises(DeviceUnavailable, match="no GPU is idle"):
        slots.slots("cuda", None, 2)


# --- runs --------------------------------------------------------------------------------


def runner_of(tmp_path: Path, codes: dict[str, list[int]], device_slots=("cpu",)) -> Runner:
    """A runner whose runs end with these exit codes, try by try."""

    class Played(Runner):
        def once(self, cell: Cell, slot: str, log: Path) -> Try:
            log.write_text(f"error: try of {cell} on {slot}\n")
            return Try(codes[cell.variant.entry].pop(0))

    return Played(device_slots, tmp_path, pauses=(0.0, 0.0))


def grid_of(*names: str) -> list[Cell]:
    return [Cell(EntryVariant(name, name), "demo", 0) for name in names]


def test_only_faults_of_the_machine_are_tried_again(tmp_path: Path) -> None:
    codes = {"ok": [0], "entry": [4], "usage": [2], "flaky": [5, 5, 0], "bug": [1], "gone": [5] * 3}
    done = {d.cell.variant.entry: d for d in runner_of(tmp_path, codes).run(grid_of(*codes))}
    assert {name: (d.end, d.tries) for name, d in done.items()} == {
        "ok": (End.FINISHED, 1),
        "entry": (End.FAILED, 1),
        "usage": (End.REFUSED, 1),
        "flaky": (End.FINISHED, 3),
        "bug": (End.BUG, 1),
        "gone": (End.NOT_DONE, 3),
    }
    assert done["gone"].detail == "error: try of demo/gone/seed-0 on cpu"
    assert not any(codes.values())


def test_a_machine_that_fails_every_run_is_given_up(tmp_path: Path) -> None:
    names = [f"entry-{n}" for n in range(6)]
    codes = {name: [5] * 3 for name in names}
    done = list(runner_of(tmp_path, codes).run(grid_of(*names)))
    assert [d.end for d in done] == [End.NOT_DONE] * 6
    assert sum(d.tries for d in done) <= 9  # two whole runs, and the one under way


def test_an_entrys_fault_stops_nothing_and_the_counts_add_up(call, tmp_path: Path) -> None:
    grid = ("--entries", ENTRIES / "honest", ENTRIES / "nan", "--seed", 0, 1)
    code, out, err = call("run", *grid)
    assert code == 4
    assert "[4/4]" in err
    assert "demo/nan/seed-0: failed" in err
    assert "non_finite" in err
    assert "4 runs of campaign grid:" in out
    assert "2  finished: a record with its metrics" in out
    assert "2  failed: a record of the entry's own fault" in out
    code, out, err = call("resume", *grid)
    assert (code, "0 of 4 runs to do" in err) == (4, True)
    assert "2  finished before" in out
    assert "2  failed before" in out
    _, status, _ = call("status", *grid)
    assert "4 runs: 2 finished, 2 failed" in status
    _, told, _ = call("status", *grid, "--json")
    states = {run["run"]: run["state"] for run in json.loads(told)}
    assert states["demo/honest/seed-1"] == "finished"
    assert states["demo/nan/seed-1"] == "failed"
    # What it takes is known from now on.
    _, plan, _ = call("plan", "--entries", ENTRIES / "honest", "--seed", 0, 1, 2)
    assert "3 runs: 1 to do, 2 finished" in plan
    assert "left: about" in plan


def test_a_grid_over_regimes_is_run_resumed_and_told_apart(
    call, cache: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "twice.toml"
    suite.write_text('name = "twice"\nmembers = ["demo", "other"]\n')
    other = tmp_path / "other"
    shutil.copytree(demo_pack(cache, seed="x", name="other").root, other)
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f'name = "own"\nentries = ["{ENTRIES / "trainer"}"]\n'
        f'regimes = ["few-shot", "unified"]\nshots = [2]\nsuites = ["{suite}"]\n'
    )
    options = (grid, "--benchmark", "demo", "--pack", other)
    assert call("run", *options)[0] == 0
    places = [record.place for record in Store(tmp_path / "results").records()]
    assert places == ["demo@shots-2", "other@shots-2", "twice@unified"]
    code, out, err = call("resume", *options)
    assert (code, "0 of 3 runs to do" in err) == (0, True)
    assert "3  finished before" in out
    _, told, _ = call("plan", *options, "--seed", 0, 1, "--json")
    bases = {run["run"]: run["basis"] for run in json.loads(told)}
    assert bases["demo@shots-2/trainer/seed-1"] == "1 earlier"
    _, told, _ = call("status", grid, "--regime", "few-shot", "--shots", 2, "--json")
    assert [run["run"] for run in json.loads(told)] == ["demo@shots-2/trainer/seed-0"]


def test_a_campaigns_limits_hold_for_its_runs_and_an_option_goes_before_them(
    call, tmp_path: Path
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f'name = "own"\nentries = ["{ENTRIES / "honest"}"]\n'
        "[limits]\nimage_seconds = 7\nstart_seconds = 77.5\n"
    )
    assert call("run", grid)[0] == 0
    assert call("run", grid, "--seed", 1, "--limit", "image_seconds=9")[0] == 0
    limits = {record.seed: record.limits for record in Store(tmp_path / "results").records()}
    assert [limits[seed]["image_seconds"] for seed in (0, 1)] == [7, 9]
    assert [limits[seed]["start_seconds"] for seed in (0, 1)] == [77.5, 77.5]
    grid.write_text(grid.read_text().replace("image_seconds", "image_second"))
    with pytest.raises(UsageError, match="unknown limit 'image_second'"):
        call("plan", grid)


def test_a_name_that_another_run_has_is_said_before_anything_is_run(call, tmp_path: Path) -> None:
    folder = tmp_path / "honest"
    shutil.copytree(ENTRIES / "honest", folder)
    assert call("run", "--entries", folder)[0] == 0
    with (folder / "model.py").open("a") as file:
        file.write("# another identity\n")
    with pytest.raises(StoreConflict, match="demo/honest/seed-0 exist and are of other runs"):
        call("run", "--entries", folder)
    code, out, _ = call("run", "--entries", folder, "--replace")
    assert code == 0
    assert "1  finished" in out


def test_numbers_by_other_definitions_are_another_runs(call, monkeypatch) -> None:
    grid = ("--entries", ENTRIES / "score_only")
    assert call("run", *grid)[0] == 0
    monkeypatch.setattr("harness.metrics.METRICS_VERSION", "0.0.1")
    assert "1 runs: 1 taken by another run" in call("status", *grid)[1]
    with pytest.raises(StoreConflict):
        call("run", *grid)


def test_a_killed_campaign_leaves_no_run_behind_and_its_resume_repeats_none(
    tmp_path: Path, cache: Path
) -> None:
    results = tmp_path / "results"
    arguments = [
        "--entries", str(ENTRIES / "honest"), "--seed", "0", "1", "2", "--engine", "process",
        "--results", str(results), "--no-site",
    ]  # fmt: skip
    command = [sys.executable, "-m", "harness.campaign"]
    environment = {**os.environ, "BMAD_CACHE": str(cache)}
    log = tmp_path / "first.log"
    with log.open("w") as stream:
        first = subprocess.Popen(
            [*command, "run", *arguments], cwd=REPOSITORY, env=environment,
            stdout=stream, stderr=stream,
        )  # fmt: skip
    store = Store(results)
    deadline = time.monotonic() + 120
    while not store.record_paths() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path: path.read_bytes() for path in store.record_paths()}
    assert before, log.read_text()
    while left_running(results) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_running(results)
    again = subprocess.run(
        [*command, "resume", *arguments], cwd=REPOSITORY, env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert f"{len(before)}  finished before" in again.stdout
    assert len(store.records()) == 3
    assert {path: path.read_bytes() for path in before} == before


def left_running(results: Path) -> list[str]:
    """Command lines of runs that still work on this results folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "harness.campaigns.one_run" in words and str(results) in words:
            found.append(words)
    return found


# --- the end -----------------------------------------------------------------------------


def judged(record, *values: float | None):
    checkpoints = [
        CheckpointPart(step=n, metric="image_auroc", value=value, kept=n == len(values))
        for n, value in enumerate(values, start=1)
    ]
    part = TrainingPart(
        steps=None, checkpoints=checkpoints, kept=len(values), stop_reason="finished"
    )
    return record.model_copy(update={"training": part})


def test_settings_are_chosen_by_validation_and_never_by_the_test_split(make_record) -> None:
    metrics = {("image_auroc", None): 0.5}
    best_on_test = {("image_auroc", None): 0.99}
    plain, slow = EntryVariant("a", "a"), EntryVariant("a", "a", (("rate", "0.1"),))
    records = [
        judged(make_record(entry="a", seed=0, metrics=best_on_test), 0.6, 0.7),
        judged(make_record(entry="a", seed=1, metrics=best_on_test), 0.6, 0.7),
        judged(make_record(entry="a.rate-0.1", seed=0, metrics=metrics), 0.5, 0.9),
        judged(make_record(entry="a.rate-0.1", seed=1, metrics=metrics), 0.9, 0.7),
    ]
    assert validation_value(records[0]) == 0.7
    (choice,) = choices([plain, slow], records)
    assert (choice.chosen, choice.of) == ("a.rate-0.1", 2)
    assert choice.value == pytest.approx(0.8)
    # One seed alone of a variant does not win against two of another.
    (choice,) = choices([plain, slow], records[:3])
    assert choice.chosen == "a"
    assert choices([plain], records) == []


def test_a_cell_of_the_paper_is_reproduced_within_both_spreads(make_record) -> None:
    cell = next(
        v for v in read_paper()
        if (v.table, v.method, v.benchmark, v.metric) == ("Table 2", "PaDiM", "brain", "image_auroc")
    )  # fmt: skip
    for shift, reproduced in ((0.0, 1), (cell.std / 2, 1), (cell.std * 3 + 0.01, 0)):
        metrics = {("image_auroc", None): cell.mean + shift}
        rows = summarise([make_record(entry="padim", title="PaDiM", metrics=metrics)])
        found = reproduction(rows)
        assert (found.reproduced, found.measured) == (reproduced, 1)
    assert found.reported == sum(v.table == "Table 2" and v.mean is not None for v in read_paper())


def test_totals_name_what_is_left(tmp_path: Path) -> None:
    one = plan.Planned(grid_of("a")[0], plan.RunState.TO_DO, "", None)
    two = plan.Planned(grid_of("b")[0], plan.RunState.TO_DO, "", None)
    made = plan.CampaignPlan(
        Campaign(name="x", entries=("a",)), (), (one, two), Store(tmp_path), {}, ("cpu",), "process"
    )
    done = [Ended(one.cell, End.NOT_DONE, 1.0, 3, "error: no engine", tmp_path / "log")]
    text = report.totals_text(made, done)
    assert "2 runs of campaign x:" in text
    assert "1  not done" in text
    assert "1  to do" in text
    assert "demo/a/seed-0: error: no engine" in text
    assert report.exit_code(made, done) == 5
