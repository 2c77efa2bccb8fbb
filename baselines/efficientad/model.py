"""EfficientAD: a student and an autoencoder follow a small distilled teacher, image by image.

Batzner, Heckler, König, "EfficientAD: accurate visual anomaly detection at millisecond-level
latencies" (2024). The networks are anomalib's; the loss is the same sum, with the penalty on foreign
images made optional. Traps: the quantiles that put both maps on one scale must come from normal images
that did not train the student, and never from test images; the network normalises its images itself;
the paper's pixel counts suit a batch of one.
"""

from __future__ import annotations

import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR
from torchvision.transforms.functional import rgb_to_grayscale

from baselines.kit import determinism
from baselines.kit.anomalib_model import AnomalibModel
from baselines.kit.backbones import weight_path
from baselines.kit.images import TrainingImages
from baselines.kit.settings import check_choice
from baselines.kit.weight_files import sha256_of
from harness.contract import NotApplicable

TEACHER, PENALTY_IMAGES = "efficientad_teacher", "imagenette2"
# Share of the squared differences between student and teacher that is learned from (section 3.2).
HARD = 0.999
# Quantiles of each map on held-out normal images that become 0 and 0.1 (section 3.4).
QUANTILES = (0.9, 0.995)
GREY_PENALTY_IMAGES = 0.3
# The autoencoder halves the image five times, and enlarges what is left in steps of its size / 64.
STRIDE, SMALLEST, PAPERS_SIZE = 32, 128, 256


