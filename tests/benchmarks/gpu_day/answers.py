"""One baseline at full size on a device: a short training, then its answers beside the CPU's.

Both answer with the same weights: those that the short training left, read from its file. What a
GPU computes in bfloat16 (`precision = "mixed"`) is compared as it is and once more in float32, so
that a wrong kernel is told from a coarse number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.baselines.conftest import BASELINES, Baseline, open_baseline
from tests.benchmarks.baseline_costs import ours
from tests.benchmarks.baseline_costs.generated import picture, training_folder

Answers = list[tuple[np.ndarray | None, float]]


def measure(task: ours.Task, model_folder: Path) -> dict[str, Any]:
    """Train a few steps, answer `task.answers` images, and let the CPU answer them too.

    Args:
        task: what to run; its parameters are the preset's, weights random.
        model_folder: an empty folder, which keeps the model for later steps.
    """
    baseline, params = open_baseline(BASELINES / task.entry), dict(task.params)
    pictures = [picture(task.form, 1000 + number) for number in range(task.answers)]
    model = _make(baseline, str(task.device), params)
    found: dict[str, Any] = {"precision": params.get("precision", "float32")}
    if baseline.entry.table.trains:
        folder = training_folder(task.data, task.form, task.images)
        found["training"] = ours.training(task, model, folder)
        model.save(model_folder)
    on_device = _answers(model, pictures)
    del model
    in_float32 = None
    if found["precision"] == "mixed" and task.device.type != "cpu":
        same = {**params, "precision": "float32"}
        in_float32 = _answers(_loaded(baseline, str(task.device), same, model_folder), pictures)
    found["memory"] = ours.memory(task.device)  # of all that the GPU did, as the host watches it
    on_cpu = _answers(_loaded(baseline, "cpu", params, model_folder), pictures)
    found["difference"] = difference(on_device, on_cpu)
    found["difference_in_float32"] = difference(in_float32, on_cpu) if in_float32 else None
    return found


def difference(these: Answers, those: Answers) -> dict[str, Any]:
    """How far answers lie from the CPU's.

    Returns:
        `equal`: answers equal to the bit, of `images`; `map`: the largest difference of two maps
        as a share of the range of the CPU's, None without maps; `score`: the largest difference of
        two scores as a share of the largest score.
    """
    maps = [(a, b) for (a, _), (b, _) in zip(these, those, strict=True) if b is not None]
    scores = np.array([[a, b] for (_, a), (_, b) in zip(these, those, strict=True)], np.float64)
    size = np.abs(scores[:, 1]).max()
    return {
        "images": len(those),
        "equal": sum(_is_equal(a, b) for a, b in zip(these, those, strict=True)),
        "map": _share(max(float(np.abs(a - b).max()) for a, b in maps), _range(maps)) if maps else None,
        "score": _share(float(np.abs(scores[:, 0] - scores[:, 1]).max()), float(size)),
    }  # fmt: skip


def _share(part: float, whole: float) -> float | None:
    """None where the whole is nothing."""
    return part / whole if whole > 0 else None


def _range(maps: Sequence[tuple[np.ndarray | None, np.ndarray]]) -> float:
    return float(max(b.max() for _, b in maps) - min(b.min() for _, b in maps))


def _is_equal(one: tuple[np.ndarray | None, float], other: tuple[np.ndarray | None, float]) -> bool:
    if one[1] != other[1] or (one[0] is None) != (other[0] is None):
        return False
    return one[0] is None or other[0] is None or np.array_equal(one[0], other[0])


def _make(baseline: Baseline, device: str, params: dict[str, Any]) -> Any:
    return baseline.model(device=device, seed=0, params=params, weights=None)


def _loaded(baseline: Baseline, device: str, params: dict[str, Any], folder: Path) -> Any:
    model = _make(baseline, device, params)
    if baseline.entry.table.trains:
        model.load(folder)
    return model


def _answers(model: Any, pictures: Sequence[np.ndarray]) -> Answers:
    found = []
    for image in pictures:
        anomaly_map, score = model.predict(image)
        found.append((anomaly_map, float(np.max(anomaly_map) if score is None else score)))
    return found
