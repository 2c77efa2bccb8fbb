"""Runs every baseline whose backbone can be exchanged on true and on random features.

    python tests/benchmarks/bench_features.py --pack DIR [--seeds 0 1] [--stop-after SECONDS]
    python tests/benchmarks/bench_features.py --write

Random backbones say nothing of a method. Here each is evaluated twice by the harness, over the
same network: EfficientNet-Lite0 with its published ImageNet weights (`true_features.py`), and
with random ones. The settings are the method's own but for what `exchangeable.py` shortens, so
that a run takes minutes on one core. A finished run is not run again, so that the command may be cut short
and repeated; seed by seed, true before random. `--write` brings the runs into baselines/README.md.
Trap: whatever images are used, the numbers are theirs alone, and no result of a benchmark.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere

from harness.entries.entry import Entry  # noqa: E402
from harness.records.record import Record  # noqa: E402
from harness.records.store import Store  # noqa: E402
from tests.baselines.exchangeable import exchangeable, shortened  # noqa: E402
from tests.baselines.true_features import NAME, write_backbone  # noqa: E402
from tests.benchmarks.evaluating import evaluate  # noqa: E402

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


def runs(entries: Sequence[Entry], seeds: Sequence[int]) -> Iterator[Run]:
    """Every run, the first seed of all methods first."""
    for seed in seeds:
        for entry in entries:
            settings = shortened(entry)
            for variant, more in {entry.name: {}, **VARIANTS.get(entry.name, {})}.items():
                for kind in KINDS:
                    yield Run(entry.name, variant, kind, seed, {**settings, **more})


def evaluated(run: Run, pack: Path, place: Path) -> bool:
    """Whether the harness could evaluate it."""
    settings = {**run.settings, "backbone": NAME, "weights": KINDS[run.kind]}
    more = ("--seed", str(run.seed), "--as", run.name)
    return evaluate(run.entry, ["--pack", str(pack)], settings, place, *more)


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
    chosen = [each for each in exchangeable() if not options.only or each.name in options.only]
    for run in runs(chosen, options.seeds):
        if time.monotonic() - began > options.stop_after:
            print("out of time: the same command goes on from here", file=sys.stderr)
            return 0
        failed += not evaluated(run, options.pack.resolve(), options.place.resolve())
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
