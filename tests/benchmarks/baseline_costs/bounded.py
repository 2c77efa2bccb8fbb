"""A baseline's own `fit`, cut short after what is to be seen of it, with a probe at its joints.

The kit's loop runs as it is: batches, progress frames, the state written at a checkpoint. Only
its length is changed: each phase ends once the probe has seen enough, with one checkpoint.
Trap: the methods import `Training` by name, so it is replaced in their own module.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from torch import Tensor

from baselines.kit import images, training
from baselines.kit.images import TrainingImages
from harness.contract import Verdict
from harness.contract.frames import ProgressFrame

Step = Callable[[Tensor], Tensor]


class Probe(Protocol):
    """What looks at a training."""

    def span(self, name: str) -> AbstractContextManager[None]:
        """Look at one of: `loading`, `first pass`, `state`, `judging pass`."""
        ...

    def around(self, phase: Phase, step: Step) -> Step:
        """The step of a phase that begins, and what looks at it."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether enough of the present phase was seen."""
        ...


@dataclass(frozen=True)
class Phase:
    """One phase of a training at full length."""

    images: int
    """Training images."""
    batch_size: int
    """Images of a step."""
    epochs: int
    """Epochs."""
    steps_per_epoch: int
    """Steps of each."""
    checkpoints: int
    """How often the state is written."""
    is_judged: bool
    """Whether the harness then asks the validation images."""


@dataclass(frozen=True)
class _Schedule(training.Schedule):
    """A checkpoint at the end, and none before."""

    probe: Any = None

    def is_checkpoint(self, epoch: int) -> bool:
        return bool(self.probe.is_done)


class _Joints:
    """Opens and closes the probe's spans, which begin and end in different calls."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._open: AbstractContextManager[None] | None = None

    def begin(self, name: str) -> None:
        self.end()
        self._open = self.probe.span(name)
        self._open.__enter__()

    def end(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None


def bounded(joints: _Joints) -> type[training.Training]:
    """The kit's training, as long as the probe wants it."""

    class BoundedTraining(training.Training):
        def __init__(self, split: TrainingImages, schedules: Any, **more: Any) -> None:
            joints.end()  # the first pass
            super().__init__(split, schedules, **more)
            self._full = [_phase(schedule, len(split)) for schedule in schedules]
            self._schedules = tuple(
                _Schedule(**asdict(schedule), probe=joints.probe) for schedule in schedules
            )

        def run(self, step: Step, state: Mapping[str, Any], **more: Any) -> None:
            phase = self._full[self._phase + 1]
            super().run(joints.probe.around(phase, step), state, **more)

        def _batches(self, *of: Any) -> Iterator[Tensor]:
            for indices in super()._batches(*of):
                if joints.probe.is_done:
                    break
                yield indices
            if joints.probe.is_done:
                joints.begin("state")

        def _is_last_word(self, schedule: Any, *more: Any) -> bool:
            joints.begin("judging pass")
            super()._is_last_word(schedule, *more)
            joints.end()
            self._is_stopped = False  # the next phase is to be seen too
            return True

    return BoundedTraining


def _phase(schedule: training.Schedule, count: int) -> Phase:
    per_epoch = schedule.steps(count) // schedule.epochs
    checkpoints = sum(schedule.is_checkpoint(epoch + 1) for epoch in range(schedule.epochs))
    return Phase(
        count, schedule.batch_size, schedule.epochs, per_epoch, checkpoints, schedule.is_judged
    )


@dataclass
class Listener:
    """The harness's side of a training: frames go nowhere, nothing is asked."""

    joints: _Joints
    state_folder: Path
    reported: list[float] = field(default_factory=list)
    """When each progress frame came."""

    def progress(self, step: int, steps: int, loss: float | None = None) -> None:
        """Write the frame as `serve` does, to nowhere."""
        with Path(os.devnull).open("wb", buffering=0) as nowhere:
            nowhere.write(ProgressFrame(step=step, steps=steps, loss=loss).line())
        self.reported.append(time.perf_counter())

    def __call__(self, step: int) -> Verdict:
        self.joints.end()  # the judging pass
        return Verdict(keep=True, stop=True)


@contextmanager
def watched(module: ModuleType, probe: Probe) -> Iterator[_Joints]:
    """Inside, what the method in this module trains is as long as the probe wants it."""
    joints, read = _Joints(probe), images.read_training_images

    def read_watched(folder: Path, size: int) -> TrainingImages:
        with probe.span("loading"):
            split = read(folder, size)
        joints.begin("first pass")
        return split

    own = vars(module).get("Training")
    images.read_training_images = read_watched
    if own is not None:
        module.Training = bounded(joints)
    try:
        yield joints
    finally:
        joints.end()
        images.read_training_images = read
        if own is not None:
            module.Training = own
