"""docs/cost.md: a pure function of the table that ships and of the benchmarks' counts.

A test holds the page equal to what this writes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.benchmarks.specs import BENCHMARKS
from harness.campaigns import throughput
from harness.campaigns.report import duration
from harness.campaigns.throughput import CostRow, OperationCounts, Parts, Presumed, RunSize, Table
from harness.entries.campaign_grid import read_campaign
from harness.entries.opening import open_folder
from tests.benchmarks.baseline_costs import published, roundings, savings
from tests.benchmarks.baseline_costs.generated import forms

PAGE = Path("docs") / "cost.md"
PRESUMED_GPU = "NVIDIA H200"  # for which the page has a column, measured or not
GPUS = (1, 2, 4, 8)
CHOICES = 200  # as in `ours.py`, which imports torch
LIMIT_SECONDS = 24 * 3600  # `train_seconds` of `harness.engines.base.Limits`

TRAINING_HEAD = (
    "method", "batch", "fit, images/s", "bare, images/s", "ratio", "of the whole",
    "anomalib, images/s",
    "selection, inversion", "RAM, MiB", "GPU (PyTorch / host), MiB",
)  # fmt: skip
WORK_HEAD = (
    "method", "GFLOP bfloat16", "GFLOP float32", "MB", "kernels in a step of 32", "and replayed",
    "GFLOP of a prediction", "its kernels",
)  # fmt: skip

NO_GPU = """**No GPU was at hand when this was written.** What stands here of GPUs is estimated from counted
operations and presumed rates, and may be wrong by a factor of two or more either way; what is
measured says on what."""

Grid = Mapping[str, Mapping[str, Parts]]
"""By entry and benchmark."""


def write(root: Path) -> None:
    """Write the page below the repository's root."""
    (root / PAGE).write_text(text(root, throughput.shipped()), encoding="utf-8")


def text(root: Path, table: Table) -> str:
    """The whole page."""
    gpus = [kind for kind in table.measured if kind != "cpu"]
    is_estimated = PRESUMED_GPU not in gpus
    parts = [_head(table, gpus)]
    for kind in ([PRESUMED_GPU] if is_estimated else []) + gpus:
        parts += [_whole_table(root, table, kind), _by_run(root, table, kind)]
    parts += [_measured(root, table, kind) for kind in gpus]
    if "cpu" in table.measured:
        parts += [_by_run(root, table, "cpu"), _measured(root, table, "cpu")]
    parts += [_counted(table), before_and_after(root, table), _rounded()]
    parts += [_held_against(root, table), _assumptions(table)]
    return "\n\n".join(parts) + "\n"


# --- what a run takes ----------------------------------------------------------------------


def grid(root: Path, table: Table, kind: str) -> tuple[Grid, str]:
    """Every run of the paper's table (one seed), and on what the numbers rest."""
    campaign = read_campaign("table2")
    found: dict[str, dict[str, Parts]] = {}
    bases: dict[str, None] = {}
    for folder in sorted(root / entry for entry in campaign.entries):
        for name in campaign.benchmarks:
            if estimate := throughput.estimate(table, _asked(root, folder.name, name), kind):
                found.setdefault(folder.name, {})[name] = estimate[0]
                bases[estimate[1]] = None
    return found, "; ".join(bases)


def hours_of(runs: Grid) -> dict[str, float]:
    """Hours on one machine of all runs with all seeds, by entry."""
    seeds = len(read_campaign("table2").seeds)
    return {name: sum(p.total for p in row.values()) * seeds / 3600 for name, row in runs.items()}


def _asked(root: Path, entry: str, benchmark: str) -> RunSize:
    """A run of the preset `bmad` on as many images as BMAD has."""
    params = open_folder(root / "baselines" / entry).settings(benchmark, preset="bmad").params
    return RunSize(entry, params, benchmark, *BENCHMARKS[benchmark].counts[0].counts.totals)


