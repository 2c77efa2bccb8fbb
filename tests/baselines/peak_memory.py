"""Prints, as JSON, what one fit held at most, its last step and its model's digest.

A process of its own: in one with a history, memory that was freed and kept is taken again
without a trace. A small fit goes before it: the pages of the libraries' code count as well, and
how many are there after the first touch hangs on what the machine has cached.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.baselines.conftest import BASELINES, Listener, open_baseline


def kibibytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def fit_a_little(entry: str, folder: Path, changes: dict[str, Any]) -> None:
    """The same code on four small images."""
    with tempfile.TemporaryDirectory() as few:
        for path in sorted(folder.iterdir())[:4]:
            shutil.copy(path, few)
        small = changes | {"image_size": 64}
        open_baseline(BASELINES / entry).make(**small).fit(Path(few), Listener())


def main(entry: str, folder: str, changes: str) -> None:
    fit_a_little(entry, Path(folder), json.loads(changes))
    model = open_baseline(BASELINES / entry).make(**json.loads(changes))
    # What the network itself takes at the first image is not the fit's.
    model.embed(torch.zeros(1, 1, model.size, model.size, dtype=torch.uint8))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
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
