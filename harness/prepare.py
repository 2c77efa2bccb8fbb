"""`python -m harness.prepare BENCHMARK --raw DIR --out DIR`: from raw downloads to packs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.common.errors import EnvironmentFault, UsageError
from harness.common.near_misses import did_you_mean
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.benchmarks.prepare.preparing import PackRequest, PreparedPack
    from harness.benchmarks.prepare.recipe import Options

EXAMPLES = """
  python -m harness.prepare brain --raw /raw/BraTS2021 --out /data/bmad
  python -m harness.prepare liver --raw /raw/BTCV /raw/LiTS --out /data/bmad --variant disjoint
  python -m harness.prepare camelyon16 --raw /raw/camelyon16 --out /data/bmad --limit-cases 20
  python -m harness.prepare rsna --raw /raw/rsna --out /data/bmad --dry-run --strict-counts
  python -m harness.prepare brain --raw /raw/BraTS2021 --out /data/own --modality t1ce
  python -m harness.prepare folder --raw /raw/ours --out /sealed --name ours --hidden \\
      --patient-rule '(?P<patient>p\\d+)_'
"""

SALT_VARIABLE = "BMAD_SALT"
SHORTEST_SALT = 16
LAST_SLICE = 155
_PARTS = ("specs", "prepare")

# Options that one source alone knows; the verb refuses them elsewhere.
OWN_OPTIONS = {
    "modality": ("brain",),
    "slices": ("brain",),
    "window": ("liver",),
    "unprocessed": ("liver",),
    "volumes": ("liver",),
    "expect_slices": ("resc",),
    "valid_rule": ("rsna",),
    "nih_mapping": ("rsna",),
    "xml": ("camelyon16",),
    "hidden": ("folder",),
    "independent_patients": ("folder",),
    "patient_rule": ("folder",),
    "shares": ("folder",),
    "size": ("folder",),
}


def benchmarks() -> tuple[str, ...]:
    """Benchmarks that have both a spec and a recipe; nothing is imported for it."""
    folder = Path(__file__).parent / "benchmarks"
    names = [{path.stem for path in (folder / part).glob("[a-z]*.py")} for part in _PARTS]
    return tuple(sorted(names[0] & names[1]))


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "prepare",
        "Make a pack from a raw download, or from any folder of normal and abnormal images.\n"
        "Killed at any moment, the same command goes on where it stopped.",
        EXAMPLES,
    )
    parser.add_argument(
        "source", metavar="BENCHMARK", help="one of: " + ", ".join((*benchmarks(), "folder"))
    )
    parser.add_argument("--raw", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets <name>/")
    parser.add_argument(
        "--name", metavar="NAME", help="name of the pack (default: the benchmark's)"
    )
    parser.add_argument(
        "--variant",
        choices=("paper", "disjoint", "resplit"),
        default="paper",
        help="counts of the paper; no patient in two splits; the same with a secret salt",
    )
    parser.add_argument(
        "--salt-file",
        type=Path,
        metavar="FILE",
        help=f"the secret of a resplit, at least {SHORTEST_SALT} characters (${SALT_VARIABLE})",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
    parser.add_argument("--limit-cases", type=int, metavar="N", help="a trial with so few cases")
    parser.add_argument(
        "--strict-counts", action="store_true", help="numbers that differ are an error"
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="leave out what cannot be used, and say what"
    )
    parser.add_argument("--dry-run", action="store_true", help="look at everything, write nothing")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    _add_own_options(parser)
    return parser


def _add_own_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("brain")
    group.add_argument("--modality", choices=("flair", "t1", "t1ce", "t2"))
    group.add_argument("--slices", metavar="A:B", help="from slice A to B-1 (default: 60:100)")
    group = parser.add_argument_group("liver")
    group.add_argument(
        "--window", metavar="W", help="code (default), paper-text, or LOW:HIGH in HU"
    )
    group.add_argument("--unprocessed", action="store_true", default=None, help="whole slices")
    group.add_argument("--volumes", metavar="A-B", help="LiTS volumes (default: 0-10)")
    group = parser.add_argument_group("resc")
    group.add_argument("--expect-slices", type=int, metavar="N", help="of a volume (default: 128)")
    group = parser.add_argument_group("rsna")
    group.add_argument("--valid-rule", choices=("released", "paper-text"))
    group.add_argument("--nih-mapping", type=Path, metavar="FILE", help="RSNA's mapping to NIH")
    group = parser.add_argument_group("camelyon16")
    group.add_argument("--xml", type=Path, metavar="DIR", help="outlines, to audit the labels")
    group = parser.add_argument_group("folder")
    group.add_argument("--hidden", action="store_true", default=None, help="a sealed pack")
    group.add_argument(
        "--independent-patients", action="store_true", default=None,
        help="you state that every image is of a patient of its own",
    )  # fmt: skip
    group.add_argument(
        "--patient-rule", metavar="REGEX", help="finds the group (?P<patient>…) in image names"
    )
    group.add_argument(
        "--shares", metavar="V:T", help="shares of valid and test (default: 0.1:0.3)"
    )
    group.add_argument("--size", metavar="WxH", help="bring every image to this size")


def main(argv: Sequence[str] | None) -> int:
    """Prepare; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    request = read_request(arguments)
    reporter = cli.Reporter()
    from harness.benchmarks.prepare.preparing import prepare, writable

    if not request.is_dry:
        writable(request.out)
    try:
        reporter.event(
            f"preparing {request.benchmark}, {request.options.variant},"
            f" with {request.workers} worker{'s' if request.workers != 1 else ''}"
        )
        prepared = prepare(request, reporter.progress)
        if prepared.card is not None:
            _check(prepared, reporter)
    finally:
        reporter.close()
    cli.say_either(summary(prepared), as_json(prepared), is_json=arguments.json)
    return 0


