"""Measures what every baseline costs at full size, and writes the tables that rest on it.

    python tests/benchmarks/bench_baselines.py --device cuda:0 --stop-after 540
    python tests/benchmarks/bench_baselines.py --write
    python tests/benchmarks/bench_baselines.py --device cpu --only stfpm padim

For each baseline, in processes of their own: its own `fit` beside its bare training step, both
in alternating rounds; its answers to one image of every benchmark's size; the same method in
anomalib's engine, where it has one; on a GPU a short real run, for the memory that the host sees.
Images are generated in the benchmarks' sizes and numbers, weights are random, nothing is
downloaded. Every part is kept in the report at once and not measured again, so that the command
may be cut short and repeated. `--write` brings the report into the table that
`harness.campaign plan` reads (harness/campaigns/throughput.json) and into docs/cost.md.

Traps. On a CPU a batch is cut down to what takes some seconds a step, and the training images to
a few batches; images a second hardly change by it. Memory-bank methods are measured in stages.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere

REPORT = ROOT / "build" / "bench-baselines.json"
DATA = ROOT / "build" / "bench-images"
BENCHMARK = "brain"  # whose images train; those of the table do: 7,500, in colour
PARTS = ("counts", "ours", "anomalib", "host")
LEFT_OUT = ("trivial-", "canary-", "echo")  # no method: nothing to measure
# Floating-point operations of a step on a CPU, at most: some seconds on one core.
CPU_STEP_FLOPS = 2e11
LOADED = 64  # images whose decoding is timed
CPU_BATCH = 64  # where nothing is counted
PART_SECONDS = 900


def main() -> int:
    """Measure what is asked for and not there yet; 1 where a part failed."""
    options = _options()
    if options.part:
        print(json.dumps(_part(options.part, json.loads(options.task)), allow_nan=False))
        return 0
    if options.write or options.write_page:
        from tests.benchmarks.baseline_costs import page, table

        if options.write:
            table.write(_read(options.report))
        page.write(ROOT)
        return 0
    return 0 if Bench(options).run() else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda[:INDEX]")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="baselines (default: all)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--benchmark", default=BENCHMARK, help=f"whose training images (default: {BENCHMARK})"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="CPU threads of an entry (default: 2)"
    )
    parser.add_argument("--seconds", type=float, default=8, help="of every clock, about")
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", help="start nothing after")
    parser.add_argument("--remark", default="", help="such as: other work ran on the same cores")
    parser.add_argument("--again", action="store_true", help="measure what is in the report, too")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--data", type=Path, default=DATA, help="where generated images are kept")
    parser.add_argument("--write", action="store_true", help="write the table and docs/cost.md")
    parser.add_argument("--write-page", action="store_true", help="write docs/cost.md alone")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=JSON",
        help="for trials; never written to the table",
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.device = "cuda:0" if options.device == "cuda" else options.device
    if options.device != "cpu" and not options.part:
        _check_gpu(options.device)
    return options


def _check_gpu(device: str) -> None:
    """Exit code 5 where PyTorch sees no such GPU."""
    import torch

    count = torch.cuda.device_count()
    if device not in [f"cuda:{number}" for number in range(count)]:
        sys.stderr.write(f"error: PyTorch sees {count} GPUs, and not {device}\n")
        sys.stderr.write("fix: --device cpu, or see what nvidia-smi lists\n")
        sys.exit(5)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"counts": {}, "devices": {}}
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


class Bench:
    """One call of the command: what is there, what is left, and the report between."""

    def __init__(self, options: argparse.Namespace) -> None:
        from tests.benchmarks.baseline_costs.generated import forms
        from tests.benchmarks.baseline_costs.machine import kind_of, machine

        if options.benchmark not in forms():
            sys.exit(f"error: no benchmark {options.benchmark!r}\nfix: one of {', '.join(forms())}")
        self._options = options
        self._began = time.monotonic()
        self._changes = dict(text.split("=", 1) for text in options.set)
        self._changes = {name: json.loads(value) for name, value in self._changes.items()}
        self._report = _read(options.report)
        kind = kind_of(options.device)
        own = self._report["devices"].setdefault(kind, {"entries": {}})
        own["machine"] = machine(options.device, options.threads)
        own["machine"]["remark"] = options.remark
        own["changes"] = self._changes
        self._device = own

    def run(self) -> bool:
        """Everything that is left; whether nothing failed."""
        is_whole = True
        if "loading" not in self._device and "ours" in self._options.parts:
            self._device["loading"] = self._measured("loading", {})
        for entry in self._entries():
            for part in self._options.parts:
                if self._is_there(entry, part) and not self._options.again:
                    continue
                if self._is_late():
                    print(
                        f"stopped before {entry} {part}: run the same command again",
                        file=sys.stderr,
                    )
                    return is_whole
                is_whole &= self._measure(entry, part)
        print(f"nothing is left to measure; the report: {self._options.report}", file=sys.stderr)
        return is_whole

    def _entries(self) -> list[str]:
        every = [path.parent.name for path in sorted((ROOT / "baselines").glob("*/entry.toml"))]
        if not self._options.only:
            return [name for name in every if not name.startswith(LEFT_OUT)]
        if unknown := set(self._options.only) - set(every):
            sys.exit(f"error: no baseline {sorted(unknown)[0]!r}\nfix: one of {', '.join(every)}")
        return list(self._options.only)

    def _key(self, part: str) -> str:
        """Under which a part is kept: the table is made of those on brain's images."""
        benchmark = self._options.benchmark
        return part if benchmark == BENCHMARK else f"{part} {benchmark}"

    def _is_late(self) -> bool:
        limit = self._options.stop_after
        return limit is not None and time.monotonic() - self._began > limit

    def _is_there(self, entry: str, part: str) -> bool:
        """Whether the report (of the counts, else the shipped table) has it, for the same code."""
        from harness.campaigns.throughput import shipped
        from tests.benchmarks.baseline_costs.theirs import MODELS

        if part == "counts":
            return entry in self._report["counts"] or (
                entry in shipped().counts and not self._changes
            )
        if (part == "anomalib" and entry not in MODELS) or (
            part == "host" and self._options.device == "cpu"
        ):
            return True
        found = self._device["entries"].get(entry, {})
        is_same = found.get("identity") == _identity(entry)
        key = self._key(part)
        return is_same and key in found and "failed" not in found[key]

    def _measure(self, entry: str, part: str) -> bool:
        print(f"{entry}: {part} …", file=sys.stderr, flush=True)
        found = self._measured(part, self._task(entry, part))
        if part == "counts":
            place = self._report["counts"]
            if "failed" not in found:
                place[entry] = found
        else:
            place = self._device["entries"].setdefault(entry, {})
            if place.get("identity") != _identity(entry):
                place.clear()
            place |= {"identity": _identity(entry), self._key(part): found}
        self._options.report.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._options.report.with_suffix(".fresh")
        fresh.write_text(json.dumps(self._report, indent=1, allow_nan=False), encoding="utf-8")
        fresh.replace(self._options.report)
        print(f"{entry}: {_in_short(part, found)}", flush=True)
        return "failed" not in found

    def _task(self, entry: str, part: str) -> dict[str, Any]:
        """What the part's process is told."""
        from harness.entries.opening import open_folder
        from tests.benchmarks.baseline_costs.generated import forms
        from tests.benchmarks.baseline_costs.settings import batched, full_size

        benchmark = self._options.benchmark
        params = full_size(open_folder(ROOT / "baselines" / entry), benchmark, **self._changes)
        if part == "counts":
            return {"entry": entry, "changes": self._changes}
        images = forms()[benchmark].train
        rounds = int(params.get("critic_steps", 1))
        if self._options.device == "cpu":
            if part in ("ours", "anomalib"):
                params = batched(params, self._largest_batch(entry))
            largest = max(params.get("batch_size", 32), params.get("pretraining_batch_size", 0))
            images = min(images, largest * max(4, rounds))
            effort = {"warm_up": 1, "steps_per_round": rounds}
        else:
            effort = {"warm_up": 10, "steps_per_round": 5 * rounds}
        return {
            "entry": entry,
            "params": params,
            "images": images,
            "effort": effort | {"seconds": self._options.seconds},
        }

    def _largest_batch(self, entry: str) -> int:
        from harness.campaigns.throughput import OperationCounts, shipped

        told = self._report["counts"].get(entry)
        counts = OperationCounts.model_validate(told) if told else shipped().counts.get(entry)
        if counts is None:
            return CPU_BATCH
        images = [phase.step.per_image for phase in counts.phases]
        images.append(counts.first_pass.per_image)
        flops = max(work.bfloat16_flops + work.float32_flops for work in images)
        return max(2, int(CPU_STEP_FLOPS / flops)) if flops else CPU_BATCH

    def _measured(self, part: str, task: Mapping[str, Any]) -> dict[str, Any]:
        """One part in a process of its own, in the environment that an engine gives an entry."""
        from harness.engines.environment import entry_environment
        from tests.benchmarks.apart import run_apart

        options = self._options
        whole = {
            **task,
            "device": options.device,
            "benchmark": options.benchmark,
            "data": str(options.data.resolve()),
            "seconds": options.seconds,
            "began": time.time(),
        }
        command = [sys.executable, "-W", "ignore", __file__]
        command += ["--part", part, "--task", json.dumps(whole)]
        environment = {
            **os.environ,
            **entry_environment(options.threads, str(options.data.resolve())),
        }
        options.data.mkdir(parents=True, exist_ok=True)
        return run_apart(command, environment, PART_SECONDS)


