"""Where every submission stands on every pack: finished, waiting and why, running, failed, or held.

    jobs_of(...) -> one `SubmissionJob` for each submission, benchmark and seed

A submission is evaluated anew when what decides its numbers has changed: its own pin, its
settings, the pack, the contract, the metric definitions or the harness. Nothing is started here.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmarks.known import known_releases
from harness.board.site_data import TeamCount
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import DataMissing, HarnessError
from harness.common.lookalikes import key_of
from harness.entries.entry import SubmissionTable
from harness.entries.submissions import find_archive
from harness.records.releases import under_known_names
from harness.records.store import RunName

if TYPE_CHECKING:
    from harness.benchmarks import Pack
    from harness.engines.base import Limits
    from harness.entries.entry import Entry
    from harness.records.record import Record
    from harness.records.releases import KnownReleases
    from harness.records.store import Store

SubmissionState = Literal["finished", "waiting", "running", "failed", "held", "withdrawn"]
# So few that comparing published numbers of near-identical entries tells no label (attack 3).
MOST_SCORED = 5
# A submission that waits longer than this is overdue, and says so.
WAIT_DAYS = 14


@dataclass(frozen=True)
class SubmissionJob:
    """One submission on one pack with one seed."""

    entry: str
    """Name of the submission."""
    team: str
    """Who submitted it."""
    benchmark: str
    """Name of the pack."""
    seed: int
    """Seed."""
    state: SubmissionState
    """Where it stands."""
    why: str
    """Why it stands there."""
    since: str
    """Since when: the submission's date, the run's start, or the record's."""
    until: str
    """When that ends at the latest: the run by its limits, the wait by the rule; empty where it does
    not end by itself."""

    @property
    def name(self) -> RunName:
        """Its place in the store."""
        return RunName(self.benchmark, self.entry, self.seed)


@dataclass(frozen=True)
class Versions:
    """What a record must have been made with to be current."""

    harness: str
    contract: int
    metrics: str


def current_versions() -> Versions:
    """Those of this checkout."""
    from harness import __version__
    from harness.contract import CONTRACT_VERSION
    from harness.metrics import METRICS_VERSION

    return Versions(__version__, CONTRACT_VERSION, METRICS_VERSION)


def submission_jobs(
    entries: Sequence[Entry],
    packs: Sequence[Pack],
    seeds: Sequence[int],
    *,
    store: Store,
    published: Iterable[Record],
    limits: Limits,
    most_scored: int = MOST_SCORED,
    is_retrying: bool = False,
    releases: KnownReleases | None = None,
) -> list[SubmissionJob]:
    """Every job, in the order in which they are done.

    Args:
        entries: the submissions, oldest first.
        packs: the packs of today.
        seeds: seeds that each submission is run with.
        store: the results folder.
        published: published records; they count like those of the store, which come first.
        limits: of the runs, for the latest end.
        most_scored: scored submissions that a team may have on one benchmark.
        is_retrying: runs that failed by their own fault are done again.
        releases: which contents are which benchmark; None = the list that is committed here.
    """
    # The store's records come last: they count before the published ones.
    shown = under_known_names([*published, *store.records()], releases or known_releases())
    known = {_name_of(record): record for record in shown}
    # What a corrected version took the place of was scored all the same.
    past = under_known_names(store.history(), releases or known_releases())
    scored = scored_by_team([*known.values(), *past])
    versions = current_versions()
    jobs = []
    for entry in entries:
        for pack in packs:
            for seed in seeds:
                name = RunName(pack.name, entry.name, seed)
                record = known.get(name)
                state, why, since = _state(entry, pack, record, versions, is_retrying=is_retrying)
                team = team_of(entry.table)
                versions_scored = scored.setdefault((team_key(team), pack.name), set())
                version = (entry.name, _pinned(entry))
                if state == "waiting" and version not in versions_scored:
                    if len(versions_scored) >= most_scored:
                        state = "held"
                        count = f"{len(versions_scored)} of {most_scored}"
                        why = f"{team} has {count} scored submissions here"
                    else:
                        versions_scored.add(version)  # the place is taken by what came first
                until = _latest(state, since, limits)
                if state == "waiting" and (began := store.running_since(name)):
                    state, since = "running", began
                    until = _latest(state, since, limits)
                jobs.append(
                    SubmissionJob(entry.name, team, pack.name, seed, state, why, since, until)
                )
    return jobs


def team_of(table: object) -> str:
    """Who submitted: the team, or else the first author."""
    team = table.team if isinstance(table, SubmissionTable) else ""
    authors = getattr(table, "authors", ())
    return team or next(iter(authors), "") or "unknown"


def _pinned(entry: Entry) -> str:
    return entry.table.pinned if isinstance(entry.table, SubmissionTable) else ""


def team_key(team: str) -> str:
    """What all spellings of one team have in common: case, spaces, punctuation and lookalikes apart."""
    return key_of(team)


