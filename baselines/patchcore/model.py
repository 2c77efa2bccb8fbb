"""PatchCore: distance to the nearest patch of a thinned-out memory of normal patches.

Roth et al., "Towards total recall in industrial anomaly detection" (2022). The memory is
thinned by greedy selection on 128-dimensional random projections (float16 on a GPU), so
that all patches of a data set fit; the chosen ones are then extracted once more. Trap: the
selection costs (patches x chosen), so a CPU draws `cpu_max_patches` patches first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.kit import determinism, images, maps, patches, saved
from baselines.kit.backbones import Backbone
from baselines.kit.images import TrainingImages
from baselines.kit.memory_bank import MemoryBank
from harness.contract import Checkpoint

# Progress frames during the selection.
SELECTION_STEPS = 100


class PatchCore:
    """A coreset of normal patches, and the distance to it."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        self.backbone = Backbone(
            params["backbone"],
            params["layers"],
            weights=params["weights"],
            folder=weights,
            seed=seed,
        ).to(self.device)
        self.bank = MemoryBank(torch.empty(0, 0))

    def embed(self, pixels: Tensor) -> Tensor:
        """Patch descriptors (B, D, h, w) from (B, 1 or 3, S, S) uint8."""
        features = self.backbone(images.normalise(pixels, "imagenet"))
        if self.params["descriptor"] == "pooled":
            return patches.pooled_patches(features, self.params["pooled_dims"])
        return patches.mean_patches(features)

    @torch.inference_mode()
    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Fill the memory: project all patches, select a coreset, keep its descriptors."""
        split = images.read_training_images(train, self.size)
        probe = self.embed(next(split.batches(1, self.device)))
        total = len(split) * probe[0, 0].numel()
        candidates = self._candidates(total)
        chosen_count = max(1, int(len(candidates) * self.params["coreset_ratio"]))
        store_bytes = len(candidates) * probe.shape[1] * probe.element_size()
        is_stored = store_bytes <= self.params["store_mib"] * 1024**2
        report = _Progress(checkpoint, self._batch_count(split), passes=1 if is_stored else 2)

        projection = self._projection(probe.shape[1])
        points, stored = [], []
        for descriptors in self._descriptors(split, candidates, report):
            points.append((descriptors @ projection).to(self._point_type))
            stored.append(descriptors.cpu() if is_stored else descriptors[:0].cpu())
        start = torch.randint(
            len(candidates), (1,), generator=determinism.generator(self.seed, "start")
        )
        order = select_coreset(torch.cat(points), chosen_count, int(start), report.selected)
        chosen = order.cpu().sort().values
        if is_stored:
            vectors = torch.cat(stored)[chosen].to(self.device)
        else:
            vectors = torch.cat(list(self._descriptors(split, candidates[chosen], report)))
        self.bank = MemoryBank(vectors)

    @property
    def _point_type(self) -> torch.dtype:
        """float16 lets the 20.6 million patches of OCT2017 fit in 5.3 GB of GPU memory."""
        return torch.float16 if self.device.type == "cuda" else torch.float32

    def _candidates(self, total: int) -> Tensor:
        """Numbers of the patches that may enter the memory, ascending, on the CPU."""
        limit: int = self.params["max_patches"]
        if self.device.type == "cpu":
            limit = min(limit or total, self.params["cpu_max_patches"] or total)
        if not limit or limit >= total:
            return torch.arange(total)
        draw = torch.randperm(total, generator=determinism.generator(self.seed, "patches"))
        return draw[:limit].sort().values

    def _projection(self, dims: int) -> Tensor:
        """(D, projection_dims) Gaussian: distances survive it (Johnson and Lindenstrauss)."""
        target: int = self.params["projection_dims"]
        draw = torch.randn(dims, target, generator=determinism.generator(self.seed, "projection"))
        projection: Tensor = draw / target**0.5
        return projection.to(self.device)

    def _batch_count(self, split: TrainingImages) -> int:
        return -(-len(split) // int(self.params["batch_size"]))

    def _descriptors(
        self, split: TrainingImages, wanted: Tensor, report: _Progress
    ) -> Iterator[Tensor]:
        """Descriptors (n, D) of the wanted patches (ascending numbers), batch by batch."""
        first = 0
        for pixels in split.batches(self.params["batch_size"], self.device):
            rows = self.embed(pixels).permute(0, 2, 3, 1).flatten(0, 2)  # (B*h*w, D)
            low, high = torch.searchsorted(wanted, torch.tensor([first, first + len(rows)]))
            yield rows[(wanted[low:high] - first).to(self.device)]
            first += len(rows)
            report.batch()

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Distance of every patch to the memory as map; the re-weighted largest as score."""
        embedding = self.embed(images.from_array(image, self.size).to(self.device))
        vectors = embedding[0].flatten(1).T.contiguous()  # (P, D)
        distances, indices = self.bank.nearest(vectors, 1)
        grid = distances.view(1, 1, *embedding.shape[2:])
        full = maps.resize(grid, (self.size, self.size), self.params["upsample"])
        worst = int(distances.argmax())
        score = float(distances[worst, 0])
        if self.params["neighbours"] > 1:
            score *= self._weight(vectors[worst], int(indices[worst, 0]))
        return maps.to_array(maps.gaussian_blur(full), image.shape[:2]), score

    def _weight(self, patch: Tensor, nearest: int) -> float:
        """1 - softmax over the neighbours of the nearest memory (equation 7): rarer counts more."""
        memory = self.bank.vectors[nearest]
        count = min(self.params["neighbours"], len(self.bank))
        _, around = self.bank.nearest(memory[None], count)
        distances = torch.linalg.vector_norm(self.bank.vectors[around[0]] - patch, dim=1)
        return float(1 - torch.softmax(distances, dim=0)[0])

    def save(self, folder: Path) -> None:
        """Write the memory."""
        saved.save_tensors(folder, {"bank": self.bank.vectors}, self.backbone.identity)

    def load(self, folder: Path) -> None:
        """Read the memory.

        Raises:
            ValueError: it belongs to another backbone.
        """
        tensors, identity = saved.load_tensors(folder, self.device)
        self.backbone.check_same_as(identity)
        self.bank = MemoryBank(tensors["bank"])


