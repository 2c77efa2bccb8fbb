"""Builds the static site: everything that it is made of, gathered from records alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import EntryInvalid, StoreUnusable
from harness.common.paths import PUBLISHED_RECORDS, SUBMISSIONS

if TYPE_CHECKING:
    from harness.board.comparison import Comparison
    from harness.board.local_comparison import LocalComparison
    from harness.board.site_data import BenchmarkCard, Material, Waiting
    from harness.console.cli import Reporter
    from harness.entries.reviewed import Reviewed
    from harness.records.record import Record
    from harness.records.releases import KnownReleases


def default_site_folder(results: Path, *, with_local_pictures: bool = False) -> Path:
    """Where the site of a results folder lies: beside it, as `site`, or `<its name>-site`.

    One with local pictures is `local-site`: what is copied from `site` never holds any.
    """
    name = results.resolve().name
    own = "site" if name == "results" else f"{name}-site"
    return results.resolve().parent / (f"local-{own}" if with_local_pictures else own)


def build_site(
    results: Path,
    out: Path | None = None,
    *,
    published: Path = PUBLISHED_RECORDS,
    known: KnownReleases | None = None,
    reviewed: Reviewed | None = None,
    with_local_pictures: bool = False,
) -> Path:
    """Build the site from all records and return the path of its front page.

    Args:
        results: the results folder; it may be missing.
        out: folder of the site; None is `site` beside the results folder.
        published: folder of published records, laid out like a results folder.
        known: which contents are which benchmark; None = the list that is committed here.
        reviewed: what the results are held against; None is the protected branch.
        with_local_pictures: as in `gather`; such a site is for this machine alone.
    Raises:
        StoreUnusable: a record is not intact, or `out` cannot be written or is not a site.
    """
    is_local = with_local_pictures
    material = gather(results, published, known, reviewed, with_local_pictures=is_local)
    return _write(material, out or default_site_folder(results, with_local_pictures=is_local))


def tell_site_problem(results: Path, reporter: Reporter) -> None:
    """Say before the runs, where it can be known, that there will be no site beside the results."""
    from leaderboard.publishing import check_target

    try:
        check_target(default_site_folder(results))
    except StoreUnusable as error:
        reporter.event(f"the site will not be built: {error.what} ({error.where})")


def build_site_if_possible(
    results: Path, reporter: Reporter, *, reviewed: Reviewed | None = None
) -> Path | None:
    """The site beside the results, after runs: what keeps it from being built is told, and is no
    fault of theirs.
    """
    try:
        return build_site(results, reviewed=reviewed)
    except StoreUnusable as error:
        reporter.event(f"the site was not built: {error.what} ({error.where})")
        return None


def build_example(out: Path) -> Path:
    """Build the made-up site and return the path of its front page.

    Raises:
        StoreUnusable: `out` holds something else, such as a site of records.
    """
    from harness.benchmarks import default_cache
    from harness.board.example import made_up

    return _write(made_up(benchmark_cards(), metric_definitions(), default_cache()), out)


def gather(
    results: Path,
    published: Path = PUBLISHED_RECORDS,
    known: KnownReleases | None = None,
    reviewed: Reviewed | None = None,
    *,
    with_local_pictures: bool = False,
) -> Material:
    """Everything that the site of these folders is made of.

    Curves that are missing beside records with evidence are made and kept there. Whether a run
    was of reviewed contents is found anew for the results; it was for what is published, when
    that was merged. Pictures of images that may not be shown are of the results alone, and only
    with `with_local_pictures`.
    """
    from harness.benchmarks.known import known_releases
    from harness.board import curves, gallery, overall_ranks
    from harness.board.change_log import read_log
    from harness.board.comparison import without_numbers
    from harness.board.data_card_files import read_verified_packs
    from harness.board.other_regimes import is_usual, other_regimes
    from harness.board.public_rows import published as publishable
    from harness.board.reviews import with_reviews
    from harness.board.rows import ranked_records, summarise, with_withdrawals
    from harness.board.site_data import Material
    from harness.board.submission_states import team_counts
    from harness.entries.reviewed import protected_branch
    from harness.entries.submissions import withdrawals
    from harness.records.releases import under_known_names
    from harness.records.store import Store

    if os.access(results, os.W_OK):
        curves.refresh(Store(results))
    cards = benchmark_cards()
    folders = [folder for folder in (published, results) if folder.is_dir()]
    own = {folder: Store(folder).records() for folder in folders}
    # A record that was copied from one folder to the other is one run.
    stored = {record.run_key: record for group in own.values() for record in group}
    known = known or known_releases()
    ours = own.get(results, []) if results != published else []
    found = with_reviews(ours, reviewed or protected_branch()) if ours else []
    derived = stored | {r.run_key: r for r in found}
    marked = with_withdrawals(under_known_names(derived.values(), known), withdrawals(SUBMISSIONS))
    compared, outdated = _comparisons(folders, ranked_records(marked))
    # Pages set rows of one benchmark side by side: other regimes have pages of their own.
    rows = publishable(summarise(filter(is_usual, marked), comparisons=compared))
    renamed = under_known_names(stored.values(), known)
    records = [record for record in renamed if is_usual(record)]
    drawn = {
        key: found
        for folder, group in own.items()
        for key, found in gallery.read_galleries(
            folder, group, with_local=with_local_pictures and folder != published
        ).items()
    }
    shown = {
        run.run_key: drawn[run.run_key] for run in overall_ranks.first_galleries(records, drawn)
    }
    regimes = other_regimes(marked, renamed, compared, [Store(folder) for folder in folders])
    return Material(
        rows=rows,
        records=tuple(records),
        stored={r.run_key: stored[r.run_key] for r in renamed if r is not stored[r.run_key]},
        comparisons={name: without_numbers(each) for name, each in compared.items()},
        local=_local(results, [] if results == published else marked, own.get(results, [])),
        outdated=outdated,
        curves={
            key: found
            for folder, group in own.items()
            for key, found in curves.read_curves(folder, group).items()
        },
        galleries=shown,
        hardest=overall_ranks.hardest(records, shown),
        alarms=overall_ranks.alarms(records, shown),
        overall=overall_ranks.overall(
            compared, [n for n in compared if n in cards and cards[n].table1]
        ),
        not_above_trivial=overall_ranks.not_above_trivial((*rows, *regimes.parts)),
        typical_times=overall_ranks.typical_times((*rows, *(each.row for each in regimes.rows))),
        waiting=waiting(SUBMISSIONS, {record.entry.name for record in renamed}),
        regimes=regimes,
        teams=team_counts(records),
        cards=cards,
        verified={
            name: card
            for folder in folders
            for name, card in read_verified_packs(folder, known).items()
        },
        definitions=metric_definitions(),
        log=read_log(published),
        has_local_pictures=any(each.card.is_local for each in shown.values()),
    )


def metric_definitions() -> dict[str, str]:
    """The exact definition of every metric, by name, and what is to be known of its intervals."""
    from harness.metrics import METRICS
    from harness.metrics.suite_table import SUITE_METRICS

    told = {name: metric.explained for name, metric in METRICS.items()}
    return told | {name: metric.definition for name, metric in SUITE_METRICS.items()}


def _comparisons(
    folders: Iterable[Path], ranked: Mapping[str, Sequence[Record]]
) -> tuple[dict[str, Comparison], tuple[str, ...]]:
    """The comparisons of exactly these records, and the benchmarks that have only another one."""
    from harness.board.comparison import read_comparisons

    found = [each for folder in folders for each in read_comparisons(folder).values()]
    current = {
        each.benchmark: each for each in found if each.is_current(ranked.get(each.benchmark, ()))
    }
    return current, tuple(sorted({each.benchmark for each in found} - set(current)))


def _local(
    results: Path, marked: Sequence[Record], own: Sequence[Record]
) -> dict[str, LocalComparison]:
    """The comparisons of exactly the rows of one's own folder, where they may be shown."""
    from harness.board.local_comparison import local_groups, read_local

    keys = {record.run_key for record in own}
    groups = local_groups(record for record in marked if record.run_key in keys)
    return {
        name: each
        for name, each in read_local(results).items()
        if each.is_current(groups.get(name, ()))
        and may_leave(Artefact.COMPARISON_NUMBERS, each.visibility)
    }


