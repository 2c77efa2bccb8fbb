"""Single network files of the anomalib library, loaded without the rest of the library.

Importing `anomalib.models…` the usual way runs its package initialisers: the Lightning
engine, every data module and every model, 10 s on two cores where the part itself takes
3 ms, and every run starts four processes. `load_part` takes one file that imports nothing of
anomalib itself; `library` a module that does, with packages whose initialisers do not run:
what is asked of a package is looked up where its initialiser would have taken it from.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any


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


def library(path: str) -> ModuleType:
    """A module of anomalib and what that needs, without the rest of the library.

    Args:
        path: dotted name below `anomalib`, such as `models.image.padim.torch_model`.
    Raises:
        ModuleNotFoundError: anomalib is not installed, or has no such module.
    """
    if not any(isinstance(finder, _LazyPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LazyPackages())  # what is imported already stays as it is
    return importlib.import_module(f"anomalib.{path}")


class _LazyPackages(MetaPathFinder, Loader):
    """Packages of anomalib without their initialisers; every other module as it is."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module of anomalib is; None for all others."""
        if fullname.partition(".")[0] != "anomalib":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.submodule_search_locations is not None and spec.origin:
            spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """A plain module."""

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs yet; a name is looked up when it is asked for."""
        file = Path(str(module.__file__))
        module.__getattr__ = _lookup(module, file)  # type: ignore[method-assign]


def _lookup(package: ModuleType, file: Path) -> Callable[[str], Any]:
    """What a package answers when it is asked for a name that it does not hold."""
    source = file.read_text(encoding="utf-8")
    homes = {
        alias.asname or alias.name: ("." * node.level + (node.module or ""), alias.name)
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def found(name: str) -> Any:
        if name in homes:
            home, original = homes[name]
            module = importlib.import_module(home, package.__name__)
            return getattr(module, original)
        if name.startswith("__"):
            raise AttributeError(f"{package.__name__} has no {name}")
        if importlib.util.find_spec(f"{package.__name__}.{name}") is not None:
            return importlib.import_module(f"{package.__name__}.{name}")
        # Defined in the initialiser itself: run it after all.
        del package.__getattr__
        exec(compile(source, str(file), "exec"), vars(package))  # noqa: S102 - the library's own
        return getattr(package, name)

    return found
