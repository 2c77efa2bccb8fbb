"""Counts what a training and a prediction do: operations that no device changes.

Products (of matrices, convolutions) in floating-point operations, by the type of numbers that
they run in on a GPU; bytes that all else reads and writes; kernels that are launched one by one, or
replayed in a CUDA graph.
Trap: what numpy and Pillow do between two kernels is not seen here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.kit import images
from harness.campaigns.throughput import Batches, OperationCounts, Selection, StepWork
from harness.campaigns.throughput import Phase as Rule
from tests.baselines.conftest import BASELINES, Baseline, module_of, open_baseline
from tests.benchmarks.baseline_costs.bounded import Listener, Phase, Step, watched
from tests.benchmarks.baseline_costs.counting import Counting, as_on_a_gpu
from tests.benchmarks.baseline_costs.generated import forms, picture, training_folder
from tests.benchmarks.baseline_costs.settings import batched, costly, full_size

SIZES = (2, 4)  # of batches
IMAGES = (20, 40)  # five batches or more of each size: f-AnoGAN's generator learns in one of five
# How long each phase is, where there is more than one or an epoch is not one pass.
RULES: dict[str, tuple[Rule, ...]] = {
    "f-anogan": (Rule(epochs="gan_epochs", is_judged=False), Rule()),
    "deepsvdd": (
        Rule(epochs="pretraining_epochs", batch_size="pretraining_batch_size", is_judged=False),
        Rule(),
    ),
    "simplenet": (Rule(passes="passes_per_epoch"),),
    "cutpaste": (Rule(steps="steps_per_epoch"),),
}
TEXTURES = 50
# PatchCore's choice (`select_coreset`), per patch and beside its float16 projection: the product
# and its way to a distance, five float32 read and four written, the minimum and its place.
BYTES_BESIDE = 4 * (5 + 4 + 3)
LAUNCHES_PER_CHOICE = 10
# `MemoryBank.nearest`: the products written, twice read and written again, read for the smallest.
BYTES_PER_DISTANCE = 4 * 8


class Tally:
    """A probe (`bounded.Probe`) that counts.

    Args:
        steps: how many steps are counted (those of a generator come once in five).
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.spans: dict[str, StepWork] = {}
        self.steps_of: list[tuple[Phase, StepWork]] = []
        self._taken = 0

    @property
    def is_done(self) -> bool:
        """Whether the steps of the present phase are counted."""
        return self._taken > self.steps

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Count what is inside."""
        with Counting() as counting:
            yield
        self.spans[name] = StepWork(**counting.work)

    def around(self, phase: Phase, step: Step) -> Step:
        """Count the steps of a phase, but the first, which makes the optimiser's state."""
        self._taken = 0
        place = len(self.steps_of)
        self.steps_of.append((phase, StepWork()))

        def counted(pixels: Tensor) -> Tensor:
            self._taken += 1
            if self._taken == 1:
                return step(pixels)
            with Counting() as counting:
                loss = step(pixels)
            before = self.steps_of[place][1]
            self.steps_of[place] = (phase, before.plus(StepWork(**counting.work), 1 / self.steps))
            return loss

        return counted


@dataclass(frozen=True)
class Sample:
    """What was counted with batches of one size."""

    images: int
    batch_size: int
    steps: tuple[tuple[Phase, StepWork], ...]
    """One step of each phase."""
    spans: Mapping[str, StepWork]
    """Whole passes, by their names."""
    prediction: StepWork
    kept_bytes: int
    """Of the features of an image that are kept for the steps."""

    def batch_of(self, name: str) -> StepWork:
        """One batch of a pass over the images."""
        return StepWork().plus(self.spans.get(name, StepWork()), self.batch_size / self.images)


@contextmanager
def _told_what_is_kept(module: ModuleType) -> Iterator[list[int]]:
    """Inside, the list gets the bytes of an image's features that a training keeps."""
    found: list[int] = []
    own = vars(module).get("kept")

    def told(*of: Any, **more: Any) -> Any:
        features = own(*of, **more) if own else None
        found.append(features.rows[0].nbytes if features else 0)
        return features

    if own is not None:
        vars(module)["kept"] = told
    try:
        yield found
    finally:
        if own is not None:
            vars(module)["kept"] = own


def sample(baseline: Baseline, params: Mapping[str, Any], batch: int, folder: Path) -> Sample:
    """Count a short training on the images of a folder, and one prediction."""
    module = module_of(baseline)
    tally = Tally(int(params.get("critic_steps", 1)))
    with (
        as_on_a_gpu(module),
        watched(module, tally) as joints,
        _told_what_is_kept(module) as kept,
        TemporaryDirectory() as state,
    ):
        model = baseline.model(device="cpu", seed=0, params=batched(params, batch), weights=None)
        if baseline.entry.table.trains:
            model.fit(folder, Listener(joints, Path(state)))
            joints.end()
        asked = picture(forms()["brain"], 0)
        model.predict(asked)
        with Counting() as counting:
            model.predict(asked)
    count = len(list(folder.iterdir()))
    prediction = StepWork(**counting.work)
    return Sample(count, batch, tuple(tally.steps_of), tally.spans, prediction, sum(kept))


