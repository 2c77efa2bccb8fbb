"""The estimate held against training rates that others measured and published.

`published.json` holds, by network, device and source: images a second of one GPU as published, and
one training step as `counting.py` counts it (SGD with momentum). `python -m
tests.benchmarks.baseline_costs.published` counts anew. Facts alone are taken from the sources.
Traps: the published rates are of float16 where ours would be of bfloat16, which run alike; the code
behind MLPerf's is tuned by the GPU's maker (a normalisation and the ReLU after it are one kernel); the 3D
U-Net's log does not tell its batch: 7 is presumed, and weighs one per cent of its bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.campaigns.throughput import Batches, Presumed, StepWork

FILE = Path(__file__).with_name("published.json")
HEAD = ("network", "GPU", "published, images/s", "estimated", "ratio", "source")
SIZES = (2, 4)  # of batches that are counted


def read() -> Sequence[Mapping[str, Any]]:
    """The rows of the file."""
    found: Sequence[Mapping[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def ratio(row: Mapping[str, Any], presumed: Presumed) -> float:
    """How many times as fast as estimated a network was trained."""
    return float(row["images_per_second"]) / estimated(row, presumed)


def estimated(row: Mapping[str, Any], presumed: Presumed) -> float:
    """Images a second of a step by the presumptions for the row's GPU."""
    step = Batches.model_validate(row["step"]).of(row["batch_size"])
    return float(row["batch_size"]) / presumed.seconds(step, presumed.gpus[row["gpu"]])


def rows(presumed: Presumed) -> Iterator[Sequence[str]]:
    """One row of `HEAD` for each published rate."""
    for row in read():
        yield [
            f"`{row['network']}`", row["gpu"], f"{row['images_per_second']:,.0f}",
            f"{estimated(row, presumed):,.0f}", f"{ratio(row, presumed):.1f}", row["source"],
        ]  # fmt: skip


def span(presumed: Presumed, gpu: str) -> tuple[float, float]:
    """The smallest and the largest ratio on one kind of GPU."""
    found = [ratio(row, presumed) for row in read() if row["gpu"] == gpu]
    return min(found), max(found)


def count(network: Callable[[], Any], shape: Sequence[int]) -> Batches:
    """A training step of a network on images of a shape, without its arithmetic.

    Args:
        network: gives logits (B, K) or (B, K, …) of images (B, *shape).
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn import functional

    from tests.benchmarks.baseline_costs import counting, counts

    class Shallow(counting.Counting):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            found = func(*args, **(kwargs or {}))
            if func.namespace == "aten":
                self._count(func, args, kwargs or {}, found)
            return found

    module = network()
    optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, foreach=True)
    layout = torch.channels_last if len(shape) == 3 else torch.channels_last_3d
    module = module.to(memory_format=layout)
    found = []
    for size in SIZES:
        with FakeTensorMode(allow_non_fake_inputs=True):
            images = torch.rand(size, *shape).to(memory_format=layout)

            def step(images: torch.Tensor = images) -> None:
                with torch.autocast("cpu", torch.bfloat16):
                    logits = module(images)
                    truth = torch.zeros_like(logits[:, 0], dtype=torch.long)
                    loss = functional.cross_entropy(logits.float(), truth)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

            step()  # makes the optimiser's state
            with Shallow() as counting_one:
                step()
        found.append(StepWork(**counting_one.work))
    return counts._batches(*found)


def unet3d() -> Any:
    """The 3D U-Net of MLPerf Training: 128x128x128 voxels to 3 classes (Isensee et al. 2018)."""
    import torch
    from torch import nn

    widths = (32, 64, 128, 256, 320, 320)

    def block(before: int, after: int, stride: int = 1) -> nn.Sequential:
        convolution = nn.Conv3d(before, after, 3, stride=stride, padding=1, bias=False)
        return nn.Sequential(
            convolution, nn.InstanceNorm3d(after, affine=True), nn.ReLU(inplace=True)
        )

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([nn.Sequential(block(1, 32), block(32, 32))])
            for before, after in pairwise(widths):
                self.down.append(nn.Sequential(block(before, after, 2), block(after, after)))
            self.up, self.join = nn.ModuleList(), nn.ModuleList()
            for below, width in pairwise(widths[::-1]):
                self.up.append(nn.ConvTranspose3d(below, width, 2, stride=2))
                self.join.append(nn.Sequential(block(2 * width, width), block(width, width)))
            self.logits = nn.Conv3d(32, 3, 1)

        def forward(self, voxels: torch.Tensor) -> torch.Tensor:
            found = []
            for stage in self.down:
                voxels = stage(voxels)
                found.append(voxels)
            features = found.pop()
            for enlarge, join in zip(self.up, self.join, strict=True):
                features = join(torch.cat([enlarge(features), found.pop()], dim=1))
            logits: torch.Tensor = self.logits(features)
            return logits

    return UNet()


def main() -> int:
    """Count every network of the file anew."""
    import timm

    fresh = []
    for row in read():
        name = row["network"]
        make = unet3d if name == "unet3d" else lambda name=name: timm.create_model(name)
        step = count(make, row["shape"]).model_dump()
        fresh.append({**row, "step": {part: _short(work) for part, work in step.items()}})
        print(name, fresh[-1]["step"], flush=True)
    FILE.write_text(json.dumps(fresh, indent=1) + "\n", encoding="utf-8")
    return 0


def _short(work: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in work.items() if value}


if __name__ == "__main__":
    sys.exit(main())
