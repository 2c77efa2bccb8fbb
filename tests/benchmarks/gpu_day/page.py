"""docs/gpu-day.md: a pure function of docs/gpu-day.json, which `--write` takes from a report.

Trap: a report of a CPU or of other settings is a trial, and never comes here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.gpu_day import plan
from tests.benchmarks.gpu_day.plan import Step

PAGE = Path("docs") / "gpu-day.md"
SHIPPED = Path("docs") / "gpu-day.json"
Result = Mapping[str, Any]

HEAD = """# A day with a GPU

Most of this project is tried where there is no GPU: on the CPU, and on a stand-in for `cuda:0` that
finds tensors on the wrong device (`tests/stand_in_gpu/`, for every baseline, in CI). What only a GPU
can show takes one command on a machine that has one, 14 minutes a call:

    make gpu-day          # repeat until it says that nothing is left
    make gpu-day-page     # this page, and docs/gpu-day.json that it is made of; commit both

It asks the driver and the canary, fills the GPU's memory on purpose, trains every baseline for a few
steps at full size and holds its answers to the CPU's with the same weights, starts it twice and
compares to the bit, and sets speed and memory beside the bare step, PyTorch's own count and anomalib.
A step that fails is a result. Images are generated, weights are random, nothing is downloaded."""
NO_GPU = "**No GPU was at hand when this was written**: nothing below is measured yet."


def write(root: Path, report: dict[str, Any]) -> int:
    """Write the page, and what it is made of; the exit code.

    Without a report the page says that there was no GPU, unless one has been measured before.
    """
    machine = report["machine"]
    if machine and (machine["device"] == "cpu" or machine["changes"]):
        print("error: the report is of a trial, not of a GPU at full size", file=sys.stderr)
        print("fix: make gpu-day on a machine with a GPU", file=sys.stderr)
        return 2
    if machine:
        text_of = json.dumps(report, indent=1, allow_nan=False) + "\n"
        (root / SHIPPED).write_text(text_of, encoding="utf-8")
    (root / PAGE).write_text(text(shipped(root)), encoding="utf-8")
    return 0


def shipped(root: Path) -> dict[str, Any] | None:
    """What was measured, as it is committed; None before any GPU was."""
    path = root / SHIPPED
    found: dict[str, Any] | None = (
        json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    )
    return found


def text(report: Mapping[str, Any] | None) -> str:
    """The whole page."""
    if report is None:
        return "\n\n".join([HEAD, NO_GPU, _planned()]) + "\n"
    steps: dict[str, Result] = report["steps"]
    parts = [
        HEAD, _machine(report["machine"]), _driver(steps), _answers(steps), _starts(steps),
        _speed(steps), _left(steps),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _planned() -> str:
    from tests.benchmarks.baseline_costs.theirs import MODELS

    day = plan.steps(MODELS)
    counts = {kind: sum(step.kind == kind for step in day) for kind in plan.KINDS}
    rows = [[f"`{kind}`", str(counts[kind]), f"{plan.BUDGETS[kind]:.0f}"] for kind in counts]
    return f"## The steps\n\n{_table(('step', 'how many', 'seconds each, at most'), rows)}"


def _machine(machine: Result) -> str:
    return (
        f"Measured on {machine['name']}, {machine['date']}: harness {machine['harness']}, torch"
        f" {machine['torch']} (CUDA {machine['cuda']}), Python {machine['python']}, CPU"
        f" {machine['cpu']}, {machine['threads']} threads."
    )


def _driver(steps: Mapping[str, Result]) -> str:
    lines = ["## The machine"]
    if driver := _well(steps, "driver"):
        for gpu in driver["gpus"]:
            lines.append(
                f"- GPU {gpu['index']}, {gpu['name']}: driver {gpu['driver']}, CUDA {gpu['cuda']},"
                f" {gpu['total_mib']:,} MiB."
            )
        lines.append(
            f"- The canary: {driver['canary']['said']} ({driver['canary_seconds']:.1f} s); in"
            f" {driver['engine']}: {driver['in_engine']}."
        )
    if full := _well(steps, "memory"):
        told = "as it should" if full["is_told_apart"] else "**which is wrong**"
        lines.append(
            f"- An entry that fills the GPU's memory ends `{full['session']}`, and once the GPU was asked"
            f" `{full['after_asking_the_gpu']}`, {told}; the GPU afterwards: {full['gpu_afterwards']}."
        )
    if energy := _well(steps, "energy"):
        ratio = "–" if energy["ratio"] is None else f"{energy['ratio']:.3f}"
        lines.append(
            f"- Energy over {energy['seconds']:.0f} s of work: {energy['counter_joules']:,.0f} J by the"
            f" counter, {energy['integrated_joules']:,.0f} J by its power summed up (ratio {ratio})."
        )
    return "\n".join([lines[0], "", *lines[1:]])


def _answers(steps: Mapping[str, Result]) -> str:
    rows = []
    for name, found in _of_kind(steps, "answers"):
        at_once, exact = found["difference"], found["difference_in_float32"]
        rows.append(
            [f"`{name}`", found["precision"], _share(at_once["map"]), _share(at_once["score"]),
             _share(exact["map"]) if exact else "–", _share(exact["score"]) if exact else "–"]
        )  # fmt: skip
    head = ("method", "precision", "map", "score", "map, float32", "score, float32")
    return f"""## Answers beside the CPU's, with the same weights

