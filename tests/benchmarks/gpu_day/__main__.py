"""What only a GPU can show, within 14 minutes on one GPU; `make gpu-day`.

    python -m tests.benchmarks.gpu_day                        # repeat until nothing is left
    python -m tests.benchmarks.gpu_day --write                # docs/gpu-day.md, of what there is
    python -m tests.benchmarks.gpu_day --device cpu --only stfpm --set image_size=64 --set batch_size=4 \\
        --report build/trial.json                  # a trial without a GPU, never written to the page

The steps, their order and the time that each may take stand in `plan.py`. Images are generated,
weights are random, nothing is downloaded. Repeated, the command goes on with what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from harness.common.paths import BASELINES, REPOSITORY
from tests.benchmarks.gpu_day import plan

REPORT = REPOSITORY / "build" / "gpu-day.json"
DATA = REPOSITORY / "build" / "bench-images"
STOP_AFTER = 840.0
BENCHMARK = "brain"  # 240x240 in colour
TRAINING_IMAGES, TRIAL_IMAGES, TRIAL_BATCH = 256, 8, 2
COMPARED = 4  # images that the CPU answers too
CORESET_RATIO = 1e-3  # PatchCore's selection among all patches takes minutes: some hundred of them


def main() -> int:
    """0 all is done, 1 something is left, 2 wrong options, 5 no such GPU."""
    options = _options()
    if options.step:
        print(json.dumps(_step(options), allow_nan=False))
        return 0
    from tests.benchmarks.gpu_day import page
    from tests.benchmarks.gpu_day.day import Day, OtherMachine, all_steps, read

    if options.write:
        return page.write(REPOSITORY, read(options.report))
    if (machine := _machine(options.device, options.threads)) is None:
        return 5
    try:
        day = Day(options, machine)
    except OtherMachine as other:
        print(f"error: {other}\nfix: --report ANOTHER.json, or remove it", file=sys.stderr)
        return 2
    return 0 if day.run(all_steps(options)) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.benchmarks.gpu_day", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--device", default="cuda:0", metavar="cuda:INDEX|cpu")
    parser.add_argument("--only", nargs="+", choices=plan.methods(), default=[], metavar="NAME")
    parser.add_argument("--steps", nargs="+", choices=plan.KINDS, default=list(plan.KINDS))
    parser.add_argument("--stop-after", type=float, default=STOP_AFTER, metavar="SECONDS")
    parser.add_argument("--again", action="store_true", help="what is in the report, too")
    parser.add_argument(
        "--engine", default="process", help="what starts entries (default: process)"
    )
    parser.add_argument("--threads", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="trials")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--data", type=Path, default=DATA, help="generated images, and models")
    parser.add_argument("--write", action="store_true", help="write docs/gpu-day.md")
    parser.add_argument("--step", choices=plan.KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--entry", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.changes = {
        name: json.loads(v) for name, _, v in (t.partition("=") for t in options.set)
    }
    options.data = options.data.resolve()
    options.data.mkdir(parents=True, exist_ok=True)
    return options


def _machine(device: str, threads: int) -> dict[str, Any] | None:
    """What is measured on; None, and a word on standard error, where there is no such GPU.

    The driver is asked, not CUDA: a context of this process would lie in the memory that it watches.
    """
    from harness.common.errors import DeviceUnavailable
    from harness.engines.gpu import nvidia

    name = ""
    try:
        name = "" if device == "cpu" else nvidia.find(device).name
    except DeviceUnavailable as missing:
        print(f"error: {missing.what}\nfix: {missing.fix}", file=sys.stderr)
        return None
    import torch

    from tests.benchmarks.baseline_costs.machine import machine

    found = machine("cpu", threads)
    if device == "cpu":
        return found
    if torch.cuda.device_count():
        return found | {"name": name, "cuda": torch.version.cuda}
    print(f"error: NVML knows {device}, and PyTorch sees no GPU", file=sys.stderr)
    print(
        f"fix: a driver for CUDA {torch.version.cuda}, or another build of PyTorch", file=sys.stderr
    )
    return None


# --- in the process of one step ----------------------------------------------------------------


def _step(options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.gpu_day import driver

    if options.step == "energy":
        if options.device == "cpu":
            return {"skipped": "a CPU has no NVML"}
        return driver.energy(options.device)
    if options.step in ("driver", "memory"):
        from harness.engines import make_engine

        engine = make_engine(options.engine)
        engine.check()
        step = driver.driver if options.step == "driver" else driver.memory
        return step(options.device, engine)
    return _of_entry(options)


def _of_entry(options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.gpu_day import answers

    task, trains = _task(options)
    kept = options.data / "gpu-day-models" / options.entry
    if options.step == "anomalib":
        from tests.benchmarks.baseline_costs import theirs

        return theirs.measure(task)
    if options.step == "answers":
        kept.mkdir(parents=True, exist_ok=True)
        return answers.measure(task, kept)
    if trains and not any(kept.glob("*")):
        return {"skipped": f"there is no trained model: the step `answers {options.entry}` first"}
    from harness.engines import make_engine
    from tests.benchmarks.gpu_day import starts

    found = starts.measure(
        options.entry, options.device, dict(task.params), make_engine(options.engine),
        form=task.form, model=kept if trains else None, threads=options.threads,
    )  # fmt: skip
    shutil.rmtree(kept, ignore_errors=True)  # all of them take gigabytes
    return found


def _task(options: argparse.Namespace) -> tuple[Any, bool]:
    """What to run at full size (on a CPU with small batches), and whether it trains."""
    import torch

    from harness.entries.opening import open_folder
    from tests.benchmarks.baseline_costs.clocks import Effort
    from tests.benchmarks.baseline_costs.generated import forms
    from tests.benchmarks.baseline_costs.ours import Task
    from tests.benchmarks.baseline_costs.settings import batched, full_size

    entry, is_trial = open_folder(BASELINES / options.entry), options.device == "cpu"
    changes = {"coreset_ratio": CORESET_RATIO, **options.changes}
    params = full_size(entry, BENCHMARK, **changes)
    params = batched(params, TRIAL_BATCH) if is_trial else params
    rounds = int(params.get("critic_steps", 1))
    largest = max(params.get("batch_size", 1), params.get("pretraining_batch_size", 0))
    effort = Effort(2, 2 * rounds, 0.0 if is_trial else 3.0)
    task = Task(
        entry=options.entry,
        device=torch.device("cpu" if is_trial else "cuda:0"),
        params=params,
        form=forms()[BENCHMARK],
        images=max(TRIAL_IMAGES if is_trial else TRAINING_IMAGES, largest),
        data=options.data,
        effort=effort,
        answers=COMPARED,
        answer_seconds=0.0,
    )
    return task, entry.table.trains


if __name__ == "__main__":
    sys.exit(main())
