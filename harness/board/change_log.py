"""What came, changed and went among the published rows, in the order in which it was published.

`leaderboard/records/log.json` is the board's memory: `python -m harness.publish add` writes what
differs from its end, the check of a pull request holds it to the base and to the records, and the
site reads it alone. A row is told anew from the log (`rows_told`), so what is missing at its end can
always be derived (`row_changes_since`). Dates are the days on which a maintainer published; what a record
says of its own time decides nothing. Of a hidden pack stand the same rounded means as in the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from harness.board.public_rows import published
from harness.board.rows import Row, summarise, with_withdrawals
from harness.common.errors import StoreUnusable
from harness.records.parts import Part
from harness.records.record import Record, canonical_json
from harness.records.store import Store

LOG = "log.json"
HEADLINE = {"image_auroc": None, "pixel_auroc": "native", "pixel_pro": "native"}
"""Metrics whose means the log keeps, with the grid that tables show."""
ChangedRow = tuple[str, str, str, str]


class RowChange(Part):
    """One row on one day: as it has stood since."""

    date: date
    """Day (UTC) on which it was published."""
    kind: Literal["new", "replaced", "withdrawn", "removed"]
    """What became of the row; `replaced`: other runs stand for it, or it is back."""
    place: str
    """Benchmark and regime, as in the results."""
    entry: str
    """Name of the entry."""
    title: str
    """The method's name."""
    track: str
    """How the entry was made."""
    isolation: str
    """What stood between the entry and the machine."""
    ranked: bool
    """Whether the row may take a rank."""
    reason: str | None = None
    """Why not."""
    records: dict[str, str]
    """Hash of each record, by seed; empty where the row is gone."""
    identities: tuple[str, ...] = ()
    """Identities of the entry over the seeds."""
    packs: tuple[str, ...] = ()
    """Versions of the pack."""
    commits: tuple[str, ...] = ()
    """Commits of the harness."""
    means: dict[str, float] = Field(default_factory=dict)
    """Means over seeds of `HEADLINE`, as fractions, as far as they are defined."""

    @property
    def key(self) -> ChangedRow:
        """Place, entry, track and isolation: what makes it one row."""
        return self.place, self.entry, self.track, self.isolation

    @property
    def is_there(self) -> bool:
        """Whether the row stands on the board."""
        return self.kind not in ("withdrawn", "removed")


class ChangeLog(Part):
    """The whole memory."""

    schema_version: Literal[1] = 1
    """Version of this file's format."""
    changes: tuple[RowChange, ...] = ()
    """The oldest first."""


def read_log(records: Path) -> ChangeLog:
    """The log of a folder of published records; an empty one where there is none.

    Raises:
        StoreUnusable: it is not readable.
    """
    path = records / LOG
    try:
        return parse_log(path.read_bytes())
    except FileNotFoundError:
        return ChangeLog()
    except (OSError, ValueError) as error:
        raise StoreUnusable(
            f"the log of changes cannot be read: {error}", where=str(path)
        ) from error


def parse_log(content: bytes) -> ChangeLog:
    """A log from the bytes of its file.

    Raises:
        ValueError: it is none.
    """
    try:
        return ChangeLog.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{first['msg']} ({where})" if where else first["msg"]) from error


def log_bytes(log: ChangeLog) -> bytes:
    """The bytes of its file: a line a change, so that a difference shows what was added."""
    lines = ",\n".join(
        canonical_json(change.model_dump(mode="json")).decode() for change in log.changes
    )
    return f'{{"schema_version": {log.schema_version}, "changes": [\n{lines}\n]}}\n'.encode()


def write_log(store: Store, log: ChangeLog) -> Path:
    """Write the log of a folder of published records; returns its path."""
    path = store.root / LOG
    store.write(path, log_bytes(log))
    return path


def with_news(
    base: ChangeLog,
    log: ChangeLog,
    records: Sequence[Record],
    withdrawn: Mapping[str, str],
    day: date,
) -> ChangeLog:
    """The log with what is new at its end, each row once.

    Args:
        base: of the branch that it goes to: it stays as it is. What `log` tells beyond it, no branch
            has yet, and is told anew where it differs.
        log: as it stands here.
        records, withdrawn, day: as in `row_changes_since`.
    """
    count = len(base.changes)
    if log.changes[:count] != base.changes:  # a folder of another history
        base, count = log, len(log.changes)
    news = row_changes_since(base, records, withdrawn, day)
    told = {change.key: change for change in log.changes[count:]}
    kept = (told.get(n.key, n).model_copy(update={"date": n.date}) for n in news)
    if all(one == other for one, other in zip(kept, news, strict=True)) and len(told) == len(news):
        return log  # on the days that it names
    return ChangeLog(changes=(*base.changes, *news))


def rows_told(log: ChangeLog) -> dict[ChangedRow, RowChange]:
    """The last that the log tells of each row."""
    return {change.key: change for change in log.changes}


def row_changes_since(
    log: ChangeLog, records: Sequence[Record], withdrawn: Mapping[str, str], day: date
) -> tuple[RowChange, ...]:
    """What differs between the rows as the log tells them and these records.

    Args:
        log: up to now.
        records: all published records, under the names that rows have.
        withdrawn: reason by name of every submission that was withdrawn.
        day: the date that the changes get.
    Returns:
        In order of place, entry, track and isolation; empty where the log tells all.
    """
    told, found = rows_told(log), _rows_now(records, withdrawn, day)
    changes = []
    for key in sorted(told.keys() | found.keys()):
        before, now = told.get(key), found.get(key)
        if now is None:
            if before is not None and before.kind != "removed":
                changes.append(before.model_copy(update=_gone(day)))
        elif before is None or not before.is_there:
            kind = "withdrawn" if not now.is_there else "new" if before is None else "replaced"
            if before is None or kind != before.kind:
                changes.append(now.model_copy(update={"kind": kind}))
        elif not now.is_there or now.records != before.records:
            kind = "replaced" if now.is_there else "withdrawn"
            changes.append(now.model_copy(update={"kind": kind}))
    return tuple(changes)


