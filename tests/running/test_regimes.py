"""Runs in every regime as a user calls them: what an entry is given, and what its record holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness import evaluate, score
from harness.common.errors import StoreUnusable, UsageError
from harness.metrics.suite_evidence import load_members
from harness.publishing.public_form import public_form, public_problems
from harness.records.kept_maps import MapKeeper, read_maps
from harness.records.members import MEAN, member_records
from harness.records.record import Record
from harness.records.regime import Regime
from harness.records.store import Store
from tests import record_factory
from tests.paths import BASELINES, ENTRIES
from tests.suite_factory import pair_file, second_pack

COUNTS = ENTRIES / "counts_questions"
Evaluate = Callable[..., list[Record]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def results(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setenv("BMAD_MODELS", str(cache / "models"))
    return tmp_path / "results"


@pytest.fixture
def run(results: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Evaluate entries on the process engine; the records of the call."""

    def call(*arguments: object) -> list[Record]:
        capsys.readouterr()
        options = ["--engine", "process", "--results", str(results), "--json", "--no-site"]
        evaluate.main([*map(str, arguments), *options])
        told = capsys.readouterr()
        call.said = told.err  # type: ignore[attr-defined]
        return [Record.model_validate(record) for record in json.loads(told.out)]

    return call


@pytest.fixture
def pair(tmp_path: Path, cache: Path) -> list[object]:
    """The options that name a suite of two generated packs."""
    return ["--suite", pair_file(tmp_path), "--pack", second_pack(cache).root]


def metrics_of(record: Record) -> dict[tuple[str, str | None], tuple[float | None, ...]]:
    return {(m.id, m.grid): (m.value, m.low, m.high) for m in record.metrics}


def steps(record: Record) -> list[tuple[int, float | None, bool]]:
    assert record.training is not None
    return [(each.step, each.value, each.kept) for each in record.training.checkpoints]


def test_a_few_shot_run_is_given_k_images_and_no_label(run: Evaluate, results: Path) -> None:
    (record,) = run(COUNTS, "--train", "shots:4", "--preset", "bmad")
    assert record.is_ok
    assert Store(results).name_of(record).benchmark == "demo@shots-4"
    assert record.regime is not None
    assert (record.regime.name, record.regime.shots) == ("few-shot", 4)
    assert len(set(record.regime.drawn or ())) == 4
    # Its own budget, every checkpoint kept, the last one counts, and nothing was asked or told.
    assert steps(record) == [(step, None, True) for step in range(1, 6)]
    assert record.training is not None
    assert (record.training.kept, record.training.stop_reason) == (5, "finished")
    assert record.training.verdict_bits == 0
    assert record.entry.checkpoint_rule == {"checkpoint_metric": "none", "patience": 0}
    assert record.entry.params == {"checkpoints": 5, "gain": 2}
    for metric_id in ("dice_at_valid", "dice_at_fpr"):
        metric = record.metric(metric_id, "native")
        assert metric is not None
        assert metric.value is None
        assert metric.reason == "a few-shot run is given no labelled image"


def test_draws_are_nested_and_told_from_those_of_another_seed(run: Evaluate) -> None:
    two = run(COUNTS, "--train", "shots:2", "--seed", 0, 1)
    four = run(COUNTS, "--train", "shots:4", "--seed", 0)
    drawn = [record.regime.drawn for record in (*two, *four) if record.regime]
    assert drawn[2][:2] == drawn[0] != drawn[1]  # type: ignore[index]
    assert len({record.run_key for record in (*two, *four)}) == 3


