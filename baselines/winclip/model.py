"""WinCLIP, zero-shot: what CLIP's text says of a whole image and of windows in it.

Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation" (CVPR 2023),
sections 4.1 and 4.2, with anomalib's network. It sees no training image and has no `train`.
"""

from __future__ import annotations

from pathlib import Path

from baselines.kit.winclip import WinClip


class ZeroShot(WinClip):
    """Nothing is learned."""

    def load(self, folder: Path) -> None:
        """There is nothing to read."""
