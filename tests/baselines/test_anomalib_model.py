"""anomalib's networks in the kit: what a baseline keeps, they keep, and no initialiser runs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from baselines.kit import backbones
from baselines.kit.weight_files import WEIGHT_FILES, sha256_of
from harness.entries.opening import open_entry
from harness.entries.starting import RECIPES, start_folder
from tests.paths import REPOSITORY

from . import kit_page
from .conftest import BASELINES, Listener, open_baseline

SMALL = {"image_size": 32, "batch_size": 4, "epochs": 2, "checkpoint_every_epochs": 1,
         "coreset_sampling_ratio": 0.05, "n_features": 20, "flow_steps": 2}  # fmt: skip


def model_of(folder: Path, folder_of_weights: Path | None = None, **more: Any) -> Any:
    spec = importlib.util.spec_from_file_location(f"started_{folder.name}", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    params = dict(open_entry(str(folder)).settings("demo").params)
    params |= {name: value for name, value in SMALL.items() if name in params}
    return module.Model("cpu", 0, params | more, folder_of_weights)


# Patchcore's own default for an argument that it deprecated.
@pytest.mark.filterwarnings("ignore:Argument embeddings is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    [
        "Padim",
        "Stfpm",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in sorted(RECIPES.keys() - {"Padim", "Stfpm"})
        ),
    ],
)
def test_what_is_saved_answers_like_what_was_trained_and_the_same_seed_gives_the_same(
    name: str, training_folder: Path, test_images: list[np.ndarray], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    start_folder(folder, f"anomalib:{name}")
    answers = []
    for saved in (tmp_path / "a", tmp_path / "b"):
        saved.mkdir()
        model, listener = model_of(folder), Listener()
        model.fit(training_folder, listener)
        model.save(saved)
        loaded = model_of(folder)
        loaded.load(saved)
        for each in (model, loaded):
            answers.append([each.predict(image) for image in test_images[::-1]][::-1])
        assert listener.points[-1][0] == listener.points[-1][1]
        assert len(listener.checkpoints) == (2 if RECIPES[name].is_descent else 0)
    for other in answers[1:]:
        for (one_map, one), (two_map, two) in zip(answers[0], other, strict=True):
            np.testing.assert_array_equal(one_map, two_map)
            assert one == two
    for image, (found, score) in zip(test_images, answers[0], strict=True):
        assert found.shape == image.shape[:2]
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert np.isfinite(score)


def test_pretrained_weights_come_from_the_weights_folder_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import resnet18

    folder, weights = tmp_path / "mine", tmp_path / "weights"
    start_folder(folder, "anomalib:Stfpm")
    weights.mkdir()
    for given in (None, weights):
        with pytest.raises(backbones.WeightsNotFound, match=r"harness\.weights fetch resnet18"):
            model_of(folder, given, weights="imagenet")
    state = resnet18(weights=None).state_dict()
    torch.save(state, weights / WEIGHT_FILES["resnet18"].file_name)
    monkeypatch.setattr(backbones, "problem_with", lambda *_: None)  # whatever its hash is
    model = model_of(folder, weights, weights="imagenet")
    teacher = model.model.teacher_model.feature_extractor.state_dict()
    student = model.model.student_model.feature_extractor.state_dict()
    (name,) = (each for each in teacher if each.endswith("layer1.0.conv1.weight"))
    torch.testing.assert_close(teacher[name], state["layer1.0.conv1.weight"])
    assert not torch.equal(student[name], state["layer1.0.conv1.weight"])


def test_a_backbone_of_ones_own_comes_with_its_own_normalisation_and_stages_by_stride(
    tmp_path: Path,
) -> None:
    network = timm.create_model("efficientnet_lite0", pretrained=False)
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    digest = sha256_of(tmp_path / "mine.safetensors")
    (tmp_path / "mine.toml").write_text(
        f'architecture = "efficientnet_lite0"\nsha256 = "{digest}"\n'
        "mean = [0.0, 0.0, 0.0]\nstd = [0.5, 0.5, 0.25]\n"
    )
    entry = open_baseline(BASELINES / "supersimplenet")
    params = entry.params(weights="imagenet", backbone="mine", layers=["layer1", "layer2"])
    model = entry.model("cpu", 0, params, tmp_path)
    white = model.normalised(torch.full((1, 1, 64, 64), 255, dtype=torch.uint8))
    assert white[0, :, 0, 0].tolist() == [2, 2, 4]
    extractor = model.model.feature_extractor.feature_extractor
    assert list(extractor.reductions) == [4, 8]
    for name, value in extractor.feature_extractor.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])
    assert model.frozen.identity.startswith(f"sha256:{digest} described by ")


def test_a_checkpoint_of_ones_own_is_loaded_as_the_readme_says(
    tmp_path: Path, test_images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.layer = nn.Conv2d(3, 3, 3, padding=1)\n\n"
        "    def forward(self, x):\n        return self.layer(x)\n"
    )
    folder = tmp_path / "mine"
    start_folder(folder, f"torch:{tmp_path / 'net.py'}:Net")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(folder))  # as the contract's server does
    theirs = {"layer.weight": torch.full((3, 3, 3, 3), 0.01), "layer.bias": torch.zeros(3)}
    torch.save(theirs, tmp_path / "checkpoint.pth")
    (block,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    exec(block, {})
    model = model_of(folder)
    before = model.predict(test_images[0])[1]
    model.load(tmp_path / "my-model")
    assert torch.equal(model.network.layer.weight, theirs["layer.weight"])
    assert model.predict(test_images[0])[1] != before


def test_nothing_of_the_librarys_engine_is_imported() -> None:
    code = (
        "import json, sys\n"
        "from baselines.kit.anomalib_parts import library\n"
        "library('models.image.padim.torch_model')\n"
        "from anomalib import LearningType\n"
        "from anomalib.data import InferenceBatch\n"
        "assert LearningType.ONE_CLASS\n"
        "try:\n"
        "    from anomalib.data import NothingSuch\n"
        "except ImportError:\n"
        "    print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True,
        cwd=REPOSITORY,
    )  # fmt: skip
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "anomalib.models.image.padim.torch_model" in loaded
    assert "anomalib.models.image.padim.lightning_model" not in loaded


def test_the_page_of_the_kit_is_that_of_the_code() -> None:
    assert kit_page.PAGE.read_text() == kit_page.page()
    assert "determinism.py" in kit_page.page()
