"""`python -m harness.clean`: remove what runs may have left behind, and what takes space.

Without options only rubbish goes: containers and work folders of processes that are
gone, and half-written files. Records and history are never touched.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.console import cli

MEBIBYTE = 1024**2
KEPT = {"weights", "work", "unfinished"}

EXAMPLES = """
  python -m harness.clean
  python -m harness.clean --cache            staged images, compiled truth, the demo pack
  python -m harness.clean --images           images that the harness built or loaded
  python -m harness.clean --models-unused-for 30
  python -m harness.clean --unfinished       interrupted trainings, which would go on
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "clean", "Remove leftovers of runs; with options, also what can be made again.", EXAMPLES
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--cache", action="store_true", help="also empty the cache folder")
    parser.add_argument(
        "--images", action="store_true", help="also remove the images built or loaded here"
    )
    parser.add_argument(
        "--models-unused-for",
        type=float,
        metavar="DAYS",
        help="also remove trained models not used for so long (0: all)",
    )
    parser.add_argument(
        "--unfinished", action="store_true", help="also remove interrupted trainings"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as a JSON array")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Clean up; returns the exit code."""
    options = build_parser().parse_args(argv)
    from harness.benchmarks import default_cache
    from harness.records.store import Store
    from harness.running.run import sweep_work_folders
    from harness.trained import interrupted_training

    cache = default_cache()
    told = _Told(is_json=options.json)
    told.tell("work folders removed", sweep_work_folders(cache))
    told.tell("half-written files removed", Store(options.results).sweep())
    if options.cache:
        told.tell("cache folders emptied", _empty(cache), f" in {cache}")
    code = _remove_unfinished(cache, told) if options.unfinished else 0
    count, freed = _remove_models(options.models_unused_for)
    told.tell("trained models removed", count, f", {freed // MEBIBYTE} MiB")
    for left in interrupted_training.leftovers(cache):
        told.tell("interrupted training kept", left.name, f", {left.nbytes // MEBIBYTE} MiB")
    _clean_engines(told, is_with_images=options.images)
    if options.json:
        cli.say_json(told.facts)
    return code


@dataclass
class _Told:
    """What was done, told line by line, or at the end as JSON."""

    is_json: bool
    facts: list[dict[str, object]] = field(default_factory=list)

    def tell(self, what: str, value: object, more: str = "") -> None:
        self.facts.append({"what": what, "value": value})
        if not self.is_json:
            cli.say(f"{what:<27} {value}{more}")


def _clean_engines(told: _Told, *, is_with_images: bool) -> None:
    from harness.common.errors import EngineUnavailable
    from harness.engines import choose_engine, engine_names

    told.tell("leftover processes ended", choose_engine("process").remove_leftovers())
    answering = []
    for name in engine_names():
        with suppress(EngineUnavailable):
            engine = choose_engine(name)
            if engine.at_most != "none":
                answering.append(engine)
    if not answering:
        told.tell("containers and images", "not looked at: no container engine answers")
        return
    told.tell("containers removed", sum(engine.remove_leftovers() for engine in answering))
    if is_with_images:
        told.tell("images removed", sum(engine.remove_images() for engine in answering))


def _remove_unfinished(cache: Path, told: _Told) -> int:
    """Remove interrupted trainings; what resists is told, and the rest is cleaned all the same."""
    from harness.common.errors import EnvironmentFault
    from harness.trained import interrupted_training

    try:
        count = interrupted_training.remove_leftovers(cache)
    except EnvironmentFault as error:
        cli.say(cli.render_error(error), to=sys.stderr)
        return error.exit_code
    told.tell("interrupted trainings", count, " removed")
    return 0


def _remove_models(days: float | None) -> tuple[int, int]:
    """Remove the trained models that nobody used for so many days; how many, and bytes that became free."""
    from harness.trained.model_store import ModelStore, default_models

    store = ModelStore(default_models())
    freed, unused = store.sweep(), []
    if days is not None:
        before = time.time() - days * 86400
        unused = [model for model in store.models() if model.last_used <= before]
        freed += store.remove(unused)
    return len(unused), freed


def _empty(cache: Path) -> int:
    """Remove what can be made again; returns how many folders."""
    from harness.common.removal import remove_tree_if_possible

    # Weights are costly to fetch, and work folders may be in use.
    made = [folder for folder in cache.iterdir() if folder.is_dir() and folder.name not in KEPT]
    return sum(map(remove_tree_if_possible, made))


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
