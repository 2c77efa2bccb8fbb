"""How a failed run is told at once: the end of its log, where the whole log lies, and what tries it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.disclosure import Artefact, may_leave
from harness.common.foreign_text import BAR, one_line
from harness.engines.base import Limits

if TYPE_CHECKING:
    from harness.records.record import Parameter, Record
    from harness.running.request import Request, RunPlace

NO_LOG = (
    "No log is kept of a run on a hidden pack: an entry can write pixels of its images there."
    " On the demo pack, or an open one, python -m harness.check prints the whole log."
)
_MAX_LINE = 500


def reason(record: Record, results: Path, call: Sequence[str]) -> str:
    """Why a run failed, in lines: what it means, the end of its log or the rule that keeps it, a remedy.

    Args:
        record: of a run that ended without a result.
        results: the results folder that it lies in.
        call: what tries the same run again (`check_call`).
    """
    outcome = record.outcome
    lines = [f"{outcome.sentence} {outcome.remedy}"]
    if not may_leave(Artefact.LOG, record.pack.visibility):
        return "\n".join([*lines, NO_LOG])
    if outcome.log is not None:
        lines += [BAR + one_line(line, _MAX_LINE) for line in outcome.log.lines]
        told = "the whole log" if outcome.log.lines else "it wrote nothing to its log"
        lines.append(f"{told}: {results / outcome.log.path}")
    if not record.is_settled:
        lines.append(f"to try it again: {shlex.join(call)}")
    return "\n".join(lines)


def check_call(request: Request, place: RunPlace, data: Sequence[str]) -> list[str]:
    """The call of `harness.check` that does a run again and prints its whole log.

    Args:
        request: the run.
        place: where it was done.
        data: options that name its pack (`data_options.places`).
    """
    from harness.entries.weights import default_weights_folder

    regime = request.regime.options
    call = ["python", "-m", "harness.check", _source(request), *data, *regime]
    call += ["--seed", str(request.seed), "--preset", request.settings.preset]
    for name, value in request.settings.overrides.items():
        call += ["--set", f"{name}={_as_typed(value)}"]
    usual = Limits().as_dict()
    for name, limit in request.limits.as_dict().items():
        if limit != usual[name]:
            call += ["--limit", f"{name}={limit}"]
    call += ["--engine", place.engine.name] if place.engine.name != "docker" else []
    call += ["--device", request.device] if request.device != "cpu" else []
    if place.weights is not None and place.weights != default_weights_folder():
        call += ["--weights", str(place.weights)]
    return call


def _source(request: Request) -> str:
    """The entry as it was named: its submission file, folder, archive or reference."""
    entry = request.entry
    if entry.submission is not None:
        return str(entry.submission)
    if entry.kind not in ("folder", "archive"):
        return entry.source
    path, here = Path(entry.source).resolve(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _as_typed(value: Parameter) -> str:
    """A value as `--set` reads it."""
    return value if isinstance(value, str) else json.dumps(value)
