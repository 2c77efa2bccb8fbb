"""The runs behind a row: how each ended, what it cost, how its checkpoint was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records.record import Record, TrainingPart
from leaderboard import formats, sparks, words
from leaderboard.downloads import record_path
from leaderboard.energy import run_energy
from leaderboard.training_figures import seed_swatch

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
    swatch: Markup
    """A piece of its line in the drawings."""
    loss: str
    """First and last loss as the entry reported them."""
    checks: str
    """How many checkpoints the harness scored; metric and value of the kept one."""
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
    trained = [(record.seed, record.training) for record in records if record.training is not None]
    return tuple(_training_line(place, *each) for place, each in enumerate(trained))


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


def _training_line(place: int, seed: int, training: TrainingPart) -> TrainingLine:
    losses = [p.loss for p in training.curve if p.loss is not None]
    loss = "none reported"
    if losses:
        loss = f"{losses[0]:.3g} to {losses[-1]:.3g}" if len(losses) > 1 else f"{losses[0]:.3g}"
    kept = next((c for c in training.checkpoints if c.step == training.kept), None)
    checks = str(len(training.checkpoints)) if training.checkpoints else "none"
    if kept is not None and kept.value is not None:
        metric = words.metric_words(formats.plain(kept.metric)).title
        checks += f"; {metric} {formats.percent(kept.value)} at step {kept.step:,}"
    resumed = f", resumed {training.resumed} times" if training.resumed else ""
    bits = training.verdict_bits
    state = "last state" if training.kept is None else f"step {training.kept:,}"
    return TrainingLine(
        seed=seed,
        swatch=seed_swatch(place),
        loss=loss,
        checks=checks,
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
