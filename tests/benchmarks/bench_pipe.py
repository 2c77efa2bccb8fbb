"""Times the pipe, and what harness and contract add to an entry's own time.

    python tests/benchmarks/bench_pipe.py [--engine process docker] [--images 400] [--baseline patchcore]

For each of the six benchmarks' image sizes the echo entry (baselines/echo) answers images in a
whole session, and a program without frames takes and gives the same number of bytes through the
same engine: pipes of a subprocess, or a container's attach stream. They take turns of a few
images, so that another job on the machine disturbs both alike.

Then whole sessions with an entry that sleeps 30 ms an image, or with a baseline, its maps scored:
how much longer they take than the entry's own `predict`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere
REPORT = ROOT / "build" / "bench-pipe.json"
ENGINES = ("process", "docker")
SIDES = ((256, 256), (1024, 512))


def main() -> None:
    """Measure, print tables, write the report."""
    from tests.benchmarks.pipe import copies, overhead
    from tests.benchmarks.pipe.starting import SIZES

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", nargs="+", choices=[size.benchmark for size in SIZES])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--baseline", nargs="*", default=[], metavar="NAME")
    options = parser.parse_args()
    sizes = [size for size in SIZES if not options.only or size.benchmark in options.only]
    report: dict[str, object] = {"machine": _processor()}
    report["copies"] = _table(
        copies.compare(engine, size, options.images) for engine in options.engine for size in sizes
    )
    report["added"] = _table(
        row
        for engine in options.engine
        for side in SIDES
        for row in (
            overhead.sleeping(engine, side, options.images // 2),
            *(overhead.baseline(engine, name, side, 60) for name in options.baseline),
        )
    )
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {REPORT}")


def _table(rows: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Print rows as they come."""
    told = []
    for row in rows:
        if not told:
            print("  ".join(f"{name:>14}" for name in row))
        print("  ".join(f"{value:>14}" for value in row.values()), flush=True)
        told.append(row)
    print()
    return told


def _processor() -> str:
    from harness.engines.process import ProcessEngine
    from harness.records.isolation import MeasuredIsolation
    from harness.running.machine import machine

    return machine(ProcessEngine(), "cpu", 1, MeasuredIsolation()).cpu


if __name__ == "__main__":
    main()
