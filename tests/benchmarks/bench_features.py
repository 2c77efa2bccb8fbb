"""Runs every baseline whose backbone can be exchanged on true and on random features.

    python tests/benchmarks/bench_features.py --pack DIR [--thin 2 3] [--seeds 0 1]
    python tests/benchmarks/bench_features.py --write

Random backbones say nothing of a method. Here each is trained twice and answers the same real
images, over the same network: EfficientNet-Lite0 with its published ImageNet weights
(`true_features.py`), and with random ones. The settings are the method's own but for what
`exchangeable.py` shortens; the checkpoint is the one with the best pixel AUROC on the validation
images; metrics are the harness's. What is measured is kept at once and not measured again, so that
the command may be cut short and repeated; seed by seed, true before random. `--write` brings the
runs into baselines/README.md.
Trap: whatever images are used, the numbers are theirs alone, and no result of a benchmark; and what
is kept does not know its settings: others, or another `--thin`, want a `--place` of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it

from sklearn.metrics import roc_auc_score  # noqa: E402

from harness.contract import Verdict  # noqa: E402
from harness.entries.entry import Entry  # noqa: E402
from tests.baselines.exchangeable import exchangeable, shortened  # noqa: E402
from tests.baselines.true_features import NAME  # noqa: E402
from tests.benchmarks.protocol_ways import Answers, measured  # noqa: E402
from tests.benchmarks.real_answers import (  # noqa: E402
    Kept,
    Split,
    options_parser,
    splits_of,
    trained,
    write_between,
)

PLACE = ROOT / "build" / "bench-features"
PAGE = ROOT / "baselines" / "README.md"
BEGIN, END = "<!-- features: begin -->", "<!-- features: end -->"
KINDS = {"true": "imagenet", "random": "random"}
COLUMNS = {
    "image AUROC": "image_auroc",
    "pixel AUROC": "pixel_auroc",
    "PRO": "pixel_pro",
    "best Dice": "dice_max",
}


@dataclass(frozen=True)
class Run:
    """One training, and its answers."""

    entry: str
    """The baseline's folder."""
    variant: str
    """Its row in the table."""
    kind: str
    """A key of `KINDS`."""
    seed: int
    settings: Mapping[str, object]
    """What is set beside backbone and weights."""

    @property
    def name(self) -> str:
        """What it is kept under."""
        return f"{self.variant}/{self.kind}/{self.seed}"


# Beside a method's own settings, what its README offers to a small training split.
VARIANTS: dict[str, dict[str, dict[str, object]]] = {
    "padim": {"padim-shrunken": {"shrinkage": "ledoit-wolf"}},
}


def runs(entries: Sequence[Entry], seeds: Sequence[int]) -> Iterator[Run]:
    """Every run, the first seed of all methods first."""
    for seed in seeds:
        for entry in entries:
            settings = shortened(entry)
            for variant, more in {entry.name: {}, **VARIANTS.get(entry.name, {})}.items():
                for kind in KINDS:
                    yield Run(entry.name, variant, kind, seed, {**settings, **more})


@dataclass
class BestOnValidation:
    """Keeps the test answers of the checkpoint with the best pixel AUROC on validation."""

    model: Any
    splits: Mapping[str, Split]
    best: float = -1.0
    chosen: Answers | None = None
    state_folder: Path | None = None

    def progress(self, step: int, steps: int, loss: float | None = None) -> None:
        """Nothing is told."""

    def __call__(self, step: int) -> Verdict:
        """Judge the model as it is."""
        valid = self.splits["valid"].answered(self.model)
        found = float(roc_auc_score(valid.masks.ravel() > 0, valid.maps.ravel()))
        if is_better := found > self.best:
            self.best, self.chosen = found, self.splits["test"].answered(self.model)
        return Verdict(keep=is_better, stop=False)


def measure(run: Run, splits: Mapping[str, Split], weights: Path) -> dict[str, float]:
    """The harness's metrics of one run's answers to the test split, from 0 to 1."""
    settings = {**run.settings, "backbone": NAME, "weights": KINDS[run.kind]}
    model, judge = trained(
        run.entry, settings, run.seed, splits["train"], weights,
        lambda model: BestOnValidation(model, splits),
    )  # fmt: skip
    return measured(judge.chosen or splits["test"].answered(model))


def table(kept: Mapping[str, Mapping[str, float]]) -> str:
    """The runs in Markdown: true beside random, mean ± deviation over the seeds, percent."""
    heads = [f"{column}, {kind}" for column in COLUMNS for kind in KINDS]
    lines = ["| method | seeds | " + " | ".join(heads) + " |", "|---" * (2 + len(heads)) + "|"]
    for variant in sorted({name.split("/")[0] for name in kept}):
        found = {
            kind: [kept[name] for name in sorted(kept) if name.startswith(f"{variant}/{kind}/")]
            for kind in KINDS
        }
        cells = [_cell(found[kind], metric) for metric in COLUMNS.values() for kind in KINDS]
        seeds = " and ".join(sorted({str(len(each)) for each in found.values()}))
        lines.append(f"| `{variant}` | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: Sequence[Mapping[str, float]], metric: str) -> str:
    values = [100 * each[metric] for each in found if metric in each]
    if not values:
        return "–"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}"


def main() -> int:
    """Run what is left, or write the table."""
    parser = options_parser(__doc__, PLACE, "baselines/README.md")
    parser.add_argument("--only", nargs="+", metavar="ENTRY", help="these baselines alone")
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", default=float("inf"))
    options = parser.parse_args()
    kept = Kept(options.place / "measured.json")
    if options.write:
        write_between(PAGE, BEGIN, END, table(kept.found))
        return 0
    if options.pack is None:
        parser.error("--pack names the images to run on")
    began = time.monotonic()
    splits = splits_of(options)
    chosen = [each for each in exchangeable() if not options.only or each.name in options.only]
    for run in runs(chosen, options.seeds):
        if run.name in kept.found:
            continue
        if time.monotonic() - began > options.stop_after:
            print("out of time: the same command goes on from here", file=sys.stderr)
            return 0
        started = time.process_time()
        kept.add(run.name, measure(run, splits, options.place / "weights"))
        told = json.dumps(
            {name: round(100 * value, 1) for name, value in kept.found[run.name].items()}
        )
        print(f"{run.name}: {told}, {time.process_time() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
