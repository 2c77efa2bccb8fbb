"""`python -m harness.verify BUNDLE…`: is a bundle what was signed, and do its metrics follow from it?

Offline, without a container, an image or a mask: the signature, every byte, the schema, the
record's own hash and its run key; then every metric and interval is computed again from the
stored histograms (float16: exactly; float32: and held to the bounds that they allow).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import BundleBroken
from harness.console import cli
from harness.publishing.verification import Report, verify

EXAMPLES = """
  python -m harness.verify brain.padim.seed-0.bundle.zip
  python -m harness.verify bundles/*.bundle.zip --keys leaderboard/keys --json
  python -m harness.verify hidden.padim.seed-0.bundle.zip --against results/hidden/padim/seed-0.json
      a maintainer shows that a public record is that of a private one
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "verify",
        "Check signed bundles offline. Exit code 0: every one can be trusted; 5: one cannot.",
        EXAMPLES,
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--keys", type=Path, metavar="PATH",
        help="trusted public keys, a folder or a file (default: leaderboard/keys)",
    )  # fmt: skip
    parser.add_argument(
        "--against", type=Path, metavar="RECORD", help="the private record behind a hidden bundle"
    )
    parser.add_argument("--json", action="store_true", help="print the reports as one JSON array")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Verify; prints a line for each bundle and raises at the first that cannot be trusted."""
    options = build_parser().parse_args(argv)
    from harness.common.paths import PUBLIC_KEYS
    from harness.publishing.signing import trusted

    keys = trusted(options.keys or PUBLIC_KEYS)
    reports, broken = [], []
    for path in options.bundles:
        try:
            report = verify(path, keys, options.against)
        except BundleBroken as error:
            broken.append(error)
            cli.say(cli.render_error(error), to=sys.stderr)
        else:
            reports.append(report)
            if not options.json:
                cli.say(_line(report))
    if options.json:
        cli.say_json([asdict(report) for report in reports])
    return BundleBroken.exit_code if broken else 0


def _line(report: Report) -> str:
    told = f"{report.metrics} metrics: {report.exact} recomputed, {report.certified} within bounds"
    if not may_leave(Artefact.EXACT_RECORD, report.visibility):
        told = f"public form of a hidden run, {report.metrics} rounded metrics"
    key = "" if report.has_run_key else ", run key not recomputed"
    return f"{report.run}: ok, signed by {report.signer} ({report.status}; {told}{key})"


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
