"""What starts an entry. One module or package per engine, found by listing this package.

An engine is a module (or package) here that holds a subclass of `Engine` whose `name` is the
module's own. A new engine is one new module; nothing is edited. Nothing heavy is imported before
an engine is chosen.
"""

from __future__ import annotations

import importlib
import pkgutil

from harness.common.errors import EngineUnavailable, HarnessError, UsageError
from harness.engines.base import Engine

# What engines are made of, and what is run beside an entry: not engines themselves.
_PARTS = frozenset({
    "base", "canary", "energy", "environment", "full_folders", "gpu", "measuring", "memory_events",
    "oci", "powercap", "probe", "pump", "supervised", "supervisor",
})  # fmt: skip
_FIRST = ("docker", "podman", "apptainer")  # what holds most, first
_LAST = "process"  # not isolated: taken by itself only where nothing else answers


def engine_names() -> tuple[str, ...]:
    """All engines that can be asked for by name, the isolated ones first."""
    found = {module.name for module in pkgutil.iter_modules(__path__)} - _PARTS
    order = {name: place for place, name in enumerate(_FIRST)}
    return tuple(sorted(found, key=lambda name: (name == _LAST, order.get(name, len(order)), name)))


def make_engine(name: str) -> Engine:
    """The engine of this name, not asked yet whether it answers.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in engine_names():
        raise UsageError(
            f"there is no engine {name!r}", where="--engine", fix=f"one of {_listed()}"
        )
    module = importlib.import_module(f"{__name__}.{name}")
    members = [member for member in vars(module).values() if isinstance(member, type)]
    engines = [member for member in members if issubclass(member, Engine)]
    return next(member() for member in engines if getattr(member, "name", None) == name)


def choose_engine(wanted: str) -> Engine:
    """The engine for this command; decided once, never changed by a later failure.

    Args:
        wanted: an engine's name, or `auto`: the first isolated engine that answers, and
            `process` where none does.
    Raises:
        UsageError: there is no such engine.
        EngineUnavailable: the engine asked for by name does not answer.
    """
    if wanted != "auto":
        engine = make_engine(wanted)
        engine.check()
        return engine
    for name in engine_names():
        engine = make_engine(name)
        try:
            engine.check()
        except EngineUnavailable:
            continue
        return engine
    raise EngineUnavailable("no engine answers on this machine", fix="start a container engine")


def how_to_isolate() -> str:
    """What to do where an engine that isolates is needed: use one that answers here, or install one."""
    isolating = [name for name in engine_names() if make_engine(name).at_most != "none"]
    for name in isolating:
        try:
            make_engine(name).check()
        except HarnessError:
            continue
        return f"use --engine {name}, which answers here"
    return (
        f"install one of {', '.join(isolating)} (on a cluster: module load apptainer), then name it"
        " with --engine"
    )


def _listed() -> str:
    return ", ".join(("auto", *engine_names()))
