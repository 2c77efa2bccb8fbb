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
from baselines.kit.weight_files import WEIGHT_FILES, sha256_of

CLIP = WEIGHT_FILES["ViT-B-16-plus-240"]
# A CLIP for trials, weights drawn at random: open_clip's smallest takes minutes on two cores.
TRIAL = "clip_trial_patch8"
TRIAL_FORM: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"layers": 3, "width": 128, "patch_size": 8},
    "text_cfg": {"vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


class WinClip(AnomalibModel):
    """CLIP's image and window embeddings against prompts of normal and damaged objects.

    Parameters of `entry.toml`: `backbone` (a CLIP by open_clip's name), `class_name` (what the
    prompts call the object), `scales` (sides of the windows in patches), `context_length`
    (of the text: the pretrained network's own, a shorter one for a random network).
    """

    part, network = "winclip", "WinClipModel"
    arguments = ("class_name", "scales")
    weight_kinds = ("pretrained", "random")
    normalisation = (CLIP.mean, CLIP.deviation)

    def make(self, weights: Path | None) -> nn.Module:
        """anomalib's network around the CLIP of the weights folder, or a random one.

        Raises:
            WeightsNotFound: the folder does not hold the file.
            ValueError: the harness knows no such file, or open_clip no such network.
        """
        import open_clip  # seconds: `describe` must not wait for it

        module = library(f"models.image.{self.part}.torch_model")
        clip, identity = self._clip(weights)
        tokenize = partial(open_clip.tokenize, context_length=self.params["context_length"])
        with (
            patch.object(
                open_clip, "create_model_and_transforms", lambda *_, **__: (clip, None, None)
            ),
            patch.object(module, "tokenize", tokenize),
        ):
            made: nn.Module = module.WinClipModel(**self.made_with())
        self.frozen.add(clip, identity)
        return made

    def _clip(self, weights: Path | None) -> tuple[nn.Module, str]:
        """The network in evaluation mode, and the identity of its weights."""
        import open_clip

        name, length = self.params["backbone"], self.params["context_length"]
        form = {"force_image_size": self.size, "force_context_length": length}
        if self.params["weights"] != "random":
            path = weight_path(name, weights)
            clip: nn.Module = open_clip.create_model(name, str(path), **form)
            return clip.eval(), f"sha256:{sha256_of(path)}"
        if name == TRIAL:
            vision = {**TRIAL_FORM["vision_cfg"], "image_size": self.size}
            text = {**TRIAL_FORM["text_cfg"], "context_length": length}
            clip = open_clip.CLIP(TRIAL_FORM["embed_dim"], vision, text)
        elif name in open_clip.list_models():
            clip = open_clip.create_model(name, **form)
        else:
            raise ValueError(f"backbone is {name!r}, which open_clip does not know")
        return clip.eval(), f"random/{self.seed}"

    def made_with(self) -> dict[str, Any]:
        """Class name and window sizes."""
        return {**super().made_with(), "scales": tuple(self.params["scales"])}
