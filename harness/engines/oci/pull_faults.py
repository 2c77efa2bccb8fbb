"""Why an image could not be pulled, in words that name who can mend it.

Engines hand on a registry's refusal as an error of their own (`500 Server Error for
http+docker://…`), whoever is to blame; what they quote of it tells the cases apart.
"""

from __future__ import annotations

import re

from harness.common.errors import EntryInvalid
from harness.common.statuses import Cause, RunEnded, Status

# In this order: what an engine says of a private image holds "repository does not exist", too.
_CAUSES = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        (r"no space left|disk quota exceeded|\bENOSPC\b", Cause.DISK_FULL),
        (r"toomanyrequests|too many requests|rate limit|\b429\b", Cause.RATE_LIMIT),
        (
            r"unauthorized|authentication required|\bdenied\b|\b40[13]\b|no basic auth credentials",
            Cause.REFUSED_LOGIN,
        ),
        (r"manifest unknown|name unknown|not found|does not exist", Cause.NO_SUCH_IMAGE),
        (
            r"HTTP status: 5|dial tcp|no such host|refused|time(d )?out|TLS|x509|\bEOF\b|\breset\b",
            Cause.NO_REGISTRY,
        ),
    )
)
_OTHER_MACHINE = re.compile(
    r"no matching manifest for (\S+)|does not match the specified platform", re.IGNORECASE
)


def pull_fault(reference: str, said: str) -> EntryInvalid | RunEnded:
    """The end of a pull.

    Args:
        reference: the image that was asked for.
        said: the engine's explanation.
    Returns:
        EntryInvalid where the image is for other machines alone, which no second try changes;
        else `image_unavailable`, with its cause, whose remedy names who can mend it.
    """
    if found := _OTHER_MACHINE.search(said):
        return EntryInvalid(
            f"the image is for other machines alone: it has no part for {found[1] or 'this one'}",
            where=reference,
            fix="build it for this kind of machine, too: docker buildx build --platform"
            f" {found[1] or 'linux/amd64'} --push",
        )
    causes = (cause for pattern, cause in _CAUSES if pattern.search(said))
    told = f"{reference}: the engine said: {said}"
    return RunEnded(Status.IMAGE_UNAVAILABLE, told, cause=next(causes, None))
