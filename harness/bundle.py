"""`python -m harness.bundle`: a run's record and evidence as one signed file; and the keys for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import DataMissing
from harness.console import cli
from harness.publishing.bundle_export import export_run

if TYPE_CHECKING:
    import argparse


EXAMPLES = """
  python -m harness.bundle key ~/.config/bmad/key.pem --name ada
      a new pair of keys: the private one to that file, the public one to leaderboard/keys/ada.pem
  python -m harness.bundle export --key ~/.config/bmad/key.pem --out bundles
      every publishable run under results/
  python -m harness.bundle export results/brain/padim/seed-0.json --key … --out bundles
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "bundle",
        "Export runs as signed bundles, which `python -m harness.verify` checks offline. The\n"
        "bundle of a hidden pack holds the record's public form alone.",
        EXAMPLES,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Plain)
    key = verbs.add_parser("key", help="make a new pair of keys")
    key.add_argument(
        "key", type=Path, metavar="FILE", help="file of the private key, not yet there"
    )
    key.add_argument("--name", required=True, help="whose key: names the public key's file")
    key.add_argument(
        "--keys", type=Path, metavar="DIR", help="folder of public keys (default: leaderboard/keys)"
    )
    key.add_argument("--json", action="store_true", help="print the files and the id as JSON")
    export = verbs.add_parser("export", help="write bundles")
    export.add_argument("records", nargs="*", type=Path, metavar="RECORD", help="seed-n.json files")
    export.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    export.add_argument("--key", type=Path, required=True, metavar="FILE", help="your private key")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of bundles")
    export.add_argument("--json", action="store_true", help="print the paths as one JSON array")
    return parser


class _Plain(cli.Parser):
    """A sub-command: its examples stand in the verb's own help."""

    def __init__(self, *, prog: str, help: str | None = None) -> None:
        super().__init__(prog.removeprefix("python -m harness."), help or "", EXAMPLES)


def main(argv: Sequence[str] | None) -> int:
    """Make keys, or export; prints the paths that were written."""
    options = build_parser().parse_args(argv)
    if options.verb == "key":
        _make_key(options)
        return 0
    written = [str(path) for path in export(options)]
    cli.say_either("\n".join(written), written, is_json=options.json)
    return 0


def _make_key(options: argparse.Namespace) -> None:
    from harness.common.paths import PUBLIC_KEYS
    from harness.publishing.signing import generate_key

    public = (options.keys or PUBLIC_KEYS) / f"{options.name}.pem"
    key_id = generate_key(options.key.expanduser(), public)
    cli.say_either(
        f"private key: {options.key} (keep it secret; who has it can sign for you)\n"
        f"public key:  {public} (commit it)\nid:          {key_id}",
        {"private": str(options.key), "public": str(public), "id": key_id},
        is_json=options.json,
    )


def export(options: argparse.Namespace) -> list[Path]:
    """Write one bundle for each run.

    Raises:
        KeyUnusable: the key is not usable.
        DataMissing: there is no run, or a run's evidence is not there.
        StoreUnusable: a record or its evidence was changed, or nothing can be written.
    """
    from harness.publishing.signing import read_private
    from harness.records.store import Store

    signer = read_private(options.key.expanduser())
    paths = options.records or Store(options.results).record_paths()
    written = [
        bundle for path in paths if (bundle := export_run(path, signer, options.out)) is not None
    ]
    if not written:
        raise DataMissing("there is no publishable run", where=str(options.results))
    return written


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
