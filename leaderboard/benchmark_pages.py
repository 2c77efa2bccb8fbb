"""One page per benchmark: what it is, every metric, whether a lead is real, curves, cost, hard images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.board.comparison import Column as Compared
from harness.board.comparison import Comparison, Standing
from harness.board.rows import Row
from harness.board.site_data import BenchmarkCard, Material, TrivialAuroc, is_trivial
from harness.common.disclosure import Artefact, may_leave
from harness.records.record import Record
from harness.records.releases import claimed_name, not_known
from leaderboard import cells, charts, figures, formats, sparks, words
from leaderboard.addresses import benchmark_page, entry_page
from leaderboard.benchmark_regimes import (
    BenchmarkRegimes,
    benchmark_regimes,
    benchmarks_elsewhere,
)
from leaderboard.charts import Figure
from leaderboard.cost_plot import CostPlot, cost_plot
from leaderboard.downloads import row_key
from leaderboard.energy import EnergyLine, energy_lines
from leaderboard.entry_facts import Fact, pack_counts
from leaderboard.figures import Line as CurveLine
from leaderboard.galleries import Album, Exhibit, hard_exhibits, side_by_side_path
from leaderboard.lines import context_of, measured_lines, paper_lines
from leaderboard.paper import Reported
from leaderboard.tables import Table, by_first_column, group_of, order_told

MOST_CURVES, MOST_TRIVIAL_CURVES = 14, 2
# Ranks of all entries stand in the table of results and in the download.
MOST_STANDINGS = 25
# The paper remarks on it for its data as a whole.
GEOGRAPHY = (
    "The BMAD paper itself remarks on geographic bias: the images come from few hospitals and regions,"
    " so a result need not hold for other people or other scanners."
)


@dataclass(frozen=True)
class StandingLine:
    """One entry in one column of the comparison."""

    rank: str
    """Its rank."""
    title: str
    """The method's name."""
    page: str
    """Its page, from the site's root."""
    mean: str
    """Mean over seeds; empty where withheld."""
    interval: str
    """95 % interval over patients or images."""
    places: str
    """First and last likely place."""
    stability: Markup
    """Its places in the joint resamples, drawn; empty where withheld."""
    ties: str
    """Entries that it cannot be told from."""


@dataclass(frozen=True)
class Lead:
    """Whether the lead in one column is real."""

    key: str
    """Anchor."""
    title: str
    """Metric and track."""
    verdict: str
    """One sentence."""
    lines: tuple[StandingLine, ...]
    """By rank."""
    places: int
    """How many entries were compared."""
    has_numbers: bool
    """Whether means, intervals and places may be shown."""


@dataclass(frozen=True)
class CurveChoice:
    """One entry in the legend of the curves."""

    place: int
    """Number of its line."""
    name: str
    """Name of the entry, for the page's address."""
    title: str
    """The method's name."""
    page: str
    """Its page."""
    swatch: Markup
    """A piece of its line."""
    is_on: bool
    """Whether it is shown at first."""


@dataclass(frozen=True)
class PackCheck:
    """The data card of a pack, as text."""

    version: str
    """Version id of the pack that was looked at."""
    findings: tuple[str, ...]
    """Counts, leaks and problems, one sentence each."""
    trivial: tuple[tuple[str, str], ...]
    """Trivial statistic, and its image AUROC with interval."""
    path: str
    """The whole card, from the site's root, without its ending (.md, .json)."""


def card_path(name: str) -> str:
    """Where the data card of a pack lies on the site, without its ending."""
    return f"data/datacards/{formats.file_stem(name)}"


def _pack_check(name: str, material: Material) -> PackCheck | None:
    card = material.verified.get(name)
    if card is None:
        return None
    counts = [
        f"Its counts {'are' if is_met else 'are not'} those of {origin}."
        for origin, is_met in card.expected
    ]
    leaks = [
        f"{leak.count} {leak.kind} in both {leak.splits[0]} and {leak.splits[1]}"
        f" ({leak.images} images of {leak.splits[1]})."
        for leak in card.leaks
    ]
    return PackCheck(
        version=card.version,
        findings=(*counts, *(leaks or ["Nothing was found in two splits."]), *card.problems),
        trivial=tuple((each.statistic, _with_interval(each)) for each in card.trivial),
        path=card_path(name),
    )