def makespan(seconds: Iterable[float], machines: int) -> float:
    """Seconds until all are done, the longest first, each on the machine that is free first."""
    free = [0.0] * machines
    for run in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + run)
    return max(free)


def _whole_table(root: Path, table: Table, kind: str) -> str:
    runs, basis = grid(root, table, kind)
    seeds = len(read_campaign("table2").seeds)
    hours = hours_of(runs)
    seconds = [parts.total for row in runs.values() for parts in row.values()] * seeds
    most = sorted(hours, key=lambda name: -hours[name])
    shares = ", ".join(f"`{name}` {hours[name]:,.1f}" for name in most)
    days = [
        [str(count), f"{sum(hours.values()):,.0f}", f"{makespan(seconds, count) / 86400:.1f}"]
        for count in GPUS
    ]
    return f"""## The whole table on {kind}

{len(seconds)} runs (`python -m harness.campaign run table2 --device cuda`), {basis}:

{_table(["GPUs", "GPU-hours", "days until all is done"], days)}

GPU-hours by method, most first: {shares}."""


def _by_run(root: Path, table: Table, kind: str) -> str:
    runs, basis = grid(root, table, kind)
    names = list(read_campaign("table2").benchmarks)
    rows = [
        [f"`{entry}`", *(_run(row[name]) if name in row else "?" for name in names)]
        for entry, row in runs.items()
    ]
    return f"""### One run on {"a CPU" if kind == "cpu" else kind}

Training, then prediction; {basis}. † longer than the default limit of a training, 24 h
(`--limit train_seconds=…`; `table2` gives three days).

{_table(["method", *names], rows)}"""


def _run(parts: Parts) -> str:
    training = parts.training + parts.judging
    mark = "†" if training > LIMIT_SECONDS else ""
    return f"{duration(training)}{mark}, {duration(parts.prediction)}"


# --- what was measured -----------------------------------------------------------------------


def _measured(root: Path, table: Table, kind: str) -> str:
    device, machine = table.measured[kind], table.measured[kind].machine
    sizes = [f"{name} {form.size[0]}x{form.size[1]}" for name, form in forms().items()]
    remark = f"; {machine.remark}" if machine.remark else ""
    training = [
        [
            *_training_row(name, row)[:5],
            _whole(root, table, kind, name),
            *_training_row(name, row)[5:],
        ]
        for name, row in device.entries.items()
    ]
    answers = [_answer_row(name, row) for name, row in device.entries.items()]
    return f"""### Measured on {machine.name}

{machine.date}, harness {machine.harness}, torch {machine.torch}, Python {machine.python}, CPU threads: {machine.threads}{remark}.

Images a second of a training, by phase: the baseline's own `fit`, the bare step on a batch that lies
on the device, and the median of their ratio over rounds side by side; then the same for a whole
training on brain, with the decoding of its images, passes over them before the steps and before
checkpoints, and states written. Of methods without steps: their one pass, and the features alone.

{_table(TRAINING_HEAD, training)}

Milliseconds for one image, median (90th percentile); start of the program and first call apart.

{_table(["method", "start, s", "first", *sizes], answers)}"""


def _training_row(name: str, row: CostRow) -> list[str]:
    ours, bare = row.phase_seconds, row.bare_seconds
    ratio = " / ".join(f"{value:.0%}" for value in row.ratios)
    if not ours and row.pass_seconds:
        ours, bare = (
            (row.pass_seconds,),
            (row.extraction_seconds,) if row.extraction_seconds else (),
        )
    return [
        f"`{name}`",
        str(row.batch_size),
        _rates(ours),
        _rates(bare),
        ratio or "–",
        _rates((row.anomalib.seconds_per_image,)) if row.anomalib else "–",
        _once(row),
        f"{row.peak_ram_mib:,.0f}" if row.peak_ram_mib else "–",
        _gpu_memory(row),
    ]


