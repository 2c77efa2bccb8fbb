"""Asks a started program what it is: the verb `describe` of the contract."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from harness.contract import CONTRACT_VERSION
from harness.engines.base import (
    DeadlinePassed,
    Engine,
    Exit,
    Launch,
    Limits,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Program,
)
from harness.errors import EntryInvalid

DESCRIBE_BYTES = 64 * 1024
LOG_TAIL_BYTES = 2000


@dataclass(frozen=True)
class Description:
    """What a program says of itself."""

    name: str
    """Its name."""
    contract: int
    """Version of the contract that it speaks."""
    maps: bool
    """Whether it answers with anomaly maps."""
    verbs: tuple[str, ...]
    """What it can do: `predict`, and `train` where it trains; sorted."""


def describe(program: Program, engine: Engine, limits: Limits) -> Description:
    """Start the program with the verb `describe` and read its answer.

    Raises:
        EntryInvalid: it ended with an error, took too long, or said something else.
    """
    text, end, log = _ask(program, engine, limits)
    if end.code != 0:
        tail = log[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        raise EntryInvalid(f"describe ended with exit code {end.code}\n{tail}", where=program.name)
    said = _last_json_object(text)
    kinds = {"name": str, "contract": int, "maps": bool, "verbs": list}
    if said is None or any(type(said.get(key)) is not kind for key, kind in kinds.items()):
        raise EntryInvalid(
            f"describe printed no JSON object with {', '.join(kinds)}, but {text[:200]!r}",
            where=program.name,
            fix="see harness/contract/README.md, section describe",
        )
    if said["contract"] != CONTRACT_VERSION:
        raise EntryInvalid(
            f"it speaks contract {said['contract']}, this harness {CONTRACT_VERSION}",
            where=program.name,
        )
    verbs = tuple(sorted(str(verb) for verb in said["verbs"]))
    if "predict" not in verbs or not set(verbs) <= {"predict", "train"}:
        raise EntryInvalid(
            f'verbs must be ["predict"] or ["predict", "train"], not {said["verbs"]}',
            where=program.name,
        )
    return Description(said["name"], said["contract"], said["maps"], verbs)


def _ask(program: Program, engine: Engine, limits: Limits) -> tuple[bytes, Exit, bytes]:
    """Standard output, end and log of one `describe`."""
    deadline = time.monotonic() + limits.start_seconds
    try:
        with engine.start(Launch(program, "describe", limits=limits)) as running:
            running.expect_output(DESCRIBE_BYTES)
            running.close_input()
            end = running.wait(deadline)
            text = bytes(running.receive(running.pending(), deadline))
    except (DeadlinePassed, PipeClosed, OutputFlood, LogFlood) as error:
        raise EntryInvalid(
            f"describe did not answer properly ({type(error).__name__})", where=program.name
        ) from error
    return text, end, running.log


def _last_json_object(text: bytes) -> dict[str, Any] | None:
    """The last line that is a JSON object: what a base image prints first is skipped."""
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                return value
    return None
