"""What of published differences to one-class siblings follows from the published records, and does not here.

Intervals are made from the private evidence and cannot be derived here. What can: which records they
speak of, which row stands beside which, both means, their difference, and why there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.board.sibling_files import SiblingFile, rows_with_records
from harness.board.siblings import (
    NO_EVIDENCE,
    MemberSpreads,
    SiblingDifference,
    sibling_differences,
)
from harness.common.errors import DataMissing
from harness.records.record import Record

SLACK = 1e-9  # sums over seeds in another order


def sibling_problems(
    file: SiblingFile, place: str, entry: str, records: Sequence[Record]
) -> Iterator[str]:
    """What contradicts the published records.

    Args:
        file: as it is to be published.
        place, entry: of the unified row whose differences it tells.
        records: all published records, under the names that rows have.
    """
    found = [
        (whole, runs, others)
        for whole, runs, others in rows_with_records(records)
        if (whole.row.place, whole.row.entry) == (place, entry)
    ]
    if not found:
        yield "there is no unified row of this place and entry"
    for whole, runs, others in found:
        if file.records != tuple(sorted(each.record_hash or "" for each in (*runs, *others))):
            yield "it does not speak of exactly the records that are there"
        elif {file.metrics} != {record.metrics_version for record in runs}:
            yield f"its metric definitions are {file.metrics}, and those of its records are not"
        else:
            derived = sibling_differences(whole, runs, others, _no_evidence)
            yield from _of_differences(file.differences, derived)


def _no_evidence(record: Record) -> Mapping[str, MemberSpreads]:
    raise DataMissing("evidence is not published", where=record.place)


def _of_differences(
    told: Sequence[SiblingDifference], derived: Sequence[SiblingDifference]
) -> Iterator[str]:
    if [_name(each) for each in told] != [_name(each) for each in derived]:
        yield "its members and metrics are not those of the records"
        return
    for each, known in zip(told, derived, strict=True):
        where = " ".join(part for part in _name(each) if part)
        if known.reason != NO_EVIDENCE:
            if each != known:
                yield f"{where}: it is not what the records give"
        elif not (
            _is_near(each.sibling, known.sibling) and _is_near(each.difference, known.difference)
        ):
            yield f"{where}: its means or their difference are not those of the records"
        elif each.low is None or each.high is None:
            if each.low is not each.high or each.reason is None:
                yield f"{where}: it has no interval, or half of one, and does not say why"
        elif not -1 <= each.low <= (each.difference or 0.0) <= each.high <= 1:
            yield f"{where}: its interval does not hold its difference"


def _name(difference: SiblingDifference) -> tuple[str, str, str | None]:
    return difference.member, difference.metric, difference.grid


def _is_near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SLACK
