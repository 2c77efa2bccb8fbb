"""PatchCore: distance to the nearest patch of a thinned-out memory of normal patches.

Roth et al., "Towards total recall in industrial anomaly detection" (2022). The memory is
thinned by greedy selection on 128-dimensional random projections (float16 on a GPU), so
that all patches of a data set fit; the chosen ones are then extracted once more. Traps: the
selection costs (patches x chosen), so a CPU draws `cpu_max_patches` patches first; the authors'
code takes squared distances for distances (`distance`), which moves the blurred map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.kit import determinism, images, maps, patches, saved
from baselines.kit.backbones import Backbone
from baselines.kit.images import TrainingImages
from baselines.kit.memory_bank import MemoryBank, row_blocks, squared_norms
from baselines.kit.precision import placed
from baselines.kit.settings import check_choice
from harness.contract import Checkpoint

# Progress frames during the selection.
SELECTION_STEPS = 100
# What the selection holds of each patch beside its projection: its number (int64), its squared
# norm, its distance, and two float32 on the way to the next distance.
BYTES_PER_CANDIDATE = 8 + 4 * 4
MIB = 1024**2
# Descriptors copied at once: 6 MB of WideResNet-50's.
ROWS_AT_ONCE = 1024
DISTANCES = ("euclidean", "squared")


class PatchCore:
    """A coreset of normal patches, and the distance to it."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        check_choice(params, "distance", DISTANCES)
        backbone = Backbone.of(params, params["layers"], folder=weights, seed=seed)
        self.backbone = placed(backbone, self.device)
        self.bank = MemoryBank(torch.empty(0, 0))

    def embed(self, pixels: Tensor) -> Tensor:
        """Patch descriptors (B, D, h, w) from (B, 1 or 3, S, S) uint8."""
        features = self.backbone(self.backbone.normalise(pixels))
        if self.params["descriptor"] == "pooled":
            return patches.pooled_patches(features, self.params["pooled_dims"])
        return patches.mean_patches(features)

    @torch.inference_mode()
    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Fill the memory: project all patches, select a coreset, keep its descriptors.

        Raises:
            ValueError: `memory_mib` holds neither the projections nor the memory itself.
        """
        split = images.read_training_images(train, self.size)
        probe = self.embed(next(split.batches(1, self.device)))  # (1, D, h, w)
        candidates = self._candidates(len(split) * probe[0, 0].numel())
        is_stored = self._has_room_to_store(len(candidates), probe.shape[1])
        report = _Progress(checkpoint, self._batch_count(split), passes=1 if is_stored else 2)
        # Filled in place: twice the memory of OCT2017 would not fit on a 24 GB GPU.
        stored = torch.empty(len(candidates) if is_stored else 0, probe.shape[1])
        chosen = self._choose(split, candidates, self._projection(probe), stored, report)
        vectors = torch.empty(len(chosen), probe.shape[1], device=self.device)
        if is_stored:
            for rows in torch.arange(len(chosen)).split(ROWS_AT_ONCE):
                vectors[rows.to(self.device)] = stored[chosen[rows]].to(self.device)
        else:
            for part, descriptors in self._extract(split, candidates[chosen], report):
                vectors[part] = descriptors
        del stored
        self.bank = MemoryBank(vectors)

    def _has_room_to_store(self, count: int, dimensions: int) -> bool:
        """Whether `memory_mib` holds all descriptors until the selection is made, too."""
        limit = self.params["memory_mib"] * MIB
        size = self._point_type.itemsize * self.params["projection_dims"]
        selection = count * (size + BYTES_PER_CANDIDATE)
        memory = self._memory_size(count) * 4 * (dimensions + 1)
        stored = count * 4 * dimensions
        if limit < (least := max(selection, memory)):
            raise ValueError(
                f"memory_mib is {self.params['memory_mib']}, and a memory chosen from {count} "
                f"patches needs at least {least // MIB + 1}: raise it, or choose from fewer "
                "(--set max_patches=…) or fewer of them (--set coreset_ratio=…)"
            )
        return bool(stored + max(selection, memory) <= limit)

    def _memory_size(self, candidates: int) -> int:
        return max(1, int(candidates * self.params["coreset_ratio"]))

    def _choose(
        self,
        split: TrainingImages,
        candidates: Tensor,
        projection: Tensor,
        stored: Tensor,
        report: _Progress,
    ) -> Tensor:
        """Which candidates to keep, ascending, on the CPU; fills `stored` where it has rows."""
        points = torch.empty(
            len(candidates), projection.shape[1], dtype=self._point_type, device=self.device
        )
        for part, descriptors in self._extract(split, candidates, report):
            points[part] = (descriptors @ projection).to(points.dtype)
            if len(stored):
                stored[part] = descriptors.cpu()
        draw = determinism.generator(self.seed, "start")
        starts = torch.randint(len(candidates), (self.params["starting_points"],), generator=draw)
        size = self._memory_size(len(candidates))
        return select_coreset(points, size, starts, report.selected).cpu().sort().values

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

    def _projection(self, probe: Tensor) -> Tensor:
        """(D, projection_dims) Gaussian: distances survive it (Johnson and Lindenstrauss).

        Scaled by the norm of the probe's descriptors (1, D, h, w): the selection knows no
        unit, and points of norm 1 are safe in float16, which ends at 65504.
        """
        target: int = self.params["projection_dims"]
        generator = determinism.generator(self.seed, "projection")
        draw = torch.randn(probe.shape[1], target, generator=generator).to(self.device)
        typical = torch.linalg.vector_norm(probe, dim=1).mean().clamp(min=1e-6)
        projection: Tensor = draw / (target**0.5 * typical)
        return projection

    def _batch_count(self, split: TrainingImages) -> int:
        return -(-len(split) // int(self.params["batch_size"]))

    def _extract(
        self, split: TrainingImages, wanted: Tensor, report: _Progress
    ) -> Iterator[tuple[slice, Tensor]]:
        """The wanted patches (ascending numbers) batch by batch: which of them, descriptors (n, D)."""
        first = 0
        for pixels in split.batches(self.params["batch_size"], self.device):
            rows = self.embed(pixels).permute(0, 2, 3, 1).flatten(0, 2)  # (B*h*w, D)
            low, high = torch.searchsorted(
                wanted, torch.tensor([first, first + len(rows)])
            ).tolist()
            yield slice(low, high), rows[(wanted[low:high] - first).to(self.device)]
            first += len(rows)
            report.batch()

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Distance of every patch to the memory as map; the re-weighted largest as score."""
        embedding = self.embed(images.from_array(image, self.size).to(self.device))
        vectors = embedding[0].flatten(1).T.contiguous()  # (P, D)
        distances, indices = self.bank.nearest(vectors, 1)
        if self.params["distance"] == "squared":
            distances = distances.square()
        grid = distances.view(1, 1, *embedding.shape[2:])
        full = maps.resize(grid, (self.size, self.size), self.params["upsample"])
        worst = int(distances.argmax())
        score = float(distances[worst, 0])
        if self.params["neighbours"] > 1:
            score *= self._weight(vectors[worst], int(indices[worst, 0]))
        smooth = maps.gaussian_blur(full, border=self.params["blur_border"])
        return maps.to_array(smooth, image.shape[:2]), score

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
        tensors = saved.load_tensors(folder, self.device, self.backbone.identity)
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


