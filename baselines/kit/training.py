"""The one training loop of all baselines: phases, epochs, progress, checkpoints, resuming.

The harness judges checkpoints (`checkpoint(step)` gives its verdict); a method only says
what one step is. Steps are counted in optimiser steps, over all phases. Before each
checkpoint the training's state is written, so that a killed training goes on from there
and ends with the very same bytes. Traps: the harness asks for predictions in the middle of
`checkpoint(step)`, so a model must set evaluation mode in `predict` and training mode in
its step; a generator kept from one epoch to the next would not survive a kill.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from baselines.kit.determinism import generator, seed_for
from baselines.kit.images import TrainingImages
from baselines.kit.kept_features import KeptFeatures
from harness.contract import Checkpoint, NotApplicable

PROGRESS_PER_EPOCH = 10


class Stateful(Protocol):
    """A network, an optimiser, a schedule: whatever can be written down and taken up again."""

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102 - torch's own

    def load_state_dict(self, state: dict[str, Any]) -> object: ...  # noqa: D102


@dataclass(frozen=True)
class Schedule:
    """How long one phase trains, and how often it is judged."""

    epochs: int
    """Number of epochs."""
    batch_size: int
    """Images per step; the last batch of a pass may be smaller."""
    checkpoint_every_epochs: int
    """Epochs between two checkpoints; the last epoch is always one. 0 = none at all."""
    steps_per_epoch: int = 0
    """Steps of an epoch, drawn from an endless shuffled stream; 0 = one pass over the images."""
    smallest_batch: int = 1
    """A last batch with fewer images is left out (2 where BatchNorm sees vectors)."""
    is_judged: bool = True
    """False: the model cannot predict yet; its state is written at the same pace."""

    @classmethod
    def of(cls, params: Mapping[str, Any], **more: Any) -> Schedule:
        """The schedule that the parameters of these names say; `drop_last` where there is one."""
        if params.get("drop_last"):
            more["smallest_batch"] = params["batch_size"]
        every = params["checkpoint_every_epochs"]
        return cls(params["epochs"], params["batch_size"], every, **more)

    def batches_per_pass(self, images: int) -> int:
        """Batches in one pass over so many images."""
        return images // self.batch_size + (images % self.batch_size >= max(1, self.smallest_batch))

    def steps(self, images: int) -> int:
        """Optimiser steps of the whole phase."""
        return self.epochs * (self.steps_per_epoch or self.batches_per_pass(images))

    def is_checkpoint(self, epoch: int) -> bool:
        """Whether the phase pauses after this epoch, to be judged or to write its state."""
        every = self.checkpoint_every_epochs
        return every > 0 and (epoch % every == 0 or epoch == self.epochs)


class Training:
    """One training of one or more phases, each started by `run`, in order.

    Args:
        images: the training split, or its features, which then are what a step is given.
        schedules: one per phase.
        seed: gives the order of the images and every other draw.
        device: where the batches are wanted.
        checkpoint: the harness's ear; the state of a training lies in its `state_folder`.
    Raises:
        NotApplicable: too few training images for a single batch of a phase.
    """

    def __init__(
        self,
        images: TrainingImages | KeptFeatures,
        schedules: Sequence[Schedule],
        *,
        seed: int,
        device: torch.device,
        checkpoint: Checkpoint,
    ) -> None:
        for schedule in schedules:
            if not schedule.batches_per_pass(len(images)):
                raise NotApplicable(
                    f"too few training images ({len(images)}) for a batch, and so for a step: "
                    f"at least {schedule.smallest_batch} are needed"
                )
        self._images = images.placed(device)
        self._schedules = tuple(schedules)
        self._seed, self._device, self._checkpoint = seed, device, checkpoint
        self._steps = [schedule.steps(len(images)) for schedule in schedules]
        self._phase = -1
        self._is_stopped = False
        self._seed_epoch(0, 0)

    draw: torch.Generator
    """On the CPU, made anew each epoch: draws are equal on every device."""
    random: np.random.Generator
    """Numpy's, made anew each epoch."""

    def run(
        self,
        step: Callable[[Tensor], Tensor],
        state: Mapping[str, Stateful],
        *,
        after_epoch: Callable[[int], None] | None = None,
        before_checkpoint: Callable[[], None] | None = None,
    ) -> None:
        """The next phase: `step` over shuffled batches until the schedule or the harness ends it.

        Args:
            step: takes (B, C, S, S) uint8 (of kept features their rows) on the device, updates the
                model, returns its loss (a 0-d tensor, detached).
            state: everything that a later epoch needs of this one, by name.
            after_epoch: called with the number of epochs done (learning-rate schedules).
            before_checkpoint: called before the harness asks (fit what `predict` needs).
        Raises:
            FloatingPointError: the loss is not finite any more.
        """
        self._phase += 1
        if self._is_stopped:
            return
        phase, schedule = self._phase, self._schedules[self._phase]
        kept = _KeptState(self._checkpoint.state_folder, phase, state)
        done = kept.restore()
        per_epoch = self._steps[phase] // schedule.epochs
        report = _Report(
            self._checkpoint,
            sum(self._steps),
            max(1, per_epoch // PROGRESS_PER_EPOCH),
            sum(self._steps[:phase]) + done * per_epoch,
        )
        if done and self._is_last_word(schedule, report.step, before_checkpoint):
            return
        for epoch in range(done + 1, schedule.epochs + 1):
            self._seed_epoch(phase, epoch)
            for indices in self._batches(schedule, phase, epoch, per_epoch):
                report.add(step(self._images.batch(indices, self._device)))
            if after_epoch:
                after_epoch(epoch)
            if schedule.is_checkpoint(epoch):
                kept.write(epoch)
                if self._is_last_word(schedule, report.step, before_checkpoint):
                    return

    def _is_last_word(
        self, schedule: Schedule, step: int, before_checkpoint: Callable[[], None] | None
    ) -> bool:
        """Have the state judged where it can be; whether the harness says stop."""
        if not schedule.is_judged:
            return False
        if before_checkpoint:
            before_checkpoint()
        self._is_stopped = self._checkpoint(step).stop
        return self._is_stopped

    def _seed_epoch(self, phase: int, epoch: int) -> None:
        purpose = f"epoch/{phase}/{epoch}"
        self.draw = generator(self._seed, purpose)
        self.random = np.random.default_rng(seed_for(self._seed, purpose))
        torch.manual_seed(seed_for(self._seed, purpose))

    def _batches(
        self, schedule: Schedule, phase: int, epoch: int, per_epoch: int
    ) -> Iterator[Tensor]:
        """Indices of this epoch's batches; the order of a pass depends on its number alone."""
        per_pass = schedule.batches_per_pass(len(self._images))
        passed, batches = -1, ()
        for position in range((epoch - 1) * per_epoch, epoch * per_epoch):
            if position // per_pass != passed:
                passed = position // per_pass
                shuffler = generator(self._seed, f"order/{phase}/{passed}")
                order = torch.randperm(len(self._images), generator=shuffler)
                batches = order.split(schedule.batch_size)
            yield batches[position % per_pass]


def descend(
    loss: Tensor,
    *optimisers: torch.optim.Optimizer,
    only: nn.Module | None = None,
    clip_norm: float = 0,
) -> Tensor:
    """One step of every optimiser down the gradient of a loss; returns the loss, detached.

    Args:
        only: the one network that gets a gradient, where the loss went through others too.
        clip_norm: largest norm of each optimiser's whole gradient; 0: as it is.
    """
    for optimiser in optimisers:
        optimiser.zero_grad()
    loss.backward(inputs=None if only is None else list(only.parameters()))
    for optimiser in optimisers:
        if clip_norm:
            groups = optimiser.param_groups
            held = [each for group in groups for each in group["params"]]
            nn.utils.clip_grad_norm_(held, clip_norm)
        optimiser.step()
    return loss.detach()


class _KeptState:
    """The state of one phase on disk: written whole, beside the older one, then renamed."""

    def __init__(self, folder: Path | None, phase: int, state: Mapping[str, Stateful]) -> None:
        self._path = folder / f"phase-{phase}.pt" if folder else None
        self._state = state

    def write(self, epoch: int) -> None:
        """Write what there is after so many epochs."""
        if self._path is None:
            return
        fresh = self._path.with_suffix(".fresh")
        states = {name: item.state_dict() for name, item in self._state.items()}
        with fresh.open("wb") as file:
            torch.save({"epoch": epoch, "states": states}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def restore(self) -> int:
        """Take up what is there; the number of epochs done, 0 where nothing is."""
        if self._path is None or not self._path.is_file():
            return 0
        found = torch.load(self._path, map_location="cpu", weights_only=True)
        for name, item in self._state.items():
            item.load_state_dict(found["states"][name])
        epoch: int = found["epoch"]
        return epoch


class _Report:
    """Adds the losses up on their device and sends the mean every few steps: one wait each."""

    def __init__(self, checkpoint: Checkpoint, steps: int, every: int, done: int) -> None:
        self.step = done
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
