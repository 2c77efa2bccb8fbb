"""Prints, as JSON, what one fit held at most, its last step and its model's digest.

A process of its own: in one with a history, memory that was freed and kept is taken again
without a trace.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import torch

from tests.baselines.conftest import BASELINES, Listener, open_baseline


def kibibytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main(entry: str, folder: str, changes: str) -> None:
    model = open_baseline(BASELINES / entry).make(**json.loads(changes))
    # What the network itself takes at the first image is not the fit's.
    model.embed(torch.zeros(1, 1, model.size, model.size, dtype=torch.uint8))
    before = kibibytes("VmRSS")
    listener = Listener()
    model.fit(Path(folder), listener)
    peak = kibibytes("VmHWM") - before
    with tempfile.TemporaryDirectory() as saved:
        model.save(Path(saved))
        digest = hashlib.sha256((Path(saved) / "model.pt").read_bytes()).hexdigest()
    print(json.dumps({"mib": peak / 1024, "steps": listener.points[-1][0], "model": digest}))


if __name__ == "__main__":
    main(*sys.argv[1:])