def _check(prepared: PreparedPack, reporter: cli.Reporter) -> None:
    """Read the pack back as `evaluate` will; its cache is warm then, too.

    Raises:
        PackInvalid: with all problems of the pack.
    """
    from harness.benchmarks import default_cache, open_pack

    open_pack(
        prepared.folder,
        default_cache(),
        on_progress=lambda done, total: reporter.progress("reading it back", done, total),
    )


def read_request(arguments: argparse.Namespace) -> PackRequest:
    """What the command line asks for.

    Raises:
        UsageError: an option is not one of this benchmark's, or its value is none.
    """
    from harness.benchmarks.prepare.preparing import PackRequest
    from harness.benchmarks.prepare.running import default_workers

    source: str = arguments.source
    if source not in (*benchmarks(), "folder"):
        raise _unknown(source)
    for option, sources in OWN_OPTIONS.items():
        if getattr(arguments, option) is not None and source not in sources:
            flag = "--" + option.replace("_", "-")
            raise UsageError(f"{flag} is an option of {' and '.join(sources)}", where=source)
    for option in ("workers", "limit_cases", "expect_slices"):
        if (number := getattr(arguments, option)) is not None and number < 1:
            raise UsageError(
                f"{number} is not a positive number", where="--" + option.replace("_", "-")
            )
    return PackRequest(
        benchmark=source,
        options=_options(arguments),
        out=arguments.out,
        name=_name(arguments.name),
        workers=arguments.workers or default_workers(),
        limit_cases=arguments.limit_cases,
        is_strict=arguments.strict_counts,
        is_keeping_on=arguments.keep_going,
        is_dry=arguments.dry_run,
    )


def _unknown(source: str) -> UsageError:
    known = (*benchmarks(), "folder")
    return UsageError(
        f"unknown benchmark {source!r}",
        fix=f"{did_you_mean(source, known)}one of: {', '.join(known)}",
    )


