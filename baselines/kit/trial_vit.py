"""A ViT for trials: small patches, narrow, twelve blocks, weights drawn at random, no file of any.

DINOv2's own forms take minutes on a CPU before they have seen the demo pack, and with random
weights their layer scales leave every block an identity. timm knows it by its name once this
module is imported.
"""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer, vit_tiny_patch16_224

FORM = {"patch_size": 8, "embed_dim": 96, "depth": 12, "num_heads": 3}


@register_model
def vit_trial_patch8_dino(pretrained: bool = False, **given: Any) -> VisionTransformer:
    """The ViT, for images whose sides are multiples of 8 (anomalib wants "dino" in its name).

    Raises:
        ValueError: pretrained weights are asked for: nobody has any.
    """
    if pretrained:
        raise ValueError("vit_trial_patch8_dino has no weights; fix: --set weights=random")
    return vit_tiny_patch16_224(pretrained=False, **{**FORM, "num_classes": 0, **given})
