"""What a baseline costs: measured at its joints, counted, kept in a table, estimated from it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from baselines.kit import kept_features, training
from baselines.kit.replay import Replayed
from harness.campaigns import throughput
from harness.campaigns.throughput import (
    Batches,
    CostRow,
    Device,
    Machine,
    OperationCounts,
    RunSize,
    StepWork,
    Table,
)
from harness.entries.campaign_grid import read_campaign
from harness.entries.opening import open_folder
from tests.baselines.conftest import BASELINES, module_of, open_baseline
from tests.benchmarks.baseline_costs import host, page, published, roundings, savings, table
from tests.benchmarks.baseline_costs.bounded import Listener, watched
from tests.benchmarks.baseline_costs.clocks import Clock, Effort
from tests.benchmarks.baseline_costs.counting import Counting, as_on_a_gpu
from tests.benchmarks.baseline_costs.counts import Tally
from tests.benchmarks.baseline_costs.generated import forms, training_folder
from tests.benchmarks.baseline_costs.settings import costly, full_size

SCRIPT = Path(__file__).with_name("bench_baselines.py")
PAPERS = sorted(Path(entry).name for entry in read_campaign("table2").entries)


# --- the command ---------------------------------------------------------------------------


def call(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, str(SCRIPT), "--threads=1", "--seconds=0.2", f"--data={place / 'data'}",
            f"--report={place / 'report.json'}", *arguments,
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("costs")


@pytest.fixture(scope="module")
def report(place: Path) -> dict[str, Any]:
    """DeepSVDD, with batches of 20 instead of 200."""
    done = call(
        place, "--only", "deepsvdd", "--parts", "counts", "ours",
        "--set", "batch_size=20", "pretraining_batch_size=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nothing is left to measure" in done.stderr
    return json.loads((place / "report.json").read_text())


def test_a_training_is_measured_beside_its_bare_step(report: dict[str, Any]) -> None:
    (device,) = report["devices"].values()
    ours = device["entries"]["deepsvdd"]["ours"]
    phases = ours["training"]["phases"]
    assert len(phases) == 2
    for times in phases:
        assert times["phase"]["epochs"] == 300
        assert times["loop_images"] == times["bare_images"] == 20 * times["rounds"]
        assert len(times["ratios"]) == times["rounds"] >= 2
        assert min(times["loop_seconds"], times["bare_seconds"]) > 0
    assert [len(ours["training"]["spans"][name]) for name in ("loading", "state")] == [1, 2]
    assert ours["training"]["fit_seconds"] > sum(t["loop_seconds"] for t in phases)
    assert ours["memory"]["peak_ram_mib"] > 100
    assert set(ours["prediction"]) == set(device["loading"]) == set(forms())
    for answers in ours["prediction"].values():
        assert answers["calls"] >= 2
        assert answers["median_seconds"] <= answers["p90_seconds"]


def test_what_is_in_the_report_is_not_measured_again(report: dict[str, Any], place: Path) -> None:
    before = (place / "report.json").read_bytes()
    done = call(
        place, "--only", "deepsvdd", "--parts", "counts", "ours",
        "--set", "batch_size=20", "pretraining_batch_size=20",
    )  # fmt: skip
    assert done.returncode == 0
    assert "…" not in done.stderr
    assert (place / "report.json").read_bytes() == before


def test_other_settings_never_reach_the_table(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = throughput.shipped()
    assert table.merge(before, report).measured == before.measured
    assert "other settings: left out" in capsys.readouterr().err


def test_a_row_of_the_table_has_what_was_measured(report: dict[str, Any]) -> None:
    (device,) = report["devices"].values()
    row = table.row_of(device["entries"]["deepsvdd"])
    assert len(row.phase_seconds) == len(row.bare_seconds) == len(row.ratios) == 2
    assert set(row.prediction_seconds) == set(forms())
    empty = Table(presumed=throughput.shipped().presumed, counts={}, measured={})
    as_measured = {"counts": {}, "devices": {"cpu": {**device, "changes": {}}}}
    assert table.merge(empty, as_measured).measured["cpu"].entries == {"deepsvdd": row}


def test_a_method_that_does_not_train_and_was_never_counted_is_measured(place: Path) -> None:
    done = call(place, "--only", "trivial-mean-grey", "--parts", "ours", "--set", "image_size=64")
    assert done.returncode == 0, done.stderr
    (device,) = json.loads((place / "report.json").read_text())["devices"].values()
    row = table.row_of(device["entries"]["trivial-mean-grey"])
    assert row.phase_seconds == ()
    assert set(row.prediction_seconds) == set(forms())


def test_an_unknown_baseline_is_refused_with_all_names(place: Path) -> None:
    done = call(place, "--only", "stfmp")
    assert done.returncode == 1
    assert "error: no baseline 'stfmp'" in done.stderr
    assert "stfpm" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_missing_gpu_is_said_before_anything_is_measured(place: Path) -> None:
    done = call(place, "--device", "cuda")
    assert done.returncode == 5
    assert "error: PyTorch sees 0 GPUs, and not cuda:0" in done.stderr
    assert "fix: --device cpu" in done.stderr


@pytest.mark.slow
def test_the_memory_that_the_host_sees_comes_from_a_real_run(repository: Path) -> None:
    params = full_size(open_folder(BASELINES / "deepsvdd"), "brain")
    found = host.measure("deepsvdd", "cpu", params, repository)
    assert found["status"] == "ok"
    assert found["peak_ram_mib"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["padim", "patchcore", "stfpm"])
def test_anomalibs_engine_is_measured_at_the_same_settings(place: Path, entry: str) -> None:
    done = call(
        place, "--only", entry, "--parts", "anomalib", "--set", "image_size=64", "batch_size=4"
    )
    assert done.returncode == 0, done.stderr
    (device,) = json.loads((place / "report.json").read_text())["devices"].values()
    theirs = device["entries"][entry]["anomalib"]
    assert theirs["batch_size"] == 4
    assert theirs["precision"] == "float32"
    assert theirs["steps"] >= 1
    assert 0 < theirs["seconds_per_image"] < theirs["fit_seconds"]


# --- a training cut short ------------------------------------------------------------------


def test_each_phase_ends_after_its_rounds_and_the_kit_is_left_as_it_was(
    place: Path, tmp_path: Path
) -> None:
    baseline = open_baseline(BASELINES / "f-anogan")
    params = {**baseline.params(image_size=32), "gan_epochs": 100, "epochs": 100}
    clock = Clock(torch.device("cpu"), Effort(1, 1, 0.0, least_rounds=2))
    folder = training_folder(place / "data", forms()["brain"], 10)
    module = module_of(baseline)
    with watched(module, clock) as joints:
        model = baseline.model(device="cpu", seed=0, params=params, weights=None)
        model.fit(folder, Listener(joints, tmp_path))
    assert module.Training is training.Training
    assert [times.rounds for times in clock.phases] == [2, 2]
    assert [times.phase.is_judged for times in clock.phases] == [False, True]
    assert {path.name for path in tmp_path.glob("phase-*")} == {"phase-0.pt", "phase-1.pt"}


# --- counting ------------------------------------------------------------------------------


def test_products_are_counted_by_their_type_and_all_else_in_bytes() -> None:
    layer, rows = nn.Linear(8, 4, bias=False), torch.ones(2, 8)
    with torch.no_grad(), Counting() as counting:
        made = layer(rows).view(8)
        made.add_(1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), Counting() as mixed:
        layer(rows)
    product = 2 * 2 * 8 * 4
    assert counting.work["float32_flops"] == mixed.work["bfloat16_flops"] == product
    assert counting.work["bfloat16_flops"] == mixed.work["float32_flops"] == 0
    assert counting.work["launches"] == 2
    assert counting.work["bytes"] == 2 * 4 * 8  # read and written


def test_what_is_replayed_is_one_launch_and_its_kernels() -> None:
    numbers = torch.ones(4)
    step = Replayed(lambda: numbers.add_(1).mul_(2), torch.device("cpu"))
    with as_on_a_gpu(ModuleType("method")), Counting() as counting:
        numbers.neg_()
        step()
        step()
    assert counting.work["launches"] == 1 + 2
    assert counting.work["replayed"] == 2 * 2
    assert Counting.replay is None
    with Counting() as outside:
        step()
    assert (outside.work["launches"], outside.work["replayed"]) == (2, 0)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda a, _b: a.add_(1), 2 * 400),  # read and left
        (lambda a, b: torch.add(a, 1, out=b), 2 * 400),  # the place is not read
        (lambda a, b: torch._foreach_add_([a, b], 1), 4 * 400),  # gives nothing, leaves both
        (lambda a, _b: a.index_select(0, torch.tensor([7])), 2 * 4 + 8),  # one number and its place
    ],
)
def test_bytes_are_those_read_and_written(
    operation: Callable[[torch.Tensor, torch.Tensor], object], expected: int
) -> None:
    a, b = torch.zeros(100), torch.zeros(100)
    operation(a, b)
    with Counting() as counting:
        operation(a, b)
    assert counting.work["bytes"] == expected
    assert counting.work["launches"] == 1


def test_dropout_and_attention_are_one_kernel_each_as_on_a_gpu() -> None:
    tokens = torch.randn(2, 3, 4, 8)
    with as_on_a_gpu(ModuleType("method")), torch.no_grad(), Counting() as counting:
        functional.dropout(tokens, 0.5, training=True)
        functional.scaled_dot_product_attention(tokens, tokens, tokens, None, 0.1, False)
    assert counting.work["launches"] == 2
    assert counting.work["float32_flops"] == 2 * 2 * (2 * 3) * 4 * 4 * 8  # two products


def test_a_product_that_ends_in_a_relu_is_one_kernel_and_no_bytes() -> None:
    bias, vectors, weights = torch.zeros(5), torch.randn(3, 4), torch.randn(4, 5)
    with Counting() as counting:
        torch._addmm_activation(bias, vectors, weights)
    assert counting.work["float32_flops"] == 2 * 3 * 4 * 5
    assert (counting.work["launches"], counting.work["bytes"]) == (1, 0)


def test_networks_are_counted_in_the_layout_that_a_gpu_has_them_in() -> None:
    module = ModuleType("method")
    vars(module)["placed"] = lambda network, _device: network
    with as_on_a_gpu(module):
        placed = module.placed(nn.Conv2d(3, 4, 3), torch.device("cpu"))
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)


def test_fused_adam_moves_28_bytes_a_parameter() -> None:
    weight = torch.zeros(100, requires_grad=True)
    optimiser = torch.optim.Adam([weight], fused=True)
    weight.grad = torch.ones(100)
    optimiser.step()
    with Counting() as counting:
        optimiser.step()
    assert counting.work["bytes"] == pytest.approx(28 * 100, abs=16)  # and the count of steps


def test_a_step_counts_three_times_the_forward_pass_of_what_learns(
    place: Path, tmp_path: Path
) -> None:
    baseline = open_baseline(BASELINES / "stfpm")
    folder = training_folder(place / "data", forms()["brain"], 4)
    module, tally = module_of(baseline), Tally(1)
    params = {**baseline.params(image_size=64, batch_size=2, layers=["layer1"]), "epochs": 9}
    with as_on_a_gpu(module), watched(module, tally) as joints:
        model = baseline.model(device="cpu", seed=0, params=params, weights=None)
        model.fit(folder, Listener(joints, tmp_path))
        with torch.inference_mode(), Counting() as forward:
            model.teacher(torch.zeros(2, 3, 64, 64))
    ((_, step),) = tally.steps_of
    # The teacher once; the student there and back, but not to the input.
    first = 2 * 2 * 64 * 3 * 7 * 7 * 32 * 32
    assert step.bfloat16_flops == 4 * forward.work["float32_flops"] - first
    assert step.float32_flops == 0


# --- the table -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "size", "epochs", "passes", "every"),
    [(7500, 32, 100, 1, 10), (1542, 8, 40, 4, 7), (64, 64, 3, 1, 10), (65, 64, 1, 2, 0)],
)
def test_a_phase_is_as_long_as_the_kits_schedule(
    images: int, size: int, epochs: int, passes: int, every: int
) -> None:
    schedule = training.Schedule(epochs, size, every)
    kits = training.Schedule(epochs, size, every, passes * schedule.batches_per_pass(images))
    params = {
        "epochs": epochs, "batch_size": size, "passes": passes, "checkpoint_every_epochs": every,
    }  # fmt: skip
    length = throughput.Phase(passes="passes").length(params, images)
    assert length.steps == kits.steps(images)
    assert length.checkpoints == sum(kits.is_checkpoint(n + 1) for n in range(epochs))


@pytest.mark.parametrize("entry", PAPERS)
def test_a_training_image_takes_up_to_four_predictions(entry: str) -> None:
    """There and back is three times a forward pass; frozen networks and selections take less."""
    counts = throughput.shipped().counts[entry]
    answer = counts.prediction.bfloat16_flops + counts.prediction.float32_flops
    for phase in counts.phases:
        image = phase.step.per_image
        most = {"cutpaste": 3, "ganomaly": 2, "deepsvdd": 2}.get(entry, 1)  # more images, networks
        assert image.bfloat16_flops + image.float32_flops < 4 * most * answer


@pytest.mark.parametrize("entry", PAPERS)
def test_the_shipped_table_knows_every_method_at_its_present_settings(entry: str) -> None:
    opened = open_folder(BASELINES / entry)
    assert throughput.shipped().counts[entry].settings == costly(full_size(opened, "brain"))


def test_the_shipped_page_is_what_the_table_gives(repository: Path) -> None:
    written = (repository / page.PAGE).read_text(encoding="utf-8")
    assert written == page.text(repository, throughput.shipped())


MACHINE = Machine(name="A CPU", threads=1, date="2026-01-01", harness="0", python="3", torch="2")
ROW = CostRow(
    batch_size=4,
    phase_seconds=(0.1,),
    pass_seconds=0.01,
    judging_seconds=0.001,
    state_seconds=2.0,
    start_up_seconds=5.0,
    prediction_seconds={"brain": 0.5, "liver": 0.7},
)
STEP = Batches(per_batch=StepWork(launches=100), per_image=StepWork(bfloat16_flops=1e9, bytes=1e6))
SMALL = Table(
    presumed=throughput.shipped().presumed,
    counts={
        "method": OperationCounts(
            settings={"image_size": 64},
            phases=(throughput.Phase(step=STEP),),
            prediction=StepWork(float32_flops=1e9, launches=10),
        )
    },
    measured={
        "cpu": Device(machine=MACHINE, loading_seconds={"brain": 0.002}, entries={"method": ROW})
    },
)
PARAMS = {"image_size": 64, "batch_size": 4, "epochs": 20, "checkpoint_every_epochs": 10}


def asked(train: int = 100, benchmark: str = "brain", **changes: Any) -> RunSize:
    return RunSize("method", {**PARAMS, **changes}, benchmark, train, 10, 30)


def test_a_measured_row_is_scaled_to_the_run() -> None:
    parts, basis = throughput.estimate(SMALL, asked(), "cpu")
    assert basis == "scaled from the shipped table, measured on A CPU"
    assert parts.start_up == 10
    steps, once, checkpoints = 20 * 100 * 0.1, 100 * (0.002 + 0.01), 2 * (2.0 + 100 * 0.001)
    assert parts.training == pytest.approx(steps + once + checkpoints)
    assert parts.judging == pytest.approx(2 * 10 * 0.5)
    assert parts.prediction == pytest.approx(40 * 0.5)
    assert parts.total == pytest.approx(10 + parts.training + 10 + 20)


def test_epochs_count_and_a_benchmark_that_was_not_measured_takes_the_longest() -> None:
    longer, _ = throughput.estimate(SMALL, asked(epochs=40), "cpu")
    shorter, _ = throughput.estimate(SMALL, asked(epochs=20), "cpu")
    assert longer.training - shorter.training == pytest.approx(20 * 100 * 0.1 + 2 * 2.1)
    other, _ = throughput.estimate(SMALL, asked(benchmark="my-own"), "cpu")
    assert other.prediction == pytest.approx(40 * 0.7)


def test_other_work_unknown_entries_and_unknown_gpus_have_no_estimate() -> None:
    assert throughput.estimate(SMALL, asked(image_size=128), "cpu") is None
    assert throughput.estimate(SMALL, asked(epochs="many"), "cpu") is None
    assert throughput.estimate(SMALL, asked(batch_size=0), "NVIDIA H200") is None
    assert throughput.estimate(SMALL, asked(), "Some Accelerator 3000") is None
    assert throughput.estimate(Table(presumed=SMALL.presumed, counts={}, measured={}), asked(), "cpu") is None  # fmt: skip


def test_a_gpu_that_nobody_measured_is_estimated_from_counts_and_says_so() -> None:
    parts, basis = throughput.estimate(SMALL, asked(), "NVIDIA H200")
    assert basis == "estimated from FLOPs, not measured"
    presumed, peak = SMALL.presumed, SMALL.presumed.gpus["H200"]
    launches = 100 * presumed.launch_seconds
    assert presumed.seconds(STEP.of(4), peak) == pytest.approx(launches)  # so small a step waits
    assert parts.training == pytest.approx(20 * 25 * launches + 100 * 0.002)
    busy = presumed.seconds(STEP.of(4000), peak)
    products = 4000e9 / (presumed.bfloat16_share * peak.bfloat16_tflops * 1e12)
    assert busy == pytest.approx(
        products + 4e9 / (presumed.memory_share * peak.gigabytes_per_second * 1e9)
    )


def with_counts(**changes: Any) -> Table:
    """`SMALL`, its method counted otherwise."""
    counts = SMALL.counts["method"].model_copy(update=changes)
    return SMALL.model_copy(update={"counts": {"method": counts}})


def test_what_the_cpu_prepares_counts_where_it_takes_longer_than_the_gpu() -> None:
    presumed, peak = SMALL.presumed, SMALL.presumed.gpus["H200"]
    larger = asked(batch_size=1000, train=1000)
    gpu, launching = presumed.seconds(STEP.of(1000), peak), 100 * presumed.launch_seconds
    for painting, step in ((0.5 * gpu, gpu), (2 * gpu, 2 * gpu + launching)):
        table = with_counts(host_seconds_per_image=painting / 1000)
        parts, _ = throughput.estimate(table, larger, "NVIDIA H200")
        assert parts.training == pytest.approx(20 * step + 1000 * 0.002)


def test_features_that_do_not_fit_are_computed_in_every_step() -> None:
    presumed, peak = SMALL.presumed, SMALL.presumed.gpus["H200"]
    first = Batches(per_image=StepWork(bfloat16_flops=1e12))
    room = presumed.kept_share * peak.gigabytes * 1e9 / 100  # for each of 100 images
    step, once = presumed.seconds(STEP.of(4), peak), presumed.seconds(first.of(4), peak)
    both = presumed.seconds(STEP.of(4).plus(first.of(4)), peak)
    for size, seconds in ((0.9 * room, 25 * once + 500 * step), (1.1 * room, 500 * both)):
        table = with_counts(first_pass=first, kept_bytes_per_image=size)
        parts, _ = throughput.estimate(table, asked(), "NVIDIA H200")
        assert parts.training == pytest.approx(seconds + 100 * 0.002)


def test_the_estimate_keeps_what_the_kit_keeps() -> None:
    assert throughput.shipped().presumed.kept_share == kept_features.SHARE


def test_a_kernel_in_a_graph_waits_less_than_one_by_itself() -> None:
    presumed, peak = SMALL.presumed, SMALL.presumed.gpus["H200"]
    work = StepWork(launches=3, replayed=1000)
    expected = 3 * presumed.launch_seconds + 1000 * presumed.replayed_seconds
    assert presumed.seconds(work, peak) == pytest.approx(expected)
    twice = work.plus(work)
    assert presumed.seconds(twice, peak) == pytest.approx(2 * expected)


def test_what_was_saved_is_told_beside_what_it_was() -> None:
    """Another table, another row: nothing of it is kept but the counts of before."""
    commit, old = savings.before()
    assert len(commit) >= 7
    now = throughput.shipped()
    sizes = dict.fromkeys(old, 2)
    same = now.model_copy(update={"counts": {**now.counts, **old}})
    for row in savings.rows(same, lambda _: dict.fromkeys(old, 1.0), sizes):
        assert all(len(set(cell.split(" → "))) == 1 for cell in row[1:])
    told = {
        row[0]: row
        for row in savings.rows(
            now, lambda table: {name: table.counts[name].prediction.bytes for name in old}, sizes
        )
    }
    before, after = told["`cflow`"][1].split(" → ")
    assert before == f"{old['cflow'].phases[0].step.of(2).launches:,.0f}"
    assert after == f"{now.counts['cflow'].phases[0].step.of(2).launches:,.0f}"


def test_patchcores_selection_grows_with_the_square_of_the_images() -> None:
    selection = throughput.shipped().counts["patchcore"].selection
    assert selection is not None
    assert selection.patches_per_image == 28 * 28
    assert selection.fit(2000).bytes == pytest.approx(4 * selection.fit(1000).bytes)
    assert selection.search(2000).float32_flops == pytest.approx(
        2 * selection.search(1000).float32_flops
    )


def test_many_machines_are_done_when_the_last_one_is() -> None:
    assert page.makespan([3, 3, 2, 2, 2], 1) == 12
    assert page.makespan([3, 3, 2, 2, 2], 2) == 7
    assert page.makespan([10, 1, 1], 8) == 10


# --- what others measured, and what rounding does ---------------------------------------------


def test_a_published_rate_is_told_as_a_multiple_of_the_estimate() -> None:
    presumed = throughput.shipped().presumed
    peak = presumed.gpus["H100"]
    second = presumed.bfloat16_share * peak.bfloat16_tflops * 1e12  # products of one second
    row = {
        "images_per_second": 30.0,
        "batch_size": 4,
        "gpu": "H100",
        "step": {"per_batch": {}, "per_image": {"bfloat16_flops": second / 10}},
    }
    assert published.estimated(row, presumed) == pytest.approx(10)
    assert published.ratio(row, presumed) == pytest.approx(3)


def test_every_published_rate_was_counted_and_names_its_source() -> None:
    for row in published.read():
        assert row["source"]
        per_image = Batches.model_validate(row["step"]).per_image
        assert per_image.bfloat16_flops > 1e10
        assert per_image.bytes > 1e8


def test_a_network_is_counted_without_its_arithmetic() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))

    step = published.count(network, (3, 8, 8))
    forward = 2 * (3 * 9 * 8 * 36 + 8 * 36 * 5)
    first_layer = 2 * 3 * 9 * 8 * 36  # no gradient reaches the images
    assert step.per_image.bfloat16_flops == 3 * forward - first_layer
    assert step.per_batch.bfloat16_flops == 0


def test_what_rounding_adds_stands_beside_what_another_seed_adds() -> None:
    found = {
        "cfa/float32/0": {"image_auroc": 0.5, "pixel_auroc": 0.8},
        "cfa/float32/1": {"image_auroc": 0.6, "pixel_auroc": 0.9},
        "cfa/mixed/0": {"image_auroc": 0.51, "pixel_auroc": 0.8},
        "cfa/mixed/1": {"image_auroc": 0.58, "pixel_auroc": 0.899},
        "cfa/agreement/precisions": {"correlations": [0.9992, 0.9988]},
        "cfa/agreement/seeds": {"correlations": [0.7]},
        "stfpm/float32/0": {"image_auroc": 0.5, "pixel_auroc": 0.8},  # not whole: left out
    }
    (row,) = roundings.rows(found)
    expected = (
        "`cfa`",
        "2",
        "55.0 ± 7.1",
        "-0.5 ± 2.1",
        "85.0 ± 7.1",
        "-0.0 ± 0.1",
        "0.999",
        "0.700",
    )
    assert tuple(row) == expected