def select_coreset(
    points: Tensor,
    size: int,
    starts: Tensor,
    on_selected: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Greedy k-centre selection: again and again the point farthest from those chosen.

    Args:
        points: (N, d) float32 or, on a GPU, float16; changed in place (centred).
        size: how many to choose, at most N.
        starts: (1,) the first choice; or (n,) points that are not chosen themselves: the mean
            distance to them bounds the distances of all (the authors' code, with ten).
        on_selected: called with (chosen, size) after each choice.
    Returns:
        (size,) int64 on the device of `points`, in the order of choice.
    """
    _centre(points)
    norms = squared_norms(points)
    nearest = torch.full_like(norms, torch.inf)  # squared distance to the nearest choice
    choice = starts[0].to(points.device)
    if len(starts) > 1:
        nearest = _mean_distance(points, norms, starts).square_()
        choice = nearest.argmax()
    order = torch.empty(size, dtype=torch.int64, device=points.device)
    for number in range(size):
        order[number] = choice
        torch.minimum(nearest, _squared_distances(points, norms, choice), out=nearest)
        nearest[order[number]] = -torch.inf  # never twice, rounding or not
        choice = nearest.argmax()
        if on_selected:
            on_selected(number + 1, size)
    return order


def _centre(points: Tensor) -> None:
    """Move the mean to 0: smaller sums, less rounding."""
    total = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    for part in row_blocks(points):
        total += part.sum(dim=0, dtype=torch.float32)
    points -= (total / len(points)).to(points.dtype)


def _mean_distance(points: Tensor, norms: Tensor, starts: Tensor) -> Tensor:
    total = torch.zeros_like(norms)
    for start in starts.to(points.device):
        total += _squared_distances(points, norms, start).clamp_(min=0).sqrt_()
    return total.div_(len(starts))


def _squared_distances(points: Tensor, norms: Tensor, index: Tensor) -> Tensor:
    """(N,) float32 from all points to one of them."""
    return _products(points, points[index]).mul_(-2).add_(norms).add_(norms[index])


def _products(points: Tensor, centre: Tensor) -> Tensor:
    """(N,) float32 inner products; float16 points are summed up in float32."""
    if points.dtype == torch.float32:
        return points @ centre
    if points.is_cuda:
        return torch.mm(points, centre[:, None], out_dtype=torch.float32)[:, 0]
    return torch.cat([part.float() @ centre.float() for part in row_blocks(points)])
