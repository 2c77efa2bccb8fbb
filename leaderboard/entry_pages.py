"""One page per entry: who, how to rerun, every number with its interval, pictures, every failure.

Trap: of a hidden pack only the (published) row is shown; its records are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.board.rows import MetricSummary, Row, SeedValue
from harness.board.site_data import Gallery, Material
from harness.board.suite_rows import WholeRow
from harness.common.disclosure import Artefact, may_leave
from harness.common.foreign_text import one_line
from harness.records.members import MEAN
from harness.records.record import Record
from harness.records.releases import claimed_name, not_known
from leaderboard import formats, guide, words
from leaderboard.cells import COST, Cell, cell, rank_badge
from leaderboard.commands import rerun_command
from leaderboard.downloads import row_key
from leaderboard.galleries import Album, Exhibit, exhibits, side_by_side_path
from leaderboard.paper import Reported, by_cell, difference, method_key, why_not_comparable
from leaderboard.regime_pages import POOLED_COLUMNS, SWITCH, UNIFIED_PAGE, RegimeChoice, row_title
from leaderboard.runs import NA, RunLine, TrainingLine, run_lines, training_lines
from leaderboard.tables import (
    benchmark_page,
    context_of,
    entry_page,
    isolation_phrase,
    regime_key,
    row_page,
    settled_status,
)

MAX_LOG_LINE = 500  # characters
OVERVIEW = ("image_auroc", "pixel_auroc", "pixel_pro", "dice_at_valid", COST)
HEADLINE = (
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_pro", "dice_at_0.5", "dice_at_valid",
    "dice_max",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One line of a list of facts."""

    label: str
    """What it is."""
    text: str
    """Its value."""
    link: str | None = None
    """Address, where the value is a link that may be followed."""
    note: str = ""
    """A remark behind it."""


@dataclass(frozen=True)
class SeedCell:
    """One metric of one run."""

    text: str
    """Percent, or NA."""
    small: str
    """The interval, or the reason."""


@dataclass(frozen=True)
class MetricLine:
    """One metric over all seeds: the headline grid, and beside it the paper's."""

    title: str
    """Name of the metric."""
    anchor: str
    """Its place in the guide."""
    meaning: str
    """What it is."""
    mean: str
    """Mean over seeds in percent, or NA."""
    mean_note: str
    """Why it is NA."""
    std: str
    """Standard deviation over seeds, or why there is none."""
    rank: str
    """Rank, with `=` for a tie; empty without a comparison."""
    rank_title: str
    """What the rank says, in words."""
    on_paper_grid: str
    """Mean on the paper's grid; empty for image metrics."""
    reported: str
    """The paper's value, where it has one."""
    difference: str
    """Measured on the paper's grid minus reported, in points."""
    units: str
    """Number of units behind the intervals."""
    remark: str
    """What else is to be said of the intervals, such as `few patients`."""
    seeds: tuple[SeedCell, ...]
    """One per run."""


@dataclass(frozen=True)
class FailureLine:
    """A failed run with what to do about it."""

    seed: int
    """Seed of the run."""
    status: str
    """How it ended."""
    sentence: str
    """What that means."""
    detail: str
    """What the harness saw."""
    remedy: str
    """The first thing to try."""
    log: tuple[str, ...]
    """The last lines of the entry's log; empty for hidden packs."""
    log_path: str
    """The whole log, from the results folder of whoever ran it."""


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
    headline: tuple[MetricLine, ...]
    """The metrics that the board shows."""
    more: tuple[MetricLine, ...]
    """The others."""
    failures: tuple[FailureLine, ...]
    """Runs without a result."""
    runs: tuple[RunLine, ...]
    """All runs; empty for hidden packs."""
    training: tuple[TrainingLine, ...]
    """Runs that were trained here; empty for hidden packs."""
    exhibits: tuple[Exhibit, ...]
    """Best, median, worst and false alarm."""
    exhibits_told: str
    """Which run they are of, and by what they were chosen."""
    side_by_side: str
    """Page with all methods on the same images; empty without pictures."""
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
    maker = _Maker(material, by_cell(paper), tuple(paper), default_limits, album, known)
    runs: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        runs.setdefault(row_key(record), []).append(record)
    by_name: dict[str, list[WholeRow]] = {}
    for whole in sorted(wholes, key=_section_order):
        by_name.setdefault(whole.row.entry, []).append(whole)
    return tuple(
        page
        for name in sorted(by_name)
        for page in _pages(
            [(each, maker.section(each, runs.get(each.key, []))) for each in by_name[name]]
        )
    )


def _pages(found: Sequence[tuple[WholeRow, Section]]) -> list[EntryPage]:
    """The pages of one entry: of the main table, then of each other regime."""
    by_regime: dict[str, list[Section]] = {}
    for whole, section in found:
        by_regime.setdefault(regime_key(whole.row), []).append(section)
    first = found[0][0].row
    paths = {regime_key(whole.row): row_page(whole.row) for whole, _ in found}
    switch = [(choice, paths[choice.key]) for choice in SWITCH if choice.key in paths]
    main = _page(next(iter(by_regime.values())), first)
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


