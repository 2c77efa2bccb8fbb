"""Trains baselines in float32 and in a GPU's bfloat16, on a CPU, from the same seeds.

    python tests/benchmarks/bench_precision.py --pack DIR [--thin 4 6] [--seeds 0 1]
    python tests/benchmarks/bench_precision.py --write

`precision = "mixed"` is a GPU's alone. Here torch's CPU autocast stands in for a GPU's: the products
of matrices and convolutions in bfloat16, what they give rounded to it. Methods whose own setting is
`mixed` and which a CPU trains in minutes are trained both ways on the same real images, over true
features (`true_features.py`); DRAEM, which has no backbone, at the size of the comparison with its
authors' code. The checkpoint is the one with the best pixel AUROC on the validation images; metrics
are the harness's. How far the maps of both precisions agree is told beside how far those of two
seeds do: rounding that moves maps less than another seed does decides no comparison. What is
measured is kept at once, so that the command may be cut short and repeated. `--write` brings it
into the page on costs.
Traps: the numbers are those of the images at hand, and no result of a benchmark; a GPU adds up a
product in another order, and autocasts other operations (LayerNorm to float32).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.stats import rankdata  # noqa: E402

from tests.baselines.conftest import BASELINES, module_of, open_baseline  # noqa: E402
from tests.baselines.exchangeable import exchangeable, shortened  # noqa: E402
from tests.baselines.true_features import NAME  # noqa: E402
from tests.benchmarks.baseline_costs import page, roundings  # noqa: E402
from tests.benchmarks.bench_features import BestOnValidation  # noqa: E402
from tests.benchmarks.protocol_ways import measured  # noqa: E402
from tests.benchmarks.real_answers import Kept, Split, options_parser, splits_of, trained  # noqa: E402

PLACE = ROOT / "build" / "bench-precision"
# Those of baselines/draem/README.md, "Parity".
DRAEM: dict[str, object] = {
    "image_size": 32,
    "batch_size": 8,
    "reconstruction_width": 8,
    "segmentation_width": 8,
    "epochs": 30,
    "checkpoint_every_epochs": 15,
    "learning_rate": 0.001,
    "milestones": [25],
    "textures": "training",
    "turned_share": 0.3,
    "score_window": 7,
}
# On a CPU, oneDNN leaves NaN in the bfloat16 gradient of a 5x5 convolution over maps of one pixel, which
# are the coarsest of this method at 128 pixels.
LEFT_OUT = ("cs-flow",)


@contextmanager
def in_a_gpus_precision(module: ModuleType) -> Iterator[None]:
    """Inside, `mixed` is bfloat16 on a CPU too, in the method of this module."""

    def autocast(_device: torch.device, precision: str) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed")

    before = vars(module)["autocast"]
    vars(module)["autocast"] = autocast
    try:
        yield
    finally:
        vars(module)["autocast"] = before


def entries() -> dict[str, Mapping[str, object]]:
    """The methods, and what is set of each beside its own settings."""
    found: dict[str, Mapping[str, object]] = {"draem": DRAEM}
    for entry in exchangeable():
        if entry.document["params"].get("precision") == "mixed" and entry.name not in LEFT_OUT:
            found[entry.name] = {**shortened(entry), "backbone": NAME, "weights": "imagenet"}
    return found


def measure(
    entry: str, precision: str, seed: int, splits: Mapping[str, Split], weights: Path
) -> tuple[dict[str, float], np.ndarray]:
    """The harness's metrics of one training's answers, from 0 to 1, and its maps (N, H, W)."""
    settings = {**entries()[entry], "precision": precision}
    with in_a_gpus_precision(module_of(open_baseline(BASELINES / entry))):
        model, judge = trained(
            entry, settings, seed, splits["train"], weights,
            lambda model: BestOnValidation(model, splits),
        )  # fmt: skip
        answers = judge.chosen or splits["test"].answered(model)
    return measured(answers), answers.maps


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two runs' maps (N, H, W), over every tenth pixel of all."""
    ranks = [rankdata(maps.ravel()[::10]) for maps in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def complete(
    entry: str, seeds: Sequence[int], splits: Mapping[str, Split], place: Path, kept: Kept
) -> None:
    """All runs of a method that are not there yet, and how far their maps agree."""
    maps: dict[tuple[str, int], np.ndarray] = {}
    for seed in seeds:
        for precision in roundings.PRECISIONS:
            name = f"{entry}/{precision}/{seed}"
            file = place / f"{name.replace('/', '-')}.npy"
            if name not in kept.found or not file.is_file():
                began = time.process_time()
                found, answered = measure(entry, precision, seed, splits, place / "weights")
                np.save(file, answered)
                kept.add(name, {metric: found[metric] for metric in roundings.METRICS})
                print(
                    f"{name}: {json.dumps(kept.found[name])}, {time.process_time() - began:.0f} s",
                    flush=True,
                )
            maps[precision, seed] = np.load(file)
    pairs = {
        "precisions": [(("float32", seed), ("mixed", seed)) for seed in seeds],
        "seeds": [(("float32", seeds[0]), ("float32", seed)) for seed in seeds[1:]],
    }
    for what, compared in pairs.items():
        correlations = [agreement(maps[one], maps[other]) for one, other in compared]
        kept.add(f"{entry}/agreement/{what}", {"correlations": correlations})


def main() -> int:
    """Run what is left, or bring it into the page."""
    parser = options_parser(__doc__, PLACE, "docs/cost.md")
    parser.add_argument("--only", nargs="+", choices=entries(), default=list(entries()))
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", default=float("inf"))
    options = parser.parse_args()
    kept, began = Kept(options.place / "measured.json"), time.monotonic()
    if options.write:
        roundings.write(kept.found)
        page.write(ROOT)
        return 0
    if options.pack is None:
        parser.error("--pack names the images to run on")
    splits = splits_of(options)
    for entry in options.only:
        if time.monotonic() - began > options.stop_after:
            print("out of time: the same command goes on from here", file=sys.stderr)
            return 0
        complete(entry, options.seeds, splits, options.place, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
