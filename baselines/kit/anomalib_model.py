"""anomalib's own networks as entries: its code, in the harness's hands.

A subclass names a network of `anomalib/models/image/<part>/` and how it learns:

    class Model(AnomalibModel):
        part, network = "padim", "PadimModel"
        arguments = ("backbone", "layers", "n_features")
        finish = "fit"                        # after one pass over the images

Where a method differs it overrides one of the hooks, in the order in which they are called: `make`,
`prepare`, `schedule`, `optimiser`, `rates`, `loss_of`, `before_checkpoint`, `infer`, `answer`.
`python -m harness.start NAME --from anomalib:Padim` writes such a folder. Traps: a network that keeps
a memory of all training images holds it in memory, as in anomalib; a network that draws must draw
from torch's global generator, which alone is seeded anew each epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from baselines.kit import determinism, images, maps, saved
from baselines.kit.anomalib_backbones import Frozen, float32, pretrained_backbones
from baselines.kit.anomalib_parts import library
from baselines.kit.images import Normalisation, Spread, TrainingImages
from baselines.kit.precision import autocast, placed
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint


class AnomalibModel:
    """A network of anomalib, trained by the kit's loop or by one pass over the images."""

    part: ClassVar[str]
    """Folder below `anomalib/models/image/`."""
    network: ClassVar[str]
    """Class in its `torch_model.py`."""
    arguments: ClassVar[Sequence[str]]
    """Parameters of `entry.toml` that the class is made with; where `input_size` and `pre_trained`
    are among them and no parameters, they are the image's size and true."""
    weight_kinds: ClassVar[Sequence[str]] = ("imagenet", "random")
    """What the parameter `weights` may say; all but `random` take files of the weights folder."""
    normalisation: ClassVar[Normalisation | Spread] = "imagenet"
    """Of the pixels that the network gets, where it is not its backbone's own; `unit` where it
    normalises them itself."""
    loss: ClassVar[str] = ""
    """Class in its `loss.py`, called with what the network returns while it trains; empty: none."""
    finish: ClassVar[str] = ""
    """Method that is called after one pass over the images, where nothing goes down a loss."""
    finish_arguments: ClassVar[Sequence[str]] = ()
    """Parameters of `entry.toml` that this method takes."""
    is_mixed_beyond_backbone: ClassVar[bool] = True
    """False: with `precision = "mixed"` the frozen backbone alone computes in bfloat16."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        check_choice(params, "weights", self.weight_kinds)
        autocast(self.device, self._precision)  # an unknown one is told of now
        self.frozen = Frozen()
        self.steps_done = 0
        with determinism.seeded(seed, self.network):
            self.model: nn.Module = placed(self.make(weights), self.device)
        self.frozen.freeze(None if self.is_mixed_beyond_backbone else self._region)

    frozen: Frozen
    """The pretrained parts: never trained, never saved; `frozen.add` takes one that `make` loads."""
    steps_done: int
    """Optimiser steps so far, for a loss that changes while it trains."""

    @property
    def _precision(self) -> str:
        precision: str = self.params.get("precision", "float32")
        return precision

    def _region(self) -> torch.autocast:
        return autocast(self.device, self._precision)

    def made_with(self) -> dict[str, Any]:
        """The arguments of the network by name."""
        derived = {"input_size": (self.size, self.size), "pre_trained": True, **self.params}
        return {name: derived[name] for name in self.arguments}

    def make(self, weights: Path | None) -> nn.Module:
        """The network, on the CPU, drawn from torch's global generator; backbones as `weights` says.

        Args:
            weights: the weights folder.
        Raises:
            WeightsNotFound: it does not hold a pretrained file that is asked for.
            ValueError: the harness knows no such file.
        """
        kind = getattr(library(f"models.image.{self.part}.torch_model"), self.network)
        with pretrained_backbones(self.params["weights"], weights, self.seed, self.frozen):
            made: nn.Module = kind(**self.made_with())
        return made

    def prepare(self, split: TrainingImages) -> TrainingImages:
        """Before training, and again when a killed one goes on: what the network must know of all
        normal images. Returns those that it is trained on."""
        return split

    def schedule(self, split: TrainingImages) -> Schedule:  # noqa: ARG002 - for who overrides it
        """Epochs and checkpoints; with a parameter `steps_per_epoch` an epoch is so many steps."""
        return Schedule.of(self.params, steps_per_epoch=self.params.get("steps_per_epoch", 0))

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """What goes down the loss; parameter groups are made of `self.model`'s parts.

        Args:
            parameters: all that the frozen parts do not hold.
        """
        return torch.optim.Adam(parameters, lr=self.params["learning_rate"])

    def rates(
        self, optimiser: torch.optim.Optimizer, epochs: int, steps_per_epoch: int
    ) -> LRScheduler | None:
        """How the learning rate changes: a schedule of torch's that is advanced after every step."""

    def loss_of(self, pixels: Tensor) -> Tensor:
        """The loss of one training batch, a scalar.

        Args:
            pixels: (B, 1 or 3, S, S) uint8.
        """
        found = self.forward(pixels)
        loss: Tensor = self.criterion(*found)
        return loss

    @property
    def criterion(self) -> nn.Module:
        """The class `loss` of the library, made without arguments."""
        made: nn.Module = getattr(library(f"models.image.{self.part}.loss"), self.loss)()
        return made

    def forward(self, pixels: Tensor, **more: Any) -> Any:
        """What the network returns for (B, 1 or 3, S, S) uint8, in float32.

        Args:
            more: what it takes beside the images.
        """
        with autocast(self.device, self._precision if self.is_mixed_beyond_backbone else "float32"):
            return float32(self.model(self.normalised(pixels), **more))

    def normalised(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) float32 from (B, 1 or 3, S, S) uint8."""
        return images.normalise(pixels, self.frozen.spread or self.normalisation)

    def before_checkpoint(self, split: TrainingImages) -> None:
        """Before the harness asks, and at the end: what `predict` needs beside the weights.

        Args:
            split: what `prepare` was given, all of it.
        """

    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Down the loss, epoch by epoch; or one pass that remembers, and `finish`."""
        split = images.read_training_images(train, self.size)
        if "epochs" in self.params:
            self._descend(split, checkpoint)
        else:
            self._remember(split, checkpoint)

    def _remember(self, split: TrainingImages, checkpoint: Checkpoint) -> None:
        seen = self.prepare(split)
        size: int = self.params["batch_size"]
        steps = -(-len(seen) // size)
        self._train_mode()
        with torch.no_grad(), determinism.seeded(self.seed, "fit"):
            for step, pixels in enumerate(seen.batches(size, self.device), start=1):
                self.forward(pixels)
                checkpoint.progress(step, steps, None)
            getattr(self.model, self.finish)(*(self.params[n] for n in self.finish_arguments))
        for buffer in self.model.buffers():
            # As `load` lays them out: the same bytes in every product.
            buffer.data = buffer.data.contiguous()

    def _descend(self, split: TrainingImages, checkpoint: Checkpoint) -> None:
        seen = self.prepare(split)
        schedule = self.schedule(seen)
        optimiser = self.optimiser([each for each in self.model.parameters() if each.requires_grad])
        per_epoch = schedule.steps(len(seen)) // schedule.epochs
        rates = self.rates(optimiser, schedule.epochs, per_epoch)
        clip_norm: float = self.params.get("clip_norm", 0)

        def step(pixels: Tensor) -> Tensor:
            self._train_mode()
            loss = descend(self.loss_of(pixels), optimiser, clip_norm=clip_norm)
            self.steps_done += 1
            if rates is not None:
                rates.step()
            return loss

        training = Training(
            seen, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        state = {"network": _Learned(self), "optimiser": optimiser}
        training.run(
            step, state if rates is None else {**state, "rates": rates},
            before_checkpoint=lambda: self.before_checkpoint(split),
        )  # fmt: skip
        if not schedule.checkpoint_every_epochs:
            self.before_checkpoint(split)

    def _train_mode(self) -> None:
        self.model.train()
        self.frozen.eval()

    @torch.no_grad()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray | None, float]:
        """The network's map, brought to the image's own size, and its score; both raw."""
        self.model.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        anomaly_map, score = self.answer(self.infer(pixels))
        if anomaly_map is None:
            return None, score
        full = anomaly_map.float().reshape(1, 1, *anomaly_map.shape[-2:])
        return maps.to_array(full, image.shape[:2]), score

    def infer(self, pixels: Tensor) -> Any:
        """What the network says of one image in evaluation mode, (1, 1 or 3, S, S) uint8."""
        return self.forward(pixels)

    def answer(self, found: Any) -> tuple[Tensor | None, float]:
        """Map (…, h, w), or None, and score from what `infer` returns: anomalib's `InferenceBatch`."""
        return found.anomaly_map, float(found.pred_score.flatten()[0])

    def learned(self) -> dict[str, Tensor]:
        """Everything that the network holds but its frozen parts."""
        return self.frozen.without(self.model)

    def save(self, folder: Path) -> None:
        """Write what was learned; the frozen parts are not written."""
        saved.save_tensors(folder, self.learned(), self.frozen.identity)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ValueError: it was learned on another backbone.
        """
        tensors = saved.load_tensors(folder, self.device, self.frozen.identity)
        self.frozen.load_beside(self.model, tensors)


class _Learned:
    """What a training that goes on takes up of the network, and how far it was."""

    def __init__(self, owner: AnomalibModel) -> None:
        self._owner = owner

    def state_dict(self) -> dict[str, Any]:
        """Tensors by name, and the number of steps."""
        return {"tensors": self._owner.learned(), "steps": self._owner.steps_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        self._owner.frozen.load_beside(self._owner.model, state["tensors"])
        self._owner.steps_done = state["steps"]