def _gone(day: date) -> dict[str, object]:
    return {"date": day, "kind": "removed", "ranked": False, "records": {}, "means": {}}


def _rows_now(
    records: Sequence[Record], withdrawn: Mapping[str, str], day: date
) -> dict[ChangedRow, RowChange]:
    marked = with_withdrawals(records, withdrawn)
    hashes: dict[ChangedRow, dict[str, str]] = {}
    for record in records:
        key = (record.place, record.entry.name, record.track, record.machine.isolation)
        hashes.setdefault(key, {})[str(record.seed)] = record.record_hash or ""
    found: dict[ChangedRow, RowChange] = {}
    for row in published(summarise(marked)):
        key = (row.place, row.entry, row.track, row.isolation)
        found[key] = _change(row, hashes[key], is_withdrawn=row.entry in withdrawn, day=day)
    return found


def _change(row: Row, hashes: Mapping[str, str], *, is_withdrawn: bool, day: date) -> RowChange:
    means = {name: row.metric(name, grid) for name, grid in HEADLINE.items()}  # type: ignore[arg-type]
    return RowChange(
        date=day,
        kind="withdrawn" if is_withdrawn else "new",
        place=row.place,
        entry=row.entry,
        title=row.title,
        track=row.track,
        isolation=row.isolation,
        ranked=row.ranked,
        reason=row.unranked_reason,
        records=dict(sorted(hashes.items())),
        identities=row.identities,
        packs=row.packs,
        commits=row.commits,
        means={
            name: metric.mean
            for name, metric in means.items()
            if metric is not None and metric.mean is not None
        },
    )


def what_changed(before: RowChange | None, now: RowChange) -> tuple[str, ...]:
    """In words, what differs from the row as it stood; empty for a first one."""
    if before is None or now.kind in ("withdrawn", "removed"):
        return ()
    return tuple(_differences(before, now))


def _differences(before: RowChange, now: RowChange) -> Iterator[str]:
    if not before.is_there:
        yield "it is back"
    if before.records.keys() != now.records.keys():
        yield f"seeds {_listed(before.records)} → {_listed(now.records)}"
    parts = {"code": "identities", "pack": "packs", "harness": "commits"}
    yield from (
        f"another {name}"
        for name, field in parts.items()
        if getattr(before, field) != getattr(now, field)
    )
    if before.ranked != now.ranked:
        yield "it may take a rank" if now.ranked else f"it takes no rank: {now.reason}"
    if before.records != now.records and before.records.keys() == now.records.keys():
        yield "it was run again"


def _listed(seeds: Iterable[str]) -> str:
    return ", ".join(sorted(seeds, key=int)) or "none"


def log_problems(
    base: ChangeLog,
    log: ChangeLog,
    records: Sequence[Record],
    withdrawn: Mapping[str, str],
    today: date,
) -> Iterator[str]:
    """Why a log may not take the place of the base's: it is only ever added to, and says what is there.

    Args:
        base: of the branch that a change goes to.
        log: as the change brings it.
        records, withdrawn: as in `row_changes_since`, of the change.
        today: the date of the check (UTC); clocks may differ by a day.
    """
    if log.changes[: len(base.changes)] != base.changes:
        yield "what was published before stands otherwise in it; it is only added to"
        return
    added = log.changes[len(base.changes) :]
    dates = [change.date for change in (*base.changes[-1:], *added)]
    if dates != sorted(dates):
        yield "a date lies before the one above it"
    if added and added[-1].date > today + timedelta(days=1):
        yield f"{added[-1].date} has not come yet"
    last = rows_told(ChangeLog(changes=added))
    days = {key: change.date for key, change in last.items()}
    derived = {c.key: c for c in row_changes_since(base, records, withdrawn, today)}
    for key in sorted(days.keys() | derived.keys()):
        where = f"{key[1]} on {key[0]}"
        if key not in derived:
            yield f"{where}: nothing of it has changed"
        elif key not in last:
            if derived[key].kind != "withdrawn":  # an author withdraws by the submission alone
                yield f"{where}: {derived[key].kind}, and not told (python -m harness.publish add)"
        elif last[key] != derived[key].model_copy(update={"date": days[key]}):
            yield f"{where}: what is told of it does not follow from the records"
    if len(last) != len(added):
        yield "it tells of a row twice"


@dataclass(frozen=True)
class BestStep:
    """From a day on, the best row of a benchmark."""

    date: date
    """Day on which it became so."""
    title: str
    """The method's name."""
    value: float
    """Its mean, as a fraction."""


def best_over_time(log: ChangeLog, place: str, metric: str) -> tuple[BestStep, ...]:
    """The highest mean among the ranked rows of a place, from each day on which it changed.

    Args:
        log: of the published records.
        place: benchmark and regime, as in the results.
        metric: one of `HEADLINE`.
    """
    standing: dict[ChangedRow, RowChange] = {}
    steps: list[BestStep] = []
    mine = (change for change in log.changes if change.place == place)
    for day, changes in groupby(mine, key=lambda change: change.date):
        standing |= {change.key: change for change in changes}
        able = [c for c in standing.values() if c.is_there and c.ranked and metric in c.means]
        if not able:
            continue
        best = max(able, key=lambda change: (change.means[metric], change.key))
        step = BestStep(day, best.title, best.means[metric])
        if not steps or (steps[-1].title, steps[-1].value) != (step.title, step.value):
            steps.append(step)
    return tuple(steps)
