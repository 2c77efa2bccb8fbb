"""Counts what a training step launches, computes and moves, and sets it beside what it once did.

    python tests/benchmarks/bench_launches.py                 # all that were counted before
    python tests/benchmarks/bench_launches.py --only cflow

Counted on a CPU, as a GPU would run it (`baseline_costs/counting.py`), in a process for each
baseline; the counts go into the report of `bench_baselines.py`, from which `make cost-page` brings
them into the table and the page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere

BENCH = Path(__file__).with_name("bench_baselines.py")
REPORT = ROOT / "build" / "bench-baselines.json"


def main() -> int:
    """Count anew, then print the rows; 1 where a count failed."""
    from harness.campaigns.throughput import shipped
    from tests.benchmarks.baseline_costs import page, savings, table

    every = sorted(savings.before()[1])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="NAME")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    command = [sys.executable, str(BENCH), "--parts", "counts", "--again"]
    command += ["--report", str(options.report), "--only", *options.only]
    done = subprocess.run(command, check=False).returncode
    counted = table.merge(shipped(), json.loads(options.report.read_text(encoding="utf-8")))
    print(page.before_and_after(ROOT, counted))
    return done


if __name__ == "__main__":
    sys.exit(main())
