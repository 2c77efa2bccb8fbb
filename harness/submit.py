"""`python -m harness.submit IMAGE|FOLDER|ARCHIVE`: check an entry, pin it, and write its submission file.

Everything is checked before anything is written: the fields, the image's configuration, size
and architecture, whether it is on the board already, and a whole run on the demo pack (the
code path of `harness.check`, with the limits of production and the entry's full log).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.console import cli
from harness.running.declaring import add_supervision_options
from harness.running.submitting import submit

EXAMPLES = """
  python -m harness.submit registry.example/me/my-method:1.0 --name my-method \\
      --authors "A. Author" "B. Author" --paper https://arxiv.org/abs/… \\
      --code https://git.example/me/my-method --licence MIT --pretraining ImageNet \\
      --shots-normal 0 --shots-abnormal 0 --foreign-labels none --contamination default=none
  python -m harness.submit my-method:latest --archive my-method.tar --name my-method …
      an image that is in no registry: the archive is handed over, its hash stands in the file
  python -m harness.submit path/to/my-method --paper none --code none
      a source folder: reviewed as text, then built and trained by the harness
  python -m harness.submit my-method:2 --archive my-method.tar --name my-method --update
      a corrected version; --limit memory_mib=32768 asks for more than the default, within bounds
"""
FAMILIES = (
    "reconstruction", "one-class", "teacher-student", "memory bank", "flow", "trivial", "other",
)  # fmt: skip


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "submit",
        "Check an image, an image archive or a source folder, pin it, and write its submission\n"
        "file. An image competes on the sealed track and is shown as open on public packs; a\n"
        "folder that a maintainer reviews and the harness builds competes as trained here.",
        EXAMPLES,
    )
    parser.add_argument("entry", metavar="ENTRY", help="image, .tar or source folder")
    group = parser.add_argument_group("who it is (a folder's entry.toml fills what is not given)")
    group.add_argument("--name", help="name on the board: letters, digits, '.', '_', '-'")
    group.add_argument("--title", help="the method's name as its authors write it")
    group.add_argument("--authors", nargs="+", metavar="AUTHOR", help="one word or quoted each")
    group.add_argument("--team", help="who submits (default: the first author)")
    group.add_argument("--paper", metavar="URL", help="http or https, or none")
    group.add_argument("--code", metavar="URL", help="http or https, or none")
    group.add_argument("--licence", help="of the code, for example MIT")
    group.add_argument("--family", choices=FAMILIES)
    group.add_argument("--pretraining", help="none, ImageNet, medical, or another, named")
    group.add_argument("--external-data", help="data other than the pack's training split, named")
    group.add_argument("--description", help="one line")
    add_supervision_options(parser)
    cli.add_engine_options(parser)
    cli.add_setting_options(parser)
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--archive", type=Path, metavar="FILE",
        help="write the image to this .tar, for an image that no registry holds",
    )  # fmt: skip
    group.add_argument(
        "--update",
        action="store_true",
        help="a corrected version of a submission that is there: what is not given stays as it was",
    )
    group.add_argument(
        "--submissions", type=Path, metavar="DIR", help="folder of the file (default: submissions)"
    )
    group.add_argument(
        "--json", action="store_true", help="print the result as a JSON array of its lines"
    )
    parser.set_defaults(seed=0)
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Submit one entry; returns the exit code."""
    options = build_parser().parse_args(argv)
    with cli.reporting() as reporter:
        told = submit(options, reporter)
    cli.say_either(told, told.splitlines(), is_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
