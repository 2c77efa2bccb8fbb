"""The printed command is one that the harness accepts."""

from __future__ import annotations

import shlex

import pytest

from harness.engines.base import Limits
from harness.evaluate import build_parser
from leaderboard.commands import rerun_command
from tests.record_factory import NO_CGROUPS

DEFAULTS = Limits().as_dict()


def read_train(text):
    """Number of shots, and whether an image is declared to have learned nothing."""
    shots = int(text.removeprefix("shots:")) if text.startswith("shots:") else None
    return shots, text == "none"


def parsed(text):
    words = shlex.split(text.splitlines()[-1])
    assert words[:3] == ["python", "-m", "harness.evaluate"]
    return build_parser().parse_args(words[3:])


def test_the_command_names_entry_benchmark_seeds_and_commit(make_record):
    text = rerun_command([make_record(seed=s) for s in (1, 0)], DEFAULTS)
    options = parsed(text)
    assert options.entries == ["baselines/patchcore"]
    assert (options.benchmarks, options.seeds) == (["brain"], [0, 1])
    assert options.engine == "auto"
    assert text.startswith("git checkout 0123456789abcdef")


def test_the_command_repeats_what_was_changed(make_record):
    record = make_record(
        entry="mine",
        isolation="none",
        params={"layers": ["layer2", "layer3"], "capped": True},
        entry__overrides={"layers": ["layer2", "layer3"], "capped": True, "weights": "random x"},
        entry__preset="official",
        entry__metadata={"source": "baselines/patchcore"},
        limits=DEFAULTS | {"threads": 8},
        machine__device="cpu",
    )
    options = parsed(rerun_command([record], DEFAULTS))
    assert options.engine == "process"
    assert options.device == "cpu"
    assert options.preset == "official"
    assert options.name == "mine"
    assert options.limit == ["threads=8"]
    assert options.overrides == [
        "capped=true", 'layers=["layer2", "layer3"]', "weights=random x",
    ]  # fmt: skip


def test_the_command_names_the_engine_that_ran_it_where_that_is_not_the_first(make_record):
    record = make_record(
        isolation="same user", machine__measured=NO_CGROUPS, machine__engine="apptainer 1.4.5"
    )
    assert "--engine apptainer" in rerun_command([record], DEFAULTS)
    assert "--engine" not in rerun_command([make_record()], DEFAULTS)


@pytest.mark.parametrize(
    ("benchmark", "regime", "asked"),
    [
        ("brain", {"name": "few-shot", "shots": 4}, "--benchmark brain --data-root DIR --train shots:4"),
        ("brain", {"name": "one-class", "delivery": "256"},
         "--benchmark brain --data-root DIR --delivery 256"),
        ("unified-3", {"name": "unified", "suite": "unified-3", "delivery": "256"},
         "--suite unified-3 --data-root DIR"),
        ("own", {"name": "unified", "suite": "own", "delivery": "256"},
         "--suite DIR/own.toml --pack DIR"),
        ("own", {"name": "zero-shot", "suite": "own", "delivery": "256", "is_declared": True},
         "--suite DIR/own.toml --train none --pack DIR"),
    ],
)  # fmt: skip
def test_the_command_asks_for_the_runs_regime(make_record, benchmark, regime, asked):
    record = make_record(benchmark=benchmark, regime=regime)
    text = rerun_command([record], DEFAULTS)
    assert f" baselines/patchcore {asked} --seed 0" in text
    told, wanted = parsed(text), record.regime
    assert read_train(told.train) == (wanted.shots, wanted.is_declared)
    assert (told.suite is not None) == (wanted.suite is not None)


@pytest.mark.parametrize(
    ("kind", "entry"),
    [("image", "reg.example/a@sha256:" + "0" * 64), ("submission", "submissions/x.toml"), ("archive", "x.tar")],
)  # fmt: skip
def test_every_form_of_entry_has_its_word(make_record, kind, entry):
    record = make_record(
        entry="x", entry__kind=kind, entry__image_digest="reg.example/a@sha256:" + "0" * 64
    )
    assert parsed(rerun_command([record], DEFAULTS)).entries == [entry]


def test_an_entry_outside_the_checkout_is_the_readers_to_find(make_record):
    for kind in ("folder", "archive"):
        record = make_record(entry="mine", entry__kind=kind, entry__metadata={"source": "mine"})
        text = rerun_command([record], DEFAULTS)
        options = parsed(text)
        assert (options.entries, options.name) == (["DIR/mine"], None)
        assert "lies outside the checkout" in text
    inside = make_record(entry__metadata={"source": "baselines/patchcore"})
    assert "outside" not in rerun_command([inside], DEFAULTS)


def test_a_pack_of_ones_own_and_the_demonstration(make_record):
    own = parsed(rerun_command([make_record(benchmark="clinic")], DEFAULTS))
    assert [str(path) for path in own.packs] == ["DIR"]
    accepting = make_record(benchmark="clinic", pack__accepted=("equal-names", "unmatched-masks"))
    assert parsed(rerun_command([accepting], DEFAULTS)).accepted == [
        "equal-names",
        "unmatched-masks",
    ]
    demo = parsed(rerun_command([make_record(benchmark="demo")], DEFAULTS))
    assert (demo.benchmarks, demo.data_root) == (["demo"], None)


def test_a_changed_checkout_is_said_so(make_record):
    text = rerun_command([make_record(source__commit="abc+dirty")], DEFAULTS)
    assert text.startswith("# the harness had local changes")
    assert "git checkout abc\n" in text


def test_hostile_values_stay_one_word_of_the_shell(make_record):
    record = make_record(entry__overrides={"weights": "$(rm -rf /); `x` 'y'"})
    assert parsed(rerun_command([record], DEFAULTS)).overrides == ["weights=$(rm -rf /); `x` 'y'"]
