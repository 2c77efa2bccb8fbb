"""What the site shows beside one model for each benchmark: gathered from all records, with the parts of suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.board.comparison import Comparison
from harness.board.few_shot_curves import few_shot_curves
from harness.board.sibling_files import differences_of_all
from harness.board.site_data import OtherRegimes
from harness.board.suite_rows import whole_rows
from harness.records.record import Record
from harness.records.store import Store


def is_usual(record: Record) -> bool:
    """Whether a run stands on the main table: on one benchmark, its images as they are, and from all
    training images or, of a folder that trains nothing, from none."""
    return record.place == record.pack.benchmark and not record.is_of_suite


def other_regimes(
    records: Sequence[Record],
    shown: Sequence[Record],
    comparisons: Mapping[str, Comparison],
    stores: Sequence[Store],
) -> OtherRegimes:
    """All that is not of the main table.

    Args:
        records: all records, as rows are made of them.
        shown: the same as they are shown on their own.
        comparisons: by place.
        stores: where evidence lies; none: differences have no interval.
    Raises:
        StoreUnusable: an evidence file was changed, or the folder cannot be written.
    """
    others = [record for record in records if not is_usual(record)]
    rows = whole_rows(others, comparisons)
    usual = whole_rows(record for record in records if is_usual(record))
    return OtherRegimes(
        rows=rows,
        records=tuple(record for record in shown if not is_usual(record)),
        siblings=differences_of_all(rows, records, stores),
        few_shot=few_shot_curves(whole.row for whole in (*rows, *usual) if not whole.members),
    )