def _whole(root: Path, table: Table, kind: str, name: str) -> str:
    """Share of the bare steps in a whole training on brain's images, validation images apart."""
    row, counts = table.measured[kind].entries[name], table.counts.get(name)
    if counts is None or not counts.phases:
        return "–"
    asked = _asked(root, name, "brain")
    found = throughput.estimate(table, asked, kind)
    if found is None:
        return "–"
    bare = sum(
        throughput.images_seen(phase, asked) * seconds
        for phase, seconds in zip(counts.phases, row.bare_seconds, strict=True)
    )
    return f"{bare / found[0].training:.0%}"


def _rates(seconds: Sequence[float]) -> str:
    return " / ".join(f"{1 / value:.3g}" for value in seconds if value) or "–"


def _once(row: CostRow) -> str:
    """Selection and inversion."""
    found = row.fitting_seconds
    if not found:
        return "–"
    low, high = min(found.values()), max(found.values())
    return duration(low) if high < 1.1 * low else f"{duration(low)} to {duration(high)}"


def _gpu_memory(row: CostRow) -> str:
    if row.peak_torch_mib is None:
        return "–"
    host = f"{row.peak_gpu_mib:,.0f}" if row.peak_gpu_mib else "–"
    return f"{row.peak_torch_mib:,.0f} / {host}"


def _answer_row(name: str, row: CostRow) -> list[str]:
    cells = [
        f"{1000 * row.prediction_seconds[form]:.3g} ({1000 * row.prediction_p90_seconds[form]:.3g})"
        for form in forms()
    ]
    first = row.first_prediction_seconds
    return [
        f"`{name}`", f"{row.start_up_seconds:.1f}", f"{1000 * first:.3g}" if first else "–", *cells,
    ]  # fmt: skip


# --- what is counted, and presumed -------------------------------------------------------------


def _counted(table: Table) -> str:
    rows = [_work_row(name, counts) for name, counts in table.counts.items()]
    return f"""## What the methods do

At full size, by training image (of the one pass, where there are no steps) and phase; counted, the
same on every device. Products are those of matrices and convolutions; a multiplication and an addition
are two operations. Megabytes are read and written by all else. Kernels are launched one by one, or
replayed inside a CUDA graph, which is one launch. Training as a GPU does it: in bfloat16 where the
method's `precision` says so, attention, dropout and Adam in one kernel each.

{_table(WORK_HEAD, rows)}"""


def _work_row(name: str, counts: OperationCounts) -> list[str]:
    steps = [phase.step for phase in counts.phases] or [counts.first_pass]
    images, answer = [step.per_image for step in steps], counts.prediction
    products = (answer.bfloat16_flops + answer.float32_flops) / 1e9
    return [
        f"`{name}`",
        " / ".join(f"{work.bfloat16_flops / 1e9:.3g}" for work in images),
        " / ".join(f"{work.float32_flops / 1e9:.3g}" for work in images),
        " / ".join(f"{work.bytes / 1e6:.3g}" for work in images),
        " / ".join(f"{step.of(32).launches:,.0f}" for step in steps),
        " / ".join(f"{step.of(32).replayed:,.0f}" for step in steps),
        f"{products:.3g}{' and the search' if counts.selection else ''}",
        f"{answer.launches:,.0f}",
    ]


def before_and_after(root: Path, table: Table) -> str:
    """What changes to the methods' code saved."""
    sizes = {name: _asked(root, name, "brain").params["batch_size"] for name in savings.before()[1]}
    rows = savings.rows(
        table,
        lambda counted: hours_of(grid(root, counted, PRESUMED_GPU)[0]),
        {name: size for name, size in sizes.items() if isinstance(size, int)},
    )
    return f"""### Before and after

One training step, as the code of commit {savings.before()[0]} did it and as it is done now: same batch, same schedule, as
many optimiser steps. Hours by the same presumptions. (An older edition of this page said more of two methods: it
counted UTRAD's attention and dropout in the parts that a CPU runs them in, and DRAEM's painting on the CPU after
the GPU's step and not beside it.) `make bench-launches` counts anew.

{_table(savings.HEAD, rows)}"""


