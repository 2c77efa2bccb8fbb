"""What the measurements on real images share: options, a pack's splits at one size, one training,
what is kept, a page."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from harness.benchmarks import Pack, open_pack
from tests.baselines.conftest import BASELINES, open_baseline
from tests.baselines.exchangeable import as_text
from tests.baselines.true_features import write_backbone
from tests.benchmarks.protocol_ways import Answers

Judge = TypeVar("Judge")  # a Checkpoint

SIDE = 240  # of BMAD's Brain, so that 256 is another size than the native one


@dataclass(frozen=True)
class Split:
    """Images of a pack at 240x240."""

    images: list[np.ndarray]
    """Each uint8 [240, 240], or with three channels."""
    masks: np.ndarray
    """(N, 240, 240) uint8, 0 or 255."""
    is_anomalous: np.ndarray
    """(N,) bool."""

    @classmethod
    def of(cls, pack: Pack, name: str, step: int = 1) -> Split:
        """Every `step`th image of one split of a pack."""
        samples = pack.split(name)[::step]
        masks = [
            _brought(pack.mask(each).astype(np.uint8) * 255, Image.Resampling.NEAREST)
            if name != "train"
            else np.zeros((SIDE, SIDE), np.uint8)
            for each in samples
        ]
        images = [_brought(pack.image(each), Image.Resampling.BILINEAR) for each in samples]
        return cls(images, np.stack(masks), np.array([each.is_anomalous for each in samples]))

    def save(self, folder: Path) -> None:
        """The images as a training folder holds them."""
        for number, image in enumerate(self.images):
            Image.fromarray(image).save(folder / f"{number:05}.png")

    def answered(self, model: Any) -> Answers:
        """A model's maps of all of it."""
        maps = np.stack([model.predict(image)[0] for image in self.images])
        return Answers(maps, self.masks, self.is_anomalous)


def options_parser(description: str, place: Path, page: str) -> argparse.ArgumentParser:
    """The options that all of them have.

    Args:
        place: where weights and measurements are kept by default.
        page: what `--write` brings them into.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--pack", type=Path, help="images with masks, in BMAD's layout")
    parser.add_argument(
        "--thin", type=int, nargs=2, metavar=("TRAINING", "OTHERS"), default=(1, 1),
        help="every so manyth image of the training split, and of the others",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--place", type=Path, default=place, help="weights and measurements")
    parser.add_argument("--write", action="store_true", help=f"what there is, into {page}")
    return parser


def splits_of(options: argparse.Namespace) -> dict[str, Split]:
    """The splits that the options name, and true weights beside the measurements (`weights`)."""
    write_backbone(options.place / "weights")
    pack = open_pack(options.pack, options.place / "cache", benchmark="brain")
    training, others = options.thin
    return {
        name: Split.of(pack, name, step=training if name == "train" else others)
        for name in ("train", "valid", "test")
    }


def trained(
    entry: str,
    settings: Mapping[str, object],
    seed: int,
    training: Split,
    weights: Path,
    judged_by: Callable[[Any], Judge],
) -> tuple[Any, Judge]:
    """A baseline's model after its training, and what looked at its checkpoints.

    Args:
        settings: what is set beside the baseline's own for `brain`.
        judged_by: makes of the model what looks.
    """
    baseline = open_baseline(BASELINES / entry)
    params = baseline.entry.settings("brain", overrides=as_text(dict(settings))).params
    model = baseline.model(device="cpu", seed=seed, params=params, weights=weights)
    judge = judged_by(model)
    with tempfile.TemporaryDirectory() as folder:
        training.save(Path(folder))
        model.fit(Path(folder), judge)
    return model, judge


class Kept:
    """Measurements by name in one JSON file, each written as soon as it is there."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[str, Any] = (
            json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        )

    def add(self, name: str, measurement: Any) -> None:
        """Keep one more; NaN is refused (ValueError)."""
        self.found[name] = measurement
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(json.dumps(self.found, indent=1, allow_nan=False), encoding="utf-8")
        fresh.replace(self.file)


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two marks of a page, which stay."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")


def _brought(pixels: np.ndarray, how: Image.Resampling) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize((SIDE, SIDE), how))
