"""What the zero-shot and the few-shot WinCLIP share: CLIP and its prompts through anomalib's network.

Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation" (CVPR 2023). Two
folders use it, because what an entry may learn from is a regime of its own on the board: without
`train` it is zero-shot, with it the same network keeps what normal images look like. Traps:
open_clip downloads whatever it is asked for by tag, so it is asked for a file; the tokens are padded
to the context that the network was made with.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import nn

from baselines.kit.anomalib_model import AnomalibModel
from baselines.kit.anomalib_parts import library
from baselines.kit.backbones import weight_path
from baselines.kit.weight_files import sha256_of


class WinClip(AnomalibModel):
    """CLIP's image and window embeddings against prompts of normal and damaged objects.

    Parameters of `entry.toml`: `backbone` (a CLIP by open_clip's name), `class_name` (what the
    prompts call the object), `scales` (sides of the windows in patches), `context_length`
    (of the text: the pretrained network's own, a shorter one for a random network).
    """

    part, network = "winclip", "WinClipModel"
    arguments = ("class_name", "scales")
    weight_kinds = ("pretrained", "random")
    normalisation = "clip"

    def make(self, weights: Path | None) -> nn.Module:
        """anomalib's network around the CLIP of the weights folder, or a random one.

        Raises:
            WeightsNotFound: the folder does not hold the file.
            ValueError: the harness knows no such file.
        """
        import open_clip  # seconds: `describe` must not wait for it

        module = library(f"models.image.{self.part}.torch_model")
        clip, identity = self._clip(weights)
        tokenize = partial(open_clip.tokenize, context_length=self.params["context_length"])
        with (
            patch.object(open_clip, "create_model_and_transforms", lambda *_, **__: (clip, None, None)),
            patch.object(module, "tokenize", tokenize),
        ):
            made: nn.Module = module.WinClipModel(**self.made_with())
        self.frozen.add(clip, identity)
        return made

    def _clip(self, weights: Path | None) -> tuple[nn.Module, str]:
        """The network in evaluation mode, and the identity of its weights."""
        import open_clip

        name: str = self.params["backbone"]
        create = partial(
            open_clip.create_model, name, force_image_size=self.size,
            force_context_length=self.params["context_length"],
        )  # fmt: skip
        if self.params["weights"] == "random":
            return create().eval(), f"random/{self.seed}"
        path = weight_path(name, weights)
        return create(pretrained=str(path)).eval(), f"sha256:{sha256_of(path)}"

    def made_with(self) -> dict[str, Any]:
        """Class name and window sizes."""
        return {**super().made_with(), "scales": tuple(self.params["scales"])}
