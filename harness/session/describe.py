"""Asks a program what it is: one start with the contract's verb `describe`."""

from __future__ import annotations

from harness.common.errors import EntryInvalid, InfrastructureFault
from harness.common.foreign_text import quoted
from harness.common.statuses import Fault, RunEnded, Status, remedy_of
from harness.contract.frames import Description
from harness.engines.base import Engine, Launch, Limits, Program
from harness.session.conversation import read_description

LOG_TAIL_BYTES = 64 * 1024


def describe(program: Program, engine: Engine, limits: Limits) -> Description:
    """Start the program with the verb `describe` and read its answer.

    Raises:
        EntryInvalid: it ended with an error, took too long, or said something else.
        InfrastructureFault: the engine failed.
    """
    launch = Launch(program, "describe", limits=limits)
    try:
        with engine.start(launch) as running:
            try:
                return read_description(running, launch)
            finally:
                running.stop()
                log = running.log
    except RunEnded as end:
        if end.status.fault is Fault.INFRASTRUCTURE:
            raise InfrastructureFault(end.status, end.detail, end.cause) from end
        tail = quoted(log[-LOG_TAIL_BYTES:])
        raise EntryInvalid(
            # It has seen no image yet: what it said instead tells nothing of one.
            f"it does not describe itself: {end.told('open')}" + (f"\n{tail}" if tail else ""),
            where=program.name,
            fix=_fix(end),
        ) from end


def _fix(end: RunEnded) -> str:
    """What to do: of a want of time or memory what asks for more, else what it should have said."""
    if end.cause is not None or end.status in (Status.START_TIMEOUT, Status.OUT_OF_MEMORY):
        return remedy_of(end.status, end.cause)
    return "see harness/contract/README.md, section describe"