def test_one_model_answers_for_every_member_of_a_suite(
    run: Evaluate, results: Path, pair: list[object]
) -> None:
    (record,) = run(COUNTS, *pair)
    assert "demo-pair: 128 training images: demo 50.0 %, demo-b 50.0 %" in run.said  # type: ignore[attr-defined]
    assert Store(results).name_of(record).benchmark == "demo-pair@unified"
    assert [pack.benchmark for pack in record.members] == ["demo", "demo-b"]
    assert record.pack.test_normal == 80
    # The suite's table applies, and no benchmark's; patience 1 ends it at the first tie.
    assert record.entry.params == {"checkpoints": 4, "gain": 3}
    (first, value, kept), (_, again, tie) = steps(record)
    assert (first, kept, tie) == (1, True, False)
    assert value == again
    assert record.entry.checkpoint_rule == {
        "checkpoint_metric": "image_auroc", "patience": 1,
        "checkpoint_metric.demo": "image_auroc", "checkpoint_metric.demo-b": "image_auroc",
    }  # fmt: skip
    assert record.unranked_reason is not None
    assert {"own suite", "demonstration pack"} <= set(record.unranked_reason.split(", "))


def test_the_metrics_of_a_suite_are_those_of_its_pairs_of_members(
    run: Evaluate, results: Path, pair: list[object]
) -> None:
    (record,) = run(COUNTS, *pair)
    store = Store(results)
    evidence = load_members(store.evidence_path(store.name_of(record)))
    assert list(evidence) == ["demo", "demo-b"]
    by_pair = {
        (one, other): roc_auc_score(
            *zip(
                *[(1, score) for score in scores(evidence[one], anomalous=True)],
                *[(0, score) for score in scores(evidence[other], anomalous=False)],
                strict=True,
            )
        )
        for one in evidence
        for other in evidence
    }
    for name in evidence:
        assert value(record, "image_auroc", name) == pytest.approx(by_pair[name, name], abs=1e-12)
    mean = np.mean([by_pair[name, name] for name in evidence])
    assert value(record, "image_auroc", MEAN) == pytest.approx(mean, abs=1e-12)
    pooled = np.mean(list(by_pair.values()))
    assert value(record, "pooled_image_auroc", None) == pytest.approx(pooled, abs=1e-12)
    across = np.mean([found for (one, other), found in by_pair.items() if one != other])
    assert value(record, "pooled_image_auroc_across", None) == pytest.approx(across, abs=1e-12)
    assert value(record, "pooled_pixel_auroc", None, "native") is not None


def scores(evidence: Any, *, anomalous: bool) -> list[float]:
    return list(evidence.test.scores[evidence.test.is_anomalous == anomalous])


def value(record: Record, metric_id: str, member: str | None, grid: Any = None) -> float | None:
    found = record.metric(metric_id, grid, member)
    assert found is not None
    return found.value


