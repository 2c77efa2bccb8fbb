"""The public form of a record: the record itself for an open pack, rounded aggregates for a hidden one.

An entry chooses its scores, its times, its checkpoints and its log, so each of them could carry
a label or a pixel out. What is published of a hidden run is built up from what may be told;
whatever a later harness adds to a record stays private until it is named here. Every number that
the entry could have chosen is rounded (metrics to the precision of their own interval, costs to
two digits) or left out.

Trap: even a hash of the evidence tells two labellings apart to somebody who can guess the rest.
So the public form commits to it with a secret salt, which stays beside the private record:

    commitment = hash(salt, hash of the record, hash of the evidence)
"""

from __future__ import annotations

from harness.board.public_rows import digits, step_of, to_step
from harness.board.rows import SeedValue
from harness.common.disclosure import Artefact, may_leave
from harness.records.energy import EnergyPart
from harness.records.parts import OutcomePart
from harness.records.record import (
    AuditPart,
    CostPart,
    MetricValue,
    PublicPart,
    Record,
    TimesPart,
    content_hash,
)


def commitment(record: Record, salt: str) -> str:
    """What binds a public form to the exact record and its evidence."""
    return content_hash({"salt": salt, "record": record.record_hash, "evidence": record.evidence})


def public_form(record: Record, salt: str | None = None) -> Record:
    """The record as it may leave the machine, sealed.

    Args:
        record: a sealed record.
        salt: the record's secret (hidden packs alone).
    Raises:
        ValueError: the pack is hidden and there is no salt, or the record is not sealed.
    """
    if may_leave(Artefact.EXACT_RECORD, record.pack.visibility):
        return record
    if not salt or not record.record_hash:
        raise ValueError("a hidden run needs a salt and a sealed record")
    times = record.times
    return Record(
        run_key=record.run_key,
        entry=record.entry,
        pack=record.pack,
        members=record.members,
        regime=record.regime and record.regime.without_keys(),
        seed=record.seed,
        track=record.track,
        ranked=record.ranked,
        unranked_reason=record.unranked_reason,
        limits=record.limits,
        machine=record.machine,
        weights=record.weights,
        source=record.source,
        rescored=record.rescored,
        times=TimesPart(
            started=times.started[:10],  # the day: to the second it could be a message
            total=_known(digits(times.total)),
            train=digits(times.train),
            start_up=digits(times.start_up),
            predict=digits(times.predict),
        ),
        cost=CostPart(
            peak_ram_mib=digits(record.cost.peak_ram_mib),
            peak_gpu_mib=digits(record.cost.peak_gpu_mib),
        ),
        energy=[_rounded_energy(part) for part in record.energy],
        outcome=OutcomePart(
            status=record.outcome.status,
            answered=record.outcome.answered if record.is_ok else None,
        ),
        model=record.model if _is_given(record) else None,
        metrics=[_rounded(metric) for metric in record.metrics],
        audit=record.audit and _bare_audit(record.audit),
        public=PublicPart(
            commitment=commitment(record, salt),
            seconds_per_image=digits(record.seconds_per_image),
        ),
    ).sealed()


def public_problems(record: Record) -> list[str]:
    """Why a record of a hidden pack is not in its public form; empty where it is."""
    if record.public is None:
        return ["it is of a hidden pack and not in its public form"]
    problems = []
    told = {
        "regime.drawn": record.regime and record.regime.drawn,
        "training": record.training,
        "model": None if _is_given(record) else record.model,
        "maps": record.maps,
        "warnings": record.warnings,
        "evidence": record.evidence,
        "answers": record.answers,
        "audit.detail": record.audit and record.audit.detail,
        "outcome.detail": record.outcome.detail,
        "outcome.cause": record.outcome.cause,
        "outcome.log": record.outcome.log,
        "marks": record.marks,
        "engine_facts": record.engine_facts,
        "times.latency": record.times.latency,
    }
    problems += [f"{name} must be left out" for name, value in told.items() if value]
    if not record.is_ok and record.outcome.answered is not None:
        problems.append("outcome.answered must be left out")
    for metric in record.metrics:
        where = f"metric {metric.id} ({metric.grid or 'image'})"
        if metric.low is not None or metric.high is not None:
            problems.append(f"{where} tells its interval")
        if metric.step is None or to_step(metric.value, metric.step) != metric.value:
            problems.append(f"{where} is not rounded")
    costs = [record.times.total, record.times.train, record.times.start_up, record.times.predict]
    costs += [record.audit.seconds] if record.audit else []
    costs += [record.cost.peak_ram_mib, record.cost.peak_gpu_mib, record.public.seconds_per_image]
    costs += [span.joules for part in record.energy for span in part.spans().values()]
    if any(digits(cost) != cost for cost in costs):
        problems.append("a time, a size or an energy has more than two digits")
    if len(record.times.started) != len("2026-01-31"):
        problems.append("times.started tells more than the day")
    return problems


def _is_given(record: Record) -> bool:
    """A model that the call gave was there before the run: its hash is part of the run key."""
    return record.model is not None and record.model.origin == "given"


def _bare_audit(audit: AuditPart) -> AuditPart:
    """The verdict alone: how many answers differ is for the entry to choose."""
    seconds = _known(digits(audit.seconds))
    return audit.model_copy(update={"detail": "", "seconds": seconds})


def _rounded_energy(part: EnergyPart) -> EnergyPart:
    """Two digits of every count; the counter and why it tells nothing are the machine's, not the
    entry's."""
    spans = {
        name: span.model_copy(update={"joules": digits(span.joules)})
        for name, span in part.spans().items()
    }
    return part.model_copy(update=spans)


def _rounded(metric: MetricValue) -> MetricValue:
    step = step_of(
        [SeedValue(0, metric.value, metric.low, metric.high, metric.n, None, metric.step)]
    )
    return MetricValue(
        id=metric.id,
        grid=metric.grid,
        member=metric.member,
        value=to_step(metric.value, step),
        n=metric.n,
        reason=metric.reason if metric.value is None else None,
        step=step,
    )


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("the value is not known")
    return value
