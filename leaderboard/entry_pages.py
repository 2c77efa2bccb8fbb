"""One page per entry: who, how to rerun, every number with its interval, pictures, every failure.

Trap: of a hidden pack only the (published) row is shown; its records are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.board.rows import Row
from harness.board.site_data import Gallery, Material
from harness.board.suite_rows import WholeRow
from harness.common.disclosure import Artefact, may_leave
from harness.records.record import Record
from harness.records.releases import claimed_name, not_known
from leaderboard import formats, words
from leaderboard.addresses import (
    benchmark_page,
    entry_page,
    regime_key,
    row_page,
    section_key,
)
from leaderboard.behind_values import Behind, behind_values
from leaderboard.cells import COST, Cell, cell
from leaderboard.charts import Figure
from leaderboard.commands import ShownRuns, rerun_command
from leaderboard.downloads import row_key
from leaderboard.entrant import Board, HowItDid, how_it_did
from leaderboard.entry_facts import (
    Fact,
    declared,
    deviations,
    run_facts,
    settings,
    supervision,
)
from leaderboard.entry_failures import FailureGroup, failure_groups
from leaderboard.entry_metrics import MetricLine, lines_of_parts
from leaderboard.entry_next import WhatNext, what_next
from leaderboard.galleries import (
    Album,
    Exhibit,
    exhibits,
    picture_page_path,
    side_by_side_path,
)
from leaderboard.lines import context_of, isolation_phrase, settled_status
from leaderboard.paper import Reported, by_cell
from leaderboard.rank_reasons import names_of
from leaderboard.regime_pages import POOLED_COLUMNS, SWITCH, UNIFIED_PAGE, RegimeChoice, row_title
from leaderboard.runs import RunLine, TrainingLine, run_lines, training_lines
from leaderboard.training_figures import training_figures

OVERVIEW = ("image_auroc", "pixel_auroc", "pixel_pro", "dice_at_valid", COST)
HEADLINE = (
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_pro", "dice_at_0.5", "dice_at_valid",
    "dice_max",
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """An entry on one benchmark, in one track and isolation."""

    key: str
    """Anchor on the page."""
    title: str
    """Title of the benchmark."""
    page: str
    """The benchmark's page, from the site's root."""
    is_demo: bool
    """It is the demonstration pack."""
    is_hidden: bool
    """Only rounded aggregates are shown."""
    summary: str
    """Track, isolation, seeds, in one line."""
    remarks: tuple[str, ...]
    """Why it has no rank, and warnings."""
    overview: tuple[Cell, ...]
    """Cells for the table at the top of the page, in the order of `OVERVIEW`."""
    how: HowItDid
    """How it did, in sentences."""
    status: str
    """`ok`, how many runs failed, or that the method cannot do it."""
    command: str
    """How to rerun it; empty for hidden packs."""
    seeds: tuple[str, ...]
    """Heads of the per-run columns."""
    has_paper_grid: bool
    """Some metric was also scored on the paper's grid."""
    has_reported: bool
    """The paper has numbers for this method here."""
    has_ranks: bool
    """Some metric has a rank."""
    behind: Behind
    """What is behind all its values."""
    headline: tuple[MetricLine, ...]
    """The metrics that the board shows."""
    more: tuple[MetricLine, ...]
    """The others."""
    failures: tuple[FailureGroup, ...]
    """Runs without a result, by the way in which they ended."""
    runs: tuple[RunLine, ...]
    """All runs; empty for hidden packs."""
    training: tuple[TrainingLine, ...]
    """Runs that were trained here; empty for hidden packs."""
    training_figures: tuple[Figure, ...]
    """Loss and validation metric of these over steps."""
    exhibits: tuple[Exhibit, ...]
    """Best, median, worst and false alarm."""
    exhibits_told: str
    """Which run they are of, and by what they were chosen."""
    side_by_side: str
    """Page with all methods on the same images; empty without pictures."""
    full_size: str
    """Page with the row's pictures at full size; empty without pictures."""
    no_pictures: str
    """Why there are none; empty where there are."""
    has_curves: bool
    """Whether the benchmark's page draws its curves."""
    facts: tuple[Fact, ...]
    """Pack, identity, harness."""
    params: tuple[Fact, ...]
    """Hyper-parameters; the note marks those set by hand."""


