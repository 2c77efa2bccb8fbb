"""The benchmarks, one file each: a new benchmark is a new file here that exports `SPEC`."""

from __future__ import annotations

import importlib
import pkgutil

from harness.benchmarks.spec import BenchmarkSpec


def _listed() -> dict[str, BenchmarkSpec]:
    """Every `SPEC` in this folder by its name, in the order of the names."""
    specs: dict[str, BenchmarkSpec] = {}
    for module in pkgutil.iter_modules(__path__):
        spec = importlib.import_module(f"{__name__}.{module.name}").SPEC
        if not isinstance(spec, BenchmarkSpec) or spec.name != module.name:
            raise TypeError(f"{module.name}.py must export SPEC, a BenchmarkSpec of its own name")
        specs[spec.name] = spec
    return dict(sorted(specs.items()))


BENCHMARKS: dict[str, BenchmarkSpec] = _listed()
