"""Prints, as JSON, how far training steps of our entries lie from those of anomalib's own classes.

Each entry and anomalib's Lightning class begin with the same weights, get the same batch and draw
the same random numbers; named quantities are the largest difference over the largest value.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from anomalib.models.image.efficient_ad.lightning_model import EfficientAd
from anomalib.models.image.fastflow.lightning_model import Fastflow
from anomalib.models.image.supersimplenet.lightning_model import Supersimplenet
from torch import Tensor

from baselines.kit import images
from baselines.kit.anomalib_backbones import Frozen, pretrained_backbones
from tests.baselines.conftest import BASELINES, open_baseline, slice_image

STEPS = 3
FOUND: dict[str, float] = {}


def note(name: str, ours: Any, theirs: Any) -> None:
    ours, theirs = (np.asarray(value, dtype=np.float64) for value in (ours, theirs))
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    found = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    FOUND[name] = max(found, FOUND.get(name, 0.0))


def flat(values: list[Tensor]) -> Tensor:
    """All tensors as one."""
    return torch.cat([value.detach().flatten() for value in values])


def theirs_in(kind: type, **arguments: Any) -> Any:
    """Their class, without a download, a trainer and a logger."""
    with pretrained_backbones("random", None, 0, Frozen()):
        made = kind(post_processor=False, evaluator=False, visualizer=False, **arguments)
    made.log = lambda *_given, **_named: None
    return made


def steps(name: str, ours: Any, theirs: Any, batch: Tensor) -> None:
    """Losses, gradients and weights of some steps; maps and scores before and after them."""
    theirs.model.load_state_dict(ours.model.state_dict())
    learned = [each for each in ours.model.parameters() if each.requires_grad]
    optimiser = ours.optimiser(learned)
    with patch.object(type(theirs), "trainer", SimpleNamespace(max_epochs=10, max_steps=-1,
                      datamodule=SimpleNamespace(train_dataloader=lambda: [0] * STEPS))):  # fmt: skip
        made = theirs.configure_optimizers()
    their_optimiser = made[0][0] if isinstance(made, tuple) else made
    if isinstance(made, dict):
        their_optimiser = made["optimizer"]
    given = SimpleNamespace(
        image=images.normalise(batch, ours.normalisation), gt_mask=None,
        gt_label=torch.zeros(len(batch)),
    )  # fmt: skip
    if name != "efficientad":  # needs its quantiles first, and compares them itself
        maps(name, ours, theirs)
    for step in range(STEPS):
        for model in (ours, theirs):
            model.model.train()
        ours.frozen.eval()
        torch.manual_seed(step)
        loss = ours.loss_of(batch)
        torch.manual_seed(step)
        their_loss = theirs.training_step(given)["loss"]
        note(f"{name} loss", loss.detach(), their_loss.detach())
        for value, each in ((loss, optimiser), (their_loss, their_optimiser)):
            each.zero_grad()
            value.backward()
        pairs = [
            (one.grad, other.grad)
            for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True)
            if one.grad is not None
        ]
        note(
            f"{name} gradients", flat([one for one, _ in pairs]), flat([each for _, each in pairs])
        )
        optimiser.step()
        their_optimiser.step()
        note(f"{name} weights", *(flat(list(each.model.parameters())) for each in (ours, theirs)))
    if name != "efficientad":
        maps(name, ours, theirs)


@torch.no_grad()
def maps(name: str, ours: Any, theirs: Any) -> None:
    image = slice_image(77, ours.size, ours.size)
    pixels = images.normalise(images.from_array(image, ours.size), ours.normalisation)
    expected = theirs.model.eval()(pixels)
    anomaly_map, score = ours.predict(image)
    if name == "supersimplenet":  # ours are logits
        anomaly_map, score = (1 / (1 + np.exp(-np.float64(each))) for each in (anomaly_map, score))
    note(f"{name} map", anomaly_map, expected.anomaly_map[0, 0])
    note(f"{name} score", score, expected.pred_score.flatten()[0])


def batch_of(count: int, size: int) -> Tensor:
    """(N, 1, S, S) uint8."""
    return torch.cat(
        [images.from_array(slice_image(each, size, size), size) for each in range(count)]
    )


def fastflow() -> None:
    ours = open_baseline(BASELINES / "fastflow").make(image_size=64)
    theirs = theirs_in(
        Fastflow, backbone="resnet18", flow_steps=ours.params["flow_steps"],
        pre_processor=Fastflow.configure_pre_processor((64, 64)),
    )  # fmt: skip
    steps("fastflow", ours, theirs, batch_of(4, 64))


def supersimplenet() -> None:
    baseline = open_baseline(BASELINES / "supersimplenet")
    for adapted in (True, False):
        ours = baseline.make(adapt_cls_features=adapted)
        theirs = theirs_in(
            Supersimplenet, backbone="resnet18.tv_in1k", layers=ours.params["layers"],
            adapt_cls_features=adapted,
        )  # fmt: skip
        steps("supersimplenet", ours, theirs, batch_of(4, 64))


class Loader(list):
    """What their methods take for a data loader: batches of one normal image each."""

    def __init__(self, batch: Tensor) -> None:
        super().__init__(
            SimpleNamespace(image=images.normalise(each[None], "unit")[None, 0], gt_label=[0])
            for each in batch
        )


def efficientad() -> None:
    ours = open_baseline(BASELINES / "efficientad").make(
        image_size=256, teacher_out_channels=16, held_out=0.5, learning_rate=0.0001
    )
    theirs = theirs_in(EfficientAd, teacher_out_channels=16)
    seen = ours.prepare(images.TrainingImages(batch_of(4, 256)))
    theirs.model.load_state_dict(ours.model.state_dict())
    for name, found in theirs.teacher_channel_mean_std(Loader(seen.pixels)).items():
        note(f"efficientad teacher's {name}", ours.model.mean_std[name].detach(), found.detach())
    foreign = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(9))
    ours.penalty_file = "given"
    ours._penalty_image = lambda _device: foreign
    theirs.imagenet_iterator = iter([(foreign, 0)] * STEPS)
    steps("efficientad", ours, theirs, seen.pixels[:1])
    ours.before_checkpoint(seen)
    for model in (ours.model, theirs.model):
        model.eval()
    for name, found in theirs.map_norm_quantiles(Loader(ours.held_out.pixels)).items():
        note("efficientad quantiles", ours.model.quantiles[name].detach(), found)
    theirs.model.load_state_dict(ours.model.state_dict())
    maps("efficientad", ours, theirs)


def main() -> None:
    torch.use_deterministic_algorithms(True)
    for compare in (fastflow, supersimplenet, efficientad):
        compare()
    print(json.dumps(FOUND))


if __name__ == "__main__":
    main()
