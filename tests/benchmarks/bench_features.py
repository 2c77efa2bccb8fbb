"""Runs every baseline whose backbone can be exchanged on true and on random features.

    python tests/benchmarks/bench_features.py --pack DIR [--seeds 0 1] [--stop-after SECONDS]
    python tests/benchmarks/bench_features.py --write

Random backbones say nothing of a method. Here each is evaluated twice by the harness, over the
same network: EfficientNet-Lite0 with its published ImageNet weights (`true_features.py`), and
with random ones. The settings are the method's own but for what `SETTINGS` shortens, so that a run
takes minutes on one core. A finished run is not run again, so that the command may be cut short
and repeated; seed by seed, true before random. `--write` brings the runs into baselines/README.md.
Trap: whatever images are used, the numbers are theirs alone, and no result of a benchmark.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere

from harness.entries.opening import open_folder  # noqa: E402
from harness.records.record import Record  # noqa: E402
from harness.records.store import Store  # noqa: E402
from tests.baselines.true_features import NAME, write_backbone  # noqa: E402

PLACE = ROOT / "build" / "bench-features"
PAGE = ROOT / "baselines" / "README.md"
BEGIN, END = "<!-- features: begin -->", "<!-- features: end -->"
KINDS = {"true": "imagenet", "random": "random"}
COLUMNS = {
    "image AUROC": ("image_auroc", None),
    "pixel AUROC": ("pixel_auroc", "native"),
    "PRO": ("pixel_pro", "native"),
    "best Dice": ("dice_max", "native"),
}
# Of every method that has the parameter.
SHORTENED = {"image_size": 128, "epochs": 6, "checkpoint_every_epochs": 3}
# Of single methods: what a run of minutes on one core needs otherwise.
SETTINGS: dict[str, dict[str, object]] = {
    "padim": {"image_size": 224},
    "patchcore": {"image_size": 224, "cpu_max_patches": 10000},
    "cfa": {"epochs": 4, "checkpoint_every_epochs": 2},
    "stfpm": {"epochs": 12},
    "simplenet": {"passes_per_epoch": 1, "pooled_dims": 256},
    # Batches of 64 vectors are made for a GPU; larger ones, and larger steps.
    "cflow": {"coupling_blocks": 4, "fibre_batch_size": 1024, "learning_rate": 0.001},
    "cs-flow": {
        "native_map": True,
        "batch_size": 16,
        "hidden_channels": 128,
        "learning_rate": 0.001,
        "epochs": 12,
    },
    "utrad": {
        "image_size": 64,
        "levels": 2,
        "width": 128,
        "heads": 4,
        "feed_forward": 256,
        "layers_per_level": 1,
        "epochs": 30,
        "checkpoint_every_epochs": 15,
        "learning_rate": 0.001,
    },
}


@dataclass(frozen=True)
class Run:
    """One call of the harness."""

    entry: str
    """The baseline's folder."""
    variant: str
    """Its name among the results, without the kind of features."""
    kind: str
    """A key of `KINDS`."""
    seed: int
    settings: Mapping[str, object]
    """What is set beside backbone and weights."""

    @property
    def name(self) -> str:
        """The row's name in the results folder."""
        return f"{self.variant}-{self.kind}"


# Beside a method's own settings, what its README offers to a small training split.
VARIANTS: dict[str, dict[str, dict[str, object]]] = {
    "padim": {"padim-shrunken": {"shrinkage": "ledoit-wolf"}},
}


def exchangeable() -> list[str]:
    """The baselines that `--set backbone=…` can give a backbone of one's own."""
    found = []
    for table in sorted((ROOT / "baselines").glob("*/entry.toml")):
        entry = open_folder(table.parent)
        if len(entry.table.backbones) > 1 and "backbone" in entry.document["params"]:
            found.append(entry.name)
    return found


def runs(entries: Sequence[str], seeds: Sequence[int]) -> Iterator[Run]:
    """Every run, the first seed of all methods first."""
    for seed in seeds:
        for entry in entries:
            params = open_folder(ROOT / "baselines" / entry).document["params"]
            shortened = {name: value for name, value in SHORTENED.items() if name in params}
            own = {**shortened, **SETTINGS.get(entry, {})}
            for variant, more in {entry: {}, **VARIANTS.get(entry, {})}.items():
                for kind in KINDS:
                    yield Run(entry, variant, kind, seed, {**own, **more})


def command(run: Run, pack: Path, place: Path) -> list[str]:
    """The harness's own command line."""
    settings = {**run.settings, "backbone": NAME, "weights": KINDS[run.kind]}
    told = [
        f"--set={name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in settings.items()
    ]
    return [
        *(sys.executable, "-m", "harness.evaluate", f"baselines/{run.entry}"),
        *("--pack", str(pack), "--weights", str(place / "weights"), "--seed", str(run.seed)),
        *("--engine", "process", "--limit", "threads=1", "--no-site", "--no-keep-model"),
        *("--results", str(place / "results"), "--as", run.name, *told),
    ]


def main() -> int:
    """Run what is left, or write the table; 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, help="images with masks, in BMAD's layout")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", metavar="ENTRY", help="these baselines alone")
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", default=float("inf"))
    parser.add_argument("--place", type=Path, default=PLACE, help="weights and results")
    parser.add_argument("--write", action="store_true", help="the table, into baselines/README.md")
    options = parser.parse_args()
    if options.write:
        write_table(Store(options.place / "results"))
        return 0
    if options.pack is None:
        parser.error("--pack names the images to run on")
    write_backbone(options.place / "weights")
    began, failed = time.monotonic(), 0
    for run in runs(options.only or exchangeable(), options.seeds):
        if time.monotonic() - began > options.stop_after:
            print("out of time: the same command goes on from here", file=sys.stderr)
            return 0
        call = command(run, options.pack.resolve(), options.place.resolve())
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        failed += subprocess.run(call, cwd=ROOT, env=environment, check=False).returncode != 0
    return int(failed > 0)


def write_table(store: Store) -> None:
    """Put the runs that there are between the marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(store.records())}{END}{after}", encoding="utf-8")


def table(records: Sequence[Record]) -> str:
    """The runs in Markdown: true beside random, mean ± deviation over the seeds, percent."""
    heads = [f"{column}, {kind}" for column in COLUMNS for kind in KINDS]
    lines = ["| method | seeds | " + " | ".join(heads) + " |", "|---" * (2 + len(heads)) + "|"]
    by_name: dict[str, list[Record]] = {}
    for record in records:
        if record.is_ok:
            by_name.setdefault(record.entry.name, []).append(record)
    variants = {name.removesuffix(f"-{kind}") for kind in KINDS for name in by_name}
    for variant in sorted(variants & {run.variant for run in runs(exchangeable(), [0])}):
        groups = [by_name.get(f"{variant}-{kind}", []) for kind in KINDS]
        cells = [_cell(group, *metric) for metric in COLUMNS.values() for group in groups]
        seeds = max(len(group) for group in groups)
        lines.append(f"| `{variant}` | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(records: Sequence[Record], metric: str, grid: str | None) -> str:
    values = [
        100 * each.value
        for record in records
        for each in record.metrics
        if (each.id, each.grid) == (metric, grid) and each.value is not None
    ]
    if not values:
        return "–"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}"


if __name__ == "__main__":
    sys.exit(main())
