"""A benchmark's page of other regimes: the same test images, learned from other material."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.board.rows import Row
from harness.board.site_data import Material
from harness.board.suite_rows import WholeRow
from harness.records.releases import claimed_name
from leaderboard import formats, words
from leaderboard.addresses import benchmark_page, regime_key
from leaderboard.cells import COST, Context, linked
from leaderboard.few_shot import FewShotFigure, few_shot_figures
from leaderboard.lines import measured_lines
from leaderboard.regime_pages import SWITCH, RegimeChoice, regime_context, unplaced, with_sibling
from leaderboard.tables import Group, Line, Table, group_of

Switch = tuple[tuple[RegimeChoice, str], ...]


@dataclass(frozen=True)
class RegimeSection:
    """All rows of one regime."""

    choice: RegimeChoice
    """Which."""
    tables: tuple[Table, ...]
    """Its rows, a table for each suite, number of images and delivery: places are of one of them."""
    curves: tuple[FewShotFigure, ...]
    """Of few-shot, metric against number of images."""


@dataclass(frozen=True)
class BenchmarkRegimes:
    """All of one benchmark that is not of the main table."""

    path: str
    """File of the page, from the site's root."""
    name: str
    """Name of the benchmark."""
    title: str
    """What a reader calls it."""
    sections: tuple[RegimeSection, ...]
    """In the order of the switch; at least one."""
    switch: Switch
    """The regimes, each with the address of its tables; empty addresses where there are none."""


def benchmarks_elsewhere(material: Material) -> set[str]:
    """Names of the benchmarks on which there is a row of another regime."""
    return {row.benchmark for _, row in _rows(material)}


def benchmark_regimes(name: str, material: Material) -> BenchmarkRegimes:
    """The page of one benchmark; without any section where there is no such row.

    Args:
        name: of the benchmark.
        material: with published rows.
    """
    path = benchmark_page(name).replace(".html", "--regimes.html")
    found = [(whole, row) for whole, row in _rows(material) if row.benchmark == name]
    group = group_of(name, words.LOCALISATION_COLUMNS, [row for _, row in found], ())
    sections = []
    for choice in SWITCH[1:]:
        mine = [pair for pair in found if regime_key(pair[0].row) == choice.key]
        if mine and group is not None:
            sections.append(_section(name, choice, mine, group, material))
    made = {section.choice.key for section in sections}
    addresses = [
        (choice, f"{path}#{choice.key}" if choice.key in made else "") for choice in SWITCH[1:]
    ]
    return BenchmarkRegimes(
        path=path,
        name=formats.plain(name),
        title=words.benchmark_title(formats.plain(name)),
        sections=tuple(sections),
        switch=((SWITCH[0], benchmark_page(name)), *addresses),
    )


def _rows(material: Material) -> list[tuple[WholeRow, Row]]:
    """Every row of another regime on a benchmark's images, with the run that it is of."""
    return [
        (whole, row)
        for whole in material.regimes.rows
        for row in (whole.members.values() if whole.members else (whole.row,))
    ]


def _section(
    name: str,
    choice: RegimeChoice,
    found: list[tuple[WholeRow, Row]],
    group: Group,
    material: Material,
) -> RegimeSection:
    context = regime_context(material, "")
    apart: dict[tuple[int, str, str], list[tuple[WholeRow, Row]]] = {}
    for whole, row in found:
        regime = whole.row.regime
        key = (regime.shots or 0, regime.suite or "", regime.delivery)
        apart.setdefault(key, []).append((whole, row))
    tables = []
    for _, mine in sorted(apart.items(), key=lambda item: (not item[0][1], item[0])):
        regime = next((w.row.regime for w, _ in mine if w.row.regime.name), mine[0][0].row.regime)
        lines = tuple(_line(whole, row, group, context, material) for whole, row in mine)
        shown = regime.shown[:1].upper() + regime.shown[1:]
        key_of_table = formats.file_stem(f"{choice.key}.{regime.suite or regime.label or 'rows'}")
        tables.append(Table(key_of_table, "", shown, (group,), False, lines))
    curves = [curve for curve in material.regimes.few_shot if curve.benchmark == name]
    return RegimeSection(
        choice=choice,
        tables=tuple(tables),
        curves=few_shot_figures(curves) if choice.key == "few-shot" else (),
    )


def _line(whole: WholeRow, row: Row, group: Group, context: Context, material: Material) -> Line:
    """One line, of a unified row with its one-class siblings."""
    (line,) = measured_lines([unplaced(row)], (group,), context)
    # Of a suite's run the values stand in its own section, by member.
    member = claimed_name(row.benchmark) if whole.members else None
    (group_cells,) = line.cells
    made = tuple(
        linked(each, column.metric, whole.row, row, member)
        for each, column in zip(group_cells, group.columns, strict=True)
    )
    if whole.row.regime.name == "unified":
        siblings = {
            each.metric: each
            for each in material.regimes.siblings.get(whole.key, ())
            if each.member == claimed_name(row.benchmark)
        }
        made = tuple(
            with_sibling(each, siblings.get(column.metric))
            if each.kind == "value" and column.metric != COST
            else each
            for each, column in zip(made, group.columns, strict=True)
        )
    return replace(line, cells=(made,))