@dataclass(frozen=True)
class EntryPage:
    """All of one entry."""

    path: str
    """File of the page, from the site's root."""
    name: str
    """Name on the board."""
    stem: str
    """Its name in addresses."""
    title: str
    """The method's name."""
    description: str
    """What the entry says of itself; may be empty."""
    facts: tuple[Fact, ...]
    """Who, paper, code, licence."""
    next: WhatNext
    """What its author does now."""
    deviations: tuple[tuple[str, str], ...]
    """Where it differs from its paper, and why."""
    sections: tuple[Section, ...]
    """One per benchmark, track and isolation."""
    switch: tuple[tuple[RegimeChoice, str], ...]
    """Its pages in other regimes and in one-class, from the site's root; empty where it has one."""
    regime: str
    """Which regime the sections are of; `one-class` of the main page."""


def entry_pages(
    material: Material,
    records: Sequence[Record],
    paper: Sequence[Reported],
    default_limits: Mapping[str, float | int],
    album: Album,
) -> tuple[EntryPage, ...]:
    """One page for every entry of the rows, by name, and one for each other regime that it has.

    The main page of an entry without a row on the main table has its other rows, so that every link
    to an entry leads somewhere.

    Args:
        material: with published rows.
        records: records that may be published in full, sorted; none of a hidden pack.
        paper: the paper's values.
        default_limits: limits that a command to rerun need not name.
        album: takes the pictures.
    """
    wholes = [*map(WholeRow, material.rows), *material.regimes.rows]
    known: dict[str, set[str]] = {}
    for whole in wholes:
        has = {m.id for _, row in whole.parts for m in row.metrics if m.mean is not None}
        known.setdefault(whole.row.place, set()).update(has)
    names = names_of(row for whole in wholes for _, row in whole.parts)
    by_entry: dict[str, list[Record]] = {}
    runs: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        by_entry.setdefault(record.entry.name, []).append(record)
        runs.setdefault(row_key(record), []).append(record)
    board = Board.of(material)
    maker = _Maker(
        material, by_cell(paper), tuple(paper), default_limits, album, known, names, by_entry, board
    )
    by_name: dict[str, list[WholeRow]] = {}
    for whole in sorted(wholes, key=_section_order):
        by_name.setdefault(whole.row.entry, []).append(whole)
    return tuple(
        page
        for name in sorted(by_name)
        for page in _pages(
            [(each, maker.section(each, runs.get(each.key, []))) for each in by_name[name]],
            what_next([whole.row for whole in by_name[name]], board),
        )
    )


def _pages(found: Sequence[tuple[WholeRow, Section]], then: WhatNext) -> list[EntryPage]:
    """The pages of one entry: of the main table, then of each other regime."""
    by_regime: dict[str, list[Section]] = {}
    for whole, section in found:
        by_regime.setdefault(regime_key(whole.row), []).append(section)
    first = found[0][0].row
    paths = {regime_key(whole.row): row_page(whole.row) for whole, _ in found}
    switch = [(choice, paths[choice.key]) for choice in SWITCH if choice.key in paths]
    main = _page(next(iter(by_regime.values())), first, then)
    if len(by_regime) > 1 or "one-class" not in by_regime:
        main = replace(main, switch=tuple(switch), regime=next(iter(by_regime)))
    others = [
        replace(main, path=paths[key], sections=tuple(sections), regime=key)
        for key, sections in by_regime.items()
        if key != "one-class"
    ]
    return [main, *others]


def _section_order(whole: WholeRow) -> tuple[object, ...]:
    """The main table's benchmarks first, then other regimes, fewer images before more."""
    row = whole.row
    is_other = row.place != row.benchmark or bool(whole.members)
    return (
        is_other, words.benchmark_order(row.benchmark), row.regime.name or "",
        row.regime.shots or 0, row.place,
    )  # fmt: skip


def _page(sections: Sequence[Section], first: Row, then: WhatNext) -> EntryPage:
    return EntryPage(
        path=entry_page(first.entry),
        name=formats.plain(first.entry),
        stem=formats.file_stem(first.entry),
        title=formats.plain(first.title),
        description=formats.plain(first.metadata.get("description", "")),
        facts=(*declared(first.metadata), supervision(first)),
        next=then,
        deviations=deviations(first.metadata),
        sections=tuple(sections),
        switch=(),
        regime="one-class",
    )


