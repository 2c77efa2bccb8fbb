"""`python -m harness.verify BUNDLE…`: is a bundle what was signed, and do its metrics follow from it?

Offline, without a container, an image or a mask: the signature, every byte, the schema, the
record's own hash and its run key; then every metric and interval is computed again from the
stored histograms (float16: exactly; float32: and held to the bounds that they allow).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import cli
from harness.errors import BundleBroken

if TYPE_CHECKING:
    from harness.bundles import Bundle
    from harness.metrics import Evidence
    from harness.records import MetricValue, Record
    from harness.signing import Verifier

EXAMPLES = """
  python -m harness.verify brain.padim.seed-0.bundle.zip
  python -m harness.verify bundles/*.bundle.zip --keys leaderboard/keys --json
  python -m harness.verify hidden.padim.seed-0.bundle.zip --against results/hidden/padim/seed-0.json
      a maintainer shows that a public record is that of a private one
"""
# Intervals are sums of many rounded numbers: another machine's last digits may differ.
SLACK = 1e-9


@dataclass(frozen=True)
class Report:
    """What was found of one bundle that can be trusted."""

    bundle: str
    """Its file."""
    run: str
    """benchmark/entry/seed-n."""
    signer: str
    """Whose key signed it."""
    key: str
    """Id of that key."""
    status: str
    """How the run ended."""
    visibility: str
    """`hidden`: the public form, whose metrics nobody else can compute again."""
    metrics: int
    """Metrics in the record."""
    exact: int
    """Of these, computed again exactly."""
    certified: int
    """Of these, within bounds that the evidence allows."""
    has_run_key: bool
    """Whether the run key was computed again; records of before 0.2 lack a part of it."""


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
    from harness.signing import PUBLIC_KEYS, trusted

    keys = trusted(options.keys or PUBLIC_KEYS)
    reports, broken = [], []
    for path in options.bundles:
        try:
            report, record = _verify(path, keys)
            if options.against:
                compare_with_private(path, record, options.against)
        except BundleBroken as error:
            broken.append(error)
            print(cli.render_error(error), file=sys.stderr)
        else:
            reports.append(report)
            if not options.json:
                print(_line(report))
    if options.json:
        print(json.dumps([asdict(report) for report in reports], indent=1))
    return BundleBroken.exit_code if broken else 0


def verify(path: Path, keys: Mapping[str, Verifier]) -> Report:
    """One bundle.

    Args:
        path: its file.
        keys: trusted public keys by id (`harness.signing.trusted`).
    Raises:
        BundleBroken: it cannot be trusted; all that was found, each with the part it is about.
    """
    return _verify(path, keys)[0]


def _verify(path: Path, keys: Mapping[str, Verifier]) -> tuple[Report, Record]:
    from harness.bundles import unseal

    bundle = unseal(_read(path), keys, where=str(path))
    record = _record(bundle, str(path))
    problems = [f"record.json: {problem}" for problem in _record_problems(bundle, record)]
    exact = certified = 0
    if bundle.evidence is not None and not problems:
        found, exact, certified = _follow(bundle.evidence, record)
        problems += [f"evidence.npz: {problem}" for problem in found]
    if problems:
        raise BundleBroken(str(path), problems)
    return Report(
        bundle=str(path),
        run=bundle.run,
        signer=bundle.signer,
        key=bundle.key,
        status=record.outcome.status.value,
        visibility=record.pack.visibility,
        metrics=len(record.metrics),
        exact=exact,
        certified=certified,
        has_run_key=record.entry.checkpoint_rule is not None,
    ), record


def _read(path: Path) -> bytes:
    from harness.bundles import MAX_BYTES

    try:
        if path.stat().st_size > MAX_BYTES:
            raise BundleBroken(str(path), [f"the file is larger than {MAX_BYTES} bytes"])
        return path.read_bytes()
    except OSError as error:
        raise BundleBroken(str(path), [f"the file cannot be read: {error.strerror}"]) from error


def _record(bundle: Bundle, where: str) -> Record:
    from pydantic import ValidationError

    from harness.records import Record, is_intact

    try:
        record = Record.model_validate_json(bundle.record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleBroken(
            where, [f"record.json: it is no record of this schema: {place}: {first['msg']}"]
        ) from error
    if not is_intact(json.loads(bundle.record)):
        raise BundleBroken(where, ["record.json: its hash does not fit its content"])
    return record


def _record_problems(bundle: Bundle, record: Record) -> list[str]:
    """What contradicts itself between the bundle and its record."""
    import hashlib

    from harness.public_form import public_problems

    name = f"{record.pack.benchmark}/{record.entry.name}/seed-{record.seed}"
    problems = (
        [] if name == bundle.run else [f"it is of {name}, and the manifest says {bundle.run}"]
    )
    problems += run_key_problems(record)
    if record.pack.visibility == "hidden":
        problems += public_problems(record)
        if bundle.evidence is not None:
            problems.append("it is of a hidden pack, whose evidence must not be in a bundle")
        return problems
    if record.public is not None:
        problems.append("it has a public form, and its pack is open")
    if bundle.evidence is None and record.is_ok:
        problems.append("its evidence is not in the bundle")
    if bundle.evidence is not None:
        found = "sha256:" + hashlib.sha256(bundle.evidence).hexdigest()
        if found != record.evidence:
            problems.append("it names other evidence than the bundle's")
    return problems


def run_key_problems(record: Record) -> list[str]:
    """Whether the run key is that of the record's own parts; nothing where they are not all there."""
    from harness.provenance import key_parts_of
    from harness.records import content_hash

    parts = key_parts_of(record)
    if parts is None or content_hash(parts) == record.run_key:
        return []
    return ["its run key is not that of its own parts"]


def _follow(content: bytes, record: Record) -> tuple[list[str], int, int]:
    """What does not follow from the evidence; how many metrics are exact, how many certified."""
    import tempfile

    from harness.metrics import Evidence
    from harness.metrics.certify import certify
    from harness.metrics.errors import TruthMismatch
    from harness.metrics.scores import score

    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        file.write(content)
        file.flush()
        try:
            evidence = Evidence.load(Path(file.name))
            scores = score(evidence)
            certified = certify(evidence, record.metrics)
        except (TruthMismatch, ValueError, KeyError, TypeError, IndexError) as error:
            return [f"it cannot be read: {error}"], 0, 0
    problems = [
        f"{row.id} ({row.grid or 'image'}) is {row.stored} in the record, and it allows"
        f" {row.low} to {row.high}"
        for row in certified
        if not row.agrees
    ]
    problems += _differences(record.metrics, scores.metrics)
    if record.maps != scores.maps:
        problems.append("the record's facts on the maps (dtype, levels, largest bin) are others")
    problems += _count_problems(evidence, record)
    exact = sum(row.low == row.high for row in certified)
    return problems, exact, len(certified) - exact


def _differences(stored: Sequence[MetricValue], again: Sequence[MetricValue]) -> list[str]:
    """Metrics and intervals of the record that are not those of the evidence."""
    wanted = {(m.id, m.grid): m for m in again}
    missing = [f"{m.id} ({m.grid or 'image'}) is not in the record" for m in again
               if (m.id, m.grid) not in {(s.id, s.grid) for s in stored}]  # fmt: skip
    return missing + [
        f"{metric.id} ({metric.grid or 'image'}) or its interval is not what it gives"
        for metric in stored
        if not _is_equal(metric, wanted.get((metric.id, metric.grid)))
    ]


def _is_equal(stored: MetricValue, again: MetricValue | None) -> bool:
    if again is None or (stored.n, stored.reason) != (again.n, again.reason):
        return False
    pairs = [(getattr(stored, name), getattr(again, name)) for name in ("value", "low", "high")]
    return all(a is b if a is None or b is None else abs(a - b) <= SLACK for a, b in pairs)


def _count_problems(evidence: Evidence, record: Record) -> list[str]:
    """The record's images are those that were scored."""
    anomalous = int(evidence.test.is_anomalous.sum())
    found = (len(evidence.test.keys) - anomalous, anomalous)
    told = (record.pack.test_normal, record.pack.test_anomalous)
    return [] if found == told else [f"it holds {found} normal and anomalous images, not {told}"]


def compare_with_private(path: Path, record: Record, private: Path) -> None:
    """Show that a public form is that of a private record and its evidence.

    Raises:
        BundleBroken: it is not.
        StoreUnusable, DataMissing: the private record or its evidence is damaged or not there.
    """
    from harness.public_form import public_form
    from harness.store import Store, evidence_of, read_record

    secret = read_record(private)
    if secret.is_ok:
        evidence_of(private, secret)
    store = Store.around(private)
    salt_file = store.salt_path(store.name_of(secret))
    if not salt_file.is_file():
        raise BundleBroken(str(path), [f"record.json: {salt_file} is not there to open it with"])
    if public_form(secret, store.salt(store.name_of(secret), secret)) != record:
        raise BundleBroken(str(path), [f"record.json: it is not the public form of {private}"])


def _line(report: Report) -> str:
    told = f"{report.metrics} metrics: {report.exact} recomputed, {report.certified} within bounds"
    if report.visibility == "hidden":
        told = f"public form of a hidden run, {report.metrics} rounded metrics"
    key = "" if report.has_run_key else ", run key not recomputed"
    return f"{report.run}: ok, signed by {report.signer} ({report.status}; {told}{key})"


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
