"""Every baseline on a stand-in for `cuda:0`: no device is mixed, in a GPU's layout and precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.stand_in_gpu import StandInGpu

from .conftest import FOLDERS, Baseline, Listener, open_baseline, slice_image

# On a CPU torch's bfloat16 convolutions of maps of 1x1 and 2x2 pixels give NaN in some runs and
# not in others, with equal inputs: what CS-Flow's coarsest scales and ReContrast's bottleneck are at
# this size. Layout alone; and CS-Flow's many small operators in one step an epoch.
CHANGES: dict[str, dict[str, Any]] = {
    "cs-flow": {"precision": "float32", "batch_size": 10},
    "recontrast": {"precision": "float32"},
}


def make(baseline: Baseline, gpu: StandInGpu) -> Any:
    params = baseline.params(**CHANGES.get(baseline.entry.name, {}))
    with gpu.making():
        return baseline.model("cuda:0", 0, params, None)


def learn(baseline: Baseline, gpu: StandInGpu, training_folder: Path, place: Path) -> Any:
    """A model that was trained, killed in the middle where it can be, trained on, saved and read."""
    state, saved = place / "state", place / "saved"
    state.mkdir()
    saved.mkdir()
    if "checkpoint_every_epochs" in baseline.params():
        with pytest.raises(KeyboardInterrupt):
            make(baseline, gpu).fit(training_folder, Listener(dies_at=1, state_folder=state))
    model = make(baseline, gpu)
    model.fit(training_folder, Listener(model, [slice_image(7)], state_folder=state))
    model.save(saved)
    loaded = make(baseline, gpu)
    loaded.load(saved)
    return loaded


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_fit_save_load_and_predict_keep_to_their_gpu(
    folder: Path, training_folder: Path, tmp_path: Path
) -> None:
    baseline = open_baseline(folder)
    with StandInGpu() as gpu:
        if baseline.entry.table.trains:
            model = learn(baseline, gpu, training_folder, tmp_path)
        else:
            model = make(baseline, gpu)
        anomaly_map, score = model.predict(slice_image(8))
        assert_networks_are_float32_on_gpu(model, gpu)
    assert gpu.mixes == []
    assert gpu.products_on_cpu == []
    assert np.isfinite(score)
    assert anomaly_map is None or np.isfinite(anomaly_map).all()


def assert_networks_are_float32_on_gpu(model: Any, gpu: StandInGpu) -> None:
    for network in (item for item in vars(model).values() if isinstance(item, nn.Module)):
        for name, value in network.named_parameters():
            assert gpu.is_on_gpu(value), name
            assert value.dtype == torch.float32, name