def _with_interval(one: TrivialAuroc) -> str:
    if one.auroc is None:
        return "NA"
    return f"{formats.percent(one.auroc)} {formats.interval(one.low, one.high)}"


@dataclass(frozen=True)
class BenchmarkPage:
    """All of one benchmark."""

    path: str
    """File of the page, from the site's root."""
    name: str
    """Name of the benchmark."""
    title: str
    """What a reader calls it."""
    description: str
    """One line."""
    is_in_paper: bool
    """It is one of the six."""
    is_demo: bool
    """It is the demonstration pack."""
    is_hidden: bool
    """Only rounded aggregates are shown."""
    facts: tuple[Fact, ...]
    """Source, licence, access, citation, counts."""
    cautions: tuple[str, ...]
    """Known leaks, remarks, geography."""
    verified: PackCheck | None
    """What a check of the pack's files found; None where it was not checked, or is hidden."""
    table: Table | None
    """All metrics; None where nothing was run."""
    regimes: BenchmarkRegimes
    """The same test images in other regimes, and the switch to them."""
    no_comparison: str
    """Why there is no comparison; empty where there is one."""
    may_be_compared: bool
    """Whether some row may take a rank."""
    comparison_note: str
    """What was resampled."""
    leads: tuple[Lead, ...]
    """One per main column and track."""
    curves: tuple[Figure, ...]
    """ROC, precision and recall, PRO."""
    choices: tuple[CurveChoice, ...]
    """Legend of the curves."""
    cost: CostPlot | None
    """Seconds, AUROC and GPU memory."""
    energy: tuple[EnergyLine, ...]
    """The rows that any energy is known of."""
    hard: tuple[Exhibit, ...]
    """The hardest images."""
    side_by_side: str
    """Page with all methods on the same images; empty without pictures."""
    no_pictures: str
    """Why there are none; empty where there are."""


def benchmark_pages(
    material: Material, paper: Sequence[Reported], album: Album
) -> tuple[BenchmarkPage, ...]:
    """One page for every benchmark that has a row, a reported value or is one of the six."""
    names = {row.benchmark for row in material.rows} | {value.benchmark for value in paper}
    names |= benchmarks_elsewhere(material)
    names |= {name for name in words.SIX if name in material.cards}
    return tuple(
        _page(name, material, paper, album) for name in sorted(names, key=words.benchmark_order)
    )


def _page(name: str, material: Material, paper: Sequence[Reported], album: Album) -> BenchmarkPage:
    rows = [row for row in material.rows if row.benchmark == name]
    records = [record for record in material.records if record.pack.benchmark == name]
    said = claimed_name(name)
    card = material.cards.get(said)
    is_hidden = not all(may_leave(Artefact.EXACT_RECORD, row.visibility) for row in rows)
    comparison = material.comparisons.get(name)
    lines = curve_lines(rows, records, material)
    pictured = [record for record in records if record.run_key in material.galleries]
    return BenchmarkPage(
        path=benchmark_page(name),
        name=formats.plain(name),
        title=words.benchmark_title(formats.plain(name)),
        description=_description(card, name),
        is_in_paper=name in words.SIX,
        is_demo=name == words.DEMO,
        is_hidden=is_hidden,
        facts=_facts(card, [] if is_hidden else records),
        cautions=(*_bar_told(name), *_cautions(said, card)),
        verified=None if is_hidden else _pack_check(name, material),
        table=_table(name, rows, paper, material),
        regimes=benchmark_regimes(name, material),
        no_comparison=_no_comparison(name, rows, comparison, material),
        may_be_compared=any(row.ranked for row in rows),
        comparison_note=_comparison_note(comparison),
        leads=_leads(comparison, rows),
        curves=figures.curve_figures(name, lines),
        choices=_choices(lines),
        cost=cost_plot(f"cost-{formats.file_stem(name).replace('.', '-')}", name, rows),
        energy=energy_lines(rows),
        hard=hard_exhibits(material.hardest.get(name, ()), material, album),
        side_by_side=side_by_side_path(name) if pictured else "",
        no_pictures="" if pictured else _no_pictures(card, rows, is_hidden=is_hidden),
    )


