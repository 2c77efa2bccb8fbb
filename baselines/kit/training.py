"""The one training loop of all baselines: epochs, progress, checkpoints, early stop.

The harness judges checkpoints (`checkpoint(step)` gives its verdict); a method only says
what one step is. Steps are counted in optimiser steps. Trap: the harness asks for
predictions in the middle of `checkpoint(step)`, so a model must set evaluation mode in
`predict` and training mode in its step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.kit.determinism import generator
from baselines.kit.images import TrainingImages
from harness.contract import Checkpoint

PROGRESS_PER_EPOCH = 10


@dataclass(frozen=True)
class Schedule:
    """How long to train, and how often to be judged."""

    epochs: int
    """Passes over the training images."""
    batch_size: int
    """Images per step; the last batch of an epoch may be smaller."""
    checkpoint_every_epochs: int
    """Epochs between two checkpoints; the last epoch is always one. 0 = none at all."""


def train(
    images: TrainingImages,
    step: Callable[[Tensor], Tensor],
    schedule: Schedule,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint,
    after_epoch: Callable[[int], None] | None = None,
) -> None:
    """Run `step` over shuffled batches until the schedule or the harness ends it.

    Args:
        images: the training split.
        step: takes (B, C, S, S) uint8 on `device`, updates the model, returns its loss
            (a 0-d tensor, detached).
        schedule: how long, how often judged.
        seed: gives the order; an epoch's order depends on seed and epoch alone.
        device: where the batches are wanted.
        checkpoint: the harness's ear.
        after_epoch: called with the number of epochs done, before a checkpoint (learning
            rate schedules).
    Raises:
        FloatingPointError: the loss is not finite any more.
    """
    images = images.placed(device)
    per_epoch = math.ceil(len(images) / schedule.batch_size)
    report = _Report(
        checkpoint, per_epoch * schedule.epochs, max(1, per_epoch // PROGRESS_PER_EPOCH)
    )
    for epoch in range(1, schedule.epochs + 1):
        for indices in _shuffled(len(images), schedule.batch_size, seed, epoch):
            report.add(step(images.batch(indices, device)))
        if after_epoch:
            after_epoch(epoch)
        if _is_checkpoint(epoch, schedule) and checkpoint(report.step).stop:
            return


def _shuffled(count: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator(seed, f"order/{epoch}"))
    yield from order.split(batch_size)


def _is_checkpoint(epoch: int, schedule: Schedule) -> bool:
    every = schedule.checkpoint_every_epochs
    return every > 0 and (epoch % every == 0 or epoch == schedule.epochs)


class _Report:
    """Adds the losses up on their device and sends the mean every few steps: one wait each."""

    def __init__(self, checkpoint: Checkpoint, steps: int, every: int) -> None:
        self.step = 0
        self._checkpoint, self._steps, self._every = checkpoint, steps, every
        self._losses: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Count one step."""
        self.step += 1
        self._losses.append(loss)
        if self.step % self._every and self.step != self._steps:
            return
        mean = float(torch.stack(self._losses).mean())
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} at step {self.step}: training diverged")
        self._losses.clear()
        self._checkpoint.progress(self.step, self._steps, mean)
