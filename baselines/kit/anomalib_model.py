"""anomalib's own networks as entries: its code, in the harness's hands.

A subclass names a network of `anomalib/models/image/<part>/` and how it learns:

    class Model(AnomalibModel):
        part, network = "padim", "PadimModel"
        arguments = ("backbone", "layers", "n_features")
        finish = "fit"                        # after one pass over the images

`python -m harness.start NAME --from anomalib:Padim` writes such a folder. Nothing is downloaded:
the backbone's weights come from the weights folder, or are random where `weights = "random"`.
Trap: a network that keeps a memory of all training images holds it in memory, as in anomalib.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import timm
import torch
from torch import Tensor, nn

from baselines.kit import determinism, images, maps, saved
from baselines.kit.anomalib_parts import library
from baselines.kit.backbones import weight_path
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
    """Parameters of `entry.toml` that the class is made with."""
    loss: ClassVar[str] = ""
    """Class in its `loss.py`, called with what the network returns while it trains; empty: none."""
    finish: ClassVar[str] = ""
    """Method that is called after one pass over the images, where there is no loss."""
    finish_arguments: ClassVar[Sequence[str]] = ()
    """Parameters of `entry.toml` that this method takes."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        check_choice(params, "weights", ("imagenet", "random"))
        made_with = {name: params[name] for name in self.arguments}
        kind = getattr(library(f"models.image.{self.part}.torch_model"), self.network)
        with determinism.seeded(seed, self.network), _backbones(params["weights"], weights):
            self.model: nn.Module = kind(**made_with).to(self.device)

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """What goes down the loss; only where there is one."""
        return torch.optim.Adam(parameters, lr=self.params["learning_rate"])

    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Down the loss, epoch by epoch; or one pass that remembers, and `finish`."""
        split = images.read_training_images(train, self.size)
        if self.loss:
            self._descend(split, checkpoint)
        else:
            self._remember(split, checkpoint)

    def _remember(self, split: images.TrainingImages, checkpoint: Checkpoint) -> None:
        size: int = self.params["batch_size"]
        steps = -(-len(split) // size)
        self.model.train()
        with torch.no_grad(), determinism.seeded(self.seed, "fit"):
            for step, pixels in enumerate(split.batches(size, self.device), start=1):
                self.model(images.normalise(pixels, "imagenet"))
                checkpoint.progress(step, steps, None)
            getattr(self.model, self.finish)(*(self.params[n] for n in self.finish_arguments))
        for (
            buffer
        ) in self.model.buffers():  # as `load` lays them out: the same bytes in every product
            buffer.data = buffer.data.contiguous()

    def _descend(self, split: images.TrainingImages, checkpoint: Checkpoint) -> None:
        criterion = getattr(library(f"models.image.{self.part}.loss"), self.loss)()
        learned = [each for each in self.model.parameters() if each.requires_grad]
        optimiser = self.optimiser(learned)

        def step(pixels: Tensor) -> Tensor:
            self.model.train()
            found = self.model(images.normalise(pixels, "imagenet"))
            return descend(criterion(*found), optimiser)

        training = Training(
            split, [Schedule.of(self.params)], seed=self.seed, device=self.device,
            checkpoint=checkpoint,
        )  # fmt: skip
        training.run(step, {"network": self.model, "optimiser": optimiser})

    @torch.no_grad()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """anomalib's map, brought to the image's own size, and its score; both raw."""
        self.model.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        found = self.model(images.normalise(pixels, "imagenet"))
        full = found.anomaly_map.float().reshape(1, 1, *found.anomaly_map.shape[-2:])
        return maps.to_array(full, image.shape[:2]), float(found.pred_score.flatten()[0])

    def save(self, folder: Path) -> None:
        """Write everything that the network holds, its backbone included."""
        saved.save_tensors(folder, self.model.state_dict())

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self.model.load_state_dict(saved.load_tensors(folder, self.device))


@contextmanager
def _backbones(weights: str, folder: Path | None) -> Iterator[None]:
    """Inside, a network that asks timm for a pretrained backbone gets the file of the weights folder.

    Raises:
        WeightsNotFound: the folder does not hold it.
        ValueError: the harness knows no such file.
    """
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **more: Any) -> nn.Module:
        if pretrained and weights == "imagenet":
            more["pretrained_cfg_overlay"] = {"file": str(weight_path(name, folder))}
        return create(name, pretrained=pretrained and weights == "imagenet", **more)

    with patch.object(timm, "create_model", offline):
        yield
