"""Features kept between passes: where they lie, and that they train as those of each step do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.kit import kept_features
from baselines.kit.images import TrainingImages

from .conftest import BASELINES, Listener, open_baseline, slice_image

CPU = torch.device("cpu")


@pytest.fixture
def split() -> TrainingImages:
    draw = torch.Generator().manual_seed(0)
    return TrainingImages(torch.randint(0, 256, (7, 1, 4, 4), dtype=torch.uint8, generator=draw))


def layers(pixels: Tensor) -> list[Tensor]:
    """Two layers, one finer than the other."""
    whole = pixels.float()
    return [whole.repeat(1, 2, 1, 1), whole[..., ::2, ::2].contiguous()]


def test_a_batch_of_kept_features_is_that_of_its_images(split: TrainingImages) -> None:
    features = kept_features.kept(layers, split, 3, CPU, ram_mib=1)
    assert features is not None
    assert len(features) == 7
    chosen = torch.tensor([5, 0, 5])
    found = features.layers(features.batch(chosen, CPU))
    for one, other in zip(found, layers(split.pixels[chosen]), strict=True):
        assert torch.equal(one, other)
    whole = torch.cat(list(features.batches(4, CPU)))
    assert torch.equal(whole, features.rows)


def test_what_does_not_fit_is_not_kept(
    split: TrainingImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 7 * (2 * 16 + 4) * 4
    assert kept_features.kept(layers, split, 3, CPU) is None
    assert kept_features.kept(layers, split, 3, CPU, ram_mib=(size - 1) / 1024**2) is None
    assert kept_features.kept(layers, split, 3, CPU, ram_mib=size / 1024**2) is not None
    for free, fits in ((size / 0.75 + 1, True), (size / 0.75 - 1, False)):
        monkeypatch.setattr(kept_features, "free_bytes", lambda _device, free=free: free)
        assert (kept_features.kept(layers, split, 3, CPU) is not None) == fits


def test_simplenet_learns_the_same_from_kept_features(
    training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simplenet = open_baseline(BASELINES / "simplenet")
    calls: list[int] = []

    def trained() -> np.ndarray:
        model = simplenet.make(epochs=3, passes_per_epoch=2)
        model.backbone.register_forward_hook(lambda *_: calls.append(1))
        model.fit(training_folder, Listener())
        fit = len(calls)
        answer: np.ndarray = model.predict(slice_image(3))[0]
        del calls[fit:]
        return answer

    computed = trained()
    assert len(calls) == 1 + 3 * 2 * 3  # a look at the size; ten images in batches of four
    calls.clear()
    monkeypatch.setattr(kept_features, "free_bytes", lambda _device: 10**9)
    kept = trained()
    assert len(calls) == 3
    assert np.abs(kept - computed).max() <= 1e-5 * np.ptp(computed)
