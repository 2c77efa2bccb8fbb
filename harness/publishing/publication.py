"""Published records: put into their folder in the form that may be seen, and held to what the harness writes.

    leaderboard/records/<benchmark>/<entry>/seed-<n>.json            record; of a hidden pack its public form
    leaderboard/records/<benchmark>/<entry>/seed-<n>.curves.json     open packs alone
    leaderboard/records/<benchmark>/<entry>/seed-<n>.gallery/        where the pack may show its images
    leaderboard/records/<benchmark>/datacard.json                    open packs alone
    leaderboard/records/comparisons/<benchmark>.json                 of a hidden pack without its numbers
    leaderboard/records/comparisons/siblings/<suite>@unified/<entry>.json     unified less one-class
    leaderboard/records/log.json                                     what came, changed and went, by date

What a pull request may change of them is held by `pull_request.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness.benchmarks.known import known_releases
from harness.board.change_log import LOG, ChangeLog, parse_log, read_log, with_news, write_log
from harness.board.comparison import (
    comparison_bytes,
    comparison_path,
    read_comparisons,
    without_numbers,
)
from harness.board.reviews import UNREVIEWED, Review, marked, review
from harness.board.rows import ranked_records, with_withdrawals
from harness.board.sibling_files import differences_of_all, rows_with_records, sibling_path
from harness.common.disclosure import Artefact, is_sealed, may_leave
from harness.common.errors import StoreUnusable, UsageError
from harness.entries.reviewed import Reviewed
from harness.entries.submissions import withdrawals
from harness.publishing.pack_check import name_problems, suite_problems
from harness.publishing.public_form import public_form, public_problems
from harness.records.isolation import forbidden
from harness.records.record import MetricValue, Record
from harness.records.releases import KnownReleases, under_known_names
from harness.records.store import RunName, Store, read_record
from harness.records.supervision import NOT_SAID

DIRTY = "+dirty"
PUBLISHED_FILES = "leaderboard/records"


def publish_run(
    path: Path,
    target: Store,
    *,
    is_replacing: bool,
    reviewed: Reviewed,
    others: Iterable[Record],
    known: KnownReleases | None = None,
) -> Path | None:
    """Put one run into the folder of published records; None where it stands there already.

    Whether it may take a rank for its contents and settings is found anew: a folder may have been
    merged after it ran.

    Args:
        path: the record in a results folder.
        target: the folder of published records.
        is_replacing: a record of the same name and another run gives way.
        reviewed: what was reviewed.
        others: all runs of the results folder.
        known: which contents are which benchmark; None = the list that is committed here.
    Raises:
        StoreUnusable: the record or its evidence was changed, or its place is taken.
        UsageError: the run must not be published; all reasons at once.
    """
    record = read_record(path)
    source = Store.around(path)
    name = source.name_of(record)
    public = record
    is_exact = may_leave(Artefact.EXACT_RECORD, record.pack.visibility)
    if not is_exact and record.public is None:
        public = public_form(record, source.salt(name, record))
    found = review(record, reviewed, others)
    if (now := marked(public, found)) is not public:
        public = now.sealed()
    if problems := record_problems(public, found, known or known_releases()):
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise UsageError(f"the run cannot be published:\n{listed}\n", where=str(path))
    existing = target.find(name)
    if existing == public:
        return None
    if existing is not None and not is_replacing:
        raise StoreUnusable(
            "another run is published under this name",
            where=str(target.record_path(name)),
            fix="publish it with --replace, and say so in the pull request",
        )
    for old in (target.curves_path(name), target.record_path(name)):
        old.unlink(missing_ok=True)
    shutil.rmtree(target.gallery_path(name), ignore_errors=True)
    content = path.read_bytes()
    if public is not record:
        content = (public.model_dump_json(indent=1) + "\n").encode()
    target.write(target.record_path(name), content)
    if is_exact:
        _copy_what_may_be_seen(record, name, source, target)
    return target.record_path(name)


def _copy_what_may_be_seen(record: Record, name: RunName, source: Store, target: Store) -> None:
    """Curves and pictures of an open run."""
    from harness.board import curves, gallery

    if curves.read_curves(source.root, [record]):
        target.write(target.curves_path(name), source.curves_path(name).read_bytes())
    if gallery.read_galleries(source.root, [record]):
        for picture in sorted(source.gallery_path(name).iterdir()):
            target.write(target.gallery_path(name) / picture.name, picture.read_bytes())


def publish_comparisons(
    source: Store, target: Store, *, known: KnownReleases | None = None
) -> list[Path]:
    """Put those comparisons beside the records that speak of exactly the published ones."""
    private = {record.record_hash: record for record in source.records()}
    ranked = _ranked(target, known or known_releases())
    written = []
    for benchmark, comparison in read_comparisons(source.root).items():
        names = [source.name_of(private[h]) for h in comparison.records if h in private]
        found = [record for name in names if (record := target.find(name)) is not None]
        public = replace(
            without_numbers(comparison), records=tuple(sorted(r.record_hash or "" for r in found))
        )
        path = comparison_path(target.root, benchmark)
        if len(found) == len(comparison.records) and public.is_current(ranked.get(benchmark, ())):
            target.write(path, comparison_bytes(public))
            written.append(path)
    return written


def publish_siblings(
    source: Store, target: Store, *, known: KnownReleases | None = None
) -> list[Path]:
    """Put the differences of the published unified rows to their siblings beside the records.

    They are made from the evidence in `source`; without it nothing is written.
    """
    shown = under_known_names(target.records(), known or known_releases())
    records = with_withdrawals(shown, withdrawals())
    wholes = [whole for whole, *_ in rows_with_records(records)]
    paths = [sibling_path(target.root, whole.row.place, whole.row.entry) for whole in wholes]
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    differences_of_all(wholes, records, [source, target])
    return [path for path in paths if path.is_file() and path.read_bytes() != before.get(path)]


def publish_log(
    target: Store, reviewed: Reviewed, *, known: KnownReleases | None = None
) -> list[Path]:
    """Tell in the log what differs from that of the branch, today (UTC)."""
    shown = under_known_names(target.records(), known or known_releases())
    content = reviewed.file(f"{PUBLISHED_FILES}/{LOG}")
    base = ChangeLog() if content is None else parse_log(content)
    log = read_log(target.root)
    news = with_news(base, log, shown, withdrawals(), datetime.now(tz=UTC).date())
    return [] if news == log else [write_log(target, news)]


def _ranked(store: Store, known: KnownReleases) -> dict[str, tuple[Record, ...]]:
    shown = under_known_names(store.records(), known)
    return ranked_records(with_withdrawals(shown, withdrawals()))


# -- one record ---------------------------------------------------------------------------------


def record_problems(record: Record, found: Review, known: KnownReleases) -> list[str]:
    """Why the harness cannot have written this record for publication; empty where it can.

    Args:
        record: its own hash was checked when it was read.
        found: what was found of it in the protected branch.
        known: which contents are which benchmark.
    """
    from harness.publishing.verification import run_key_problems

    problems = list(run_key_problems(record))
    if record.entry.checkpoint_rule is None:
        problems.append("it does not hold all parts of its run key: it is of an older harness")
    if not record.is_publishable:
        problems.append(f"it ended as {record.outcome.status.value}, which is no result")
    if not may_leave(Artefact.EXACT_RECORD, record.pack.visibility):
        problems += public_problems(record)
    elif record.public is not None:
        problems.append("it has a public form, and its pack is open")
    elif record.is_ok and record.evidence is None:
        problems.append("it names no evidence")
    for pack in record.members or (record.pack,):
        problems += name_problems(
            pack.benchmark, base=pack.base, version=pack.version, digest=pack.digest, known=known
        )
        if pack.patients_digest is None:
            problems.append(
                "it does not say whose its pack's images are: it is of an older harness"
            )
    if record.members:
        problems += suite_problems(record)
    problems += _track_problems(record, found)
    told = record.entry.supervision or NOT_SAID
    if found.declared not in (None, told):
        problems.append(f"its supervision is not what its entry declares ({found.told})")
    problems += [problem for metric in record.metrics for problem in _metric_problems(metric)]
    if bool(record.metrics) != record.is_ok:
        problems.append("a run that ended well has metrics, and no other has")
    commits = [part.commit for part in (record.source, record.rescored) if part is not None]
    if any(commit is None or commit.endswith(DIRTY) for commit in commits):
        problems.append("it was not made from a commit: the harness had changes or was outside git")
    return problems


def _track_problems(record: Record, found: Review) -> Iterator[str]:
    from harness.board.tracks import OPEN_TRACK, UNPINNED, is_foreign, reasons_of

    is_hidden = is_sealed(record.pack.visibility)
    if (record.track == "sealed") != is_hidden:
        yield f"its track is {record.track}, and its pack {record.pack.visibility}"
    if record.track == "trained-here" and record.entry.kind != "folder":
        yield "it is trained here, and not built from a folder"
    is_nobodys = record.track == "trained-here" and UNREVIEWED in found.reasons
    if is_nobodys:
        yield f"it is trained here, and unreviewed: {found.told}"
    reasons = [*reasons_of(record), *found.reasons]
    # Records of older harnesses said nothing of the track, or nothing of weight files.
    unsaid = {OPEN_TRACK} | (set() if record.weights is not None else {UNPINNED})
    said = [reasons, [reason for reason in reasons if reason not in unsaid]]
    if record.track == "trained-here" and is_foreign(record.model):
        yield "it is trained here, and its model may be another's"
    told = (record.ranked, record.unranked_reason or "")
    if told not in [(not each, ", ".join(each)) for each in said] and not is_nobodys:
        yield f"whether it may take a rank is wrong; reasons against it: {', '.join(reasons) or 'none'}"
    is_image = record.entry.kind != "folder"
    if problem := forbidden(record.machine.isolation, record.pack.visibility, is_foreign=is_image):
        yield f"its isolation is {record.machine.isolation!r}, and {problem}"


def _metric_problems(metric: MetricValue) -> Iterator[str]:
    from harness.metrics import find_metric
    from harness.metrics.suite_table import SUITE_METRICS

    where = f"metric {metric.id} ({metric.where})"
    try:
        level = (SUITE_METRICS.get(metric.id) or find_metric(metric.id)).level
    except KeyError:
        yield f"{where} is none of the harness's"
        return
    if metric.id in SUITE_METRICS and metric.member is not None:
        yield f"{where} is pooled, and of no member"
    if (metric.grid is None) != (level == "image"):
        yield f"{where} is given on the wrong grid"
    numbers = [number for number in (metric.low, metric.value, metric.high) if number is not None]
    if not all(0 <= number <= 1 for number in numbers):
        yield f"{where} is not from 0 to 1"
