"""Known releases: the name that a pack stands under follows from its images, not from its folder.

A pack may say that it is `brain`. It stands as `brain` where the digest of its pixels, masks,
labels and splits is on the list of known releases, and as `brain~` with the digest's first six
hex digits where it is not: trained on, scored and shown like any other, but without a rank and
without a difference to the paper. A record keeps the name of its day, and with it its place;
base and digest stand beside it, so that what is shown follows the list of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.records.regime import MARK, PLACE_MARK

if TYPE_CHECKING:
    from harness.records.record import PackPart, Record

MARK_DIGITS = 6
_NOT_KNOWN = "not a known release of "


def unlisted_name(base: str, digest: str) -> str:
    """The name of a pack that says it is `base` and is no known release of it.

    Args:
        base: name of a benchmark.
        digest: hex digits of the pack's digest, with or without `sha256:`.
    """
    return f"{base}{MARK}{digest.removeprefix('sha256:')[:MARK_DIGITS]}"


def claimed_name(name: str) -> str:
    """What a pack says it is: the name that a user types, and that its folder goes by."""
    return name.partition(MARK)[0]


def is_asked(place: str, asked: str) -> bool:
    """Whether a place is the one that is asked for: written out, or without its pack's mark."""
    benchmark, mark, label = place.partition(PLACE_MARK)
    return asked in (place, claimed_name(benchmark) + mark + label)


def not_known(name: str) -> str | None:
    """Why nothing on a pack of this name is ranked or set against the paper; None: that is no bar."""
    return f"{_NOT_KNOWN}{claimed_name(name)}" if MARK in name else None


@dataclass(frozen=True)
class KnownReleases:
    """Which contents are which benchmark."""

    digests: Mapping[str, frozenset[str]]
    """By every benchmark that a pack may say it is, the digests (`sha256:…`) of its releases."""

    def is_claim(self, name: str) -> bool:
        """Whether a pack of this name says that it is one of these benchmarks."""
        return claimed_name(name) in self.digests

    def has(self, base: str, digest: str) -> bool:
        """Whether a digest is that of a release; its first twelve hex digits, as they stand in a
        version id, do where an older record has no more."""
        known = self.digests.get(base, frozenset())
        if digest.startswith("sha256:"):
            return digest in known
        return any(each.removeprefix("sha256:").startswith(digest) for each in known)

    def name_of(self, name: str, digest: str) -> str:
        """The name that a pack of this digest stands under.

        Args:
            name: what it says it is, or stood under once.
            digest: see `has`.
        """
        base = claimed_name(name)
        if base not in self.digests or self.has(base, digest):
            return base
        return unlisted_name(base, digest)


def version_digits(version: str) -> str:
    """What a version id holds of its pack's digest: all that older records and cards know of it."""
    return version.rpartition("-")[2]


def under_known_names(records: Iterable[Record], known: KnownReleases) -> list[Record]:
    """The records as they are shown: each under the name that its images have by today's list.

    Their hashes stay those of the stored files: such a record is shown and never written.
    """
    return [_renamed(record, known) for record in records]


def _renamed(record: Record, known: KnownReleases) -> Record:
    members = [_under_name(pack, _name_today(pack, known)) for pack in record.members]
    name = record.pack.benchmark
    if not members:
        name = _name_today(record.pack, known)
    elif not any(not_known(pack.benchmark) for pack in members):  # a suite, as all its members
        name = claimed_name(name)
    if (name, members) == (record.pack.benchmark, [*record.members]):
        return record
    told = (record.unranked_reason or "").split(", ")
    reasons = [reason for reason in told if reason and not reason.startswith(_NOT_KNOWN)]
    was_barred = any(reason.startswith(_NOT_KNOWN) for reason in told)
    reasons += filter(None, map(not_known, [name, *(pack.benchmark for pack in members)]))
    return record.model_copy(
        update={
            "pack": _under_name(record.pack, name),
            "members": tuple(members),
            "ranked": (record.ranked or was_barred) and not reasons,
            "unranked_reason": ", ".join(dict.fromkeys(reasons)) or None,
        }
    )


def _under_name(pack: PackPart, name: str) -> PackPart:
    return pack.model_copy(update={"benchmark": name})


def _name_today(pack: PackPart, known: KnownReleases) -> str:
    return known.name_of(pack.benchmark, pack.digest or version_digits(pack.version))