def scored_by_team(
    records: Iterable[Record],
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Name and pin of all that was scored, by (team, benchmark); the demo pack counts nothing.

    A corrected version counts like another submission: its numbers tell as much of the labels. The
    same version evaluated again does not.
    """
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for record in records:
        team = record.entry.metadata.get("team")
        if record.is_ok and isinstance(team, str) and record.pack.benchmark != "demo":
            key = (team_key(team), record.pack.benchmark)
            pinned = str(record.entry.metadata.get("pinned") or "")
            found.setdefault(key, set()).add((record.entry.name, pinned))
    return found


def team_counts(records: Iterable[Record]) -> tuple[TeamCount, ...]:
    """How many scored submissions each team has on each benchmark, for the site and the terminal."""
    records = list(records)
    spelled = {
        team_key(team): team
        for record in records
        if isinstance(team := record.entry.metadata.get("team"), str)
    }
    return tuple(
        TeamCount(spelled[team], benchmark, len(names), MOST_SCORED)
        for (team, benchmark), names in sorted(scored_by_team(records).items())
    )


def _name_of(record: Record) -> RunName:
    return RunName(record.place, record.entry.name, record.seed)


def _state(
    entry: Entry, pack: Pack, record: Record | None, versions: Versions, *, is_retrying: bool
) -> tuple[SubmissionState, str, str]:
    """Where a submission stands, why, and since when; without bounds and running processes."""
    submitted = entry.table.submitted
    if entry.table.withdrawn:
        return "withdrawn", entry.table.withdrawn, submitted
    since = record.times.started if record else submitted
    if record is not None and (held := _why_held(entry, pack, record)):
        return "held", held, submitted
    if why := _why_again(entry, pack, record, versions, is_retrying=is_retrying):
        if (missing := missing_archive(entry)) is not None:
            return "held", f"{missing.what} ({why})", since
        return "waiting", why, since
    if record is None or record.is_settled:
        return "finished", "its record is current", since
    return "failed", _told(record), since


def _why_again(
    entry: Entry, pack: Pack, record: Record | None, versions: Versions, *, is_retrying: bool
) -> str:
    """Why a submission has to be run; empty where its record is the one of today."""
    if record is None:
        return "never run on this pack"
    if changes := changes_since(record, entry, pack, versions):
        return "; ".join(changes)
    if record.is_settled:
        return ""
    if changed := _limits_since(record, entry):
        return f"{changed}, after {_told(record)}"
    return f"tried again after {_told(record)}" if is_retrying else ""


def _told(record: Record) -> str:
    """How a failed run ended."""
    outcome, is_open = record.outcome, may_leave(Artefact.EXACT_RECORD, record.pack.visibility)
    return f"{outcome.status.value}: {outcome.remedy if is_open else outcome.status.entry.remedy}"


def missing_archive(entry: Entry) -> DataMissing | None:
    """That the archive which an author handed over is not on this machine; None where it is."""
    table = entry.table
    if not (isinstance(table, SubmissionTable) and table.archive) or table.withdrawn:
        return None
    try:
        find_archive(table, entry.submission)
    except DataMissing as error:
        return error
    return None


def _limits_since(record: Record, entry: Entry) -> str:
    """How the limits that an entry asks for differ from those of its failed run; empty where not."""
    changed = [
        f"{name} changed from {record.limits[name]} to {value}"
        for name, value in entry.limits.items()
        if name in record.limits and record.limits[name] != value
    ]
    return "; ".join(changed)


def _why_held(entry: Entry, pack: Pack, record: Record) -> str:
    """Why a submission with a record cannot be judged; empty where it can."""
    if "pinned" not in record.entry.metadata:
        return "its name is that of another entry, which is no submission"
    try:
        entry.settings(pack.base or pack.card.name)
    except HarnessError as error:  # they are none on this pack; the others have their turn
        return error.on_one_line()
    return ""


def changes_since(record: Record, entry: Entry, pack: Pack, versions: Versions) -> list[str]:
    """Why a record is no longer the one that a run of today would leave; empty where it is."""
    settings = entry.settings(pack.base or pack.card.name)
    pinned = _pinned(entry) or None
    aspects: Mapping[str, tuple[object, object]] = {
        "the submission": (record.entry.metadata.get("pinned"), pinned),
        "its settings": (dict(record.entry.params), dict(settings.params)),
        "the pack": (record.pack.version, pack.version),
        "the patients": (record.pack.patients_digest, pack.patients),
        "the contract": (record.source.contract, versions.contract),
        "the metric definitions": (record.metrics_version, versions.metrics),
        "the harness": (record.source.version, versions.harness),
    }
    return [
        f"{name} changed from {_short(before)} to {_short(now)}"
        for name, (before, now) in aspects.items()
        if before != now
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def wait_ends(since: str) -> str:
    """The date after which a submission waits longer than it should; empty without a date.

    Args:
        since: day or instant from which it waits, ISO 8601.
    """
    try:
        began = datetime.datetime.fromisoformat(since)
        return (began + datetime.timedelta(days=WAIT_DAYS)).date().isoformat()
    except (ValueError, OverflowError):  # no date, or the last day of the calendar
        return ""


def _latest(state: SubmissionState, since: str, limits: Limits) -> str:
    """When a state ends at the latest."""
    if state == "waiting":
        return wait_ends(since)
    if state != "running":
        return ""
    seconds = limits.train_seconds + limits.predict_seconds
    seconds += 2 * (limits.start_seconds + limits.stop_seconds)
    try:
        ends = datetime.datetime.fromisoformat(since) + datetime.timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return ""
    return ends.isoformat(timespec="minutes")
