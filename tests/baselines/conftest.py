"""Small images, and every baseline folder with settings that run in seconds."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.contract import Verdict
from harness.entries.entry import Entry
from harness.entries.opening import open_folder

BASELINES = Path(__file__).resolve().parents[2] / "baselines"
FOLDERS = sorted(path.parent for path in BASELINES.glob("*/entry.toml"))
# Laid over the demo settings of every baseline that has a parameter of the name.
SHRUNKEN = {
    "image_size": "64",
    "batch_size": "4",
    "epochs": "2",
    "pretraining_epochs": "2",
    "steps_per_epoch": "2",
    "checkpoint_every_epochs": "1",
    "channels": "20",
    "channels_resnet18": "20",
    "cpu_max_patches": "300",
    "fibre_batch_size": "128",
    "coupling_blocks": "2",
    "hidden_channels": "16",
}
# What single methods need otherwise, by entry.
SHRUNKEN_FOR: dict[str, dict[str, str]] = {
    "dinomaly": {"image_size": "32", "map_size": "32", "mining_steps": "2"},
    "inp-former": {"image_size": "32", "map_size": "32"},
    # More tokens than the bank may hold.
    "anomalydino": {"bank_size": "200"},
    # Three scales, the coarsest a quarter, each through a backbone of stride 32.
    "cs-flow": {"image_size": "128"},
    "draem": {"reconstruction_width": "2", "segmentation_width": "2"},
    "deepsvdd": {"image_size": "32"},
    "simplenet": {"pooled_dims": "48", "hidden": "32"},
    "mkd": {"image_size": "32"},
    "utrad": {"width": "32", "feed_forward": "64", "layers_per_level": "1"},
    "f-anogan": {"gan_epochs": "2", "width": "4", "code_size": "10"},
    "ganomaly": {"width": "8", "code_size": "10"},
    "efficientad": {
        "image_size": "128",
        "batch_size": "1",
        "steps_per_epoch": "1",
        "teacher_out_channels": "8",
    },
    "ae": {"hidden": "32"},
    "ae-u": {"hidden": "32"},
    "vae": {"hidden": "32"},
    "dae": {"width": "4"},
    "recontrast": {"image_size": "32"},
    # Four tokens to a side: seven would hide all of them.
    "uniad": {"neighbourhood": "3", "width": "16", "feed_forward": "32"},
}


@dataclass
class Listener:
    """A checkpoint that keeps what it is told, and may ask for predictions as the harness does."""

    model: Any = None
    questions: Sequence[np.ndarray] = ()
    stops_at: int | None = None
    dies_at: int | None = None
    state_folder: Path | None = None
    points: list[tuple[int, int, float | None]] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)

    def progress(self, step: int, steps: int, loss: float | None = None) -> None:
        self.points.append((step, steps, loss))

    def __call__(self, step: int) -> Verdict:
        self.checkpoints.append(step)
        if self.dies_at == len(self.checkpoints):
            raise KeyboardInterrupt
        for image in self.questions:
            self.model.predict(image)
        return Verdict(keep=True, stop=self.stops_at == len(self.checkpoints))


@dataclass(frozen=True)
class Baseline:
    """A baseline folder, ready to be made with shrunken settings."""

    entry: Entry
    model: type

    def params(self, **changes: Any) -> dict[str, Any]:
        known = self.entry.document["params"]
        shrunken = SHRUNKEN | SHRUNKEN_FOR.get(self.entry.name, {})
        overrides = {name: text for name, text in shrunken.items() if name in known}
        return {**self.entry.settings("demo", overrides=overrides).params, **changes}

    def make(self, seed: int = 0, weights: Path | None = None, **changes: Any) -> Any:
        params = self.params(**changes)
        return self.model(device="cpu", seed=seed, params=params, weights=weights)


def open_baseline(folder: Path) -> Baseline:
    """The entry and its class, imported under a name of its own."""
    entry = open_folder(folder)
    file, _, class_name = entry.table.model.partition(":")
    name = f"baseline_{entry.name}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, folder / file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return Baseline(entry, getattr(sys.modules[name], class_name))


def module_of(baseline: Baseline) -> Any:
    """The baseline's `model.py`."""
    return sys.modules[baseline.model.__module__]


def slice_image(seed: int, height: int = 72, width: int = 72) -> np.ndarray:
    """A bright ellipse with texture on black, uint8 [H, W]: a slice of something."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = (x / 0.8) ** 2 + (y / random.uniform(0.6, 0.8)) ** 2 < 1
    texture = 120 + 40 * np.sin(6 * x + random.uniform(0, 6)) + random.normal(0, 8, x.shape)
    return (texture.clip(0, 255) * inside).astype(np.uint8)


@pytest.fixture(autouse=True, scope="module")  # so that it comes before models that a module shares
def one_thread() -> Iterator[None]:
    """What an engine would set; two threads on a busy machine mostly wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def training_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten normal grey images."""
    folder = tmp_path_factory.mktemp("train")
    for number in range(10):
        Image.fromarray(slice_image(number)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def test_images() -> list[np.ndarray]:
    """Not square, grey and colour, large and small; one with a bright spot."""
    grey = slice_image(100, 90, 70)
    spot = slice_image(101, 90, 70)
    spot[40:50, 30:40] = 255
    colour = np.stack([slice_image(102, 50, 130)] * 3, axis=2)
    colour[..., 0] //= 2
    return [grey, spot, np.ascontiguousarray(colour), slice_image(103, 40, 40)]
