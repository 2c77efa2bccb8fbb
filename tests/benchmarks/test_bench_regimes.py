"""What the script that measures the regimes asks of the harness."""

from __future__ import annotations

from pathlib import Path

from harness.benchmarks.suites import find_suite, shipped_suites
from harness.entries.opening import open_folder
from harness.records.regime import BOARD_SUITES
from tests.baselines.exchangeable import as_text
from tests.benchmarks.bench_regimes import (
    FEW_SHOT,
    LONGER,
    SETTINGS,
    STEPS,
    SUITE,
    TOGETHER,
    Grid,
    settings_for,
)
from tests.paths import BASELINES

GRID = Grid(Path("/packs"), {"brain": 243, "camelyon16": 25, "oct2017": 6, "demo": 64})


def test_the_trial_suite_is_none_of_the_boards() -> None:
    suite = find_suite(str(SUITE))
    assert not suite.is_shipped
    assert not suite.name.startswith(BOARD_SUITES)
    assert suite.name not in shipped_suites()


def test_every_training_takes_about_the_same_steps_whatever_the_number_of_images() -> None:
    for entry in SETTINGS:
        for images in (1, 16, *GRID.counts.values(), sum(GRID.counts.values())):
            settings = settings_for(entry, images)
            if "epochs" in settings:
                batch, epochs = int(str(settings["batch_size"])), int(str(settings["epochs"]))
                steps = epochs * -(-images // batch)
                assert abs(steps / (STEPS * LONGER.get(entry, 1)) - 1) < 0.1, (entry, images)
                assert settings["checkpoint_every_epochs"] == epochs  # the last state counts


def test_each_unified_run_has_a_one_class_sibling_on_every_member() -> None:
    runs = list(GRID.together())
    assert [run.entry for run in runs if "--suite" in run.images] == list(TOGETHER)
    siblings = {
        (run.entry, run.images[1])
        for run in runs
        if run.images[0] == "--benchmark" and run.images[-2:] == ("--delivery", "256")
    }
    assert siblings == {(entry, member) for entry in TOGETHER for member in GRID.counts}


def test_the_settings_are_ones_that_each_baseline_has() -> None:
    for run in (*GRID.together(), *GRID.few_shot()):
        overrides = as_text(dict(run.settings))
        settings = open_folder(BASELINES / run.entry).settings("brain", overrides=overrides)
        assert set(run.settings) <= set(settings.params)


def test_each_number_of_images_is_drawn_by_two_seeds_and_all_of_them_stand_beside() -> None:
    runs = list(GRID.few_shot())
    few = [(run.entry, run.images[-1]) for run in runs if "--train" in run.images]
    assert few == [(entry, f"shots:{k}") for entry, shots in FEW_SHOT.items() for k in shots]
    assert {run.seeds for run in runs if "--train" in run.images} == {(0, 1)}
    assert [run.entry for run in runs if "--train" not in run.images] == list(FEW_SHOT)
