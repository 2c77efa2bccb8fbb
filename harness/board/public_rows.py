"""What a table may tell of a hidden pack: rounded aggregates and statuses, nothing of one image.

An entry chooses its own scores, so any exact number could carry labels out; `public_form.py` does
the same for records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.board.comparison import bare
from harness.board.rows import Failure, MetricSummary, Row, SeedValue, with_places
from harness.common.disclosure import Artefact, may_leave

# Step of a value of a hidden pack where a run gives no interval: 0.01 is one point of percent.
FALLBACK_STEP = 0.01
# An interval near 0 or 1 can be as narrow as the weight of one image: never finer than this.
FINEST_STEP = 0.001
# Costs are chosen by the entry too; two digits are all that a hidden pack tells of them.
COST_DIGITS = 2


def published(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows as they may leave the machine: those of hidden packs rounded and bare.

    An entry chooses its own scores, so any per-run or per-image number can carry labels
    out. Of a hidden pack remain the means and deviations, rounded to the precision of the
    run's own interval, two digits of the costs, and the statuses. Doing it twice changes
    nothing.
    """
    return with_places(
        row if may_leave(Artefact.EXACT_RECORD, row.visibility) else _withheld(row) for row in rows
    )


def _withheld(row: Row) -> Row:
    """What a hidden pack may tell of a row."""
    return replace(
        row,
        failures=tuple(map(_bare, row.failures)),
        not_applicable=tuple(map(_bare, row.not_applicable)),
        marks=(),
        metrics=tuple(_rounded(metric) for metric in row.metrics),
        seconds_per_image=digits(row.seconds_per_image),
        seconds_less_echo=digits(row.seconds_less_echo),
        seconds_std=None,
        train_seconds=digits(row.train_seconds),
        peak_gpu_mib=digits(row.peak_gpu_mib),
        peak_ram_mib=digits(row.peak_ram_mib),
        gpu_joules_per_image=digits(row.gpu_joules_per_image),
        processor_joules_per_image=digits(row.processor_joules_per_image),
        gpu_train_joules=digits(row.gpu_train_joules),
        processor_train_joules=digits(row.processor_train_joules),
    )


def _bare(failure: Failure) -> Failure:
    """The status alone, with its own sentence and remedy."""
    told = failure.status.entry
    return Failure(failure.seed, failure.status, "", told.sentence, told.remedy)


def _rounded(metric: MetricSummary) -> MetricSummary:
    """The summary without its runs, at the precision of their widest interval."""
    if not metric.seeds:
        return metric
    step = step_of(metric.seeds)
    return replace(
        metric,
        mean=to_step(metric.mean, step),
        std=to_step(metric.std, step),
        seeds=(),
        step=step,
        standing=metric.standing and bare(metric.standing),
    )


def step_of(seeds: Sequence[SeedValue]) -> float:
    """Largest power of ten within half the widest interval, or the step of rounded values."""
    if steps := [seed.step for seed in seeds if seed.step is not None]:
        return max(steps)
    halves = [
        (seed.high - seed.low) / 2
        for seed in seeds
        if seed.low is not None and seed.high is not None
    ]
    widest = max(halves, default=0.0)
    if widest <= 0:
        return FALLBACK_STEP
    return max(FINEST_STEP, float(10.0 ** math.floor(math.log10(widest))))


def to_step(value: float | None, step: float) -> float | None:
    """The multiple of a step (a power of ten) that is nearest to the value."""
    if value is None:
        return None
    decimals = max(0, -math.floor(math.log10(step)))
    return round(round(value / step) * step, decimals)


def digits(value: float | None) -> float | None:
    """A cost to as many digits as a hidden pack tells."""
    return None if value is None else float(f"{value:.{COST_DIGITS}g}")
