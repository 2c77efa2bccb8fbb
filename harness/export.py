"""`python -m harness.export`: the board, or any results folder, for analysis and for papers.

A tidy table, one line per entry, benchmark, metric and grid, as CSV, JSON or Parquet; or tables as
LaTeX (booktabs) or Markdown. docs/analysis.md shows what to do with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import EnvironmentFault, UsageError
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.board.tidy_rows import LineChoice
    from harness.entries.reviewed import Reviewed
    from harness.records.releases import KnownReleases

EXAMPLES = """
  python -m harness.export > board.csv                         the published board
  python -m harness.export --results results --out mine.csv    a results folder of one's own
  python -m harness.export --results results --format latex --benchmark brain > table.tex
  python -m harness.export --out board.parquet
  python -m harness.export --frame      the two lines that give a pandas DataFrame, and its columns
"""
FORMATS = {
    "csv": ".csv",
    "json": ".json",
    "parquet": ".parquet",
    "latex": ".tex",
    "markdown": ".md",
}
FRAME_LINES = (
    "from harness.board.tidy_rows import tidy_frame",
    "frame = tidy_frame({folder!r})",
)


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "export",
        "Write the board, or any results folder, as a tidy table (CSV, JSON, Parquet) or as tables\n"
        "for a paper or a page (LaTeX, Markdown). Of hidden packs, rounded aggregates alone.",
        EXAMPLES,
    )
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="results folder (default: the published board)"
    )
    parser.add_argument(
        "--format", choices=sorted(FORMATS), help="default: by the name of --out, else csv"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--frame", action="store_true", help="print how to get a pandas DataFrame, and its columns"
    )
    group = parser.add_argument_group("which lines (default: all)")
    group.add_argument("--benchmark", dest="benchmarks", nargs="+", default=[], metavar="NAME")
    group.add_argument("--entry", dest="entries", nargs="+", default=[], metavar="NAME")
    group.add_argument("--metric", dest="metrics", nargs="+", default=[], metavar="NAME")
    group.add_argument(
        "--grid", dest="grids", nargs="+", default=[], choices=("image", "native", "paper")
    )
    group.add_argument("--ranked", action="store_true", help="rows that may take a rank alone")
    return parser


def main(
    argv: Sequence[str] | None, known: KnownReleases | None = None, reviewed: Reviewed | None = None
) -> int:
    """Export; returns the exit code.

    Args:
        argv: the command line; None = this process's.
        known: which contents are which benchmark; None = the list that is committed here.
        reviewed: what was reviewed; None = what the protected branch holds.
    """
    from harness.board.tidy_rows import LineChoice
    from harness.common.paths import PUBLISHED_RECORDS

    options = build_parser().parse_args(argv)
    root = options.results or PUBLISHED_RECORDS
    if options.frame:
        cli.say(frame_help(str(root)))
        return 0
    choice = LineChoice(
        options.benchmarks, options.entries, options.metrics, options.grids, options.ranked
    )
    kind = _kind(options)
    if kind == "parquet":
        _write_parquet(root, choice, options.out, known, reviewed)
        cli.say(f"wrote {options.out}")
        return 0
    text = _text(kind, root, choice, known, reviewed)
    if options.out is None:
        cli.say(text.removesuffix("\n"))
        return 0
    _write(options.out, text.encode())
    cli.say(f"wrote {options.out}")
    return 0


def frame_help(folder: str) -> str:
    """The two lines that give a DataFrame, and what its columns hold."""
    from harness.board.tidy_rows import TIDY_COLUMNS

    width = max(map(len, TIDY_COLUMNS))
    return "\n".join(
        [
            *(line.format(folder=folder) for line in FRAME_LINES),
            "",
            *(f"{name:<{width}}  {told}" for name, told in TIDY_COLUMNS.items()),
        ]
    )


def _kind(options: argparse.Namespace) -> str:
    """The form that is asked for: by name, by the file's ending, or CSV."""
    by_ending = {ending: name for name, ending in FORMATS.items()}
    told = options.format or ("json" if options.json else "")
    if not told and options.out is not None:
        told = by_ending.get(options.out.suffix.lower(), "")
        if not told:
            raise UsageError(
                f"{options.out.name} does not say which format",
                where="--out",
                fix=f"--format {'|'.join(sorted(FORMATS))}, or a name that ends in one of"
                f" {', '.join(FORMATS.values())}",
            )
    if told == "parquet" and options.out is None:
        raise UsageError("Parquet is no text", where="--format", fix="name a file: --out FILE")
    return told or "csv"


def _text(
    kind: str,
    root: Path,
    choice: LineChoice,
    known: KnownReleases | None,
    reviewed: Reviewed | None,
) -> str:
    import json

    from harness.board.paper_tables import latex_tables, markdown_tables
    from harness.board.table_formats import csv_table
    from harness.board.tidy_rows import TIDY_COLUMNS, board_rows, tidy_rows

    if kind in ("latex", "markdown"):
        rows, _ = board_rows(root, choice, known, reviewed)
        return (latex_tables if kind == "latex" else markdown_tables)(rows, choice.metrics)
    lines = tidy_rows(root, choice, known, reviewed)
    if kind == "json":
        return json.dumps(lines, indent=1, allow_nan=False) + "\n"
    return csv_table(list(TIDY_COLUMNS), [list(line.values()) for line in lines])


def _write_parquet(
    root: Path,
    choice: LineChoice,
    out: Path,
    known: KnownReleases | None,
    reviewed: Reviewed | None,
) -> None:
    """The frame as pandas and pyarrow write it.

    Raises:
        EnvironmentFault: pyarrow is not installed.
    """
    import io
    from importlib.util import find_spec

    from harness.board.tidy_rows import tidy_frame

    if find_spec("pyarrow") is None:
        raise EnvironmentFault(
            "Parquet needs pyarrow, which is not installed",
            fix="uv pip install 'bmad-leaderboard[parquet]' (in a checkout: uv pip install -e"
            " '.[parquet]'), or --format csv",
        )
    buffer = io.BytesIO()
    tidy_frame(root, choice, known, reviewed).to_parquet(buffer, engine="pyarrow", index=False)
    _write(out, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    """The file whole or not at all."""
    from harness.records.store import replacing

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"the file cannot be written: {error.strerror}", where=str(path), fix="another --out"
        ) from error


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
