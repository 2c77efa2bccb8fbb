"""Two entries of one benchmark, metric by metric: the difference, its interval and its p-value.

By what decides the ranks (`harness.metrics.jackknife`): every patient is left out in turn for both
entries, the spread over seeds comes on top, and Student's t gives interval and p-value, so the
interval leaves 0 out exactly where p, before Holm, is at most 0.05. Holm's correction goes over the
metrics that are shown. Traps: an entry with one seed shows no spread over seeds, and `remarks` says
so; the verdict goes by Holm's p, so an interval may leave 0 out where the verdict is that nothing
can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from harness.board.rows import Row, summarise
from harness.board.table_formats import csv_table, latex_table, latex_text
from harness.common.disclosure import Artefact, may_leave, strictest
from harness.common.errors import UsageError
from harness.common.near_misses import did_you_mean
from harness.metrics.suite_table import SUITE_METRICS
from harness.records.members import MEAN
from harness.records.record import Grid
from harness.records.regime import PLACE_MARK
from harness.records.releases import is_asked

if TYPE_CHECKING:
    from harness.board.entry_comparison import ColumnKey, ResampledRuns
    from harness.records.record import Record
    from harness.records.store import Store

HEADLINE = ("image_auroc", "pixel_auroc", "pixel_pro")
"""What is compared where nothing else is asked for."""
NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "pixel_auroc": "pixel AUROC",
    "pixel_pro": "PRO",
}
"""Metrics as a sentence calls them; others by their own name."""
TestVerdict = Literal["first", "second", "undecided"]


@dataclass(frozen=True)
class MetricDifference:
    """One metric of two entries; all values from 0 to 1, differences first less second."""

    metric: str
    """Name of the metric."""
    grid: Grid | None
    """`native`, `paper`, or None for image metrics."""
    first: float
    """Mean over seeds of the first entry."""
    second: float
    """Mean over seeds of the second entry."""
    difference: float
    """First less second."""
    low: float | None
    """Lower end of the 95 % interval of the difference; None where too few patients bear it."""
    high: float | None
    """Upper end."""
    p: float
    """Two-sided p-value of a difference of 0."""
    p_holm: float
    """The same after Holm's correction over the metrics shown."""
    verdict: TestVerdict
    """Which entry is better at 5 % after Holm's correction."""
    member: str | None = None
    """Of a suite: its member, or `mean`; None where it is over all images."""


@dataclass(frozen=True)
class PairComparison:
    """Two entries on one benchmark."""

    benchmark: str
    """Name of the benchmark."""
    pack: str
    """Version of the pack that both ran on."""
    entries: tuple[str, str]
    """First and second."""
    seeds: tuple[int, int]
    """Number of seeds behind each mean."""
    unranked: tuple[str | None, str | None]
    """Why each takes no rank on the board; None where it may."""
    unit: Literal["patient", "image"]
    """What is left out in turn."""
    units: int
    """How many of them."""
    metrics: tuple[MetricDifference, ...]
    """In the order of the records."""
    left_out: tuple[str, ...]
    """Metrics that were asked for and one of them does not have."""
    remarks: tuple[str, ...]
    """What a reader must know besides."""
    is_public: bool
    """Whether the numbers may leave this machine; of a hidden pack only who is better may."""
    sentence: str
    """One sentence, ready for a paper."""


def compare_pair(
    records: Iterable[Record],
    names: tuple[str, str],
    benchmark: str,
    store: Store,
    *,
    metrics: Sequence[str] = HEADLINE,
) -> PairComparison:
    """Compare two entries, whether they take a rank or not.

    Args:
        records: any records; those of the two on the benchmark count.
        names: of the two entries.
        benchmark: where: a benchmark, or the place of another regime (`brain@shots-4`,
            `unified-3@unified`). Runs of two regimes are never compared.
        store: where their evidence lies.
        metrics: what is shown, and corrected for; of a suite the means over its members and what
            is pooled. Empty: everything that both have.
    Raises:
        UsageError: one has no finished row there, more than one, or runs that no mean is taken over.
        StoreUnusable: they ran on different packs, or an evidence file was changed.
        DataMissing: an evidence file is not there.
    """
    from harness.board.entry_comparison import check_one_pack, resampled_runs

    if names[0] == names[1]:
        raise UsageError(f"{names[0]} is named twice", fix="name two different entries")
    records = list(records)
    here = [record for record in records if is_asked(record.place, benchmark)]
    rows = [_row_of(name, here, benchmark, records) for name in names]
    runs = [record for name in names for record in here if record.entry.name == name]
    check_one_pack(runs)
    resampled = resampled_runs(runs, store, 0)
    keys = [
        key
        for key in next(iter(resampled[names[0]]))
        if (not metrics or (key[0] in (*metrics, *SUITE_METRICS) and key[2] in (None, MEAN)))
        and key[1] != "paper"
        and all(key in table for name in names for table in resampled[name])
    ]
    found = _differences(names, resampled, keys)
    first = runs[0]
    shown = {key[0] for key in keys}
    comparison = PairComparison(
        benchmark=first.place,
        pack=first.pack.version,
        entries=names,
        seeds=(len(rows[0].seeds), len(rows[1].seeds)),
        unranked=(rows[0].unranked_reason, rows[1].unranked_reason),
        unit="patient" if first.pack.patients is not None else "image",
        units=max((metric.n for metric in first.metrics), default=0),
        metrics=found,
        left_out=tuple(name for name in metrics if name not in shown),
        remarks=tuple(_remarks(rows)),
        is_public=may_leave(Artefact.COMPARISON_NUMBERS, strictest(row.visibility for row in rows)),
        sentence="",
    )
    return replace(comparison, sentence=paper_sentence(comparison))