def test_kept_maps_recompute_a_suites_run_exactly_and_a_changed_pixel_is_found_where_it_counts(
    run: Evaluate, results: Path, pair: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = run(ENTRIES / "honest", *pair, "--keep-maps")
    assert record.maps is not None
    assert record.maps.dtype == "float32"
    assert (
        said_by_score(results, capsys) == f"{len(record.metrics)} metrics, all recomputed exactly"
    )
    store = Store(results)
    path = store.maps_path(store.name_of(record))
    kept = list(read_maps(path))
    with MapKeeper(path) as keeper:
        for each in kept:
            is_changed = each.split == "test" and each.key.startswith("demo-b/")
            keeper.add(
                each.split, each.key, each.anomaly_map * np.float32(0.5 if is_changed else 1)
            )
    wrong = said_by_score(results, capsys, code=5)
    assert "dice_at_valid (demo-b, native)" in wrong
    assert "dice_at_valid (mean, native)" in wrong
    assert "pooled_pixel_auroc_across (native)" in wrong
    assert "(demo, native)" not in wrong
    with MapKeeper(path) as keeper:
        keeper.add("test", "elsewhere/1.png", kept[0].anomaly_map)
    with pytest.raises(StoreUnusable, match="'elsewhere', which is no member"):
        score.main(["--results", str(results)])


@pytest.mark.parametrize(
    ("entry", "options"),
    [("counts_questions", ("--train", "shots:4", "--preset", "bmad")), ("score_only", ())],
)
def test_kept_maps_recompute_a_run_without_a_validation_split_or_without_a_map(
    run: Evaluate, results: Path, capsys: pytest.CaptureFixture[str], entry: str, options: Any
) -> None:
    (record,) = run(ENTRIES / entry, *options, "--keep-maps")
    assert record.is_ok
    assert (
        said_by_score(results, capsys) == f"{len(record.metrics)} metrics, all recomputed exactly"
    )


def said_by_score(results: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What `harness.score` prints of the one run; shortened where nothing is left in doubt."""
    capsys.readouterr()
    assert score.main(["--results", str(results)]) == code
    said = capsys.readouterr().out
    found = re.search(
        r": (\d+) metrics, (\d+) recomputed exactly, 0 within .*, 0 wrong$", said.strip()
    )
    return f"{found[1]} metrics, all recomputed exactly" if found and found[1] == found[2] else said


def test_a_member_of_a_suite_is_scored_as_its_sibling_of_the_same_delivery(
    run: Evaluate, pair: list[object]
) -> None:
    """An entry that learns nothing must have the same metrics, intervals too, in both."""
    (suite,) = run(ENTRIES / "honest", *pair)
    (sibling,) = run(ENTRIES / "honest", "--delivery", "256")
    (native,) = run(ENTRIES / "honest")
    assert [record.place for record in (suite, sibling, native)] == [
        "demo-pair@zero-shot", "demo@zero-shot-256", "demo",
    ]  # fmt: skip
    of_demo = member_records(suite)[0]
    assert metrics_of(of_demo) == metrics_of(sibling)
    assert metrics_of(sibling) != metrics_of(native)
    assert native.pack == sibling.pack == of_demo.pack


def test_the_public_form_of_a_hidden_run_names_no_drawn_image() -> None:
    shots = Regime(
        name="few-shot", shots=1, drawn=("secret.png",), drawn_digest="sha256:" + "a" * 64
    )
    told = public_form(record_factory.record(visibility="hidden", regime=shots), "salt")
    assert told.regime == shots.without_keys()
    assert "secret.png" not in told.model_dump_json()
    assert public_problems(told) == []
    leaking = told.model_copy(update={"regime": shots})
    assert "regime.drawn must be left out" in public_problems(leaking)


def test_what_does_not_train_says_so_and_trivial_rows_have_no_regime(
    run: Evaluate, pair: list[object]
) -> None:
    entries = (ENTRIES / "honest", BASELINES / "trivial-mean-grey")
    honest, trivial = run(*entries, "--train", "shots:1")
    assert "nothing to train here: honest (zero-shot), trivial-mean-grey (no regime)" in run.said  # type: ignore[attr-defined]
    assert honest.regime is not None
    assert trivial.regime is not None
    assert (honest.regime.name, trivial.regime.name) == ("zero-shot", None)
    assert (honest.place, trivial.place) == ("demo", "demo")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--train", "shots:3"], "'shots:3' is no training material"),
        (["--train", "few"], "'few' is no training material"),
        (["--train", "none"], "counts_questions trains"),
        (["--suite", "unified-3", "--train", "shots:4"], "few-shot is of one benchmark"),
        (["--suite", "unified-3", "--delivery", "native"], "one size"),
        (["--suite", "unified-3", "--benchmark", "brain"], "names its benchmarks itself"),
        (["--suite", "unified-7"], "there is no suite 'unified-7'"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error(
    run: Evaluate, options: list[str], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        run(COUNTS, *options)


def test_a_call_on_few_shots_is_finished_when_it_was_done(run: Evaluate) -> None:
    (one,) = run(COUNTS, "--train", "shots:2")
    (other,) = run(COUNTS, "--train", "shots:2")
    assert one == other
    assert "demo@shots-2/counts_questions/seed-0: finished before" in run.said  # type: ignore[attr-defined]
