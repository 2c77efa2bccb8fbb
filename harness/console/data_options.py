"""The options that say which images: the same for every verb that looks at packs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import DataMissing, UsageError
from harness.common.near_misses import did_you_mean

if TYPE_CHECKING:
    from harness.benchmarks import Pack
    from harness.console.cli import Reporter


def add(parser: argparse.ArgumentParser) -> None:
    """Which images."""
    group = parser.add_argument_group("on which images")
    group.add_argument(
        "--benchmark", dest="benchmarks", nargs="+", default=[], metavar="NAME",
        help="benchmarks by name (default: all found; `demo` where no data is named)",
    )  # fmt: skip
    group.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder that holds the benchmarks ($BMAD_DATA)",
    )
    group.add_argument(
        "--pack", dest="packs", type=Path, nargs="+", default=[], metavar="DIR",
        help="any folder in the pack layout",
    )  # fmt: skip
    add_reading(group)


def add_regime(parser: argparse.ArgumentParser) -> None:
    """What an entry may learn from, and how images reach it (docs/regimes.md)."""
    group = parser.add_argument_group("regime (default: one model a benchmark, of all its images)")
    group.add_argument(
        "--suite", metavar="NAME", help="one model for several benchmarks: unified-3, or a .toml"
    )
    group.add_argument(
        "--train",
        default="all",
        metavar="WHAT",
        help="all, shots:K (K training images: 1, 2, 4, 8, 16), or none: an image that only"
        " predicts is declared zero-shot",
    )
    group.add_argument(
        "--delivery",
        choices=("native", "256"),
        help="each image in its own size (default), or all of 256x256 and RGB (always in a suite)",
    )


def add_reading(group: argparse._ActionsContainer) -> None:
    """How a folder is read."""
    group.add_argument(
        "--accept", dest="accepted", nargs="+", action="extend", default=[], metavar="REASON",
        help="go on where a folder holds what is an error else; the error names the reason",
    )  # fmt: skip
    group.add_argument(
        "--rehash", action="store_true", help="read every file, whatever is remembered of it"
    )


def read_accepted(options: argparse.Namespace) -> frozenset[str]:
    """The reasons that are accepted.

    Raises:
        UsageError: one is none; the message has them all, and the nearest.
    """
    from harness.benchmarks.acceptance import ACCEPTABLE

    for reason in options.accepted:
        if reason not in ACCEPTABLE:
            raise UsageError(
                f"{reason!r} cannot be accepted",
                where="--accept",
                fix=f"{did_you_mean(reason, ACCEPTABLE)}reasons: {', '.join(ACCEPTABLE)}",
            )
    return frozenset(options.accepted)


def add_one(parser: argparse.ArgumentParser) -> None:
    """Which images, where one pack is asked for: the demo pack, unless another is named."""
    group = parser.add_argument_group("on which images")
    group.add_argument(
        "--benchmark",
        dest="benchmarks",
        nargs=1,
        default=[],
        metavar="NAME",
        help="a benchmark by name (default: demo)",
    )
    group.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder that holds the benchmarks ($BMAD_DATA)",
    )
    group.add_argument(
        "--pack",
        dest="packs",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="any folder in the pack layout; several are the members of a --suite",
    )
    add_reading(group)


def open_one(options: argparse.Namespace, cache: Path, reporter: Reporter) -> Pack:
    """The pack that the options of `add_one` name; the demo pack where they name none.

    Raises:
        DataMissing, PackInvalid: the pack is not there, or has problems.
        UsageError: an unknown benchmark, or two packs.
    """
    from harness.benchmarks import demo_pack

    if len(options.benchmarks) + len(options.packs) > 1:
        raise UsageError("one pack is asked for, not two", where="--benchmark, --pack")
    if not options.benchmarks and not options.packs:
        return demo_pack(cache)
    return open_packs(options, cache, reporter)[0]


def open_packs(options: argparse.Namespace, cache: Path, reporter: Reporter) -> list[Pack]:
    """The packs that the options name.

    Raises:
        DataMissing, PackInvalid: a pack is not there, or has problems.
        UsageError: an unknown benchmark.
    """
    from harness.benchmarks import BENCHMARKS, demo_pack, find_packs, open_pack
    from harness.benchmarks.discovery import nothing_found
    from harness.records.releases import claimed_name, not_known, unlisted_name

    def reading(name: str) -> Callable[[int, int], None]:
        return lambda done, total: reporter.progress(f"reading {name}", done, total)

    accepted = read_accepted(options)

    def opened(folder: Path, benchmark: str | None = None) -> Pack:
        pack = open_pack(
            folder,
            cache,
            benchmark=benchmark,
            accepted=accepted,
            is_rehashing=options.rehash,
            on_progress=reading(benchmark or folder.name),
        )
        tell_left_out(pack, reporter)
        tell_doubts(pack, reporter)
        return pack

    root = options.data_root or (
        Path(os.environ["BMAD_DATA"]) if os.environ.get("BMAD_DATA") else None
    )
    found = find_packs(root) if root else {}
    names = list(dict.fromkeys(options.benchmarks))
    if not names and not options.packs:
        if root and not found:
            raise nothing_found(root)
        names = sorted(found) or ["demo"]
    packs = []
    for asked in names:
        name = claimed_name(asked)
        if name == "demo":
            pack = demo_pack(cache)
        elif name in found:
            pack = opened(found[name], name)
        else:
            raise _benchmark_missing(asked, set(BENCHMARKS) | set(found), root)
        if asked not in (name, unlisted_name(name, pack.digest)):
            raise UsageError(
                f"the images are not those of {asked}",
                where=str(pack.root),
                fix=f"they are {pack.name}; --benchmark {name} takes them as they are",
            )
        packs.append(pack)
    packs += map(opened, options.packs)
    for pack in packs:
        if reason := not_known(pack.name):
            reporter.event(
                f"{pack.name} is {reason}: no rank, no difference to the paper (docs/data.md, 1)"
            )
    return packs


def open_members(
    options: argparse.Namespace, names: Sequence[str], cache: Path, reporter: Reporter
) -> list[Pack]:
    """The members of a suite in its order: folders of `--pack` by their card's name, else by name.

    Raises:
        DataMissing, PackInvalid: a pack is not there, or has problems.
        UsageError: an unknown benchmark, or a folder that is no member.
    """
    given = argparse.Namespace(**{**vars(options), "benchmarks": []})
    own = (
        {pack.card.name: pack for pack in open_packs(given, cache, reporter)}
        if options.packs
        else {}
    )
    if strangers := sorted(set(own) - set(names)):
        raise UsageError(
            f"{strangers[0]} is no member of the suite",
            where="--pack",
            fix=f"its members are {', '.join(names)}; a folder's pack.toml says what it is",
        )
    rest = [name for name in names if name not in own]
    named = argparse.Namespace(**{**vars(options), "benchmarks": rest, "packs": []})
    found = dict(zip(rest, open_packs(named, cache, reporter), strict=True)) if rest else {}
    return [(own | found)[name] for name in names]


def tell_left_out(pack: Pack, reporter: Reporter) -> None:
    """One line for what a pack's folder holds and is not used; nothing where all of it is."""
    from harness.benchmarks.acceptance import ACCEPTABLE

    card = pack.card
    counts = {why: number for why, number in card.left_out.items() if why != "litter"}
    if counts:
        told = ", ".join(f"{number} {why}" for why, number in counts.items())
        reporter.event(f"{pack.name}: files that are not used: {told}")
    for reason in card.accepted:
        reporter.event(f"{pack.name}: accepted ({reason}): {ACCEPTABLE[reason]}")


