"""The differences of unified rows to their one-class siblings, kept beside the comparisons.

    results/comparisons/siblings/<suite>@unified/<entry>.json

Made once from the evidence of the runs (`harness.board.siblings`), for it takes every patient's
leaving out. Trap: a file that speaks of other runs than are there now, or of other metric
definitions, is made anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from harness.board.comparison import COMPARISONS_FOLDER
from harness.board.siblings import (
    NO_EVIDENCE,
    MemberSpreads,
    ReadSpreads,
    SiblingDifference,
    sibling_differences,
)
from harness.board.suite_rows import WholeRow, whole_rows
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import DataMissing, StoreUnusable
from harness.common.json_text import BadJson, parse_as
from harness.records.record import Record
from harness.records.regime import ONE_CLASS
from harness.records.store import Store, evidence_of

SIBLINGS_FOLDER = "siblings"
RowKey = tuple[str, str, str, str]
"""Place, entry, track and isolation (`WholeRow.key`)."""


@dataclass(frozen=True)
class SiblingFile:
    """The differences of one unified row, and what they were made from."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    records: tuple[str, ...]
    """Hashes of the unified records and of all one-class ones that may be their siblings, sorted."""
    metrics: str
    """Version of the metric definitions."""
    differences: tuple[SiblingDifference, ...]
    """By member in the suite's order, `mean` last, and metric."""


_FILE = TypeAdapter(SiblingFile)


def differences_of_all(
    wholes: Iterable[WholeRow], records: Sequence[Record], stores: Sequence[Store]
) -> dict[RowKey, tuple[SiblingDifference, ...]]:
    """By key of the row, the differences of every unified row; made where none lie there yet.

    Args:
        wholes: rows as they may leave the machine.
        records: all records, under the names that the rows have.
        stores: where records and their evidence lie; what is made is kept in the last, where that
            can be written.
    Raises:
        StoreUnusable: an evidence file was changed, or the folder cannot be written.
    """
    read = _reader(stores)
    return {
        whole.key: _kept_or_made(whole, runs, others, stores, read)
        for whole, runs, others in _with_records(wholes, records)
    }


def rows_with_records(
    records: Sequence[Record],
) -> Iterator[tuple[WholeRow, list[Record], list[Record]]]:
    """Every unified row, its records, and the one-class ones that may be its siblings."""
    return _with_records(whole_rows(r for r in records if r.is_of_suite), records)


def _with_records(
    wholes: Iterable[WholeRow], records: Sequence[Record]
) -> Iterator[tuple[WholeRow, list[Record], list[Record]]]:
    for whole in wholes:
        if whole.row.regime.name == "unified":
            runs = [record for record in records if _key(record) == whole.key]
            yield whole, runs, [r for r in records if _may_be_sibling(r, runs[0])]


def read_siblings(path: Path) -> SiblingFile:
    """The differences in a file.

    Raises:
        StoreUnusable: it holds something else.
    """
    kept = _kept(path)
    if kept is None:
        raise StoreUnusable("it holds no differences to one-class siblings", where=str(path))
    return kept


def sibling_path(root: Path, place: str, entry: str) -> Path:
    """Where the differences of a unified row lie below a results folder."""
    return root / COMPARISONS_FOLDER / SIBLINGS_FOLDER / place / f"{entry}.json"


def _key(record: Record) -> RowKey:
    return record.place, record.entry.name, record.track, record.machine.isolation


def _may_be_sibling(record: Record, run: Record) -> bool:
    regime, of_run = record.regime or ONE_CLASS, run.regime or ONE_CLASS
    return (
        record.is_publishable
        and not record.is_of_suite
        and (regime.name, regime.delivery) == ("one-class", of_run.delivery)
        and _key(record)[1:] == _key(run)[1:]
    )


def _kept_or_made(
    whole: WholeRow,
    runs: Sequence[Record],
    others: Sequence[Record],
    stores: Sequence[Store],
    read: ReadSpreads,
) -> tuple[SiblingDifference, ...]:
    from harness.metrics import METRICS_VERSION

    hashes = tuple(sorted(record.record_hash or "" for record in (*runs, *others)))
    place, entry = whole.row.place, whole.row.entry
    files = [_kept(sibling_path(store.root, place, entry)) for store in stores]
    for file in files:
        if file is not None and (file.records, file.metrics) == (hashes, METRICS_VERSION):
            break
    else:
        made = sibling_differences(whole, runs, others, read)
        file = SiblingFile(hashes, METRICS_VERSION, made)
    may_be_kept = may_leave(Artefact.COMPARISON_NUMBERS, whole.row.visibility)
    is_whole = not any(each.reason == NO_EVIDENCE for each in file.differences)
    if may_be_kept and is_whole and file != files[-1]:
        _keep(stores[-1], sibling_path(stores[-1].root, place, entry), file)
    return file.differences


def _keep(store: Store, path: Path, file: SiblingFile) -> None:
    if os.access(store.root, os.W_OK):
        store.write(path, _FILE.dump_json(file, indent=1) + b"\n")


def _kept(path: Path) -> SiblingFile | None:
    if not path.is_file():
        return None
    try:
        return parse_as(_FILE.validate_json, path.read_bytes())
    except BadJson:
        return None


def _reader(stores: Sequence[Store]) -> ReadSpreads:
    """Reads the evidence of a run once, wherever it lies."""
    places = {
        stored.run_key: (store.record_path(store.name_of(stored)), stored)
        for store in stores
        for stored in store.records()
        if store.evidence_path(store.name_of(stored)).is_file()
    }
    kept: dict[str, Mapping[str, MemberSpreads]] = {}

    def read(record: Record) -> Mapping[str, MemberSpreads]:
        if record.run_key not in places:
            raise DataMissing(
                "the evidence of the run is not beside its record", where=record.place
            )
        if record.run_key not in kept:
            kept[record.run_key] = _spreads_of(*places[record.run_key])
        return kept[record.run_key]

    return read


def _spreads_of(path: Path, record: Record) -> Mapping[str, MemberSpreads]:
    from harness.metrics import score
    from harness.session.scoring import evidence_of_members

    return {
        name: MemberSpreads(score(evidence).spreads, evidence.test.group_index[0])
        for name, evidence in evidence_of_members(evidence_of(path, record), record).items()
    }
