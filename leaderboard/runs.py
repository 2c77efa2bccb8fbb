"""The runs behind a row: how each ended, what it cost, how its checkpoint was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records.record import Record
from leaderboard import formats, sparks, words
from leaderboard.downloads import record_path
from leaderboard.energy import run_energy

NA = "NA"


@dataclass(frozen=True)
class RunLine:
    """One run."""

    seed: int
    """Seed of the run."""
    status: str
    """How it ended."""
    latency: Markup
    """Its times per image, drawn on the scale of all runs of the row."""
    numbers: tuple[str, ...]
    """One per name in `NUMBERS`."""
    texts: tuple[str, ...]
    """One per name in `TEXTS`."""
    record: str
    """Address of the record, from the entry's page."""


@dataclass(frozen=True)
class TrainingLine:
    """How one run was trained, and which checkpoint was kept."""

    seed: int
    """Seed of the run."""
    loss: Markup
    """Loss over steps as the entry reported it; empty where it reported none."""
    loss_told: str
    """First and last loss."""
    checks: Markup
    """The validation metric over checkpoints, as the harness scored them."""
    checks_told: str
    """Metric and value of the kept checkpoint."""
    steps: str
    """Number of steps."""
    kept: str
    """Which checkpoint was kept, and why training ended."""
    told: str
    """How much of the validation labels the verdicts can have told it."""


NUMBERS = (
    "median", "90 %", "99 %", "warm-up", "start-up", "training", "whole run", "peak RAM", "peak GPU memory",
)  # fmt: skip
TEXTS = ("energy", "maps", "machine", "started (UTC)")


def run_lines(records: Sequence[Record]) -> tuple[RunLine, ...]:
    """One line per run, in the order given."""
    longest = max((r.times.latency.p99 for r in records if r.times.latency), default=0.0)
    return tuple(_run_line(record, longest) for record in records)


def training_lines(records: Sequence[Record]) -> tuple[TrainingLine, ...]:
    """One line per run that was trained here."""
    return tuple(line for record in records if (line := _training_line(record)) is not None)


def _run_line(record: Record, longest: float) -> RunLine:
    times, cost, latency = record.times, record.cost, record.times.latency
    seconds = (
        (latency.median, latency.p90, latency.p99, latency.warm_up) if latency else (None,) * 4
    )
    return RunLine(
        seed=record.seed,
        status=record.outcome.status.value,
        latency=sparks.spread(latency.median, latency.p90, latency.p99, longest)
        if latency
        else Markup(),
        numbers=(
            *(NA if value is None else formats.seconds(value) for value in seconds),
            NA if times.start_up is None else formats.duration(times.start_up),
            "none" if times.train is None else formats.duration(times.train),
            formats.duration(times.total),
            NA if cost.peak_ram_mib is None else formats.memory(cost.peak_ram_mib),
            NA if cost.peak_gpu_mib is None else formats.memory(cost.peak_gpu_mib),
        ),
        texts=(
            run_energy(record.energy),
            _maps(record),
            _machine(record),
            formats.plain(times.started),
        ),
        record="../" + record_path(record),
    )


def _training_line(record: Record) -> TrainingLine | None:
    training = record.training
    if training is None:
        return None
    losses = [(float(p.step), p.loss) for p in training.curve if p.loss is not None]
    checks = [(float(c.step), c.value) for c in training.checkpoints if c.value is not None]
    kept = next((c for c in training.checkpoints if c.step == training.kept), None)
    checks_told = ""
    if kept is not None and kept.value is not None:
        metric = words.metric_words(formats.plain(kept.metric)).title
        checks_told = f"{metric} {formats.percent(kept.value)} at step {kept.step:,}"
    resumed = f", resumed {training.resumed} times" if training.resumed else ""
    bits = training.verdict_bits
    state = "last state" if training.kept is None else f"step {training.kept:,}"
    return TrainingLine(
        seed=record.seed,
        loss=sparks.curve(losses),
        loss_told=f"{losses[0][1]:.3g} to {losses[-1][1]:.3g}" if len(losses) > 1 else "",
        checks=sparks.curve(checks, marked=training.kept),
        checks_told=checks_told,
        steps=NA if training.steps is None else f"{training.steps:,}",
        kept=f"{state}, {formats.plain(training.stop_reason)}{resumed}",
        told=NA if bits is None else f"at most {bits:.1f} bits",
    )


def _maps(record: Record) -> str:
    if record.maps is None:
        return "none"
    levels = "" if record.maps.levels is None else f", {record.maps.levels:,} levels"
    return f"{record.maps.dtype}{levels}"


def _machine(record: Record) -> str:
    machine = record.machine
    device = machine.cpu if machine.device == "cpu" else machine.device
    driver = f", driver {machine.driver}" if machine.driver else ""
    return formats.plain(f"{device}{driver}, {machine.threads} threads, {machine.engine}")