def _in_short(part: str, found: Mapping[str, Any]) -> str:
    """One line about what was measured."""
    if "failed" in found:
        return f"{part} failed: {found['failed']}"
    if part == "anomalib":
        return f"anomalib {1 / found['seconds_per_image']:.4g} images/s"
    if part == "host":
        return f"the host saw {found['peak_gpu_mib']} MiB of GPU memory"
    if part == "counts":
        return f"{len(found['phases'])} phases counted"
    told = [
        f"fit {phase['loop_images'] / phase['loop_seconds']:.4g}"
        f" bare {phase['bare_images'] / phase['bare_seconds']:.4g} images/s"
        f" ratio {median(phase['ratios']):.1%}"
        for phase in found.get("training", {}).get("phases", [])
    ]
    if passed := found.get("training", {}).get("pass_seconds_per_image"):
        told.append(f"pass {1 / passed:.4g} images/s")
    brain = found["prediction"][BENCHMARK]["median_seconds"]
    return ", ".join([*told, f"{1000 * brain:.4g} ms an image"])


def _identity(entry: str) -> str:
    from harness.entries.identity import folder_identity

    return folder_identity(ROOT / "baselines" / entry)


def _part(part: str, task: Mapping[str, Any]) -> dict[str, Any]:
    """In the process of its own."""
    if part == "counts":
        from tests.benchmarks.baseline_costs.counts import count

        return count(task["entry"], Path(task["data"]), **task["changes"]).model_dump()
    if part == "host":
        from tests.benchmarks.baseline_costs import host

        return host.measure(task["entry"], task["device"], task["params"], ROOT)

    import torch

    from tests.benchmarks.baseline_costs import ours, theirs
    from tests.benchmarks.baseline_costs.clocks import Effort
    from tests.benchmarks.baseline_costs.generated import forms

    if part == "loading":
        return ours.loading(Path(task["data"]), forms(), LOADED)
    is_cpu = task["device"] == "cpu"
    asked = ours.Task(
        entry=task["entry"],
        device=torch.device(task["device"]),
        params=task["params"],
        form=forms()[task["benchmark"]],
        images=task["images"],
        data=Path(task["data"]),
        effort=Effort(**task["effort"]),
        answers=10 if is_cpu else 200,
        answer_seconds=task["seconds"] / (4 if is_cpu else 2),
    )
    if part == "ours":
        return ours.measure(asked, forms(), task["began"])
    return theirs.measure(asked)


if __name__ == "__main__":
    sys.exit(main())
