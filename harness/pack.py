"""`python -m harness.pack verify DIR`: what a pack is, whether it is sound, and its data card."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import PackInvalid, UsageError
from harness.console import cli

if TYPE_CHECKING:
    from harness.benchmarks import Pack

EXAMPLES = """
  python -m harness.pack verify /data/bmad/Brain
      BMAD's released folder as it is; the data card goes into results/brain/
  python -m harness.pack verify /data/bmad/liver-disjoint --results results
  python -m harness.pack verify /sealed/ours --json
  python -m harness.pack verify demo
  python -m harness.pack verify --known-line /data/bmad/Brain
      the line that makes it a known release, for a maintainer (docs/maintaining.md)
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "pack",
        "Verify a pack: counts, masks, leaks between splits, trivial baselines. Nothing in its\n"
        "folder is changed; all problems are listed at once (exit code 5).",
        EXAMPLES,
    )
    parser.add_argument("action", choices=("verify",))
    parser.add_argument("folder", metavar="DIR", help="any folder in BMAD's layout, or `demo`")
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="the data card goes to DIR/<name>/, where the site finds it (default: results)",
    )
    parser.add_argument("--benchmark", metavar="NAME", help="the benchmark that the folder holds")
    parser.add_argument(
        "--known-line",
        action="store_true",
        help="print the pack's line for the list of known releases, and nothing else",
    )
    parser.add_argument("--json", action="store_true", help="print the card as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Verify; returns the exit code."""
    options = build_parser().parse_args(argv)
    with cli.reporting() as reporter:
        from harness.board.data_card import make_card
        from harness.board.data_card_files import write_card
        from harness.records.store import Store

        Store(options.results).check_writable()
        pack = _open(options.folder, options.benchmark, reporter)
        if options.known_line:
            return _say_known_line(pack, reporter)
        card = make_card(pack, reporter.progress)
    paths = write_card(card, options.results)
    if options.json:
        cli.say_json(card.model_dump(mode="json"))
    else:
        from harness.board.data_card_text import to_markdown

        cli.say(to_markdown(card))
    for path in paths:
        reporter.event(f"data card: {path}")
    if card.problems:
        raise PackInvalid(str(options.folder), card.problems)
    return 0


def _say_known_line(pack: Pack, reporter: cli.Reporter) -> int:
    """The line on stdout, and on stderr what speaks for it or against it.

    Raises:
        UsageError: the pack says of itself that it is something else than a known benchmark.
    """
    from harness.benchmarks import BENCHMARKS
    from harness.benchmarks.known import KNOWN_FILE, known_line
    from harness.benchmarks.spec import SplitCounts

    name = pack.card.name
    if name not in BENCHMARKS:
        raise UsageError(
            f"{name} is no benchmark that has releases: a pack of one's own stands as it is",
            where=str(pack.root),
            fix=f"--benchmark NAME, where it is one of {', '.join(BENCHMARKS)}",
        )
    counts = pack.card.counts
    found = SplitCounts(**counts.model_dump()).totals
    cli.say(known_line(name, pack.digest))
    told = "{} training, {} validation and {} test images".format(*found)
    if found == BENCHMARKS[name].table1:
        reporter.event(f"{told}: exactly the paper's Table 1")
    elif (table := BENCHMARKS[name].table1) is not None:
        reporter.event(
            f"{told}; the paper's Table 1 has "
            + "{}, {} and {}: look where the folder is from".format(*table)
        )
    if pack.name == name:
        reporter.event("it is a known release already")
    else:
        reporter.event(f"without this line in {KNOWN_FILE.name} it stands as {pack.name}, unranked")
    return 0


def _open(folder: str, benchmark: str | None, reporter: cli.Reporter) -> Pack:
    from harness.benchmarks import demo_pack, open_pack
    from harness.benchmarks.cache import default_cache

    cache = default_cache()
    if folder == "demo" and not Path(folder).is_dir():
        return demo_pack(cache)
    return open_pack(
        Path(folder),
        cache,
        benchmark=benchmark or _benchmark_of(Path(folder)),
        on_progress=lambda done, total: reporter.progress("reading", done, total),
    )


def _benchmark_of(folder: Path) -> str | None:
    """The known benchmark by the folder's name, where no card says another one."""
    from harness.benchmarks import BENCHMARKS
    from harness.benchmarks.card import CARD_NAME

    if (folder / CARD_NAME).is_file():
        return None
    name = folder.resolve().name
    return next((key for key, spec in BENCHMARKS.items() if spec.matches_folder(name)), None)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
