"""Tells which files it finds beside itself, and runs what a tool's cache folder holds."""

import sys
from pathlib import Path

import helper
import numpy as np

HERE = Path(__file__).resolve().parent


class Model:
    """Answers with zeros; what it found stands in its log."""

    def __init__(self, device, seed, params, weights):
        found = sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*") if path.is_file())
        sys.stderr.write(f"files: {' '.join(found)}\n")
        sys.stderr.write(f"helper: {helper.WHICH}\n")
        hidden = HERE / ".ruff_cache" / "answers.py"
        if hidden.exists():
            exec(hidden.read_text())

    def predict(self, image):
        return np.zeros(image.shape[:2], np.float32), 0.0
