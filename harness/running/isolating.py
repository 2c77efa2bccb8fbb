"""What stands between an entry and this machine, measured before a run; too little is an error.

An engine that isolates nothing is refused where a call is read (`plan.refuse_leaks`); what another
holds is known only once it was measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.common.disclosure import Visibility, strictest
from harness.common.errors import EnvironmentFault, HarnessError, InfrastructureFault
from harness.common.statuses import RunEnded
from harness.engines.base import Engine, Launch, Limits, Program
from harness.records.isolation import MeasuredIsolation, forbidden, isolation_level, lacks

if TYPE_CHECKING:
    from harness.console.cli import Reporter


def require_before(
    engine: Engine, launch: Launch, visibilities: Iterable[Visibility], *, is_foreign: bool
) -> None:
    """As `require_isolation`, before anything is started, where a run may be refused at all.

    What may run wherever it likes is measured when it does, and a finished run not at all.
    """
    visibilities = list(visibilities)
    if forbidden("none", strictest(visibilities), is_foreign=is_foreign):
        require_isolation(engine, launch, visibilities, is_foreign=is_foreign)


def require_isolation(
    engine: Engine, launch: Launch, visibilities: Iterable[Visibility], *, is_foreign: bool
) -> MeasuredIsolation:
    """Measure, and see that it is enough for these packs and this entry.

    Args:
        engine: what starts the entry.
        launch: how.
        visibilities: of the packs whose images it is to be given, at least one.
        is_foreign: it arrived as an image.
    Raises:
        EnvironmentFault: it is not; with what is missing.
        InfrastructureFault: the engine failed, or the isolation cannot be measured.
        DeviceUnavailable: as `Engine.start`.
    """
    try:
        measured = engine.measure(launch)
    except RunEnded as end:
        raise InfrastructureFault(end.status, end.detail, end.cause) from end
    level = isolation_level(measured)
    if problem := forbidden(level, strictest(visibilities), is_foreign=is_foreign):
        raise EnvironmentFault(
            f"{problem}; here {launch.program.name} would run as {level!r}:"
            f" {'; '.join(lacks(measured))}",
            where=f"engine {engine.name}",
            fix="use a machine whose engine holds all of it (docs/isolation.md says what each needs)",
        )
    return measured


def isolation_told(engine: Engine, measured: MeasuredIsolation) -> str:
    """The level, with what is missing where the engine could hold it."""
    level = isolation_level(measured)
    if engine.at_most == "none":
        return f"{level} (the {engine.name} engine isolates nothing)"
    return f"{level} ({'; '.join(lacks(measured)) or 'everything holds'})"


def isolation_lacking(engine: Engine, limits: Limits) -> str:
    """The level with what is missing, before any entry is prepared, by the engine's own program.

    Empty where nothing is missing, where the engine isolates nothing (which is told anyway), and where
    nothing is known yet: Docker has no program of the harness's own before the base is built.
    """
    if engine.at_most == "none":
        return ""
    # A stranger's, so that no base is built for it.
    launch = Launch(Program("isolation", "image:isolation"), "predict", limits=limits)
    try:
        measured = engine.measure(launch)
    except (RunEnded, HarnessError):
        return ""
    return isolation_told(engine, measured) if lacks(measured) else ""


def tell_isolation(engine: Engine, measured: MeasuredIsolation, reporter: Reporter) -> None:
    """What an engine that isolates does not hold on this machine."""
    if engine.at_most != "none" and lacks(measured):
        reporter.event(f"  isolation: {isolation_told(engine, measured)}")
