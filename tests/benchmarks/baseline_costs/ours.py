"""Measures one baseline at full size in this process: its training, its answers, its memory."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from baselines.kit import images
from baselines.kit.memory_bank import MemoryBank
from tests.baselines.conftest import BASELINES, module_of, open_baseline
from tests.benchmarks.baseline_costs.bounded import Listener, watched
from tests.benchmarks.baseline_costs.clocks import Clock, Effort
from tests.benchmarks.baseline_costs.generated import Form, picture, training_folder

MIB = 1024**2
# Choices of PatchCore's selection that are timed; the rest is extrapolated.
CHOICES = 200
LEAST_RATIO = 1e-9  # one patch
PATCHES_PER_SIDE = 8  # PatchCore's grid is an eighth of the image's side


@dataclass(frozen=True)
class Task:
    """What to measure."""

    entry: str
    """Folder below `baselines`."""
    device: torch.device
    """Where."""
    params: Mapping[str, Any]
    """Settings."""
    form: Form
    """What the training images are like."""
    images: int
    """How many of them there are."""
    data: Path
    """Where generated images are kept."""
    effort: Effort
    """How long."""
    answers: int
    """Most predictions of each size."""
    answer_seconds: float
    """And no more of them after so long."""


def measure(task: Task, forms: Mapping[str, Form], began: float) -> dict[str, Any]:
    """Train, then answer one image at a time of every benchmark's size.

    Args:
        began: when the process was started, by the machine's clock (`time.time`).
    """
    baseline = open_baseline(BASELINES / task.entry)
    params = dict(task.params)
    if "coreset_ratio" in params:  # its selection is timed apart: hours on all patches
        params["coreset_ratio"] = LEAST_RATIO
    model = baseline.model(device=str(task.device), seed=0, params=params, weights=None)
    found: dict[str, Any] = {"start_up_seconds": time.time() - began, "images": task.images}
    found["batch_size"] = task.params.get("batch_size")
    if baseline.entry.table.trains:
        folder = training_folder(task.data, task.form, task.images)
        found["training"] = training(task, model, folder)
        found["memory"] = memory(task.device)
    found["prediction"] = {name: _prediction(task, model, form) for name, form in forms.items()}
    found["memory"] = memory(task.device)
    return found


def training(task: Task, model: Any, folder: Path) -> dict[str, Any]:
    """The baseline's own `fit` on a folder of images, cut short."""
    home = sys.modules[type(model).fit.__module__]  # its own `model.py`, or a part of the kit
    clock = Clock(task.device, task.effort)
    with TemporaryDirectory() as state, watched(home, clock) as joints:
        listener = Listener(joints, Path(state))
        began = clock.now()
        model.fit(folder, listener)
        seconds = clock.now() - began
    if clock.phases:
        return {"fit_seconds": seconds, **clock.result()}
    return {"fit_seconds": seconds, **_single_pass(task, model, listener, began + seconds)}


# --- methods without gradient steps ------------------------------------------------------