def _row_of(name: str, records: Sequence[Record], benchmark: str, others: Sequence[Record]) -> Row:
    rows = [row for row in summarise(records) if row.entry == name]
    names = sorted({record.entry.name for record in records})
    if not rows:
        elsewhere = sorted({r.place for r in others if r.entry.name == name})
        regimes = [place for place in elsewhere if place.startswith(f"{benchmark}{PLACE_MARK}")]
        told = f"; it has on {', '.join(regimes)}, which is another regime" if regimes else ""
        raise UsageError(
            f"{name} has no run on {benchmark}{told}",
            fix=f"{did_you_mean(name, names)}entries there: {', '.join(names) or 'none'}"
            + ("; two entries are compared in one regime, named as above" if regimes else ""),
        )
    if len(rows) > 1:
        raise UsageError(
            f"{name} has {len(rows)} rows on {benchmark}: "
            + ", ".join(f"{row.track}, isolation {row.isolation}" for row in rows),
            fix="keep them in different results folders (--results), or evaluate one --as NAME",
        )
    (row,) = rows
    if row.without_result:
        first = row.without_result[0]
        raise UsageError(
            f"{name}: seed {first.seed} ended with {first.status.value}, and no"
            " mean is taken over what is left",
            fix="evaluate that seed again, or compare another entry",
        )
    if any(
        reason.startswith("the seeds ran") for reason in (row.unranked_reason or "").split(", ")
    ):
        raise UsageError(
            f"{name}: {row.unranked_reason}", fix="evaluate the older seeds again with --replace"
        )
    return row


def _differences(
    names: tuple[str, str], runs: ResampledRuns, keys: Sequence[ColumnKey]
) -> tuple[MetricDifference, ...]:
    from harness.metrics.jackknife import (
        difference_of,
        interval_of_difference,
        mean_of_seeds,
        p_of_difference,
    )
    from harness.metrics.ranks import SIGNIFICANCE, holm

    means = [
        [mean_of_seeds([table[key].spread for table in runs[name]]) for name in names]
        for key in keys
    ]
    differences = [difference_of(one, two) for one, two in means]
    p_values = [p_of_difference(difference) for difference in differences]
    found = []
    for key, (one, two), difference, p, corrected in zip(
        keys, means, differences, p_values, holm(p_values), strict=True
    ):
        interval = interval_of_difference(difference)
        better: TestVerdict = "first" if difference.value > 0 else "second"
        found.append(
            MetricDifference(
                metric=key[0],
                grid=key[1],
                first=one.value,
                second=two.value,
                difference=difference.value,
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                p=p,
                p_holm=corrected,
                verdict=better if corrected <= SIGNIFICANCE else "undecided",
                member=key[2],
            )
        )
    return tuple(found)


