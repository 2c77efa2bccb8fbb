"""WinCLIP+, few-shot: the zero-shot answer, halved with the distance to reference images.

Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation" (CVPR 2023),
section 4.3, with anomalib's network. Trap: a test image is compared with every patch and window
of every reference, so a whole training split is thinned to `max_references` images first.
"""

from __future__ import annotations

from pathlib import Path

import torch

from baselines.kit import determinism, images
from baselines.kit.winclip import WinClip
from harness.contract import Checkpoint


class FewShot(WinClip):
    """The embeddings of some normal images, kept."""

    @torch.no_grad()
    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Keep patch and window embeddings of at most `max_references` images, drawn by the seed."""
        split = images.read_training_images(train, self.size)
        order = torch.randperm(len(split), generator=determinism.generator(self.seed, "references"))
        chosen = (
            order[: self.params["max_references"]].sort().values.split(self.params["batch_size"])
        )
        parts = []
        for step, indices in enumerate(chosen, start=1):
            pixels = self.normalised(split.batch(indices, self.device))
            _, windows, patches = self.model.encode_image(pixels)  # type: ignore[operator]
            parts.append((*windows, patches))
            checkpoint.progress(step, len(chosen), None)
        *windows, patches = (torch.cat(same) for same in zip(*parts, strict=True))
        self.model._visual_embeddings, self.model._patch_embeddings = windows, patches
        self.model.k_shot = len(patches)

    def load(self, folder: Path) -> None:
        """Read the embeddings.

        Raises:
            ValueError: they are another CLIP's.
        """
        super().load(folder)
        self.model.k_shot = len(self.model.patch_embeddings)  # type: ignore[arg-type]