def _page(sections: Sequence[Section], first: Row) -> EntryPage:
    return EntryPage(
        path=entry_page(first.entry),
        name=formats.plain(first.entry),
        stem=formats.file_stem(first.entry),
        title=formats.plain(first.title),
        description=formats.plain(first.metadata.get("description", "")),
        facts=(*_declared(first.metadata), _supervision(first)),
        deviations=_deviations(first.metadata),
        sections=tuple(sections),
        switch=(),
        regime="one-class",
    )


def _declared(metadata: Mapping[str, object]) -> tuple[Fact, ...]:
    """What the entry declares of itself; links only where they are http or https."""
    labels = {
        "authors": "Authors", "paper": "Paper", "code": "Code", "licence": "Licence",
        "family": "Family", "pretraining": "Pretraining", "backbones": "Backbones",
        "external_data": "Other data", "team": "Team", "submitted": "Submitted", "withdrawn": "Withdrawn",
    }  # fmt: skip
    return tuple(
        Fact(label, formats.plain(metadata[key]), formats.safe_link(metadata[key]))
        for key, label in labels.items()
        if metadata.get(key)
    )


def _supervision(row: Row) -> Fact:
    told = row.supervision.told if row.supervision else "not declared"
    return Fact("Had learned from", formats.plain(told))


