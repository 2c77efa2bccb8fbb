"""`python -m harness.weights`: the pretrained files, fetched only when asked for.

A run never downloads: `require_for` is asked before anything starts, and its error names
the command. Trap: some publishers give 8 hex digits of a file's SHA-256, in its name, and some
none: a file is held to what there is, and its full digest is shown for the record.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.kit.own_backbones import own_names
from baselines.kit.weight_files import WEIGHT_FILES, WeightFile, problem_with, sha256_of
from harness.common.errors import UsageError, WeightsMissing
from harness.console import cli
from harness.entries.weights import default_weights_folder, files_for, files_of, is_pinned
from harness.entries.weights_fetching import add_own, fetch

if TYPE_CHECKING:
    import argparse

EXAMPLES = """
  python -m harness.weights list                         every file: where from, what is known of it
  python -m harness.weights fetch --for patchcore stfpm  the files that these entries need
  python -m harness.weights fetch resnet18 wide_resnet50_2
  python -m harness.weights fetch --source https://mirror.example.org/models/
  python -m harness.weights verify
  python -m harness.weights add radimagenet.toml         a backbone of your own (docs/weights.md)
  python -m harness.weights path                         where they lie, for copying them by hand
"""


def _list(files: Sequence[WeightFile], folder: Path, *, is_json: bool) -> int:
    """Print every file, whether it is there (by name: `verify` reads it), and what is known of it."""
    found = [
        {
            "name": file.name,
            "file": file.file_name,
            "is_there": (folder / file.file_name).is_file(),
            "mebibytes": file.mebibytes,
            "sha256": file.sha256,
            "is_pinned": is_pinned(file.name, None),
            "is_own": file.is_own,
            "address": file.url,
            "is_address_tried": file.is_tried,
        }
        for file in files
    ]
    cli.say_either("\n".join(_listed(file, folder) for file in files), found, is_json=is_json)
    return 0


def _listed(file: WeightFile, folder: Path) -> str:
    remarks = ["there" if (folder / file.file_name).is_file() else "not there"]
    remarks += [f"{file.mebibytes} MiB"] if file.mebibytes else []
    if file.is_own:
        remarks.append(f"own backbone: {file.architecture}, no rank")
    elif not file.sha256:
        remarks.append("its publisher states no digest: no rank")
    remarks += [] if file.is_tried else ["address not tried"]
    return f"{file.name:<29} {', '.join(remarks)}\n    {file.file_name}  {file.url}".rstrip()


def _fetch_all(
    files: Sequence[WeightFile], folder: Path, source: str | None, *, is_json: bool
) -> int:
    if source is not None and not source.startswith(("https://", "http://")):
        raise UsageError(f"{source!r} is not an http address", where="--source")
    reporter = cli.Reporter()
    missing = [file for file in files if problem_with(file, folder)]
    reporter.event(
        f"fetching {len(missing)} of {len(files)} files,"
        f" about {sum(file.mebibytes or 0 for file in missing)} MiB, into {folder}"
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
    problems = {file.name: problem_with(file, folder) for file in files}
    found = [
        {
            "name": file.name,
            "file": file.file_name,
            "state": problems[file.name] or f"sha256:{sha256_of(folder / file.file_name)}",
        }
        for file in files
    ]
    cli.say_either(
        "\n".join(f"{each['name']:<29} {each['file']:<42} {each['state']}" for each in found),
        found,
        is_json=is_json,
    )
    is_wrong = [
        problem
        for file in files
        if (problem := problems[file.name])
        and (is_missing_wrong or (folder / file.file_name).exists())
    ]
    return WeightsMissing.exit_code if is_wrong else 0


def _add(descriptions: Sequence[str], folder: Path, *, is_json: bool) -> int:
    if not descriptions:
        raise UsageError("no description is named", where="add", fix="add FILE.toml")
    reporter = cli.Reporter()
    try:
        files = [add_own(Path(each), folder, reporter) for each in descriptions]
    finally:
        reporter.close()
    told = [f"{file.name}: --set backbone={file.name}" for file in files]
    cli.say_either("\n".join(told), [file.name for file in files], is_json=is_json)
    return 0


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "weights", "List, fetch, verify, add or locate the pretrained files.", EXAMPLES
    )
    parser.add_argument("action", choices=("list", "fetch", "verify", "add", "path"))
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="files (default: all): "
        + ", ".join(WEIGHT_FILES)
        + ", or a backbone of your own; of add, its description",
    )
    parser.add_argument(
        "--for",
        dest="entries",
        nargs="+",
        metavar="ENTRY",
        help="the files that these entries need",
    )
    parser.add_argument("--preset", help="their settings (with --for; default: bmad)")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="NAME=VALUE",
        help="one more setting of theirs, such as backbone=resnet18 (with --for; repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="the folder (default: $BMAD_WEIGHTS, or cache)"
    )
    parser.add_argument(
        "--source",
        metavar="URL",
        help="fetch from this folder of files (default: each publisher's)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _files(options: argparse.Namespace, folder: Path) -> list[WeightFile]:
    """The files that the command line means."""
    if options.entries is None:
        if options.preset or options.overrides:
            raise UsageError(
                "--preset and --set are of entries", fix="name these with --for ENTRY …"
            )
        return files_of(options.names or [*WEIGHT_FILES, *own_names(folder)], folder)
    if options.names:
        raise UsageError("files are named, or entries", where="NAME, --for")
    overrides = cli.assignments(options.overrides, "--set")
    return files_for(options.entries, folder, preset=options.preset, overrides=overrides)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = build_parser().parse_args(argv)
    folder: Path = options.weights or default_weights_folder()
    if options.action == "add":
        return _add(options.names, folder, is_json=options.json)
    files = _files(options, folder)
    is_named = bool(options.names or options.entries)
    if options.action == "list":
        return _list(files, folder, is_json=options.json)
    if options.action == "fetch":
        if not is_named:
            files = [file for file in files if file.name in WEIGHT_FILES]
        return _fetch_all(files, folder, options.source, is_json=options.json)
    if options.action == "verify":
        return _verify(files, folder, is_missing_wrong=is_named, is_json=options.json)
    paths = [folder / file.file_name for file in files] if is_named else [folder]
    if options.json:
        cli.say_json([str(path) for path in paths])
    for path in paths if not options.json else ():
        cli.say(str(path))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
