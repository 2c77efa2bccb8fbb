"""The contract between harness and entry: frames, and `serve` for entries in Python.

Needs numpy and the standard library alone (Python 3.11 or newer), so the folder may be
copied into any image. harness/contract/README.md specifies it for other languages.
"""

from .frames import CONTRACT_VERSION, Verdict
from .lines import BadFrame
from .serve import Checkpoint, Model, NotApplicable, serve

__all__ = [
    "CONTRACT_VERSION",
    "BadFrame",
    "Checkpoint",
    "Model",
    "NotApplicable",
    "Verdict",
    "serve",
]