def _remarks(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if len(row.seeds) == 1:
            yield f"{row.entry} has one seed: what another would change is in no interval"
        if row.unranked_reason:
            yield f"{row.entry} takes no rank on the board: {row.unranked_reason}"
    if not may_leave(Artefact.COMPARISON_NUMBERS, strictest(row.visibility for row in rows)):
        yield "the pack is hidden: these numbers stay on this machine, the sentence may leave it"
    if rows[0].track != rows[1].track:
        yield f"they are of two tracks, {rows[0].track} and {rows[1].track}"


def paper_sentence(comparison: PairComparison) -> str:
    """What a paper may say of the comparison, in one sentence; points are hundredths."""
    one, two = comparison.entries
    if not comparison.metrics:
        return f"{one} and {two} have no metric in common on {comparison.benchmark}."
    has_numbers = comparison.is_public
    parts = [_said(metric, one, two, has_numbers=has_numbers) for metric in comparison.metrics]
    said = parts[0] if len(parts) == 1 else "; ".join(parts[:-1]) + f"; and {parts[-1]}"
    unit = f"{comparison.units} {comparison.unit}s"
    count = len(comparison.metrics)
    corrected = f", Holm-corrected over {count} metrics" if count > 1 else ""
    local = [
        f"{name} takes no rank ({reason})"
        for name, reason in zip(comparison.entries, comparison.unranked, strict=True)
        if reason
    ]
    marked = f" [unranked: {'; '.join(local)}]" if local else ""
    what = "95 % intervals and two-sided p-values" if has_numbers else "two-sided p-values at 5 %"
    return (
        f"On {comparison.benchmark}, {said} (differences of means over {_seeds(comparison)},"
        f" with {what} by the jackknife over {unit}{corrected}).{marked}"
    )


def _name_of(metric: MetricDifference) -> str:
    name = NAMES.get(metric.metric, metric.metric)
    if metric.member is None:
        return name
    return (
        f"{name}, mean over the members" if metric.member == MEAN else f"{name} on {metric.member}"
    )


def _said(metric: MetricDifference, one: str, two: str, *, has_numbers: bool) -> str:
    name = _name_of(metric)
    better, worse = (one, two) if metric.verdict == "first" else (two, one)
    if not has_numbers:
        if metric.verdict == "undecided":
            return f"{one} and {two} cannot be told apart in {name}"
        return f"{better} exceeds {worse} in {name}"
    points = f"{abs(100 * metric.difference):.2f} points"
    span = ""
    if metric.low is not None and metric.high is not None:
        ends = (metric.low, metric.high)
        # What is said of the second entry is turned round, its interval too.
        low, high = ends if metric.difference >= 0 else (-ends[1], -ends[0])
        span = f"[{100 * low:.2f}, {100 * high:.2f}], "
    told = f"({span}p {_p(metric.p_holm)})"
    if metric.verdict == "undecided":
        return f"{one} and {two} cannot be told apart in {name}, {points} {told}"
    return f"{better} exceeds {worse} in {name} by {points} {told}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _seeds(comparison: PairComparison) -> str:
    one, two = comparison.seeds
    if one == two:
        return f"{one} seed{'s' if one > 1 else ''} each"
    return f"{one} and {two} seeds"


COLUMNS = (
    "benchmark", "pack", "first", "second", "first_seeds", "second_seeds", "first_unranked",
    "second_unranked", "unit", "units", "metric", "grid", "first_mean", "second_mean", "difference",
    "low", "high", "p", "p_holm", "verdict", "member",
)  # fmt: skip
"""Columns of `pair_csv`; means, differences and ends are shares from 0 to 1."""


def pair_csv(comparison: PairComparison) -> str:
    """One line per metric."""
    head = (
        comparison.benchmark, comparison.pack, *comparison.entries, *comparison.seeds,
        *comparison.unranked, comparison.unit, comparison.units,
    )  # fmt: skip
    return csv_table(COLUMNS, [(*head, *vars(metric).values()) for metric in comparison.metrics])


def pair_latex(comparison: PairComparison) -> str:
    """A table for a paper, in percent and points; the better mean bold where it is decided."""
    one, two = map(latex_text, comparison.entries)
    rows = []
    for metric in comparison.metrics:
        values = [f"{100 * value:.2f}" for value in (metric.first, metric.second)]
        if metric.verdict != "undecided":
            place = 0 if metric.verdict == "first" else 1
            values[place] = rf"\textbf{{{values[place]}}}"
        span = "--"
        if metric.low is not None and metric.high is not None:
            span = f"$[{100 * metric.low:.2f}, {100 * metric.high:.2f}]$"
        name = latex_text(_name_of(metric))
        p = f"${_p(metric.p_holm)}$" if metric.p_holm < 0.001 else f"{metric.p_holm:.3f}"
        rows.append([name, *values, f"${100 * metric.difference:+.2f}$", span, p])
    columns = ["Metric", one, two, "Difference", r"95\% interval", "$p$ (Holm)"]
    return latex_table(columns, rows, note=comparison.sentence)


def pair_text(comparison: PairComparison) -> str:
    """The same for a terminal, in percent and points."""
    one, two = comparison.entries
    units = f"{comparison.units} {comparison.unit}s"
    lines = [f"{one} and {two} on {comparison.benchmark}: {units}, {_seeds(comparison)}"]
    names = [
        metric.metric if metric.member is None else f"{metric.metric} ({metric.member})"
        for metric in comparison.metrics
    ]
    width = max(map(len, names), default=0)
    for name, metric in zip(names, comparison.metrics, strict=True):
        span = "no interval"
        if metric.low is not None and metric.high is not None:
            span = f"[{100 * metric.low:+.2f}, {100 * metric.high:+.2f}]"
        better = {"first": f"{one} is better", "second": f"{two} is better"}
        lines.append(
            f"  {name:<{width}}  {100 * metric.first:6.2f} {100 * metric.second:6.2f}"
            f"  {100 * metric.difference:+6.2f} {span}  p {_p(metric.p)}, Holm {_p(metric.p_holm)}:"
            f" {better.get(metric.verdict, 'cannot be told apart')}"
        )
    lines += [f"  {name}: one of them does not have it" for name in comparison.left_out]
    lines += [f"  note: {remark}" for remark in comparison.remarks]
    return "\n".join([*lines, "", comparison.sentence])