class EfficientAd(AnomalibModel):
    """Where the student follows neither the teacher nor the autoencoder, the image is anomalous."""

    part, network = "efficient_ad", "EfficientAdModel"
    arguments = ("teacher_out_channels", "model_size")
    normalisation = "unit"

    def make(self, weights: Path | None) -> nn.Module:
        """anomalib's networks; below 256 pixels the encoder's last convolution spans what is left.

        Raises:
            WeightsNotFound: the weights folder lacks the teacher or the penalty images.
            ValueError: an unknown word, or a size that the autoencoder cannot take.
        """
        check_choice(self.params, "model_size", ("small", "medium"))
        check_choice(self.params, "penalty", ("imagenet", "none"))
        if self.size % STRIDE or self.size < SMALLEST:
            raise ValueError(
                f"image_size is {self.size}; it must be a multiple of {STRIDE} from {SMALLEST} on"
            )
        model = super().make(weights)
        if self.size < PAPERS_SIZE:
            model.ae.encoder.enconv6 = nn.Conv2d(64, 64, kernel_size=self.size // STRIDE)
        identity = f"random/{self.seed}"
        if self.params["weights"] != "random":
            file = weight_path(TEACHER, weights)
            model.teacher.load_state_dict(read_teacher(file, self.params["model_size"]))
            identity = f"sha256:{sha256_of(file)}"
        self.frozen.add(model.teacher, identity)
        wants_penalty = self.params["penalty"] == "imagenet"
        self.penalty_file = weight_path(PENALTY_IMAGES, weights) if wants_penalty else None
        return model

    def prepare(self, split: TrainingImages) -> TrainingImages:
        """Hold some images out for the quantiles; standardise the teacher on the others.

        Raises:
            NotApplicable: fewer than 2 images.
        """
        if len(split) < 2:
            raise NotApplicable("EfficientAD needs at least 2 training images: one is held out")
        order = torch.randperm(len(split), generator=determinism.generator(self.seed, "held out"))
        count = max(1, round(self.params["held_out"] * len(split)))
        self.held_out = TrainingImages(split.pixels[order[:count].sort().values])
        seen = TrainingImages(split.pixels[order[count:].sort().values])
        self.model.mean_std.update(self._teacher_statistics(seen))
        if self.penalty_file is not None:
            self.penalty_images = read_penalty_images(self.penalty_file, self.size)
        return seen

    @torch.no_grad()
    def _teacher_statistics(self, split: TrainingImages) -> dict[str, Tensor]:
        """Mean and standard deviation, (1, C, 1, 1) each, of the teacher's channels."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for pixels in split.batches(1, self.device):
            features = self.model.teacher(self.normalised(pixels)).double()
            count += features[:, 0].numel()
            total = total.to(features) + features.sum(dim=(0, 2, 3), keepdim=True)
            squares = squares.to(features) + features.square().sum(dim=(0, 2, 3), keepdim=True)
        mean = total / count
        return {"mean": mean.float(), "std": (squares / count - mean.square()).sqrt().float()}

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: ARG002
        """Adam on student and autoencoder: mean, deviation and quantiles are parameters too."""
        return torch.optim.Adam(
            [*self.model.student.parameters(), *self.model.ae.parameters()],
            lr=self.params["learning_rate"],
            weight_decay=self.params["weight_decay"],
        )

    def rates(
        self, optimiser: torch.optim.Optimizer, epochs: int, steps_per_epoch: int
    ) -> LRScheduler:
        """A tenth after 95 per cent of the steps (appendix A.1)."""
        return MultiStepLR(optimiser, [int(0.95 * epochs * steps_per_epoch)], gamma=0.1)

    def loss_of(self, pixels: Tensor) -> Tensor:
        """The student's loss, the autoencoder's, and the one between them (algorithm 1)."""
        model, batch = self.model, self.normalised(pixels)
        channels: int = model.teacher_out_channels
        _, distance = model.compute_student_teacher_distance(batch)
        hard = distance[distance >= torch.quantile(distance.detach(), HARD)].mean()
        coloured = model.choose_random_aug_image(batch)
        coded = model.ae(coloured, batch.shape[-2:])
        with torch.no_grad():
            taught = (model.teacher(coloured) - model.mean_std["mean"]) / model.mean_std["std"]
        followed = model.student(coloured)[:, channels:]
        loss: Tensor = hard + (taught - coded).square().mean() + (coded - followed).square().mean()
        if self.penalty_file is None:
            return loss
        foreign = model.student(self._penalty_image(pixels.device))[:, :channels]
        return loss + foreign.square().mean()

    def _penalty_image(self, device: torch.device) -> Tensor:
        """(1, 3, S, S) in [0, 1]: one drawn at random, three of ten without colour."""
        number = int(torch.randint(len(self.penalty_images), ()))
        image = self.penalty_images[number].permute(2, 0, 1)[None]
        if float(torch.rand(())) < GREY_PENALTY_IMAGES:
            image = rgb_to_grayscale(image, num_output_channels=3)
        return self.normalised(image.to(device))

    @torch.no_grad()
    def before_checkpoint(self, split: TrainingImages) -> None:  # noqa: ARG002
        """Quantiles of both maps over the held-out images."""
        self.model.eval()
        found = [
            self.model.get_maps(self.normalised(pixels), normalize=False)
            for pixels in self.held_out.batches(1, self.device)
        ]
        for name, maps in zip(("st", "ae"), zip(*found, strict=True), strict=True):
            values = np.concatenate([each.cpu().numpy().ravel() for each in maps])
            for letter, value in zip("ab", np.quantile(values, QUANTILES), strict=True):
                self.model.quantiles[f"q{letter}_{name}"].fill_(float(value))


def read_teacher(archive: Path, size: str) -> dict[str, Tensor]:
    """The tensors of one of the two teachers in anomalib's archive.

    Args:
        archive: a zip file that holds `pretrained_teacher_<size>.pth` in some folder.
        size: `small` or `medium`.
    Raises:
        ValueError: it holds no such file.
    """
    wanted = f"pretrained_teacher_{size}.pth"
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if name.rpartition("/")[2] == wanted]
        if not names:
            raise ValueError(f"{archive.name} holds no {wanted}")
        tensors: dict[str, Tensor] = torch.load(
            BytesIO(opened.read(names[0])), map_location="cpu", weights_only=True
        )
    return tensors


def read_penalty_images(archive: Path, size: int) -> Tensor:
    """All images of a tar file, resized to twice the size, its centre cut out: (N, S, S, 3) uint8.

    Args:
        archive: a compressed tar file with JPEG images in any folders; 2.6 GB of pixels come of
            Imagenette's 13,394 at 256 pixels.
        size: side S of an image.
    Raises:
        ValueError: it holds no image.
    """
    pixels, edge = bytearray(), size // 2
    with tarfile.open(archive) as opened:
        for member in opened:
            file = opened.extractfile(member) if member.name.endswith(".JPEG") else None
            if file is None:
                continue
            with Image.open(file) as image:
                doubled = image.convert("RGB").resize(
                    (2 * size, 2 * size), Image.Resampling.BILINEAR
                )
            pixels += doubled.crop((edge, edge, edge + size, edge + size)).tobytes()
    if not pixels:
        raise ValueError(f"{archive.name} holds no .JPEG image")
    return torch.frombuffer(pixels, dtype=torch.uint8).view(-1, size, size, 3)