def _rounded() -> str:
    """What a GPU's bfloat16 changes in the answers."""
    found = roundings.read()
    methods = len(roundings.whole(found))
    return f"""### What bfloat16 changes

{methods} methods that train in bfloat16 on a GPU (`precision = "mixed"`), trained in float32 and, with torch's autocast
for a CPU in place of a GPU's, in bfloat16, from the same seeds: 61 training, 10 validation and 58 test
images (every fourth and every sixth of 243, 60 and 348 FLAIR slices, as in
[baselines/README.md](../baselines/README.md)), EfficientNet-Lite0 with its published weights at 128 pixels (`utrad` 64),
`draem` at 32 pixels and widths of 8. Percent and points, mean ± standard deviation over the seeds; rank
correlations of all maps' pixels. So few images and steps say nothing of a method: they say whether
rounding moves its answers further than another seed does. `draem` is undecided: at its size any rounding
moves its maps about as far as another seed does (its README, "Parity"). `cs-flow` is left out: on a
CPU, oneDNN leaves NaN in the bfloat16 gradient of its 5x5 convolutions over maps of one pixel. `make bench-precision PACK=DIR` measures anew.

{_table(roundings.HEAD, roundings.rows(found))}"""


def _held_against(root: Path, table: Table) -> str:
    """The estimate's own test: what others measured."""
    presumed = table.presumed
    hours = hours_of(grid(root, table, PRESUMED_GPU)[0])
    least, most = published.span(presumed, "H100")
    scaled = {name for name in hours if _is_of_products(table.counts[name])}
    fixed = sum(value for name, value in hours.items() if name not in scaled)
    moving = sum(hours[name] for name in scaled)
    return f"""## How far the estimate may be off

The same presumptions, for trainings that others measured and published, of which the same counter
counted a step: `timm`'s own table of trainings under PyTorch 1.12 on one RTX 3090
(`results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv` of huggingface/pytorch-image-models), and
MLPerf's logs of two hosts with four H100 each (mlcommons/training_results_v3.1,
`Dell/results/2xXE8640x4H100-SXM-80GB`, one eighth), whose code NVIDIA tuned by hand.

{_table(published.HEAD, list(published.rows(presumed)))}

Every one of them was faster than estimated. On an H100, which differs from an H200 in its memory alone, by {least:.1f}
to {most:.1f}: were our networks too, the methods that products in bfloat16 and memory bound ({moving:,.0f} hours)
would take {moving / most:,.0f} to {moving / least:,.0f}, and the table {fixed + moving / most:,.0f} to {fixed + moving / least:,.0f} hours in place of \
{fixed + moving:,.0f}. The presumptions stay as they are until a GPU was
measured: a plain PyTorch has none of those fused kernels, and nothing published is of these networks.

What bounds the rest: DRAEM's products, 15 TFLOP a step, which its networks' sizes fix. Seven tenths of its bytes
are BatchNorm and ReLU, each read and written apart; one kernel for both would save a third of all, but
torch has none that learns, and a compiled one (`torch.compile`, Triton) wants a C compiler in every
entry's image, which has none. UTRAD's residuals stay float32 between its products. CFLOW's fibre
batches follow one another: a step begins with the weights that the step before left."""


def _is_of_products(counts: OperationCounts) -> bool:
    """Whether most of a training's products are bfloat16 and its kernels are not replayed one by one."""
    steps = [phase.step.of(32) for phase in counts.phases]
    return any(work.bfloat16_flops > work.float32_flops and not work.replayed for work in steps)


