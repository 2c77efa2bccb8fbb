"""`python -m harness.start NAME`: the folder of a new entry, which conforms as it is.

From a model of anomalib, a network of one's own, the template, or as an image; what is left to
say is marked with FILL IN.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.console import cli

EXAMPLES = """
  python -m harness.start baselines/my-method
      a copy of the template: numpy and Pillow, the whole interface explained
  python -m harness.start baselines/my-padim --from anomalib:Padim
  python -m harness.start baselines/my-net --from torch:path/to/network.py:MyNet
      a torch.nn.Module that gives images back; loss and map are marked to be changed
  python -m harness.start /tmp/my-method --from image
      a Dockerfile, the contract and a program, in whatever language you go on with
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "start",
        "Write the folder of a new entry: it passes harness.check as it is, and what is left to\n"
        "say is marked with FILL IN.",
        EXAMPLES,
    )
    parser.add_argument(
        "folder", type=Path, metavar="NAME", help="folder; its last part is the name"
    )
    parser.add_argument(
        "--from", dest="form", default="template", metavar="FORM",
        help="template (default), anomalib:CLASS, torch:FILE:CLASS or image",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Write the folder; returns the exit code."""
    from harness.common.declared_text import FILL_IN
    from harness.entries.starting import start_folder

    options = build_parser().parse_args(argv)
    written = start_folder(options.folder, options.form)
    if options.json:
        cli.say_json({"folder": str(options.folder), "files": written})
        return 0
    cli.say(f"wrote {options.folder}: {', '.join(written)}\n")
    cli.say(f"  1. grep -rn '{FILL_IN}' {options.folder}    what is left to say")
    if options.form == "image":
        cli.say(f"  2. docker build --tag {options.folder.name} {options.folder}")
        cli.say(f"  3. python -m harness.check {options.folder.name}")
    else:
        cli.say(f"  2. python -m harness.check {options.folder}")
        cli.say(f"  3. python -m harness.submit {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
