"""Measures the regimes: one model for several packs beside one for each, and few images.

    python tests/benchmarks/bench_regimes.py --data-root DIR [--stop-after SECONDS]
    python tests/benchmarks/bench_regimes.py --write

The trial suite (`trial_suite.toml`) holds the stand-ins for Brain, Camelyon16 and OCT2017 that
`tests/benchmarks/test_real_packs.py` reads, and the demo pack. Backbones are EfficientNet-Lite0
with its published weights (`true_features.py`). Each training takes about as many steps whatever
the number of its images, and its last state counts, so that neither the budget nor the choice on a
handful of validation images is the difference. A finished run is not run again: the command may be
cut short and repeated. `--write` brings what there is into docs/regimes.md.
Trap: the numbers are those of the images at hand, and no result of a benchmark.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere

from harness.benchmarks import default_cache, demo_pack, find_packs, open_pack  # noqa: E402
from harness.benchmarks.suites import find_suite  # noqa: E402
from harness.records.regime import SHOTS  # noqa: E402
from harness.records.store import Store  # noqa: E402
from tests.baselines.true_features import NAME, write_backbone  # noqa: E402
from tests.benchmarks.evaluating import evaluate  # noqa: E402

PLACE = ROOT / "build" / "bench-regimes"
SUITE = Path(__file__).with_name("trial_suite.toml")
FEW_SHOT_ON = "brain"
# Two passes over the 338 images of the suite, in batches of 8.
STEPS = 86

_TRUE = {"image_size": 128, "backbone": NAME}
_BATCH = {"batch_size": 8}
SETTINGS: dict[str, dict[str, object]] = {
    "patchcore": {**_TRUE, "cpu_max_patches": 10000},
    "padim": _TRUE,
    "stfpm": {**_TRUE, **_BATCH, "learning_rate": 0.05},
    "rd4ad": {**_TRUE, **_BATCH},
    "deepsvdd": {
        "batch_size": 16,
        "pretraining_batch_size": 16,
        "pretraining_learning_rate": 0.001,
    },
    "uniad": {
        **_TRUE,
        **_BATCH,
        "width": 128,
        "heads": 4,
        "feed_forward": 256,
        "learning_rate": 0.001,
    },
}
# Steps of small images cost little, and Deep SVDD takes many.
LONGER = {"deepsvdd": 3}
TOGETHER = ("patchcore", "stfpm", "deepsvdd", "uniad", "rd4ad")
# Deep SVDD's code is normalised over a batch: one image is none.
FEW_SHOT = dict.fromkeys(("patchcore", "padim", "rd4ad"), SHOTS) | {"deepsvdd": (1,)}
PARTS = ("together", "few_shot")


@dataclass(frozen=True)
class Run:
    """One call of the harness."""

    entry: str
    """The baseline's folder."""
    images: tuple[str, ...]
    """Options that name what it is evaluated on, and in which regime."""
    settings: Mapping[str, object]
    """Hyper-parameters."""
    seeds: tuple[int, ...]
    """Seeds, one after the other."""


@dataclass(frozen=True)
class Grid:
    """All runs on the packs of one folder."""

    root: Path
    """Holds the packs."""
    counts: Mapping[str, int]
    """Training images by member of the suite."""
    seeds: tuple[int, ...] = (0, 1)
    """Of few-shot, where each draws other images; the other regimes have the first."""

    def together(self) -> Iterator[Run]:
        """One model for all packs, and one for each on the same delivery."""
        for entry in TOGETHER:
            settings = settings_for(entry, sum(self.counts.values()))
            images = ("--suite", str(SUITE), "--data-root", str(self.root))
            yield Run(entry, images, settings, self.seeds[:1])
            for member, count in self.counts.items():
                images = (*self._pack(member), "--delivery", "256")
                yield Run(entry, images, settings_for(entry, count), self.seeds[:1])

    def few_shot(self) -> Iterator[Run]:
        """Few images of one pack, and all of them."""
        images = self._pack(FEW_SHOT_ON)
        for entry, shots in FEW_SHOT.items():
            for count in shots:
                few = (*images, "--train", f"shots:{count}")
                yield Run(entry, few, settings_for(entry, count), self.seeds)
            settings = settings_for(entry, self.counts[FEW_SHOT_ON])
            yield Run(entry, images, settings, self.seeds[:1])

    def _pack(self, name: str) -> tuple[str, ...]:
        return ("--benchmark", name, "--data-root", str(self.root))


def settings_for(entry: str, images: int) -> dict[str, object]:
    """The settings of a run on so many training images; some hundred steps, the last state counts."""
    settings = dict(SETTINGS[entry])
    if "batch_size" in settings:
        steps_per_epoch = -(-images // int(str(settings["batch_size"])))
        epochs = max(1, round(STEPS * LONGER.get(entry, 1) / steps_per_epoch))
        settings |= {"epochs": epochs, "checkpoint_every_epochs": epochs}
        if "pretraining_batch_size" in settings:
            settings["pretraining_epochs"] = epochs
    return settings


def open_grid(root: Path) -> Grid:
    """Opens every member of the suite, to count its training images."""
    cache, folders = default_cache(), find_packs(root)
    counts = {}
    for name in find_suite(str(SUITE)).members:
        pack = (
            demo_pack(cache) if name == "demo" else open_pack(folders[name], cache, benchmark=name)
        )
        counts[name] = len(pack.split("train"))
    return Grid(root, counts)


def main() -> int:
    """Run what is left, or write the page; 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, help="folder of the packs, in BMAD's layout")
    parser.add_argument("--only", nargs="+", metavar="ENTRY", help="these baselines alone")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", default=float("inf"))
    parser.add_argument("--place", type=Path, default=PLACE, help="weights and results")
    parser.add_argument("--write", action="store_true", help="the tables, into docs/regimes.md")
    options = parser.parse_args()
    place = options.place.resolve()
    if options.write:
        from tests.benchmarks.regime_tables import write_page

        write_page(Store(place / "results"))
        return 0
    if options.data_root is None:
        parser.error("--data-root names the folder of the packs to run on")
    write_backbone(place / "weights")
    began, failed = time.monotonic(), 0
    grid = open_grid(options.data_root.resolve())
    for run in (run for part in options.parts for run in getattr(grid, part)()):
        if options.only and run.entry not in options.only:
            continue
        if time.monotonic() - began > options.stop_after:
            print("out of time: the same command goes on from here", file=sys.stderr)
            return 0
        more = ("--preset", "bmad", "--seed", *map(str, run.seeds))
        failed += not evaluate(run.entry, run.images, run.settings, place, *more)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