def _single_pass(task: Task, model: Any, listener: Listener, ended: float) -> dict[str, Any]:
    """Images a second of the pass over the images, and what comes after it."""
    size = int(task.params.get("batch_size", 1))
    batches = -(-task.images // size)
    marks = listener.reported[:batches]
    if len(marks) < 2 or not hasattr(model, "embed"):  # nothing to tell apart
        return {"spans": {}}
    seconds = (marks[-1] - marks[0]) / (len(marks) - 1) / size
    found: dict[str, Any] = {"pass_seconds_per_image": seconds, "batches": batches}
    found["extraction_seconds_per_image"] = _extraction(task, model, size)
    if task.entry == "patchcore":
        return found
    return {**found, "fitting_seconds": ended - listener.reported[-1]}


def _extraction(task: Task, model: Any, size: int) -> float:
    """Of one resident batch: the features alone, seconds per image."""
    form = task.form
    pixels = torch.cat([images.from_array(picture(form, n), model.size) for n in range(size)])
    pixels = pixels.to(task.device)
    clock = Clock(task.device, task.effort)

    @torch.inference_mode()
    def once(resident: Tensor) -> float:
        began = clock.now()
        model.embed(resident)
        return clock.now() - began

    once(pixels)
    return median(once(pixels) for _ in range(max(2, task.effort.steps_per_round))) / size


def selection(task: Task, form: Form) -> dict[str, Any]:
    """PatchCore's: seconds of one choice among as many patches as a benchmark has, and of all."""
    module = module_of(open_baseline(BASELINES / task.entry))
    is_cpu = task.device.type == "cpu"
    patches = form.train * (task.params["image_size"] // PATCHES_PER_SIDE) ** 2
    if is_cpu and task.params["cpu_max_patches"]:
        patches = min(patches, task.params["cpu_max_patches"])
    chosen = max(1, int(patches * task.params["coreset_ratio"]))
    points = torch.randn(
        patches,
        task.params["projection_dims"],
        dtype=torch.float32 if is_cpu else torch.float16,
        device=task.device,
    )
    clock, timed = Clock(task.device, task.effort), min(chosen, CHOICES)
    start = torch.zeros(1, dtype=torch.int64)
    with torch.inference_mode():
        module.select_coreset(points, 1, start)
        began = clock.now()
        module.select_coreset(points, timed, start)
        seconds = (clock.now() - began) / timed
    return {
        "patches": patches,
        "chosen": chosen,
        "timed": timed,
        "seconds_per_choice": seconds,
        "seconds": seconds * chosen,
    }


# --- answers -----------------------------------------------------------------------------


def _prediction(task: Task, model: Any, form: Form) -> dict[str, Any]:
    """Seconds of `predict` for one image: the first call, and the others."""
    found: dict[str, Any] = {}
    if task.entry == "patchcore":
        found["selection"] = selection(task, form)
        with torch.inference_mode():
            width = model.embed(images.from_array(picture(form, 0), model.size).to(task.device))
            model.bank = MemoryBank(torch.empty(0, 0))  # frees the last one
            shape = (found["selection"]["chosen"], width.shape[1])
            model.bank = MemoryBank(torch.randn(shape, device=task.device))
    clock = Clock(task.device, task.effort)
    pictures = [picture(form, number) for number in range(4)]
    seconds: list[float] = []
    end = time.perf_counter() + task.answer_seconds
    while len(seconds) < 3 or (len(seconds) <= task.answers and time.perf_counter() < end):
        began = clock.now()
        model.predict(pictures[len(seconds) % len(pictures)])
        seconds.append(clock.now() - began)
    first, *rest = seconds
    return {
        **found,
        "first_seconds": first,
        "median_seconds": median(rest),
        "p90_seconds": quantiles(rest, n=10, method="inclusive")[-1],
        "calls": len(rest),
    }


# --- memory ------------------------------------------------------------------------------


def memory(device: torch.device) -> dict[str, float]:
    """Peaks of this process so far, in MiB: what PyTorch says of the GPU, what the kernel of RAM."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    found = {"peak_ram_mib": int(peak[1]) / 1024 if peak else 0.0}
    if device.type == "cuda":
        found["torch_allocated_mib"] = torch.cuda.max_memory_allocated(device) / MIB
        found["torch_reserved_mib"] = torch.cuda.max_memory_reserved(device) / MIB
    return found


# --- loading -----------------------------------------------------------------------------


def loading(data: Path, forms: Mapping[str, Form], count: int) -> dict[str, float]:
    """Seconds to decode and resize one training image, by benchmark; no method changes it."""
    found = {}
    for name, form in forms.items():
        folder = training_folder(data, form, count)
        images.read_training_images(folder, 256)  # from the disk once
        began = time.perf_counter()
        images.read_training_images(folder, 256)
        found[name] = (time.perf_counter() - began) / count
    return found
