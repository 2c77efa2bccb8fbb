"""Whether a bundle is what was signed, and its metrics follow from its evidence; offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import BundleBroken
from harness.common.json_text import BadJson, parse_as, parse_json

if TYPE_CHECKING:
    from harness.metrics import Evidence
    from harness.publishing.signed_bundle import Bundle
    from harness.publishing.signing import Verifier
    from harness.records.record import MetricValue, Record

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


def verify(path: Path, keys: Mapping[str, Verifier], private: Path | None = None) -> Report:
    """One bundle.

    Args:
        path: its file.
        keys: trusted public keys by id (`harness.publishing.signing.trusted`).
        private: the private record behind a hidden bundle, where it is to be held against it.
    Raises:
        BundleBroken: it cannot be trusted; all that was found, each with the part it is about.
    """
    from harness.publishing.signed_bundle import unseal

    bundle = unseal(_read(path), keys, where=str(path))
    record = _record(bundle, str(path))
    problems = [f"record.json: {problem}" for problem in _record_problems(bundle, record)]
    exact = certified = 0
    if bundle.evidence is not None and not problems:
        found, exact, certified = _follow(bundle.evidence, record)
        problems += [f"evidence.npz: {problem}" for problem in found]
    if problems:
        raise BundleBroken(str(path), problems)
    if private is not None:
        _compare_with_private(path, record, private)
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
    )


def _read(path: Path) -> bytes:
    from harness.publishing.signed_bundle import MAX_BUNDLE_BYTES

    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise BundleBroken(str(path), [f"the file is larger than {MAX_BUNDLE_BYTES} bytes"])
        return path.read_bytes()
    except OSError as error:
        raise BundleBroken(str(path), [f"the file cannot be read: {error.strerror}"]) from error


def _record(bundle: Bundle, where: str) -> Record:
    from harness.records.record import Record, is_intact

    try:
        record = parse_as(Record.model_validate_json, bundle.record)
    except BadJson as error:
        raise BundleBroken(
            where, [f"record.json: it is no record of this schema: {error}"]
        ) from error
    if not is_intact(parse_json(bundle.record)):
        raise BundleBroken(where, ["record.json: its hash does not fit its content"])
    return record


def _record_problems(bundle: Bundle, record: Record) -> list[str]:
    """What contradicts itself between the bundle and its record."""
    import hashlib

    from harness.publishing.public_form import public_problems

    name = f"{record.place}/{record.entry.name}/seed-{record.seed}"
    problems = (
        [] if name == bundle.run else [f"it is of {name}, and the manifest says {bundle.run}"]
    )
    problems += run_key_problems(record)
    if not may_leave(Artefact.EXACT_RECORD, record.pack.visibility):
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
    from harness.records.run_key import RunKey

    key = RunKey.of_record(record)
    if key is None or key.hash == record.run_key:
        return []
    return ["its run key is not that of its own parts"]


def _follow(content: bytes, record: Record) -> tuple[list[str], int, int]:
    """What does not follow from the evidence; how many metrics are exact, how many certified."""
    import tempfile

    from harness.metrics import METRICS_VERSION
    from harness.metrics.errors import TruthMismatch
    from harness.session import scoring

    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        file.write(content)
        file.flush()
        try:
            evidence = scoring.evidence_of_members(Path(file.name), record)
            scores = scoring.scores_of(evidence)
            certified = scoring.certified(evidence, record.metrics)
        except (TruthMismatch, ValueError, KeyError, TypeError, IndexError) as error:
            return [f"it cannot be read: {error}"], 0, 0
    problems = [
        f"{row.id} ({row.where}) is {row.stored} in the record, and it allows"
        f" {row.low} to {row.high}"
        for row in certified
        if not row.agrees
    ]
    if record.metrics_version == METRICS_VERSION:
        problems += _differences(record.metrics, scores.metrics)
    else:
        problems.append(
            f"its intervals are of metric definitions {record.metrics_version}, and this harness"
            f" knows those of {METRICS_VERSION}: renew the record with python -m harness.score"
            " --renew and bundle it again"
        )
    if record.maps != scores.maps:
        problems.append("the record's facts on the maps (dtype, levels, largest bin) are others")
    problems += _count_problems(evidence, record)
    exact = sum(row.low == row.high for row in certified)
    return problems, exact, len(certified) - exact


def _differences(stored: Sequence[MetricValue], again: Sequence[MetricValue]) -> list[str]:
    """Metrics and intervals of the record that are not those of the evidence."""
    wanted = {(metric.id, metric.where): metric for metric in again}
    there = {(metric.id, metric.where) for metric in stored}
    missing = [f"{name} ({where}) is not in the record" for name, where in wanted.keys() - there]
    return sorted(missing) + [
        f"{metric.id} ({metric.where}) or its interval is not what it gives"
        for metric in stored
        if not _is_equal(metric, wanted.get((metric.id, metric.where)))
    ]


def _is_equal(stored: MetricValue, again: MetricValue | None) -> bool:
    if again is None or (stored.n, stored.reason) != (again.n, again.reason):
        return False
    pairs = [(getattr(stored, name), getattr(again, name)) for name in ("value", "low", "high")]
    return all(a is b if a is None or b is None else abs(a - b) <= SLACK for a, b in pairs)


def _count_problems(evidence: Mapping[str, Evidence], record: Record) -> list[str]:
    """The record's images are those that were scored, of every member."""
    packs = record.members or (record.pack,)
    problems = []
    for pack, each in zip(packs, evidence.values(), strict=True):
        anomalous = int(each.test.is_anomalous.sum())
        found = (len(each.test.keys) - anomalous, anomalous)
        told = (pack.test_normal, pack.test_anomalous)
        if found != told:
            of = f" of {pack.benchmark}" if record.members else ""
            problems.append(f"it holds {found} normal and anomalous images{of}, not {told}")
    if record.members and not _adds_up(record):
        problems.append("the images of its members do not add up to those of the suite")
    return problems


def _adds_up(record: Record) -> bool:
    return all(
        getattr(record.pack, name) == sum(getattr(pack, name) for pack in record.members)
        for name in ("train", "valid", "test_normal", "test_anomalous")
    )


def _compare_with_private(path: Path, record: Record, private: Path) -> None:
    """Show that a public form is that of a private record and its evidence.

    Raises:
        BundleBroken: it is not.
        StoreUnusable, DataMissing: the private record or its evidence is damaged or not there.
    """
    from harness.publishing.public_form import public_form
    from harness.records.store import Store, evidence_of, read_record

    secret = read_record(private)
    if secret.is_ok:
        evidence_of(private, secret)
    store = Store.around(private)
    salt_file = store.salt_path(store.name_of(secret))
    if not salt_file.is_file():
        raise BundleBroken(str(path), [f"record.json: {salt_file} is not there to open it with"])
    if public_form(secret, store.salt(store.name_of(secret), secret)) != record:
        raise BundleBroken(str(path), [f"record.json: it is not the public form of {private}"])
