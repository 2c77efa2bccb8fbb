"""`python -m harness.weights`: the pretrained backbone files, fetched only when asked for.

A run never downloads: `require_for` is asked before anything starts, and its error names
the command. Trap: the publisher gives 8 hex digits of each file's SHA-256, in its name;
that is what a file is held to, and the full digest is shown for the record.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from baselines.kit.weight_files import (
    PUBLISHER,
    WEIGHT_FILES,
    WeightFile,
    problem_with,
    sha256_of,
)
from harness.common.errors import UsageError, WeightsMissing
from harness.console import cli
from harness.entries.weights import default_weights_folder, fetch, files_of

EXAMPLES = """
  python -m harness.weights fetch                        all four files, 822 MiB
  python -m harness.weights fetch resnet18 wide_resnet50_2
  python -m harness.weights fetch --source https://mirror.example.org/models/
  python -m harness.weights verify
  python -m harness.weights path                         where they lie, for copying them by hand
"""


def _fetch_all(files: Sequence[WeightFile], folder: Path, source: str, *, is_json: bool) -> int:
    if not source.startswith(("https://", "http://")):
        raise UsageError(f"{source!r} is not an http address", where="--source")
    reporter = cli.Reporter()
    missing = [file for file in files if problem_with(file, folder)]
    reporter.event(
        f"fetching {len(missing)} of {len(files)} files,"
        f" about {sum(file.mebibytes for file in missing)} MiB, into {folder}"
    )
    try:
        fetched = []
        for file in files:
            fetched.append(str(fetch(file, folder, reporter, source)))
            if not is_json:
                cli.say(fetched[-1])
    finally:
        reporter.close()
    if is_json:
        cli.say_json(fetched)
    return 0


def _verify(
    files: Sequence[WeightFile], folder: Path, *, is_missing_wrong: bool, is_json: bool
) -> int:
    """Print every file's state; 5 when one is wrong, or missing although it was named."""
    problems = {file.backbone: problem_with(file, folder) for file in files}
    found = [
        {
            "backbone": file.backbone,
            "file": file.file_name,
            "state": problems[file.backbone] or f"sha256:{sha256_of(folder / file.file_name)}",
        }
        for file in files
    ]
    cli.say_either(
        "\n".join(f"{each['backbone']:<16} {each['file']:<42} {each['state']}" for each in found),
        found,
        is_json=is_json,
    )
    is_wrong = [
        problem
        for file in files
        if (problem := problems[file.backbone])
        and (is_missing_wrong or (folder / file.file_name).exists())
    ]
    return WeightsMissing.exit_code if is_wrong else 0


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "weights", "Fetch, verify or locate the pretrained backbone files.", EXAMPLES
    )
    parser.add_argument("action", choices=("fetch", "verify", "path"))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="backbones: " + ", ".join(WEIGHT_FILES)
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="the folder (default: $BMAD_WEIGHTS, or cache)"
    )
    parser.add_argument(
        "--source", default=PUBLISHER, metavar="URL", help=f"where from (default: {PUBLISHER})"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = build_parser().parse_args(argv)
    folder: Path = options.weights or default_weights_folder()
    files = files_of(options.names or WEIGHT_FILES)
    if options.action == "fetch":
        return _fetch_all(files, folder, options.source, is_json=options.json)
    if options.action == "verify":
        return _verify(files, folder, is_missing_wrong=bool(options.names), is_json=options.json)
    paths = [folder / file.file_name for file in files] if options.names else [folder]
    cli.say_either("\n".join(map(str, paths)), [str(path) for path in paths], is_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