class _Progress:
    """Counts batches and hundredths of the selection as steps."""

    def __init__(self, checkpoint: Checkpoint, batches: int, *, passes: int) -> None:
        self._checkpoint = checkpoint
        self._steps, self._step = batches * passes + SELECTION_STEPS, 0

    def batch(self) -> None:
        """One batch of images is done."""
        self._step += 1
        self._checkpoint.progress(self._step, self._steps, None)

    def selected(self, done: int, size: int) -> None:
        """`done` of `size` patches are selected."""
        before, now = ((count * SELECTION_STEPS) // size for count in (done - 1, done))
        self._step += now - before
        if now > before:
            self._checkpoint.progress(self._step, self._steps, None)


def select_coreset(points: Tensor, size: int, start: int, on_selected: Any = None) -> Tensor:
    """Greedy k-centre selection: again and again the point farthest from those chosen.

    Args:
        points: (N, d) float32 or, on a GPU, float16; changed in place (centred).
        size: how many to choose, at most N.
        start: the first choice.
        on_selected: called with (chosen, size) after each choice.
    Returns:
        (size,) int64 on the device of `points`, in the order of choice.
    """
    points -= points.mean(dim=0, dtype=torch.float32).to(
        points.dtype
    )  # smaller sums, less rounding
    norms = torch.linalg.vector_norm(points, dim=1, dtype=torch.float32).square()
    nearest = torch.full_like(norms, torch.inf)  # squared distance to the nearest choice
    order = torch.empty(size, dtype=torch.int64, device=points.device)
    choice = torch.tensor(start, device=points.device)
    for number in range(size):
        order[number] = choice
        squares = norms + norms[choice] - 2 * _products(points, points[choice])
        torch.minimum(nearest, squares, out=nearest)
        nearest[order[number]] = -torch.inf  # never twice, rounding or not
        choice = nearest.argmax()
        if on_selected:
            on_selected(number + 1, size)
    return order


def _products(points: Tensor, centre: Tensor) -> Tensor:
    """(N,) float32 inner products; float16 points are summed up in float32."""
    if points.dtype == torch.float16:
        return torch.mm(points, centre[:, None], out_dtype=torch.float32)[:, 0]
    return points @ centre
