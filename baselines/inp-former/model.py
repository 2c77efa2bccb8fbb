"""INP-Former: a decoder may speak only in prototypes that it drew from the image itself.

Luo et al., "Exploring Intrinsic Normal Prototypes within a Single Image for Universal Anomaly
Detection" (CVPR 2025), with anomalib's network and loss. Trap: the prototypes are drawn from the
test image too, an anomaly's own tokens included; the coherence loss alone keeps them normal.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from baselines.kit.token_reconstruction import TokenReconstruction


class InpFormer(TokenReconstruction):
    """Prototypes of the image as the keys and values of its decoder."""

    part, network = "inp_former", "InpFormerModel"
    arguments = ()
    learned_parts = ("bottleneck", "decoder", "aggregation")
    reconstruction = "get_encoder_decoder_inploss"

    def made_with(self) -> dict[str, Any]:
        """anomalib's names of the parameters; class and register tokens take no part."""
        own = {"inp_num": self.params["prototypes"], "remove_class_token": True}
        return {**super().made_with(), **own}

    def loss_of(self, pixels: Tensor) -> Tensor:
        """1 - cosine of each group's flattened map, softly mined, and a fifth of the coherence."""
        encoded, decoded, coherence = self.reconstruct(pixels)
        loss: Tensor = self.model.loss(encoded, decoded, coherence)  # type: ignore[operator]
        return loss
