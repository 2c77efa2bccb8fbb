"""Whether a published pack bears the name that its images have: a benchmark is its content.

Proves that name, base, version and digest agree, and that the list of known releases holds the
digest of what stands under a benchmark's own name; not that the images had that digest.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.benchmarks.suites import shipped_suites
from harness.benchmarks.version import content_digest
from harness.common.disclosure import is_strictest
from harness.records.members import MEAN
from harness.records.record import Record
from harness.records.regime import BOARD_SUITES, MARK
from harness.records.releases import KnownReleases, claimed_name, unlisted_name


def name_problems(
    name: str, *, base: str | None, version: str, digest: str | None, known: KnownReleases
) -> Iterator[str]:
    """What is wrong with the name that a pack is published under.

    Args:
        name: that name.
        base: benchmark that the pack says it is, or is another cut of.
        version: its version id.
        digest: its digest.
        known: the releases of the branch that it goes to.
    """
    said = claimed_name(name)
    if digest is None:
        yield "it does not hold the digest of its pack: it is of an older harness"
        return
    if version != f"{said}-{digest.removeprefix('sha256:')[:12]}":
        yield f"its pack's version {version} is not of {said} and the digest {digest[:19]}…"
    if not known.is_claim(name):
        if MARK in name:
            yield f"its pack's name is {name}, and {said} is no benchmark that has releases"
        return
    if base != said:
        yield f"its pack's base is {base}, and its name {name}"
    unlisted = unlisted_name(said, digest)
    is_known = known.has(said, digest)
    names = (said, unlisted) if is_known else (unlisted,)
    if name not in names:
        yield (
            f"its images ({digest[:19]}…) are {'a' if is_known else 'no'} known release of {said}:"
            f" they stand as {' or '.join(names)}, not as {name}"
        )


def suite_problems(record: Record) -> Iterator[str]:
    """What in the record of a suite's run does not follow from its members.

    Each member's own name is held to the list of known releases apart.
    """
    packs, regime = record.members, record.regime
    named = [(claimed_name(pack.benchmark), pack) for pack in packs]
    digest = content_digest(f"{name}|{pack.digest}" for name, pack in named)
    if record.pack.digest != digest:
        yield "the digest of its suite is not that of its members"
    suite = regime.suite if regime is not None else None
    shipped = shipped_suites().get(suite or "")
    if suite is None:
        yield "it has members, and its regime is of no suite"
    elif shipped is None and suite.startswith(BOARD_SUITES):
        yield f"{suite} is no suite of the board, and is called like one"
    elif shipped is not None and shipped.members != tuple(name for name, _ in named):
        yield f"the members of {suite} are {', '.join(shipped.members)}"
    is_marked = shipped is not None and any(MARK in pack.benchmark for pack in packs)
    name = unlisted_name(str(suite), digest) if is_marked else suite
    if suite is not None and record.pack.benchmark != name:
        yield f"its suite stands as {name}, not as {record.pack.benchmark}"
    if not is_strictest(record.pack.visibility, (pack.visibility for pack in packs)):
        yield "one hidden member makes the whole record hidden"
    members = {MEAN, *(name for name, _ in named)}
    strangers = {metric.member for metric in record.metrics if metric.member} - members
    if strangers:
        yield f"it has metrics of {', '.join(sorted(strangers))}, which is no member"
