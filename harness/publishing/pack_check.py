"""Whether a published pack bears the name that its images have: a benchmark is its content.

Proves that name, base, version and digest agree, and that the list of known releases holds the
digest of what stands under a benchmark's own name; not that the images had that digest.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.records.releases import MARK, KnownReleases, claimed_name, unlisted_name


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