def tell_doubts(pack: Pack, reporter: Reporter) -> None:
    """One line for everything that makes a pack's masks implausible."""
    for doubt in pack.doubts:
        reporter.event(f"{pack.name}: {doubt}")


def _benchmark_missing(name: str, known: set[str], root: Path | None) -> DataMissing | UsageError:
    if name not in known:
        return UsageError(
            f"unknown benchmark {name!r}",
            where="--benchmark",
            fix=f"{did_you_mean(name, known)}benchmarks: {', '.join(sorted(known))}",
        )
    if root is None:
        return DataMissing(
            f"the benchmark {name} needs its images, and no data folder is named",
            fix="--data-root DIR, or set BMAD_DATA; python -m harness.list benchmarks says where to get it",
        )
    return DataMissing(
        f"the benchmark {name} is not there",
        where=str(root),
        fix="python -m harness.list benchmarks",
    )


def places(packs: Sequence[Pack], options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """By the name of each opened pack, the options that name it alone to another verb.

    Args:
        packs: what `open_packs` gave for these options: packs of one's own stand last; the one
            suite that a call names takes them all.
    """
    root = ("--data-root", str(options.data_root)) if options.data_root else ()
    named = len(packs) - len(options.packs)
    found = {pack.name: ("--benchmark", pack.card.name, *root) for pack in packs[:named]}
    own = zip(packs[named:], options.packs, strict=True)
    ways = found | {pack.name: ("--pack", str(folder)) for pack, folder in own}
    accept = ("--accept", *sorted(set(options.accepted))) if options.accepted else ()
    return {name: (*way, *accept) for name, way in ways.items()}