def _head(table: Table, gpus: Sequence[str]) -> str:
    measured = f"Measured: {', '.join(device.machine.name for device in table.measured.values())}."
    told = measured if gpus else NO_GPU
    return f"""# What it costs

Two commands, on the machine with the GPU, bring this page up to date:

    make bench-baselines DEVICE=cuda:0    # 8 minutes a call; repeat until nothing is left
    make cost-page                        # the table that `campaign plan` reads, and this page

{told}

What the pipe adds is in [pipe.md](pipe.md).

The same table (`harness/campaigns/throughput.json`) is what `python -m harness.campaign plan` falls
back to where no record of an earlier run tells more."""


def _assumptions(table: Table) -> str:
    counts = ", ".join(f"{f.benchmark} {f.train}+{f.valid}+{f.test}" for f in forms().values())
    in_memory = ", ".join(
        f"{f.benchmark} {f.train * f.channels * 256**2 / 2**20:,.0f} MiB" for f in forms().values()
    )
    told = f"""## What the numbers rest on

- A run trains all its epochs: one that stops early (`patience`) takes less.
- It counts two starts of the program, decoding the training images, passes and steps, states
  written at checkpoints, the validation images at each judged checkpoint and once for the
  thresholds, and the test images. Not counted: the harness's own share (pipe, scoring, audit), the
  first build of an image, a retry.
- Numbers of images are BMAD's: {counts} (training, validation, test).
- Steps are measured on generated images of brain's size; a network's own input is the same for all
  benchmarks. Liver's smaller batches (CFA, CFLOW, GANomaly) are scaled by image.
- Weights are random and learning rates next to nothing, which cost what others do. CutPaste's steps
  are those with its backbone in training (all but the first 20 of 256).
- The training images lie in memory as 8-bit pixels of the network's size, beside what is measured
  (on a GPU in its own memory, where they take a quarter of what is free at most): at 256 pixels
  {in_memory}.
- On a CPU batches and the number of images are cut down to some seconds a step (RAM is that of the
  smaller batch), precision is float32, and PatchCore chooses
  from 50,000 patches. PatchCore's selection is timed over up to {CHOICES} choices at full length and
  extrapolated.
- The bare step is the method's own `step` function, augmentation included, on one batch that lies
  on the device.
- anomalib: its own engine, data module and losses; same network, image size, batch and precision;
  random weights, no validation. It has no f-AnoGAN, UTRAD, DeepSVDD, CutPaste, SimpleNet and MKD.
  PatchCore and PaDiM: its one pass, without what follows."""
    return f"{told}\n{_presumed(table.presumed)}"


def _presumed(presumed: Presumed) -> str:
    peaks = "; ".join(
        f"{name} {peak.bfloat16_tflops:g} / {peak.float32_tflops:g}, {peak.gigabytes_per_second:g}, {peak.gigabytes:g}"
        for name, peak in presumed.gpus.items()
    )
    return f"""- Estimated for a GPU: products at {presumed.bfloat16_share:.0%} of the data sheet's dense bfloat16 \
rate and {presumed.float32_share:.0%} of its
  float32 rate (the kit switches TensorFloat-32 off), everything else at {presumed.memory_share:.0%} of its memory's
  rate, one after the other, and never less than {1e6 * presumed.launch_seconds:.0f} µs a kernel that is launched by itself and
  {1e6 * presumed.replayed_seconds:.1f} µs one inside a CUDA graph (2 µs for a kernel on a few rows, which is presumed, and the 0.5 µs that a
  replay added to each on a V100 in Gray, "Getting Started with CUDA Graphs", NVIDIA 2019: 3.4 µs for one of
  2.9 µs, 3.8 µs launched one by one). Decoding, starts and DRAEM's textures as the CPU measured them; a step's textures and launches beside the step before it.
- CFA, CutPaste, f-AnoGAN, MKD, PaDiM and PatchCore were counted earlier than the others: of an
  operation in place their counts know only what it read.
- SimpleNet keeps its backbone's features where they take {presumed.kept_share:.0%} of the memory at most; else each
  step computes them.
- Data sheets, bfloat16 / float32 in TFLOP/s, memory in GB/s, and in GB: {peaks}."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