def curve_lines(
    rows: Sequence[Row], records: Sequence[Record], material: Material
) -> tuple[CurveLine, ...]:
    """The entries whose curves are drawn: the best by PRO (else image AUROC), and trivial ones.

    Each by its lowest seed.
    """
    runs: dict[tuple[str, str, str, str], Record] = {}
    for record in sorted(records, key=lambda record: (record.seed, record.run_key)):
        if record.run_key in material.curves:
            runs.setdefault(row_key(record), record)
    have = [
        (_headline(row), row)
        for row in rows
        if (row.benchmark, row.entry, row.track, row.isolation) in runs and not row.without_result
    ]
    have.sort(key=lambda pair: (-pair[0], pair[1].entry, pair[1].track, pair[1].isolation))
    trivial = [row for _, row in have if is_trivial(row.metadata)][:MOST_TRIVIAL_CURVES]
    others = [row for _, row in have if not is_trivial(row.metadata)]
    chosen = others[: MOST_CURVES - len(trivial)] + trivial
    return tuple(
        CurveLine(
            name=formats.file_stem(row.entry),
            title=formats.plain(row.title),
            page=entry_page(row.entry),
            seed=runs[row.benchmark, row.entry, row.track, row.isolation].seed,
            curves=material.curves[
                runs[row.benchmark, row.entry, row.track, row.isolation].run_key
            ].curves,
        )
        for row in chosen
    )


def _headline(row: Row) -> float:
    for metric_id, grid in (("pixel_pro", "native"), ("image_auroc", None)):
        metric = row.metric(metric_id, "native" if grid else None)
        if metric is not None and metric.mean is not None:
            # A method without maps comes after those that have them.
            return metric.mean + (1.0 if grid else 0.0)
    return -1.0


def _choices(lines: Sequence[CurveLine]) -> tuple[CurveChoice, ...]:
    return tuple(
        CurveChoice(
            place=place,
            name=line.name,
            title=line.title,
            page=line.page,
            swatch=charts.swatch(place, is_dashed=place >= figures.FIRST_DASHED),
            is_on=place < figures.SHOWN_CURVES,
        )
        for place, line in enumerate(lines)
    )


def _facts(card: BenchmarkCard | None, records: Sequence[Record]) -> tuple[Fact, ...]:
    facts = []
    if card:
        facts = [
            Fact("Images", card.modality),
            Fact("Lesion masks", "yes" if card.has_masks else "no: image level, no pixel metric"),
            Fact("Source", card.source, formats.safe_link(card.source)),
            Fact("Access", card.access),
            Fact("Licence", card.licence),
            Fact("Cite", card.citation),
            Fact(
                "Pictures here", f"{'yes' if card.may_show_images else 'no'}: {card.show_evidence}"
            ),
        ]
        if card.table1:
            train, valid, test = card.table1
            facts.append(
                Fact("Paper's Table 1", f"{train:,} training, {valid:,} validation, {test:,} test")
            )
    packs = {record.pack.version: record.pack for record in records}
    for version, pack in sorted(packs.items()):
        facts.append(Fact("Measured on", pack_counts(pack), note=formats.plain(version)))
    return tuple(facts)


def _description(card: BenchmarkCard | None, name: str) -> str:
    if card is None:
        return "A pack that is not part of BMAD."
    return f"{card.title}: {reason}" if (reason := not_known(name)) else card.title


def _bar_told(name: str) -> tuple[str, ...]:
    """What a reader must know of a pack that is no known release of what it says it is."""
    if (reason := not_known(name)) is None:
        return ()
    told = f"These images are {reason}, whatever their folder says"
    return (f"{told}: rows on them take no rank and are {words.NOT_COMPARABLE}",)


def _cautions(name: str, card: BenchmarkCard | None) -> tuple[str, ...]:
    told = [*card.known_leaks, *card.remarks] if card else []
    return (*told, GEOGRAPHY) if name in words.SIX else tuple(told)


def _table(
    name: str, rows: Sequence[Row], paper: Sequence[Reported], material: Material
) -> Table | None:
    values = [
        value
        for value in paper
        if value.benchmark == name and value.metric in words.BENCHMARK_COLUMNS
    ]
    group = group_of(name, words.BENCHMARK_COLUMNS, rows, values)
    if group is None:
        return None
    context = context_of(material, paper, "", has_overall=False)
    lines = measured_lines(rows, (group,), context, cells.with_interval)
    ordered = by_first_column(lines)
    return Table(
        key="results",
        view="",
        caption="All metrics",
        groups=(group,),
        has_average=False,
        lines=(*ordered, *paper_lines(values, (group,))),
        order=order_told(ordered, (group,), has_average=False),
    )


