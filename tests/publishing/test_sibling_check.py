"""Published differences to one-class siblings are held to the published records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.board.sibling_files import SiblingFile, read_siblings, rows_with_records
from harness.board.siblings import MemberSpreads, SiblingDifference, sibling_differences
from harness.common.errors import StoreUnusable
from harness.metrics.jackknife import Spread
from harness.metrics.table import RANKED
from harness.publishing.sibling_check import sibling_problems
from harness.records.record import Record
from tests.board.test_siblings import KEY, OTHERS, RUNS, UNITS, alone, moves

RECORDS = [*RUNS, *OTHERS]
PLACE, ENTRY = RUNS[0].place, RUNS[0].entry.name


def spreads(run: Record) -> dict[str, MemberSpreads]:
    """What patients move of a run's own values."""
    names = [pack.benchmark for pack in run.members]
    found = {}
    for name in names or [run.pack.benchmark]:
        value = run.metric(*KEY, name if names else None).value
        spread = Spread(value, moves(run, name), UNITS[name], RANKED)
        found[name] = MemberSpreads({KEY: spread}, UNITS[name])
    return found


def made() -> SiblingFile:
    """What the harness makes of these records and their evidence."""
    ((whole, runs, others),) = rows_with_records(RECORDS)
    hashes = tuple(sorted(each.record_hash or "" for each in RECORDS))
    differences = sibling_differences(whole, runs, others, spreads)
    return SiblingFile(hashes, RUNS[0].metrics_version, differences)


def test_what_the_harness_makes_passes() -> None:
    assert list(sibling_problems(made(), PLACE, ENTRY, RECORDS)) == []
    assert any(each.low is not None for each in made().differences)


def first(**changes: object) -> Callable[[SiblingFile], SiblingFile]:
    """The file with its first difference changed."""

    def change(file: SiblingFile) -> SiblingFile:
        one, *others = file.differences
        return replace(file, differences=(replace(one, **changes), *others))

    return change


def with_all(
    change: Callable[[SiblingDifference], SiblingDifference],
) -> Callable[[SiblingFile], SiblingFile]:
    return lambda file: replace(file, differences=tuple(map(change, file.differences)))


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (first(difference=0.5, low=0.4, high=0.6), "their difference are not those"),
        (first(sibling=0.1), "its means or their difference"),
        (first(low=0.3, high=0.4), "its interval does not hold its difference"),
        (first(low=None), "or half of one"),
        (first(low=None, high=None), "does not say why"),
        (first(member="retina"), "members and metrics are not those"),
        (lambda file: replace(file, differences=file.differences[1:]), "members and metrics"),
        (lambda file: replace(file, records=file.records[1:]), "exactly the records"),
        (lambda file: replace(file, metrics="0"), "its metric definitions are 0"),
        (with_all(lambda each: replace(each, reason="hidden", low=None, high=None, difference=None)), "their difference"),
    ],
)  # fmt: skip
def test_what_contradicts_the_records_is_told(
    forge: Callable[[SiblingFile], SiblingFile], said: str
) -> None:
    (told, *_) = sibling_problems(forge(made()), PLACE, ENTRY, RECORDS)
    assert said in told


def test_records_that_came_since_make_it_old() -> None:
    more = [*RECORDS, alone("brain", 0.9, 2)]
    (told,) = sibling_problems(made(), PLACE, ENTRY, more)
    assert "exactly the records that are there" in told


def test_a_row_that_is_not_there_has_no_differences() -> None:
    assert list(sibling_problems(made(), PLACE, "another", RECORDS)) == [
        "there is no unified row of this place and entry"
    ]


def test_something_else_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"records": [], "metrics": "3", "differences": "none"}')
    with pytest.raises(StoreUnusable, match="holds no differences"):
        read_siblings(path)