def _name(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise UsageError(
            f"{name!r} is not a name for a pack",
            where="--name",
            fix="use lower-case letters, digits, '.', '_' and '-', at most 64",
        )
    return name


def _options(arguments: argparse.Namespace) -> Options:
    from harness.benchmarks.prepare.recipe import Options

    given: dict[str, Any] = {
        "modality": arguments.modality,
        "slices": _slices(arguments.slices),
        "window": _window(arguments.window),
        "is_processed": None if arguments.unprocessed is None else False,
        "lits_volumes": _volumes(arguments.volumes),
        "volume_slices": arguments.expect_slices,
        "valid_rule": arguments.valid_rule,
        "nih_mapping": arguments.nih_mapping,
        "xml": arguments.xml,
        "patient_rule": _patient_rule(arguments.patient_rule),
        "shares": _shares(arguments.shares),
        "size": _size(arguments.size),
        "is_hidden": arguments.hidden,
        "is_independent": arguments.independent_patients,
    }
    if arguments.source == "folder":
        from harness.benchmarks.card import pack_name

        given["name"] = arguments.name or pack_name(arguments.raw[0])
    return Options(
        raw=tuple(arguments.raw),
        variant=arguments.variant,
        salt=_salt(arguments),
        **{name: value for name, value in given.items() if value is not None},
    )


def _salt(arguments: argparse.Namespace) -> str | None:
    """The secret of a resplit, from a file or the environment; it is never printed.

    Raises:
        UsageError: a resplit without one, or one that can be guessed.
        EnvironmentFault: the file cannot be read.
    """
    is_wanted = arguments.variant == "resplit" or (
        arguments.source == "folder" and arguments.salt_file is not None
    )
    if not is_wanted:
        if arguments.salt_file is not None:
            raise UsageError("a salt is for --variant resplit", where="--salt-file")
        return None
    if arguments.salt_file is not None:
        try:
            salt = arguments.salt_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EnvironmentFault(
                "the salt cannot be read", where=str(arguments.salt_file)
            ) from error
    else:
        salt = os.environ.get(SALT_VARIABLE, "").strip()
    if len(salt) < SHORTEST_SALT:
        raise UsageError(
            f"a resplit needs a secret salt of at least {SHORTEST_SALT} characters",
            where="--variant resplit",
            fix="python -c 'import secrets; print(secrets.token_hex(32))' > SALT; --salt-file SALT"
            f" (or ${SALT_VARIABLE}); whoever knows it knows the split",
        )
    return str(salt)


def _slices(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]) <= LAST_SLICE:
        raise UsageError(f"{text!r} is not A:B with A < B <= {LAST_SLICE}", where="--slices")
    return int(match[1]), int(match[2])


def _window(text: str | None) -> str | tuple[float, float] | None:
    if text in (None, "code", "paper-text"):
        return text
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?):(-?\d+(?:\.\d+)?)", text)
    if match is None or not float(match[1]) < float(match[2]):
        raise UsageError(
            f"{text!r} is neither code, paper-text nor LOW:HIGH in HU",
            where="--window",
            fix="write --window=-200:250",
        )
    return float(match[1]), float(match[2])


def _volumes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise UsageError(f"{text!r} is not A-B", where="--volumes")
    return tuple(range(int(match[1]), int(match[2] or match[1]) + 1))


def _patient_rule(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        has_patient = "patient" in re.compile(text).groupindex
    except re.error as error:
        raise UsageError(
            f"{text!r} is no regular expression: {error}", where="--patient-rule"
        ) from error
    if not has_patient:
        raise UsageError(f"{text!r} has no group (?P<patient>…)", where="--patient-rule")
    return text


def _shares(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(0?\.\d+|0):(0?\.\d+)", text)
    if match is None or not 0 < float(match[2]) <= float(match[1]) + float(match[2]) < 1:
        raise UsageError(f"{text!r} is not V:T with V + T < 1", where="--shares")
    return float(match[1]), float(match[2])


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise UsageError(f"{text!r} is not WIDTHxHEIGHT", where="--size")
    return int(match[1]), int(match[2])


def summary(prepared: PreparedPack) -> str:
    """What was found and made, and what comes next."""
    lines = [f"{prepared.name}:"]
    for one in prepared.comparisons:
        lines.append(f"  {'!' if one.is_different else ' '} {one.sentence}")
    if any(one.is_different for one in prepared.comparisons):
        lines.append("  ! differs from what is known of the full download: please report it")
    if prepared.skipped:
        lines.append(f"  left out: {len(prepared.skipped)} unusable or missing parts")
    if prepared.card is None:
        return "\n".join([*lines, f"nothing written; it would lie in {prepared.folder}"])
    return "\n".join(
        [
            *lines,
            f"version: {prepared.card.version}",
            f"pack:    {prepared.folder}",
            f"next:    python -m harness.pack verify {prepared.folder}",
        ]
    )


def as_json(prepared: PreparedPack) -> dict[str, object]:
    """The same for machines."""
    return {
        "name": prepared.name,
        "folder": str(prepared.folder),
        "version": prepared.card.version if prepared.card else None,
        "found": [
            {"sentence": one.sentence, "is_different": one.is_different}
            for one in prepared.comparisons
        ],
        "left_out": len(prepared.skipped),
    }


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
