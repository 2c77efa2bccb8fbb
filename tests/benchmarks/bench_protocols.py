"""Measures what the way of counting does to a method's numbers, and writes docs/protocol-effects.md.

    python tests/benchmarks/bench_protocols.py --pack DIR [--thin 2 3] [--only padim]
    python tests/benchmarks/bench_protocols.py --write

Three of the baselines answer real images with true features (`true_features.py`); the same
answers are then counted in every way of `protocol_ways.py`. Images and masks are brought to
240x240 first, the size of BMAD's Brain, so that 256 is another size than the native one. What is
measured of one method and seed is kept at once and not measured again.
Trap: the numbers are those of the images at hand, and no result of a benchmark.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it

import numpy as np  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from harness.contract import Verdict  # noqa: E402
from tests.baselines.conftest import BASELINES, open_baseline  # noqa: E402
from tests.baselines.exchangeable import shortened  # noqa: E402
from tests.baselines.true_features import NAME  # noqa: E402
from tests.benchmarks.protocol_ways import (  # noqa: E402
    METRICS,
    REFERENCE,
    WAYS,
    Answers,
    measured,
)
from tests.benchmarks.real_answers import (  # noqa: E402
    Kept,
    Split,
    options_parser,
    splits_of,
    trained,
    write_between,
)

PLACE = ROOT / "build" / "bench-protocols"
PAGE = ROOT / "docs" / "protocol-effects.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
METHODS: dict[str, dict[str, object]] = {
    "patchcore": {},
    "padim": {"shrinkage": "ledoit-wolf"},
    # Judged after every epoch: the more checkpoints, the more there is to choose from.
    "stfpm": {"checkpoint_every_epochs": 1},
    "rd4ad": {"epochs": 8, "checkpoint_every_epochs": 1},
}
ON_TEST = "checkpoint chosen on the test images"
HEADS = ("image AUROC", "pixel AUROC", "pixel AP", "PRO", "Dice@0.5", "best Dice")


@dataclass
class Checkpoints:
    """Keeps the answers of every checkpoint, on the validation and on the test split."""

    model: Any
    valid: Split
    test: Split
    answers: list[Answers] = field(default_factory=list)
    on_valid: list[float] = field(default_factory=list)
    on_test: list[float] = field(default_factory=list)
    state_folder: Path | None = None

    def progress(self, step: int, steps: int, loss: float | None = None) -> None:
        """Nothing is told."""

    def __call__(self, step: int) -> Verdict:
        """Image AUROC on both splits."""
        self.answers.append(self.test.answered(self.model))
        self.on_valid.append(_image_auroc(self.valid.answered(self.model)))
        self.on_test.append(_image_auroc(self.answers[-1]))
        print(f"  step {step}: valid {self.on_valid[-1]:.3f}, test {self.on_test[-1]:.3f}")
        return Verdict(keep=True, stop=False)


def measure(method: str, seed: int, splits: dict[str, Split], place: Path) -> dict[str, Any]:
    """Every way of counting one method's answers: metrics by way."""
    entry = open_baseline(BASELINES / method).entry
    settings = {**shortened(entry), **METHODS[method], "backbone": NAME}
    model, checkpoints = trained(
        method, settings, seed, splits["train"], place / "weights",
        lambda model: Checkpoints(model, splits["valid"], splits["test"]),
    )  # fmt: skip
    if not checkpoints.answers:
        chosen = splits["test"].answered(model)
    else:
        chosen = checkpoints.answers[int(np.argmax(checkpoints.on_valid))]
    found = {way: measured(counted(chosen)) for way, counted in WAYS.items()}
    if checkpoints.answers:
        best = checkpoints.answers[int(np.argmax(checkpoints.on_test))]
        found[ON_TEST] = measured(best)
    return found


def page_part(kept: dict[str, dict[str, Any]]) -> str:
    """A table for each method: the reference, and what every other way adds to it, in points."""
    parts = []
    for method in METHODS:
        runs = [found for name, found in sorted(kept.items()) if name.split("/")[0] == method]
        if not runs:
            continue
        reference = _means(runs, REFERENCE)
        lines = [
            f"`{method}`, {len(runs)} seed{'s' if len(runs) > 1 else ''}:\n",
            "| counted | " + " | ".join(HEADS) + " |",
            "|---" * (1 + len(HEADS)) + "|",
            _line(REFERENCE, [f"{100 * reference[each]:.1f}" for each in METRICS]),
        ]
        for way in (*list(WAYS)[1:], ON_TEST):
            if values := _means(runs, way):
                cells = [
                    f"{100 * (values[each] - reference[each]):+.1f}" if each in values else "–"
                    for each in METRICS
                ]
                lines.append(_line(way, cells))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Measure what is left, or write the page."""
    parser = options_parser(__doc__, PLACE, "docs/protocol-effects.md")
    parser.add_argument("--only", nargs="+", metavar="METHOD", default=list(METHODS))
    options = parser.parse_args()
    kept = Kept(options.place / "measured.json")
    if options.write:
        write_between(PAGE, BEGIN, END, page_part(kept.found))
        return 0
    if options.pack is None:
        parser.error("--pack names the images to run on")
    splits = splits_of(options)
    for seed in options.seeds:
        for method in options.only:
            if f"{method}/{seed}" not in kept.found:
                print(f"{method}, seed {seed}", flush=True)
                kept.add(f"{method}/{seed}", measure(method, seed, splits, options.place))
    return 0


def _image_auroc(answers: Answers) -> float:
    return float(roc_auc_score(answers.is_anomalous, answers.maps.max(axis=(1, 2))))


def _means(runs: Sequence[dict[str, Any]], way: str) -> dict[str, float]:
    """Mean of each metric over the seeds that have it."""
    return {
        metric: mean(values)
        for metric in METRICS
        if (values := [run[way][metric] for run in runs if metric in run.get(way, {})])
    }


def _line(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
