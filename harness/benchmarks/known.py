"""The list of known releases: `known.toml`, and what the specs know of packs that are generated."""

from __future__ import annotations

import re
from pathlib import Path

from harness.benchmarks.specs import BENCHMARKS
from harness.common.errors import UsageError
from harness.common.foreign_text import one_line
from harness.common.toml_text import BadToml, parse_toml
from harness.records.releases import KnownReleases

KNOWN_FILE = Path(__file__).with_name("known.toml")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def known_releases(text: str | None = None, *, where: str = str(KNOWN_FILE)) -> KnownReleases:
    """The releases that a list names, and the generated ones.

    Args:
        text: the list; None = the one that is committed here.
        where: where it comes from, for the error.
    Raises:
        UsageError: it is no such list.
    """
    listed = _parsed(KNOWN_FILE.read_text("utf-8") if text is None else text, where)
    return KnownReleases(
        {
            name: frozenset({*spec.generated, *listed.get(name, ())})
            for name, spec in BENCHMARKS.items()
        }
    )


def known_line(name: str, digest: str) -> str:
    """The line of the list that makes a pack a known release of the benchmark."""
    return f'{name} = ["{digest}"]'


def _parsed(text: str, where: str) -> dict[str, list[str]]:
    def refused(what: str) -> UsageError:
        return UsageError(
            f"the list of known releases is not one: {what}",
            where=where,
            fix='one line a benchmark, such as brain = ["sha256:…"] with 64 hex digits;'
            " python -m harness.pack verify --known-line DIR prints it",
        )

    try:
        document = parse_toml(text)
    except BadToml as error:
        raise refused(one_line(str(error))) from error
    for name, digests in document.items():
        if name not in BENCHMARKS:
            raise refused(f"{one_line(name)} is none of {', '.join(BENCHMARKS)}")
        if not isinstance(digests, list) or not digests:
            raise refused(f"{name} has no list of digests")
        for digest in digests:
            if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise refused(f"{name} has {one_line(repr(digest))}, which is no digest")
    return document