The largest difference of two maps as a share of the range of the CPU's, and of two scores as a share
of the largest; `mixed` methods (bfloat16 on a GPU) once more in float32.

{_table(head, rows)}"""


def _starts(steps: Mapping[str, Result]) -> str:
    rows, allowed = [], ""
    for name, found in _of_kind(steps, "starts"):
        allowed = f"{found['rank_shift_allowed']:g} and {found['distance_allowed']:g}"
        scores, maps = found["scores"], found["maps"]
        rows.append(
            [f"`{name}`", "yes" if found["is_equal"] else "no",
             f"{scores['other']} of {scores['numbers']}", _measures(scores),
             f"{maps['other'] / maps['numbers']:.1%}" if maps else "–", _measures(maps),
             "yes" if found["is_alike"] else "**no**"]
        )  # fmt: skip
    head = ("method", "equal bytes", "other scores", "their distance, shift", "other pixels", "their distance, shift", "alike")  # fmt: skip
    return f"""## Two fresh starts

What the audit sees of an honest entry. Distance and shift are the audit's measures of what is more
than rounding (`harness/running/alike.py`); it allows a shift of {allowed or "–"} of distance.

{_table(head, rows)}"""


def _measures(part: Result | None) -> str:
    if not part:
        return "–"
    distance = "∞" if part["distance"] is None else f"{part['distance']:.2g}"
    return f"{distance}, {part['shift']:.2g}"


def _speed(steps: Mapping[str, Result]) -> str:
    rows = []
    for name, found in _of_kind(steps, "answers"):
        phases = found.get("training", {}).get("phases", [])
        theirs = _well(steps, f"anomalib {name}")
        memory = found["memory"]
        rows.append(
            [f"`{name}`",
             " / ".join(f"{p['loop_images'] / p['loop_seconds']:.3g}" for p in phases) or "–",
             " / ".join(f"{median(p['ratios']):.0%}" for p in phases) or "–",
             f"{1 / theirs['seconds_per_image']:.3g}" if theirs and theirs["seconds_per_image"] else "–",
             _mib(memory.get("torch_allocated_mib")), _mib(memory.get("torch_reserved_mib")),
             _mib(found["host_peak_mib"])]
        )  # fmt: skip
    head = ("method", "fit, images/s", "of the bare step", "anomalib, images/s", "PyTorch, MiB", "reserved, MiB", "host, MiB")  # fmt: skip
    return f"""## Speed and memory

Images a second of a few steps of training, by phase, and as a share of the bare step on a batch that
lies on the GPU; then the peak of the GPU's memory as PyTorch counts it and as the host saw it (the
CUDA context and the libraries' own included), of the same process.

{_table(head, rows)}"""


def _left(steps: Mapping[str, Result]) -> str:
    """What failed, and what was not done."""
    from tests.benchmarks.baseline_costs.theirs import MODELS

    day = plan.steps(MODELS)
    failed = [[f"`{step.name}`", _cell(steps[step.name]["failed"])] for step in day if "failed" in steps.get(step.name, {})]  # fmt: skip
    failed += [[f"`{step.name}`", _cell(steps[step.name]["skipped"])] for step in day if "skipped" in steps.get(step.name, {})]  # fmt: skip
    missing = ", ".join(f"`{step.name}`" for step in day if step.name not in steps)
    parts = []
    if failed:
        parts.append(f"## What failed\n\n{_table(('step', 'why'), failed)}")
    if missing:
        parts.append(f"Not done yet: {missing}.")
    return "\n\n".join(parts)


def _of_kind(steps: Mapping[str, Result], kind: str) -> Iterable[tuple[str, Result]]:
    for name in plan.methods():
        if found := _well(steps, Step(kind, name).name):
            yield name, found


def _well(steps: Mapping[str, Result], name: str) -> Result | None:
    found = steps.get(name)
    return None if found is None or "failed" in found or "skipped" in found else found


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}" if value else "0"


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
