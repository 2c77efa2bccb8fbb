"""anomalib's PaDiM, PatchCore, STFPM and Reverse Distillation through the adapter are our own four.

Both are trained by the same loop from the same random weights, with our deviations from the library
switched off by parameters; then the maps of images that neither saw lie within 1e-4 of their range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baselines.kit.anomalib_model import AnomalibModel

from .conftest import BASELINES, Listener, open_baseline

# Share of the largest map's range. What was measured stands in baselines/README.md: some 1e-5 at
# most, in PatchCore, whose distances come of a product of matrices.
BOUND = 1e-4


class AdaptedPadim(AnomalibModel):
    part, network, finish = "padim", "PadimModel", "fit"
    arguments = ("backbone", "layers", "n_features")


class AdaptedPatchcore(AnomalibModel):
    part, network, finish = "patchcore", "PatchcoreModel", "subsample_embedding"
    arguments = ("backbone", "layers", "num_neighbors")
    finish_arguments = ("coreset_ratio",)


class AdaptedStfpm(AnomalibModel):
    part, network, loss = "stfpm", "STFPMModel", "STFPMLoss"
    arguments = ("backbone", "layers")

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters, lr=self.params["learning_rate"], momentum=self.params["momentum"],
            weight_decay=self.params["weight_decay"],
        )  # fmt: skip


class AdaptedReverseDistillation(AnomalibModel):
    part, network = "reverse_distillation", "ReverseDistillationModel"
    loss = "ReverseDistillationLoss"
    arguments = ("backbone", "input_size", "layers", "anomaly_map_mode")

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        rates = self.params
        return torch.optim.Adam(parameters, lr=rates["learning_rate"], betas=rates["betas"])


def same_channels(ours: Any, theirs: Any) -> None:
    theirs.model.idx = ours.channels


def same_student(ours: Any, theirs: Any) -> None:
    state = {
        key.removeprefix("stages.").replace("stem.0.", "conv1.").replace("stem.1.", "bn1."): value
        for key, value in ours.student.state_dict().items()
    }
    theirs.model.student_model.feature_extractor.load_state_dict(state)


def same_decoder(ours: Any, theirs: Any) -> None:
    theirs.model.bottleneck.load_state_dict(ours.student.bottleneck.state_dict())
    theirs.model.decoder.load_state_dict(ours.student.decoder.state_dict())


@dataclass(frozen=True)
class Case:
    """One method, twice."""

    adapted: type[AnomalibModel]
    changes: Mapping[str, Any]
    """What makes our own do as the library does."""
    named: Mapping[str, Any]
    """Parameters that the library calls otherwise."""
    begin_alike: Callable[[Any, Any], None] = lambda _ours, _theirs: None
    """Gives theirs what ours drew."""


PYRAMID = ["layer1", "layer2", "layer3"]
CASES = {
    "padim": Case(AdaptedPadim, {"layers": PYRAMID}, {"n_features": 20}, same_channels),
    # The library's coreset comes of other projections: the whole memory is the same in any order.
    "patchcore": Case(
        AdaptedPatchcore,
        {"layers": ["layer2", "layer3"], "coreset_ratio": 1.0, "cpu_max_patches": 0},
        {"num_neighbors": 9},
    ),
    "stfpm": Case(AdaptedStfpm, {"layers": PYRAMID}, {}, same_student),
    "rd4ad": Case(
        AdaptedReverseDistillation,
        {"map_mode": "multiply", "learning_rate": 0.001},
        {"layers": PYRAMID, "anomaly_map_mode": "multiply"},
        same_decoder,
    ),
}


def largest_difference(
    name: str, training_folder: Path, images: list[np.ndarray], **size: Any
) -> float:
    """Of a pixel of a map, as a share of the largest map's range."""
    case, baseline = CASES[name], open_baseline(BASELINES / name)
    params = baseline.params(**case.changes, **size)
    ours = baseline.model("cpu", 0, params, None)
    theirs = case.adapted("cpu", 0, {**params, **case.named}, None)
    case.begin_alike(ours, theirs)
    for model in (ours, theirs):
        model.fit(training_folder, Listener())
    differences, ranges = [], []
    for image in images:
        (our_map, our_score), (their_map, their_score) = ours.predict(image), theirs.predict(image)
        ranges.append(np.ptp(our_map))
        differences.append(np.abs(our_map - their_map).max())
        assert our_score == pytest.approx(their_score, rel=BOUND)
    return float(max(differences) / max(ranges))


# Patchcore's own default for an argument that it deprecated.
@pytest.mark.filterwarnings("ignore:Argument embeddings is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_adapter_gives_our_own_methods_maps(
    name: str, training_folder: Path, test_images: list[np.ndarray]
) -> None:
    found = largest_difference(name, training_folder, test_images)
    print(f"{name}: {found:.1e}")
    assert found <= BOUND


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Argument embeddings is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_so_it_does_with_a_large_backbone(
    name: str, training_folder: Path, test_images: list[np.ndarray]
) -> None:
    size = {"image_size": 128, "backbone": "wide_resnet50_2"}
    size |= {"channels_wide_resnet50_2": 20} if name == "padim" else {}
    found = largest_difference(name, training_folder, test_images, **size)
    print(f"{name}: {found:.1e}")
    assert found <= BOUND