def count(entry: str, data: Path, **changes: Any) -> OperationCounts:
    """What an entry does at full size.

    Three samples tell apart what comes with an image, with a batch, and once.

    Args:
        data: where generated images are kept.
        changes: other values of parameters that it has (tests).
    """
    baseline = open_baseline(BASELINES / entry)
    params = full_size(baseline.entry, "brain", **changes)
    brain = forms()["brain"]
    few, many = (training_folder(data, brain, number) for number in IMAGES)
    # PatchCore's selection is arithmetic (`Selection`): here it keeps a single patch.
    run = {**params, **({"coreset_ratio": 1e-9} if "coreset_ratio" in params else {})}
    two, four = (sample(baseline, run, size, few) for size in SIZES)
    found = OperationCounts(settings=costly(params), prediction=four.prediction)
    more: dict[str, Any] = {}
    if two.steps:
        phases = [
            rule.model_copy(update={"step": _batches(a, b)})
            for rule, (_, a), (_, b) in zip(
                RULES.get(entry, (Rule(),)), two.steps, four.steps, strict=True
            )
        ]
        _check(phases, batched(params, SIZES[1]), four)
        more["kept_bytes_per_image"] = four.kept_bytes
        if entry == "draem":
            more["host_seconds_per_image"] = _texture_seconds(baseline, params, few)
        for name in ("first pass", "judging pass"):
            more[name.replace(" ", "_")] = _batches(two.batch_of(name), four.batch_of(name))
        return found.model_copy(update={"phases": tuple(phases), **more})
    if not baseline.entry.table.trains or "first pass" not in two.spans:
        return found
    more |= _single_pass(two, four, sample(baseline, run, SIZES[1], many))
    if entry == "patchcore":
        more |= {"passes": 2, "selection": _selection(baseline, params)}
    return found.model_copy(update=more)


def _batches(two: StepWork, four: StepWork) -> Batches:
    """What comes with an image and what with a batch, from batches of two and of four."""
    per_image = _positive(four.plus(two, -1), 1 / (SIZES[1] - SIZES[0]))
    return Batches(per_batch=_positive(two.plus(per_image, -SIZES[0])), per_image=per_image)


def _positive(work: StepWork, factor: float = 1.0) -> StepWork:
    """Nothing is done less than never, whatever a straight line says."""
    return StepWork(**{name: max(0.0, factor * value) for name, value in work.model_dump().items()})


def _single_pass(two: Sample, four: Sample, larger: Sample) -> dict[str, Any]:
    """Of a method without steps: the pass by image and by batch, and what comes after it."""
    whole = [found.spans["first pass"] for found in (two, four, larger)]
    fewer = two.images / two.batch_size - four.images / four.batch_size
    per_batch = _positive(whole[0].plus(whole[1], -1), 1 / fewer)
    batches = (larger.images - four.images) / four.batch_size
    grown = whole[2].plus(whole[1], -1).plus(per_batch, -batches)
    per_image = _positive(grown, 1 / (larger.images - four.images))
    rest = whole[1].plus(per_image, -four.images).plus(per_batch, -four.images / four.batch_size)
    return {
        "first_pass": Batches(per_batch=per_batch, per_image=per_image),
        "fitting": _positive(rest),
    }


def _selection(baseline: Baseline, params: Mapping[str, Any]) -> Selection:
    model = baseline.model(device="cpu", seed=0, params=dict(params), weights=None)
    with torch.inference_mode():
        _, dimensions, height, width = model.embed(
            torch.zeros(1, 1, model.size, model.size, dtype=torch.uint8)
        ).shape
    return Selection(
        patches_per_image=height * width,
        dimensions=dimensions,
        ratio=params["coreset_ratio"],
        bytes_per_patch=2 * params["projection_dims"] + BYTES_BESIDE,
        launches_per_choice=LAUNCHES_PER_CHOICE,
        bytes_per_distance=BYTES_PER_DISTANCE,
    )


def _texture_seconds(baseline: Baseline, params: Mapping[str, Any], folder: Path) -> float:
    """What DRAEM paints for an image, by numpy and Pillow on the CPU, in every step."""
    model = baseline.model(device="cpu", seed=0, params=dict(params), weights=None)
    maker = model._anomalies(images.read_training_images(folder, model.size))
    random = np.random.default_rng(0)
    maker.texture(random)
    began = time.perf_counter()
    for _ in range(TEXTURES):
        maker.texture(random)
    return float(maker.share * (time.perf_counter() - began) / TEXTURES)


def _check(phases: Sequence[Rule], params: Mapping[str, Any], found: Sample) -> None:
    """Raise `ValueError` where a rule gives another length than the kit's own schedule."""
    for rule, (seen, _) in zip(phases, found.steps, strict=True):
        length = rule.length(params, found.images)
        told = (length.steps, length.batch_size, length.checkpoints, rule.is_judged)
        own = (
            seen.epochs * seen.steps_per_epoch,
            seen.batch_size,
            seen.checkpoints,
            seen.is_judged,
        )
        if told != own:
            raise ValueError(
                f"the rule says {told} (steps, batch, checkpoints, judged), the kit {own}"
            )
