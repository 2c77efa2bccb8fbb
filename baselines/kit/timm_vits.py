"""timm's vision transformers: what form one has, and a small one for trials.

DINOv2's own forms take minutes on a CPU before they have seen the demo pack, and with random
weights their layer scales (1e-5) leave every block an identity. The one for trials is narrow and
has patches of 8 pixels; nobody has weights of it. timm knows it once this module is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer, vit_tiny_patch16_224

TRIAL = {"patch_size": 8, "embed_dim": 96, "depth": 12, "num_heads": 3}


@dataclass(frozen=True)
class VitForm:
    """What a method must know of a ViT before it is made."""

    width: int
    """Dimensions D of a token."""
    heads: int
    """Heads of its attention."""
    depth: int
    """Number of its blocks."""
    patch: int
    """Side of a patch in pixels."""

    @classmethod
    def of(cls, name: str) -> VitForm:
        """The form of timm's ViT of this name; no weights are made.

        Raises:
            ValueError: timm has no such network, or it is no ViT.
        """
        if not timm.is_model(name):
            raise ValueError(f"backbone is {name!r}, which timm does not know")
        with torch.device("meta"):
            vit = timm.create_model(name)
        if not isinstance(vit, VisionTransformer):
            raise ValueError(f"backbone is {name!r}, which is no vision transformer")  # noqa: TRY004
        patch = vit.patch_embed.patch_size[0]
        return cls(vit.embed_dim, vit.blocks[0].attn.num_heads, len(vit.blocks), patch)

    def check_size(self, side: int) -> None:
        """Raise `ValueError` unless an image is a whole number of patches wide."""
        if side % self.patch:
            raise ValueError(f"image_size is {side}; it must be a multiple of {self.patch}")


@register_model
def vit_trial_patch8_dino(pretrained: bool = False, **given: Any) -> VisionTransformer:
    """The one for trials (anomalib's AnomalyDINO wants "dino" in the name).

    Raises:
        ValueError: pretrained weights are asked for.
    """
    if pretrained:
        raise ValueError("vit_trial_patch8_dino has no weights; fix: --set weights=random")
    made: VisionTransformer = vit_tiny_patch16_224(**{**TRIAL, "num_classes": 0, **given})
    return made
