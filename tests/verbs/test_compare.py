"""`compare`: ranks from the evidence of real scorers, written as aggregates and read by the site."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness import compare
from harness.board.comparison import comparison_path, read_comparisons
from harness.board.local_comparison import local_bytes, read_local
from harness.board.rows import summarise
from harness.common.errors import DataMissing, StoreUnusable, UsageError
from harness.common.statuses import Status
from harness.entries.reviewed import ReviewedSet
from harness.metrics import Evidence, GroundTruth, RunScorer, TruthImage, resample
from harness.metrics.table import RANKED
from harness.records.record import Record
from harness.records.store import RunName, Store, evidence_of
from tests.board.test_pair_comparison import check_latex
from tests.record_factory import KNOWN
from tests.reviewed_sets import all_reviewed

PATIENTS, IMAGES = 40, 400
Fill = Callable[..., Store]


def truth() -> GroundTruth:
    images = [
        TruthImage(
            key=f"test/{i:03}.png",
            is_anomalous=i % 2 == 1,
            group=f"patient-{i % PATIENTS}",
            subclass=None,
            image=lambda: np.zeros((4, 4), np.uint8),
            mask=None,
        )
        for i in range(IMAGES)
    ]
    return GroundTruth.compile(images, has_masks=False)


@pytest.fixture
def fill(tmp_path: Path, make_record: Callable[..., Record]) -> Fill:
    """A store with image-level runs: strength of the signal by entry, one run per seed."""

    def made(
        strengths: dict[str, float], seeds: Sequence[int] = (0, 1), **changes: object
    ) -> Store:
        store = Store(tmp_path / "results")
        ground = truth()
        for entry, strength in strengths.items():
            for seed in seeds:
                rng = np.random.default_rng([seed, len(entry)])
                scorer = RunScorer(ground, None, spool=tmp_path, maps=False)
                for key, label in zip(ground.keys, ground.is_anomalous, strict=True):
                    scorer.add("test", key, float(rng.normal(strength * label)), None)
                scores = scorer.finish()
                record = make_record(
                    entry=entry,
                    benchmark="rsna",
                    seed=seed,
                    metrics={},
                    pack__patients=PATIENTS,
                    **changes,
                ).model_copy(update={"metrics": list(scores.metrics)})
                store.save(
                    RunName("rsna", entry, seed), record, write_evidence=scores.evidence.save
                )
        return store

    return made


def reviewed(store: Store) -> ReviewedSet:
    """All runs of a store are of reviewed folders."""
    return all_reviewed(store.records())


def test_a_real_lead_gets_its_rank_in_the_file_and_on_the_rows(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"strong": 2.0, "weak": 0.5, "weakest-like": 0.5})
    assert compare.main(["--results", str(store.root)], KNOWN, reviewed(store)) == 0
    out = capsys.readouterr().out
    assert "40 patients" in out
    comparison = read_comparisons(store.root)["rsna"]
    ranks = {
        name: standing.rank
        for name in ("strong", "weak", "weakest-like")
        if (standing := comparison.standing(name, "trained-here", "image_auroc", None))
    }
    assert ranks == {"strong": 1, "weak": 2, "weakest-like": 2}
    strong = comparison.standing("strong", "trained-here", "image_auroc", None)
    assert strong is not None
    assert strong.mean is not None
    assert strong.low is not None
    assert strong.high is not None
    assert strong.low < strong.mean < strong.high
    assert sum(strong.stability) == pytest.approx(1)
    assert strong.seeds == 2
    rows = summarise(store.records(), comparisons=read_comparisons(store.root))
    shown = {row.entry: metric.rank for row in rows if (metric := row.metric("image_auroc", None))}
    assert shown == ranks


def test_the_file_is_the_same_twice_and_holds_no_image_and_no_patient(fill: Fill) -> None:
    store = fill({"a": 1.0, "b": 0.5})
    path = comparison_path(store.root, "rsna")
    compare.main(["--results", str(store.root)], KNOWN, reviewed(store))
    first = path.read_bytes()
    compare.main(["--results", str(store.root)], KNOWN, reviewed(store))
    assert path.read_bytes() == first
    assert b"test/" not in first
    assert b"patient-" not in first


def test_rows_that_take_no_rank_are_compared_for_ones_own_site_and_never_ranked_or_published(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"a": 1.0, "b": 0.5}, params={"weights": "random"})
    assert compare.main(["--results", str(store.root)], KNOWN, reviewed(store)) == 0
    out = capsys.readouterr().out
    assert "a: unranked, random weights" in out
    assert "a is better" in out
    assert not comparison_path(store.root, "rsna").exists()
    assert read_comparisons(store.root) == {}  # what `publish` takes along, and what gives ranks
    local = read_local(store.root)["rsna"]
    assert [(row.key, row.unranked) for row in local.rows] == [
        ("a", "random weights"),
        ("b", "random weights"),
    ]
    assert local.is_current(store.records())
    assert not local.is_current(store.records()[1:])
    # Under the name of a comparison that ranks it is none.
    path = comparison_path(store.root, "rsna")
    path.write_bytes(local_bytes(local))
    with pytest.raises(StoreUnusable, match="not a comparison"):
        read_comparisons(store.root)


def test_ranks_over_rows_that_take_none_are_only_printed(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"a": 1.0, "b": 0.5}, params={"weights": "random"})
    assert compare.main(["--results", str(store.root), "--unranked"], KNOWN) == 0
    assert "1. a" in capsys.readouterr().out
    assert read_comparisons(store.root) == {}
    assert read_local(store.root) == {}


def test_one_row_alone_is_compared_with_nothing(fill: Fill) -> None:
    store = fill({"a": 1.0}, params={"weights": "random"})
    with pytest.raises(DataMissing, match="no two rows"):
        compare.main(["--results", str(store.root)], KNOWN, reviewed(store))


def scores_of(entry: str, seed: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """The scores that `fill` draws, and the labels."""
    labels = np.arange(IMAGES) % 2 == 1
    rng = np.random.default_rng([seed, len(entry)])
    return np.array([rng.normal(strength * label) for label in labels]), labels


def auroc_by_counting(scores: np.ndarray, labels: np.ndarray) -> float:
    pairs = scores[labels][:, None] - scores[~labels][None]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def test_a_stored_difference_is_the_paired_jackknife_done_by_hand(fill: Fill) -> None:
    strengths = {"one": 1.0, "three": 0.7}
    store = fill(strengths)
    compare.main(["--results", str(store.root)], KNOWN, reviewed(store))
    columns = read_comparisons(store.root)["rsna"].columns
    (found,) = next(column for column in columns if column.metric == "image_auroc").differences

    patients = np.arange(IMAGES) % PATIENTS
    values, left_out = {}, {}
    for entry, strength in strengths.items():
        drawn = [scores_of(entry, seed, strength) for seed in (0, 1)]
        values[entry] = [auroc_by_counting(*each) for each in drawn]
        left_out[entry] = [
            np.mean([auroc_by_counting(s[patients != j], y[patients != j]) for s, y in drawn])
            for j in range(PATIENTS)
        ]
    difference = np.mean(values["one"]) - np.mean(values["three"])
    moves = difference - (np.array(left_out["one"]) - np.array(left_out["three"]))
    # Tukey's variance with as many degrees of freedom as patients bear it, and the spread over seeds.
    rests_on = (moves**2).sum() ** 2 / (moves**4).sum()
    parts = [
        ((PATIENTS - 1) / PATIENTS * (moves**2).sum(), RANKED.difference * rests_on),
        *((np.var(each, ddof=1) / 2, 1) for each in values.values()),
    ]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(total)
    assert (found.one, found.other) == ("one", "three")
    assert found.difference == pytest.approx(difference, abs=1e-6)
    assert (found.low, found.high) == pytest.approx(
        (difference - reach, difference + reach), abs=2e-6
    )
    assert found.p_holm == pytest.approx(
        2 * stats.t.sf(abs(difference) / np.sqrt(total), freedom), abs=2e-6
    )


def test_runs_on_two_versions_of_a_pack_are_not_compared(fill: Fill) -> None:
    fill({"a": 1.0}, pack__version="rsna-000000000001")
    store = fill({"b": 0.5}, pack__version="rsna-000000000002")
    with pytest.raises(StoreUnusable, match="different packs"):
        compare.main(["--results", str(store.root)], KNOWN, reviewed(store))


def test_changed_evidence_is_found(fill: Fill) -> None:
    store = fill({"a": 1.0, "b": 0.5})
    path = store.evidence_path(RunName("rsna", "a", 0))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match="evidence was changed"):
        compare.main(["--results", str(store.root)], KNOWN, reviewed(store))


def two(store: Store, *options: str) -> int:
    return compare.main(
        ["strong", "weak", "--benchmark", "rsna", "--results", str(store.root), *options],
        KNOWN,
        all_reviewed(store.records()),
    )


def test_two_entries_are_compared_ranked_or_not_and_nothing_is_written(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"strong": 2.0, "weak": 0.5, "third": 0.5}, params={"weights": "random"})
    assert two(store) == 0
    told = capsys.readouterr().out
    assert "strong exceeds weak in image AUROC" in told
    assert (
        "[unranked: strong takes no rank (random weights); weak takes no rank (random weights)]"
        in told
    )
    assert "pixel_auroc: one of them does not have it" in told
    assert "third" not in told
    assert not comparison_path(store.root, "rsna").exists()
    assert two(store, "--latex") == 0
    check_latex(capsys.readouterr().out)


def test_a_p_value_is_close_to_a_count_over_joint_resamples(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"strong": 0.62, "weak": 0.5}, seeds=(0,))
    assert two(store, "--csv", "--metric", "all") == 0
    frame = pd.read_csv(io.StringIO(capsys.readouterr().out), keep_default_na=False)
    assert {"image_auroc", "image_ap"} <= set(frame["metric"])
    tables = {}
    for name in ("strong", "weak"):
        run = RunName("rsna", name, 0)
        evidence = Evidence.load(evidence_of(store.record_path(run), store.find(run)))
        tables[name] = {row.id: row for row in resample(evidence)}
    for line in frame.itertuples():
        one, other = (tables[name][line.metric] for name in ("strong", "weak"))
        draws = pd.Series(one.rows - other.rows).dropna()
        beyond = min((draws <= 0).sum(), (draws >= 0).sum())
        counted = min(1, 2 * (beyond + 1) / (len(draws) + 1))
        assert line.p == pytest.approx(counted, abs=0.1)  # two methods
        assert line.difference == pytest.approx(one.spread.value - other.spread.value)
        assert (line.low > 0 or line.high < 0) == (line.p <= 0.05)
        assert line.low <= line.difference <= line.high
        assert line.p <= line.p_holm <= line.p * len(frame)
    assert two(store, "--json") == 0
    (metric,) = json.loads(capsys.readouterr().out)["metrics"]
    assert metric["p_holm"] == metric["p"]  # one metric alone is shown, and corrected for


def test_what_cannot_be_compared_is_said_with_the_way_on(fill: Fill) -> None:
    store = fill({"strong": 2.0, "weak": 0.5})
    place = ["--results", str(store.root)]
    with pytest.raises(UsageError, match="stronk has no run on rsna") as caught:
        compare.main(
            ["stronk", "weak", "--benchmark", "rsna", *place], KNOWN, all_reviewed(store.records())
        )
    assert "did you mean strong?" in caught.value.fix
    for options in (
        ["strong", "--benchmark", "rsna"],
        ["strong", "weak"],
        ["a", "b", "c"],
        ["--csv"],
    ):
        with pytest.raises(UsageError, match="two entries"):
            compare.main([*options, *place], KNOWN, all_reviewed(store.records()))
    with pytest.raises(UsageError, match="named twice"):
        compare.main(
            ["weak", "submissions/weak.toml", "--benchmark", "rsna", *place],
            KNOWN,
            all_reviewed(store.records()),
        )
    fill({"weak": 0.5}, seeds=(5,), status=Status.CRASHED)
    with pytest.raises(UsageError, match="seed 5 ended with crashed"):
        two(store)


def test_the_whole_board_is_printed_as_json_too(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"strong": 2.0, "weak": 0.5})
    assert (
        compare.main(["--results", str(store.root), "--json"], KNOWN, all_reviewed(store.records()))
        == 0
    )
    (told,) = json.loads(capsys.readouterr().out)
    assert told["benchmark"] == "rsna"
    assert told["columns"][0]["standings"][0]["entry"] == "strong"


def test_exact_differences_of_a_hidden_pack_are_written_to_no_table(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill({"strong": 2.0, "weak": 0.5}, visibility="hidden", track="sealed")
    for option in ("--csv", "--latex"):
        with pytest.raises(UsageError, match="hidden pack"):
            two(store, option)
    assert two(store) == 0
    told = capsys.readouterr().out
    assert "stay on this machine" in told
    assert "points" not in told.splitlines()[-1]
