"""Prints, as JSON, how far our methods lie from anomalib's modules with the same weights."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.models.image.ganomaly.loss import DiscriminatorLoss, GeneratorLoss
from anomalib.models.image.ganomaly.torch_model import GanomalyModel
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel
from PIL import Image

from baselines.kit import images
from tests.baselines.conftest import BASELINES, Listener, module_of, open_baseline, slice_image

SIZE = 64
FOUND: dict[str, float] = {}


def note(name: str, ours: Any, theirs: Any) -> None:
    ours, theirs = (np.asarray(value, dtype=np.float64) for value in (ours, theirs))
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    FOUND[name] = float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def same_backbone(extractor: torch.nn.Module, backbone: torch.nn.Module) -> None:
    """Give timm's ResNet the weights of ours; stem and layers differ in name alone."""
    names = {"stages.stem.0.": "conv1.", "stages.stem.1.": "bn1."}
    state = {}
    for key, value in backbone.state_dict().items():
        renamed = key
        for old, new in names.items():
            renamed = renamed.replace(old, new)
        state[renamed.removeprefix("stages.")] = value
    missing, unexpected = extractor.feature_extractor.load_state_dict(state, strict=False)
    assert not missing, missing
    assert not unexpected, unexpected


def padim(folder: Path, pixels: torch.Tensor, image: np.ndarray) -> None:
    ours = open_baseline(BASELINES / "padim").make()
    ours.fit(folder, Listener())
    theirs = PadimModel("resnet18", ["layer1", "layer2", "layer3"], False, 20)
    same_backbone(theirs.feature_extractor, ours.backbone)
    theirs.idx = ours.channels
    theirs.train()
    theirs(images.normalise(images.read_training_images(folder, SIZE).pixels, "imagenet"))
    theirs.fit()
    note("padim mean", ours.mean, theirs.gaussian.mean)
    note("padim inverse covariance", ours.inverse, theirs.gaussian.inv_covariance)
    theirs.eval()
    expected = theirs(pixels)
    anomaly_map, score = ours.predict(image)
    note("padim map", anomaly_map, expected.anomaly_map[0, 0])
    note("padim score", score, expected.pred_score[0, 0])


def patchcore(folder: Path, pixels: torch.Tensor, image: np.ndarray) -> None:
    ours = open_baseline(BASELINES / "patchcore").make(layers=["layer2", "layer3"])
    ours.fit(folder, Listener())
    theirs = PatchcoreModel(["layer2", "layer3"], "resnet18", False, 9)
    same_backbone(theirs.feature_extractor, ours.backbone)
    descriptors = theirs.train()(pixels)
    found = ours.embed(images.from_array(image, SIZE)).permute(0, 2, 3, 1).flatten(0, 2)
    note("patchcore descriptors", found, descriptors)
    theirs.memory_bank = ours.bank.vectors
    expected = theirs.eval()(pixels)
    anomaly_map, score = ours.predict(image)
    note("patchcore map", anomaly_map, expected.anomaly_map[0, 0])
    note("patchcore score", score, expected.pred_score[0])


def rd4ad(folder: Path, pixels: torch.Tensor, image: np.ndarray) -> None:
    for mode in ("add", "multiply"):
        baseline = open_baseline(BASELINES / "rd4ad")
        ours = baseline.make(map_mode=mode)
        theirs = ReverseDistillationModel(
            "resnet18", (SIZE, SIZE), ["layer1", "layer2", "layer3"], mode, False
        )
        same_backbone(theirs.encoder, ours.teacher)
        ours.student.train()
        theirs.bottleneck.load_state_dict(ours.student.bottleneck.state_dict())
        theirs.decoder.load_state_dict(ours.student.decoder.state_dict())
        batch = images.normalise(images.read_training_images(folder, SIZE).pixels, "imagenet")
        first = ours.teacher(batch)
        note(
            "rd4ad loss",
            module_of(baseline).distance(first, ours.student(first)).detach(),
            ReverseDistillationLoss()(*theirs.train()(batch)).detach(),
        )
        # Both have now moved their batch statistics by the same batch.
        expected = theirs.eval()(pixels)
        anomaly_map, score = ours.predict(image)
        note(f"rd4ad map, {mode}", anomaly_map, expected.anomaly_map[0, 0].detach())
        note("rd4ad score", score, expected.pred_score[0, 0].detach())


def in_order(theirs: torch.nn.Module, ours: torch.nn.Module) -> None:
    """Give their network our weights; the layers have other names and the same order."""
    values = ours.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))


def ganomaly(folder: Path, _pixels: torch.Tensor, image: np.ndarray) -> None:
    for size in (SIZE, 49):  # 49 pixels are padded to 64
        ours = open_baseline(BASELINES / "ganomaly").make(image_size=size, variant="anomalib")
        theirs = GanomalyModel((64, 64), 3, 8, 10)
        in_order(theirs.generator, ours.generator)
        in_order(theirs.discriminator, ours.discriminator)
        pixels = images.read_training_images(folder, size).pixels
        batch = images.normalise(pixels, "symmetric")
        padded, fake, latent_i, latent_o = theirs.train()(batch)
        ours.generator.train()
        note(f"ganomaly input, {size} pixels", ours._input(pixels), padded)
        real, made = (theirs.discriminator(one)[0] for one in (padded, fake))
        expected = GeneratorLoss()(latent_i, latent_o, padded, fake, real, made)
        loss, our_fake, logits = ours._generator_loss(ours._input(pixels))
        note(f"ganomaly image made, {size} pixels", our_fake, fake)
        note(f"ganomaly generator's loss, {size} pixels", loss, expected)
        note(
            f"ganomaly discriminator's loss, {size} pixels",
            ours._discriminator_loss(logits, our_fake),
            DiscriminatorLoss()(real, made),
        )
        # Both have now moved their batch statistics by the same batch.
        seen = images.normalise(images.from_array(image, size), "symmetric")
        found = ours.predict(image)[1]
        note(f"ganomaly score, {size} pixels", found, theirs.eval()(seen).pred_score[0])


def main() -> None:
    image = slice_image(77, SIZE, SIZE)
    pixels = images.normalise(images.from_array(image, SIZE), "imagenet")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(10):
            Image.fromarray(slice_image(number)).save(folder / f"{number:02}.png")
        with torch.no_grad():
            for compare in (padim, patchcore, rd4ad, ganomaly):
                compare(folder, pixels, image)
    print(json.dumps(FOUND))


if __name__ == "__main__":
    main()
