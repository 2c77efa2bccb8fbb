"""`python -m harness.list WHAT`: what there is to run, to measure and to meet."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.common.foreign_text import one_line
from harness.console import cli
from harness.console.tables import as_text, cell

EXAMPLES = """
  python -m harness.list benchmarks --data-root /data/bmad
  python -m harness.list baselines
  python -m harness.list metrics --json
  python -m harness.list statuses
  python -m harness.list limits
  python -m harness.list runs --results results
"""

Rows = list[dict[str, object]]


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "list", "List benchmarks, baselines, metrics, statuses, limits or runs.", EXAMPLES
    )
    parser.add_argument("what", choices=sorted(LISTS))
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where packs lie ($BMAD_DATA)"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Print the list; returns the exit code."""
    options = build_parser().parse_args(argv)
    root = options.data_root or (
        Path(os.environ["BMAD_DATA"]) if os.environ.get("BMAD_DATA") else None
    )
    rows = LISTS[options.what](root, options.results)
    if options.json:
        cli.say_json(rows)
    else:
        # A benchmark has more to tell than fits into the columns of a terminal.
        cli.say(_blocks(rows) if options.what == "benchmarks" else _table(rows))
    return 0


def _benchmarks(root: Path | None, _results: Path) -> Rows:
    from harness.benchmarks import BENCHMARKS, find_packs

    found = find_packs(root) if root else {}
    rows: Rows = []
    for name, spec in sorted(BENCHMARKS.items()):
        place = "built in" if name == "demo" else str(found.get(name, "not found"))
        rows.append(
            {
                "benchmark": name,
                "images": spec.modality,
                "maps": "yes" if spec.has_masks else "no",
                "found": place,
                "source": spec.source,
                "registration": spec.registration,
                "licence": spec.licence,
                "download": spec.download,
                "next": _next_command(name, found.get(name), root),
            }
        )
    rows += [
        {
            "benchmark": name,
            "images": "own pack",
            "found": str(folder),
            "next": _next_command(name, folder, root),
        }
        for name, folder in sorted(found.items())
        if name not in BENCHMARKS
    ]
    return rows


def _next_command(name: str, folder: Path | None, root: Path | None) -> str:
    """What brings a user on from here."""
    if name == "demo":
        return "python -m harness.evaluate baselines/rd4ad"
    if folder is not None:
        return f"python -m harness.pack verify {folder}"
    return f"python -m harness.prepare {name} --raw DOWNLOAD --out {root or 'DATA'}"


def _baselines(_root: Path | None, _results: Path) -> Rows:
    from harness.common.paths import BASELINES
    from harness.entries.opening import open_folder
    from leaderboard.words import METHOD_GROUPS, method_group

    rows: Rows = []
    for path in sorted(BASELINES.glob("*/entry.toml")):
        entry = open_folder(path.parent)
        rows.append(
            {
                "entry": f"baselines/{entry.name}",
                "method": entry.table.title,
                "group": METHOD_GROUPS.get(method_group(entry.table.title, entry.metadata), ""),
                "family": entry.table.family,
                "trains": "yes" if entry.table.trains else "no",
                "maps": "yes" if entry.table.maps else "no",
                "backbones": ", ".join(entry.table.backbones) or "none",
                "had learned from": entry.supervision.told if entry.supervision else "not declared",
                "parameters": ", ".join(entry.document.get("params", {})),
            }
        )
    return rows


def _metrics(_root: Path | None, _results: Path) -> Rows:
    from harness.metrics import METRICS
    from harness.metrics.suite_table import SUITE_METRICS, SuiteMetric
    from harness.metrics.table import Metric

    every: list[Metric | SuiteMetric] = [*METRICS.values(), *SUITE_METRICS.values()]
    return [
        {
            "metric": metric.id,
            "level": metric.level,
            "better": metric.direction,
            "definition": metric.explained if isinstance(metric, Metric) else metric.definition,
        }
        for metric in every
    ]


def _statuses(_root: Path | None, _results: Path) -> Rows:
    from harness.common.statuses import STATUS_TABLE, Cause, Status, remedy_of

    ways: list[tuple[Status, Cause | None]] = [(status, None) for status in STATUS_TABLE]
    ways += [(status, cause) for cause in Cause for status in cause.entry.statuses]
    order = list(STATUS_TABLE)
    ways.sort(key=lambda way: order.index(way[0]))
    return [
        {
            "status": status.value,
            "fault": status.fault.value,
            "cause": cause.value if cause else "",
            "what happened": cause.entry.sentence if cause else status.entry.sentence,
            "what to do": remedy_of(status, cause),
        }
        for status, cause in ways
    ]


def _runs(_root: Path | None, results: Path) -> Rows:
    from harness.benchmarks.known import known_releases
    from harness.board.tracks import why_unranked
    from harness.records.regime import ONE_CLASS
    from harness.records.releases import under_known_names
    from harness.records.store import Store

    stored = Store(results).records()
    shown = under_known_names(stored, known_releases())
    return [
        {
            "run": f"{record.place}/{record.entry.name}/seed-{record.seed}",
            "regime": (record.regime or ONE_CLASS).shown,
            "status": record.outcome.status.value,
            "engine": record.machine.engine,
            "device": record.machine.device,
            "started": record.times.started,
            "seconds": round(record.times.total, 1),
            "track": record.track,
            "ranked": ", ".join(why_unranked(today)) or "yes",
        }
        for record, today in zip(stored, shown, strict=True)
    ]


def _limits(_root: Path | None, _results: Path) -> Rows:
    from harness.engines.base import Limits
    from harness.entries.asked_limits import MEANINGS, MOST_ASKED

    return [
        {"limit": name, "default": value, "most asked for": MOST_ASKED.get(name, "as it is"),
         "meaning": MEANINGS[name]}
        for name, value in Limits().as_dict().items()
    ]  # fmt: skip


LISTS: dict[str, Callable[[Path | None, Path], Rows]] = {
    "limits": _limits,
    "benchmarks": _benchmarks,
    "baselines": _baselines,
    "metrics": _metrics,
    "statuses": _statuses,
    "runs": _runs,
}


def _blocks(rows: Rows) -> str:
    """One paragraph a row, one line a field."""
    blocks = []
    for row in rows:
        (_, name), *fields = row.items()
        blocks.append(
            "\n".join(
                [str(name), *(f"  {key:<13} {one_line(value, 4096)}" for key, value in fields)]
            )
        )
    return "\n\n".join(blocks)


def _table(rows: Rows) -> str:
    from rich.table import Table

    if not rows:
        return "nothing there"
    table = Table(show_lines=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(name, "")) for name in rows[0]))
    return as_text(table, least_width=100).rstrip()


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