def _no_comparison(
    name: str, rows: Sequence[Row], comparison: Comparison | None, material: Material
) -> str:
    if comparison is not None or not rows:
        return ""
    if name in material.outdated:
        return "The comparison was made of other records than these, so no rank is shown."
    if not any(row.ranked for row in rows):
        if name in material.local:
            return "No row here takes a rank; how they differ was worked out for this site alone."
        return "No row here may take a rank, so nothing was compared."
    return "These rows have not been compared yet."


def _comparison_note(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    units = formats.plural(comparison.units, comparison.unit)
    order = (
        ""
        if not may_leave(Artefact.COMPARISON_NUMBERS, comparison.visibility)
        else (
            " In order of the mean; a rank counts the leads that are real alone, so that a row with a wide"
            " interval can have a better rank than the row above it."
        )
    )
    return (
        f"Over the same {units}, left out in turn; places from {comparison.resamples:,} joint"
        f" resamples; tested at {100 * comparison.significance:.0f} % after Holm’s correction.{order}"
    )


def _leads(comparison: Comparison | None, rows: Sequence[Row]) -> tuple[Lead, ...]:
    if comparison is None:
        return ()
    titles = {row.entry: formats.plain(row.title) for row in rows}
    wanted = (*words.LOCALISATION_COLUMNS, "dice_at_valid")
    columns = [
        column
        for metric in wanted
        for column in comparison.columns
        if column.metric == metric and column.grid != "paper" and column.standings
    ]
    return tuple(_lead(column, titles) for column in columns)


def _lead(column: Compared, titles: Mapping[str, str]) -> Lead:
    metric = words.metric_words(column.metric).title
    key = f"lead-{formats.file_stem(column.metric).replace('.', '-')}-{column.track}"
    return Lead(
        key=key,
        title=f"{metric}, {words.TRACKS[column.track]}",
        verdict=_verdict(metric, column, titles),
        lines=tuple(_standing_line(each, titles) for each in _by_mean(column)[:MOST_STANDINGS]),
        places=len(column.standings),
        has_numbers=any(standing.stability for standing in column.standings),
    )


def _by_mean(column: Compared) -> list[Standing]:
    """Nobody above a better score; of a hidden pack, whose means stay where they are, by rank."""
    return sorted(column.standings, key=lambda standing: -(standing.mean or 0.0))


def _verdict(metric: str, column: Compared, titles: Mapping[str, str]) -> str:
    first, *rest = column.standings
    leader = titles.get(first.entry, first.entry)
    if not rest:
        return f"{leader} is the only entry that was compared."
    if not first.ties:
        return (
            f"{leader} leads {metric}, and the lead is real: it is significantly above all others."
        )
    names = formats.listed(titles.get(entry, entry) for entry in first.ties)
    return f"{leader} has the highest {metric}, but cannot be told from {names}."


def _standing_line(standing: Standing, titles: Mapping[str, str]) -> StandingLine:
    places = standing.likely_places
    interval = "" if standing.mean is None else formats.interval(standing.low, standing.high)
    likely = ""
    if places is not None:
        likely = str(places[0]) if places[0] == places[1] else f"{places[0]} to {places[1]}"
    return StandingLine(
        rank=f"{standing.rank}{'=' if standing.ties else ''}",
        title=titles.get(standing.entry, formats.plain(standing.entry)),
        page=entry_page(standing.entry),
        mean="" if standing.mean is None else formats.percent(standing.mean),
        interval=interval,
        places=likely,
        stability=sparks.places(standing.stability),
        ties=formats.listed(titles.get(entry, formats.plain(entry)) for entry in standing.ties),
    )


def _no_pictures(card: BenchmarkCard | None, rows: Sequence[Row], *, is_hidden: bool) -> str:
    if is_hidden:
        return "The pack is hidden: nothing of its images is shown."
    if card is not None and not card.may_show_images:
        return f"No image of this benchmark is shown: {card.show_evidence}."
    if not rows:
        return ""
    return "No run here has left pictures: the pack does not say that its images may be shown."
