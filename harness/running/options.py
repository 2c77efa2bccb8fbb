"""The options that say what to run and how: those of `harness.evaluate`, for whoever makes such a call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console import cli, data_options

if TYPE_CHECKING:
    import argparse


def add_run_options(parser: cli.Parser) -> None:
    """Entries, packs, seeds, engine, settings, trained models, and where results go."""
    parser.add_argument("entries", nargs="+", metavar="ENTRY", help="folder, .toml, image or .tar")
    data_options.add(parser)
    data_options.add_regime(parser)
    parser.add_argument(
        "--seed",
        dest="seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="seeds (default: 0; with a given model its own)",
    )
    cli.add_engine_options(parser)
    cli.add_setting_options(parser)
    _add_model_options(parser)
    cli.add_review_option(parser)
    group = parser.add_argument_group("results")
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    group.add_argument("--as", dest="name", metavar="NAME", help="another name on the board")
    group.add_argument("--replace", action="store_true", help="move a differing record to history")
    group.add_argument(
        "--keep-maps", action="store_true", help="keep the anomaly maps beside the record"
    )
    group.add_argument("--json", action="store_true", help="print the records as one JSON array")
    group.add_argument("--no-site", action="store_true", help="do not rebuild the site")
    group.add_argument(
        "--dry-run", action="store_true", help="print the engine's calls, run nothing"
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which trained model answers, and what becomes of it."""
    group = parser.add_argument_group("trained models")
    group.add_argument(
        "--model", type=Path, metavar="DIR", help="evaluate the model in this folder, train nothing"
    )
    group.add_argument(
        "--stored-model",
        metavar="NAME",
        help="the same, for a run or a hash of harness.models list",
    )
    group.add_argument(
        "--retrain", action="store_true", help="train again, although it was done and kept"
    )
    group.add_argument(
        "--no-keep-model", action="store_true", help="do not keep what is trained ($BMAD_MODELS)"
    )


def read_run_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a call that the harness itself makes.

    Raises:
        UsageError: they are not those of `harness.evaluate`.
    """
    parser = cli.Parser("evaluate", "", "")
    add_run_options(parser)
    return parser.parse_args(list(arguments))