def waiting(submissions: Path, known: set[str]) -> tuple[Waiting, ...]:
    """Submissions without a record, by date. A file that is no submission is passed over here:
    `harness.check` says what is wrong with it.
    """
    from harness.board.site_data import Waiting
    from harness.board.submission_states import wait_ends
    from harness.entries.opening import open_entry

    found = []
    for path in sorted(submissions.glob("*.toml")):
        try:
            entry = open_entry(str(path))
        except EntryInvalid:
            continue
        if entry.name not in known and not entry.table.withdrawn:
            table = entry.table
            since = table.submitted
            until = wait_ends(since)
            found.append(Waiting(entry.name, table.title, since, entry.metadata, until))
    return tuple(sorted(found, key=lambda each: (each.since or "9999", each.name)))


def benchmark_cards() -> dict[str, BenchmarkCard]:
    """What the specs say of every known benchmark."""
    from harness.benchmarks import BENCHMARKS
    from harness.board.site_data import BenchmarkCard

    return {
        name: BenchmarkCard(
            name=name,
            title=spec.title,
            modality=spec.modality,
            has_masks=spec.has_masks,
            table1=spec.table1,
            licence=spec.licence,
            citation=spec.citation,
            source=spec.source,
            access=spec.access,
            may_show_images=spec.may_show_images,
            show_evidence=spec.show_evidence,
            known_leaks=spec.known_leaks,
            remarks=spec.remarks,
        )
        for name, spec in BENCHMARKS.items()
    }


def _write(material: Material, out: Path) -> Path:
    from harness import __version__
    from harness.engines.base import Limits
    from harness.records.source import source
    from leaderboard.builder import build

    return build(
        material,
        out,
        version=__version__,
        commit=source(metrics_version="").commit,
        default_limits=Limits().as_dict(),
    )