def _deviations(metadata: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    listed = metadata.get("deviations")
    if not isinstance(listed, (list, tuple)):
        return ()
    return tuple(
        (formats.plain(item.get("what", "")), formats.plain(item.get("why", "")))
        for item in listed
        if isinstance(item, Mapping)
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

    def section(self, whole: WholeRow, records: Sequence[Record]) -> Section:
        """One entry on one benchmark or suite, with its runs where they may be shown."""
        row = whole.row
        is_usual = row.place == row.benchmark and not whole.members
        reported = self.reported if is_usual else {}
        lines = _lines_of_parts(whole, reported)
        headline = self.known[row.place] & {*HEADLINE, *POOLED_COLUMNS}
        shown = {key for key in lines if key[1] in headline}
        gallery, pictured = self._gallery(records)
        context = context_of(self.material, self.paper if is_usual else (), "", has_overall=False)
        count = len(row.failures)
        return Section(
            key=formats.file_stem(row.place) + f"-{row.track}-{row.isolation}",
            title=row_title(row),
            page=UNIFIED_PAGE if whole.members else benchmark_page(row.benchmark),
            is_demo=row.benchmark == words.DEMO,
            is_hidden=not may_leave(Artefact.EXACT_RECORD, row.visibility),
            summary=_summary(row),
            remarks=_remarks(row, records),
            overview=tuple(cell(whole.mean or row, metric, context) for metric in OVERVIEW),
            status=f"{count} of {len(row.seeds)} failed" if count else settled_status([row]),
            command=rerun_command(records, self.default_limits) if records else "",
            seeds=tuple(f"seed {record.seed}" for record in records),
            has_paper_grid=any(line.on_paper_grid for line in lines.values()),
            has_reported=any(line.reported for line in lines.values()),
            has_ranks=any(line.rank for line in lines.values()),
            headline=tuple(line for name, line in lines.items() if name in shown),
            more=tuple(line for name, line in lines.items() if name not in shown),
            failures=failure_lines(row),
            runs=run_lines(records),
            training=training_lines(records),
            exhibits=exhibits(gallery, self.album) if gallery else (),
            exhibits_told=_told(gallery, pictured) if gallery and pictured else "",
            side_by_side=side_by_side_path(row.benchmark) if gallery else "",
            no_pictures="" if gallery else self._no_pictures(row),
            has_curves=any(record.run_key in self.material.curves for record in records),
            facts=_facts(row, records),
            params=_params(records),
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


def failure_lines(row: Row) -> tuple[FailureLine, ...]:
    """The runs of a row without a result, each with its remedy."""
    return tuple(
        FailureLine(
            failure.seed,
            failure.status.value,
            failure.sentence,
            formats.plain(failure.detail),
            failure.remedy,
            tuple(one_line(line, MAX_LOG_LINE) for line in failure.log),
            formats.plain(failure.log_path),
        )
        for failure in row.without_result
    )


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


def _against_paper(points: float | None, bar: str | None) -> str:
    if points is not None:
        return formats.signed_points(points)
    return f"{words.NOT_COMPARABLE}: {bar}" if bar else ""


def _audit_remark(row: Row) -> str:
    if not row.audits:
        return "Not audited: no fresh start was asked about its images once more."
    if not row.audit_marks:
        return "Audit passed: two fresh starts answer the picked test images as the run did."
    return f"Audit: {formats.joined(row.audit_marks)}."


def _metric_lines(
    row: Row, reported: Mapping[tuple[str, str, str], Reported]
) -> dict[str, MetricLine]:
    """One line per metric; what was scored on the paper's grid alone stands there as well."""
    lines = {}
    for name in dict.fromkeys(metric.id for metric in row.metrics):
        main = row.metric(name, None) or row.metric(name, "native")
        on_paper = row.metric(name, "paper")
        shown = main or on_paper
        if shown is not None:
            lines[name] = _metric_line(row, shown, on_paper, reported)
    return lines


def _lines_of_parts(
    whole: WholeRow, reported: Mapping[tuple[str, str, str], Reported]
) -> dict[tuple[str | None, str], MetricLine]:
    """The lines of a row by part and metric: of a suite its mean and what is pooled come first."""
    parts = sorted(whole.parts, key=lambda part: part[0] not in (None, MEAN))
    lines = {}
    for member, row in parts:
        for name, line in _metric_lines(row, reported).items():
            over = "" if member is None else _over(member)
            lines[member, name] = replace(line, title=f"{line.title}{over}")
    return lines


def _over(member: str) -> str:
    return ", mean" if member == MEAN else f", {words.benchmark_title(member)}"


def _metric_line(
    row: Row,
    metric: MetricSummary,
    on_paper: MetricSummary | None,
    reported: Mapping[tuple[str, str, str], Reported],
) -> MetricLine:
    told = words.metric_words(metric.id)
    value = reported.get((method_key(row.title), claimed_name(row.benchmark), metric.id))
    bar = why_not_comparable(row, metric.id, reported)
    in_paper = None if value is None else value.mean
    points = None if in_paper is None else difference(row, metric.id, reported)
    badge, _, badge_title = rank_badge(metric) if metric.standing else ("", None, "")
    return MetricLine(
        title=formats.plain(told.title),
        anchor=guide.metric_key(metric.id),
        meaning=told.meaning,
        mean=NA if metric.mean is None else formats.percent(metric.mean, metric.step),
        mean_note=metric.reason or "",
        std=_deviation(metric),
        rank=badge,
        rank_title=badge_title,
        on_paper_grid=""
        if on_paper is None or on_paper.mean is None
        else formats.percent(on_paper.mean, on_paper.step),
        reported="" if in_paper is None else formats.percent(in_paper),
        difference=_against_paper(points, bar),
        units=formats.joined(dict.fromkeys(seed.n for seed in metric.seeds if seed.n)),
        remark=formats.joined(
            dict.fromkeys(
                [words.INDEPENDENT] * row.are_patients_independent
                + [s.reason for s in metric.seeds if s.value is not None and s.reason]
            )
        ),
        seeds=tuple(_seed_cell(seed) for seed in metric.seeds),
    )


def _deviation(metric: MetricSummary) -> str:
    if metric.std is not None:
        return formats.percent(metric.std, metric.step)
    return "" if metric.mean is None else metric.std_reason or ""


def _seed_cell(seed: SeedValue) -> SeedCell:
    if seed.value is None:
        return SeedCell(NA, seed.reason or "")
    interval = formats.interval(seed.low, seed.high)
    return SeedCell(formats.percent(seed.value), interval)


def _facts(row: Row, records: Sequence[Record]) -> tuple[Fact, ...]:
    facts = [Fact("Identity", formats.plain(identity)) for identity in row.identities]
    facts += [Fact("Pretrained file", formats.plain(each)) for each in row.weight_files]
    digests = dict.fromkeys(r.entry.image_digest for r in records if r.entry.image_digest)
    facts += [Fact("Image digest", formats.plain(digest)) for digest in digests]
    sifs = dict.fromkeys(r.entry.sif for r in records if r.entry.sif)
    facts += [Fact("SIF", formats.plain(sif)) for sif in sifs]
    facts += [Fact("Pack version", formats.plain(version)) for version in row.packs]
    if records:
        facts.append(Fact("Images", _counts(records[0])))
    facts += [Fact("Harness commit", formats.plain(commit)) for commit in row.commits]
    facts += [
        Fact("Metric definitions", formats.plain(version))
        for version in dict.fromkeys(record.metrics_version for record in records)
    ]
    return tuple(facts)


def _counts(record: Record) -> str:
    pack = record.pack
    text = (
        f"{pack.train} training (all normal), {pack.valid} validation,"
        f" {pack.test_normal + pack.test_anomalous} test"
        f" ({pack.test_normal} normal, {pack.test_anomalous} anomalous)"
    )
    if pack.patients is not None:
        text += f", {pack.patients} test patients"
    if pack.regions is not None:
        lost = f", {pack.regions_lost} of them lost on the paper grid" if pack.regions_lost else ""
        text += f", {pack.regions} lesions{lost}"
    return text


def _params(records: Sequence[Record]) -> tuple[Fact, ...]:
    if not records:
        return ()
    entry = records[0].entry
    return tuple(
        Fact(name, formats.plain(value), note="set by hand" if name in entry.overrides else "")
        for name, value in sorted(entry.params.items())
    )
