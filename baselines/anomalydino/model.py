"""AnomalyDINO: cosine distance of DINOv2's patch tokens to the nearest token of normal images.

Damm et al., "AnomalyDINO: Boosting Patch-based Few-shot Anomaly Detection with DINOv2" (WACV 2025),
with anomalib's network. Traps: all tokens of a whole benchmark take 12 to 41 GB, so beyond
`bank_size` a coreset of them is kept; anomalib and the authors' code find the foreground by a PCA
with random starts, which is seeded here, and the mask belongs to test images alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.anomalib_backbones import pretrained_backbones
from baselines.kit.anomalib_model import AnomalibModel
from baselines.kit.anomalib_parts import library
from baselines.kit.coreset import select_coreset
from baselines.kit.images import TrainingImages
from baselines.kit.settings import check_choice
from baselines.kit.timm_vits import VitForm
from harness.contract import Checkpoint

SELECTION_STEPS = 100  # progress frames during the selection
UPSAMPLING = ("bilinear", "nearest")


class AnomalyDino(AnomalibModel):
    """A memory bank of normal tokens; nothing is learned by gradient."""

    part, network = "anomaly_dino", "AnomalyDINOModel"
    arguments = ()
    weight_kinds = ("pretrained", "random")

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        check_choice(params, "upsample", UPSAMPLING)
        super().__init__(device, seed, params, weights)

    def make(self, weights: Path | None) -> nn.Module:
        """anomalib's network on any ViT of timm's, with a map as `upsample` says.

        Raises:
            ValueError: the image is no whole number of patches wide.
            WeightsNotFound: as the adapter.
        """
        kind = library(f"models.image.{self.part}.torch_model").AnomalyDINOModel
        name: str = self.params["backbone"]
        form = VitForm.of(name)
        form.check_size(self.size)
        # anomalib looks the number of blocks up in a table of DINOv2's sizes.
        sized = type(
            "Sized", (kind,), {"_last_block_index": staticmethod(lambda _: form.depth - 1)}
        )
        with pretrained_backbones(self.params["weights"], weights, self.seed, self.frozen):
            made: nn.Module = sized(
                num_neighbours=self.params["neighbours"],
                encoder_name=name,
                masking=self.params["foreground_mask"],
            )
        made.anomaly_map_generator = _Enlarged(self.params["upsample"])
        return made

    def prepare(self, split: TrainingImages) -> TrainingImages:
        """Every image under `rotations` equal parts of a turn, the upright one first."""
        turns: int = self.params["rotations"]
        angles = [360 * turn / turns for turn in range(1, turns)]
        turned = [
            torch.stack([_rotated(image, angle) for image in split.pixels]) for angle in angles
        ]
        return TrainingImages(torch.cat([split.pixels, *turned]))

    @torch.no_grad()
    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Fill the memory bank: all tokens where `bank_size` holds them, else a coreset."""
        split = self.prepare(images.read_training_images(train, self.size))
        batch_size: int = self.params["batch_size"]
        batches = -(-len(split) // batch_size)
        per_image = (self.size // self.model.patch_size) ** 2  # type: ignore[operator]
        wanted = self._candidates(len(split) * per_image)
        is_thinned = len(wanted) > self.params["bank_size"]
        steps = batches + SELECTION_STEPS * is_thinned
        self.model.eval()
        parts, first = [], 0
        for step, pixels in enumerate(split.batches(batch_size, self.device), start=1):
            rows = self.embed(pixels).flatten(0, 1)
            low, high = torch.searchsorted(
                wanted, torch.tensor([first, first + len(rows)])
            ).tolist()
            parts.append(rows[(wanted[low:high] - first).to(self.device)])
            first += len(rows)
            checkpoint.progress(step, steps, None)
        bank = torch.cat(parts)
        if is_thinned:
            bank = bank[self._choose(bank, batches, steps, checkpoint)]
        self.model.memory_bank = bank.contiguous()

    def embed(self, pixels: Tensor) -> Tensor:
        """Patch tokens (B, N, D) of length 1 from (B, 1 or 3, S, S) uint8, DINOv2's last norm done."""
        normalised = self.normalised(pixels)
        found: Tensor = self.model.extract_features(normalised)  # type: ignore[operator]
        return functional.normalize(found, dim=-1)

    def _candidates(self, total: int) -> Tensor:
        """Numbers of the tokens that may enter the bank, ascending, on the CPU."""
        limit: int = self.params["max_patches" if self.device.type == "cuda" else "cpu_max_patches"]
        limit = max(limit, self.params["bank_size"])
        if limit >= total:
            return torch.arange(total)
        draw = torch.randperm(total, generator=determinism.generator(self.seed, "patches"))
        return draw[:limit].sort().values

    def _choose(self, bank: Tensor, batches: int, steps: int, checkpoint: Checkpoint) -> Tensor:
        """Which rows of (N, D) to keep, ascending: a greedy k-centre selection."""
        size: int = self.params["bank_size"]

        def selected(done: int, _: int) -> None:
            before, now = ((count * SELECTION_STEPS) // size for count in (done - 1, done))
            if now > before:
                checkpoint.progress(batches + now, steps, None)

        draw = determinism.generator(self.seed, "start")
        start = torch.randint(len(bank), (1,), generator=draw)
        return select_coreset(bank.clone(), size, start, selected).sort().values

    def infer(self, pixels: Tensor) -> Any:
        """anomalib's forward pass; its PCA's random start is the same for every image."""
        with _numpy_seeded(self.seed):
            return self.forward(pixels)


class _Enlarged(nn.Module):
    """Patch distances brought to the image and blurred by a Gaussian of sigma 4."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    def forward(self, distances: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, 1, h, w) to (B, 1, *size)."""
        return maps.gaussian_blur(maps.resize(distances, size, self._mode), border="reflect")


def _rotated(image: Tensor, degrees: float) -> Tensor:
    """(C, S, S) uint8 turned around its middle, the image mirrored beyond its border."""
    side = image.shape[-1]
    planes = np.pad(image.numpy(), ((0, 0), (side // 2,) * 2, (side // 2,) * 2), mode="reflect")
    turned = [
        np.array(Image.fromarray(plane).rotate(degrees, Image.Resampling.BILINEAR))
        for plane in planes
    ]
    inner = slice(side // 2, side // 2 + side)
    return torch.from_numpy(np.stack(turned)[:, inner, inner].copy())


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Inside, numpy's global generator, from which scikit-learn draws, has a state of its own."""
    before = np.random.get_state()  # noqa: NPY002 - scikit-learn's
    np.random.seed(determinism.seed_for(seed, "PCA") % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