@dataclass(frozen=True)
class _Maker:
    """Makes sections."""

    material: Material
    reported: Mapping[tuple[str, str, str], Reported]
    paper: tuple[Reported, ...]
    default_limits: Mapping[str, float | int]
    album: Album
    known: Mapping[str, set[str]]
    """By benchmark, the metrics of which some row has a value."""
    names: Mapping[str, str]
    """By entry, what a reader calls it."""
    by_entry: Mapping[str, Sequence[Record]]
    """By name of an entry, its records that may be shown."""
    board: Board
    """What the sentences of the head are made from."""

    def section(self, whole: WholeRow, records: Sequence[Record]) -> Section:
        """One entry on one benchmark or suite, with its runs where they may be shown."""
        row = whole.row
        is_usual = row.place == row.benchmark and not whole.members
        reported = self.reported if is_usual else {}
        lines = lines_of_parts(whole, reported, self.names)
        headline = self.known[row.place] & {*HEADLINE, *POOLED_COLUMNS}
        shown = {key for key in lines if key[1] in headline}
        gallery, pictured = self._gallery(records)
        context = context_of(self.material, self.paper if is_usual else (), "", has_overall=False)
        count = len(row.failures)
        key = section_key(row.place, row.track, row.isolation)
        return Section(
            key=key,
            title=row_title(row),
            page=UNIFIED_PAGE if whole.members else benchmark_page(row.benchmark),
            is_demo=row.benchmark == words.DEMO,
            is_hidden=not may_leave(Artefact.EXACT_RECORD, row.visibility),
            summary=_summary(row),
            remarks=_remarks(row, records),
            overview=tuple(cell(whole.mean or row, metric, context) for metric in OVERVIEW),
            how=how_it_did(whole, self.board),
            status=f"{count} of {len(row.seeds)} failed" if count else settled_status([row]),
            command=rerun_command(records, self.default_limits) if records else "",
            seeds=tuple(f"seed {record.seed}" for record in records),
            has_paper_grid=any(line.on_paper_grid for line in lines.values()),
            has_reported=any(line.reported for line in lines.values()),
            has_ranks=any(line.rank for line in lines.values()),
            behind=behind_values(row, records, self.material),
            headline=tuple(line for name, line in lines.items() if name in shown),
            more=tuple(line for name, line in lines.items() if name not in shown),
            failures=failure_groups(
                row,
                ShownRuns(records, self.by_entry.get(row.entry, ()), self.default_limits),
            ),
            runs=run_lines(records),
            training=training_lines(records),
            exhibits=exhibits(gallery, pictured, self.album) if gallery and pictured else (),
            training_figures=training_figures(key, row_title(row), records),
            exhibits_told=_told(gallery, pictured) if gallery and pictured else "",
            side_by_side=side_by_side_path(row.benchmark) if gallery else "",
            full_size=picture_page_path(pictured) if pictured else "",
            no_pictures="" if gallery else self._no_pictures(row),
            has_curves=any(record.run_key in self.material.curves for record in records),
            facts=run_facts(row, records),
            params=settings(records),
        )

    def _gallery(self, records: Sequence[Record]) -> tuple[Gallery | None, Record | None]:
        for record in records:
            if record.run_key in self.material.galleries:
                return self.material.galleries[record.run_key], record
        return None, None

    def _no_pictures(self, row: Row) -> str:
        card = self.material.cards.get(claimed_name(row.benchmark))
        if not may_leave(Artefact.PICTURES, row.visibility):
            return ""  # the note on hidden packs says it
        if card is not None and not card.may_show_images:
            return f"No pictures: {card.show_evidence}."
        return "No pictures: no run here has left any."


def _told(gallery: Gallery, record: Record) -> str:
    by = {
        "map": "by the AUROC of the map within each image",
        "score": "by the image score",
    }[gallery.card.chosen_by]
    return (
        f"Seed {record.seed}. Best and worst of all anomalous test images, median of"
        f" {gallery.card.drawn} drawn by hash, {by}; the false alarm is the normal image with the"
        " highest score."
    )


def _summary(row: Row) -> str:
    count = len(row.seeds)
    seeds = f"{count} seed{'s' if count != 1 else ''}"
    return f"{words.TRACKS[row.track]} · {isolation_phrase([row])} · {seeds}"


def _remarks(row: Row, records: Sequence[Record]) -> tuple[str, ...]:
    remarks = [f"Unranked: {row.unranked_reason}."] if row.unranked_reason else []
    if reason := not_known(row.benchmark):
        remarks.append(f"{words.NOT_COMPARABLE.capitalize()}: {reason}.")
    if row.are_patients_independent:
        remarks.append(f"Intervals: {words.INDEPENDENT}.")
    remarks.append(_audit_remark(row))
    for warning in dict.fromkeys(text for record in records for text in record.warnings):
        seeds = [record.seed for record in records if warning in record.warnings]
        where = "" if len(seeds) == len(records) else f" (seed {formats.joined(seeds)})"
        remarks.append(f"{warning}{where}")
    return tuple(formats.plain(remark) for remark in remarks)


def _audit_remark(row: Row) -> str:
    if not row.audits:
        return "Not audited: no fresh start was asked about its images once more."
    if not row.audit_marks:
        return "Audit passed: two fresh starts answer the picked test images as the run did."
    return f"Audit: {formats.joined(row.audit_marks)}."
