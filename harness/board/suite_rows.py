"""A suite's runs as rows: what is pooled, and beside it each member and the mean over the members.

A row of `harness.board.rows` is of one place and holds the values over all images of the run. Of a
suite that is what is pooled; the values of each member, and their unweighted means, stand in the
same records, and are taken apart here. Trap: one hidden member hides the whole run, so every part
is as open as the least open member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.board.comparison import Comparison
from harness.board.public_rows import published
from harness.board.rows import Row, summarise
from harness.records.members import MEAN, mean_record, member_records
from harness.records.record import Record
from harness.records.releases import claimed_name


@dataclass(frozen=True)
class WholeRow:
    """One entry in one place: the row over all images, and of a suite its parts."""

    row: Row
    """Over all images of the run; of a suite what is pooled."""
    members: Mapping[str, Row] = field(default_factory=dict)
    """Of a suite: by member's name, in the suite's order, the row over its images alone."""
    mean: Row | None = None
    """Of a suite: the means over its members."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Place, entry, track and isolation: what makes it one row."""
        row = self.row
        return row.place, row.entry, row.track, row.isolation

    @property
    def parts(self) -> tuple[tuple[str | None, Row], ...]:
        """Every row with the name under which a record holds its metrics (`MetricValue.member`)."""
        mean = () if self.mean is None else ((MEAN, self.mean),)
        return (*self.members.items(), *mean, (None, self.row))


def whole_rows(
    records: Iterable[Record], comparisons: Mapping[str, Comparison] | None = None
) -> tuple[WholeRow, ...]:
    """One row per entry, place, track and isolation, with its parts, as they may leave the machine.

    Args:
        records: any records; a suite's are of one list of members in each place.
        comparisons: by place, as `harness.board.rows.summarise` takes them.
    """
    by_place: dict[str, list[Record]] = {}
    for record in records:
        by_place.setdefault(record.place, []).append(record)
    return tuple(
        whole
        for _, group in sorted(by_place.items())
        for whole in _of_one_place(group, comparisons or {})
    )


def _of_one_place(
    records: Sequence[Record], comparisons: Mapping[str, Comparison]
) -> tuple[WholeRow, ...]:
    rows = summarise(records, comparisons=comparisons)
    of_suite = [record for record in records if record.is_of_suite]
    if not of_suite:
        return tuple(WholeRow(row) for row in published(rows))
    comparison = comparisons.get(records[0].place)
    parts: dict[str, tuple[Row, ...]] = {}
    for number, pack in enumerate(of_suite[0].members):
        name = claimed_name(pack.benchmark)
        apart = summarise(member_records(record)[number] for record in of_suite)
        parts[name] = _as_open_as(rows, apart, name, comparison)
    mean = _as_open_as(rows, summarise(map(mean_record, of_suite)), MEAN, comparison)
    return tuple(
        WholeRow(row, {name: apart[place] for name, apart in parts.items()}, mean[place])
        for place, row in enumerate(published(rows))
    )


def _as_open_as(
    rows: Sequence[Row], apart: Sequence[Row], member: str, comparison: Comparison | None
) -> tuple[Row, ...]:
    """The rows of one part as they may leave the machine, each with its place in the comparison.

    Args:
        rows: of the whole runs.
        apart: of the part, in the same order.
        member: name of the part, as a comparison has it.
        comparison: of the place.
    """
    return published(
        _with_standings(
            replace(one, visibility=row.visibility, ranked=row.ranked),
            member,
            comparison if any(metric.standing for metric in row.metrics) else None,
        )
        for row, one in zip(rows, apart, strict=True)
    )


def _with_standings(row: Row, member: str, comparison: Comparison | None) -> Row:
    if comparison is None:
        return row
    return replace(
        row,
        metrics=tuple(
            replace(
                metric,
                standing=comparison.standing(row.entry, row.track, metric.id, metric.grid, member),
            )
            for metric in row.metrics
        ),
    )
