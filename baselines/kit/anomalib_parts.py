"""Single network files of the anomalib library, loaded without the rest of the library.

Importing `anomalib.models…` the usual way runs its package initialisers: the Lightning
engine, every data module and every model, 10 s on two cores where the part itself takes
3 ms, and every run starts four processes. Trap: a part may import torch, torchvision and
the like, but nothing of anomalib itself.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def load_part(path: str) -> ModuleType:
    """One file of the installed anomalib as a module.

    Args:
        path: file inside the package, such as `models/image/reverse_distillation/loss.py`.
    Raises:
        ModuleNotFoundError: anomalib is not installed, or has no such file.
    """
    package = importlib.util.find_spec("anomalib")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("anomalib is not installed", name="anomalib")
    file = Path(package.origin).parent / path
    if not file.is_file():
        raise ModuleNotFoundError(f"anomalib has no file {path}", name="anomalib")
    name = "baselines.kit.anomalib_parts." + path.removesuffix(".py").replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"anomalib/{path} is not a Python file", name="anomalib")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    spec.loader.exec_module(module)
    return module
