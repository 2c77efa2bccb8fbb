"""Trains baselines in float32 and in a GPU's bfloat16, on a CPU, from the same seeds.

    python tests/benchmarks/bench_precision.py --pack DIR [--thin 2 3] [--seeds 0 1]

`precision = "mixed"` is a GPU's alone. Here torch's CPU autocast stands in for a GPU's: the same
operations in bfloat16, the same rounding of what they give. Every method whose own setting is
`mixed` and whose size a CPU can train is trained both ways on the same real images; the checkpoint is
the one with the best pixel AUROC on the validation images; metrics are the harness's. How far the maps
of both precisions agree is told beside how far those of two seeds do: a rounding that moves maps
less than another seed does not decide a comparison. What is measured is kept at once, so that the
command may be cut short and repeated.
Traps: whatever images are used, the numbers are theirs alone; sums inside a product are rounded in
another order on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.stats import rankdata  # noqa: E402

from harness.benchmarks import open_pack  # noqa: E402
from tests.baselines.conftest import BASELINES, module_of, open_baseline  # noqa: E402
from tests.baselines.exchangeable import as_text, shortened  # noqa: E402
from tests.baselines.true_features import NAME, write_backbone  # noqa: E402
from tests.benchmarks.bench_features import BestOnValidation  # noqa: E402
from tests.benchmarks.protocol_ways import measured  # noqa: E402
from tests.benchmarks.real_answers import Kept, Split  # noqa: E402

PLACE = ROOT / "build" / "bench-precision"
PRECISIONS = ("float32", "mixed")
# Of DRAEM, which has no backbone to exchange and no size that a CPU trains in minutes: those of the
# comparison with its authors' code (baselines/draem/README.md).
DRAEM: dict[str, object] = {
    "image_size": 32,
    "batch_size": 8,
    "reconstruction_width": 8,
    "segmentation_width": 8,
    "epochs": 30,
    "checkpoint_every_epochs": 15,
    "learning_rate": 0.001,
    "milestones": "[25]",
    "textures": "training",
    "turned_share": 0.3,
    "score_window": 7,
}
ENTRIES = ("draem", "rd4ad", "stfpm", "cfa", "simplenet")
METRICS = ("image_auroc", "pixel_auroc", "pixel_pro", "dice_max")


@contextmanager
def as_on_a_gpu(module: ModuleType) -> Iterator[None]:
    """Inside, `mixed` is bfloat16 on a CPU too."""

    def autocast(_device: torch.device, precision: str) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed")

    before = vars(module)["autocast"]
    vars(module)["autocast"] = autocast
    try:
        yield
    finally:
        vars(module)["autocast"] = before


def settings_of(entry: str) -> dict[str, object]:
    """What is set beside the precision."""
    if entry == "draem":
        return DRAEM
    found = shortened(open_baseline(BASELINES / entry).entry)
    return {**found, "backbone": NAME, "weights": "imagenet"}


def measure(
    entry: str, precision: str, seed: int, splits: Mapping[str, Split], weights: Path
) -> tuple[dict[str, float], np.ndarray]:
    """The harness's metrics of one training's answers, from 0 to 1, and its maps (N, H, W)."""
    baseline = open_baseline(BASELINES / entry)
    settings = {**settings_of(entry), "precision": precision}
    params = baseline.entry.settings("brain", overrides=as_text(settings)).params
    with as_on_a_gpu(module_of(baseline)), tempfile.TemporaryDirectory() as folder:
        model = baseline.model(device="cpu", seed=seed, params=params, weights=weights)
        judge = BestOnValidation(model, splits)
        splits["train"].save(Path(folder))
        model.fit(Path(folder), judge)
        answers = judge.chosen or splits["test"].answered(model)
    return measured(answers), answers.maps


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two runs' maps (N, H, W), over every tenth pixel of all."""
    ranks = [rankdata(maps.ravel()[::10]) for maps in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def lines(kept: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The table in Markdown: means over the seeds in percent, bfloat16's difference, agreement."""
    yield "| method | " + " | ".join(METRICS) + " | maps, precisions | maps, seeds |"
    yield "|---" * (3 + len(METRICS)) + "|"
    for entry in ENTRIES:
        found = {name: value for name, value in kept.items() if name.startswith(f"{entry}/")}
        if not found:
            continue
        cells = []
        for metric in METRICS:
            single, mixed = (
                [each[metric] for name, each in found.items() if f"/{precision}/" in name]
                for precision in PRECISIONS
            )
            told = ", ".join(f"{100 * (b - a):+.1f}" for a, b in zip(single, mixed, strict=False))
            cells.append(f"{100 * mean(single):.1f} ({told})")
        rounding, seeds = found[f"{entry}/agreement/precisions"], found[f"{entry}/agreement/seeds"]
        cells += [f"{each['rank correlation']:.3f}" for each in (rounding, seeds)]
        yield f"| `{entry}` | " + " | ".join(cells) + " |"


def main() -> int:
    """Run what is left, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, help="images with masks, in BMAD's layout")
    parser.add_argument(
        "--thin", type=int, nargs=2, metavar=("TRAINING", "OTHERS"), default=(1, 1),
        help="every so manyth image of the training split, and of the others",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=ENTRIES)
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", default=float("inf"))
    parser.add_argument("--place", type=Path, default=PLACE, help="weights and measurements")
    options = parser.parse_args()
    kept, began = Kept(options.place / "measured.json"), time.monotonic()
    if options.pack is not None:
        write_backbone(options.place / "weights")
        pack = open_pack(options.pack, options.place / "cache", benchmark="brain")
        training, others = options.thin
        splits = {
            name: Split.of(pack, name, step=training if name == "train" else others)
            for name in ("train", "valid", "test")
        }
        for entry in options.only:
            if time.monotonic() - began > options.stop_after:
                print("out of time: the same command goes on from here", file=sys.stderr)
                return 0
            _complete(entry, options.seeds, splits, options.place, kept)
    print("\n".join(lines(kept.found)))
    return 0


def _complete(
    entry: str, seeds: list[int], splits: Mapping[str, Split], place: Path, kept: Kept
) -> None:
    """All runs of a method that are not there yet, and how far their maps agree."""
    for seed in seeds:
        for precision in PRECISIONS:
            name = f"{entry}/{precision}/{seed}"
            file = place / f"{name.replace('/', '-')}.npy"
            if name in kept.found and file.is_file():
                continue
            found, maps = measure(entry, precision, seed, splits, place / "weights")
            np.save(file, maps)
            kept.add(name, found)
            print(
                name, json.dumps({key: round(100 * found[key], 1) for key in METRICS}), flush=True
            )

    def maps_of(precision: str, seed: int) -> np.ndarray:
        found: np.ndarray = np.load(place / f"{entry}-{precision}-{seed}.npy")
        return found

    rounding = [agreement(maps_of("float32", seed), maps_of("mixed", seed)) for seed in seeds]
    other = [agreement(maps_of("float32", seeds[0]), maps_of("float32", one)) for one in seeds[1:]]
    kept.add(f"{entry}/agreement/precisions", {"rank correlation": mean(rounding)})
    if other:
        kept.add(f"{entry}/agreement/seeds", {"rank correlation": mean(other)})


if __name__ == "__main__":
    sys.exit(main())
