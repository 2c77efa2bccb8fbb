"""The end of an entry's log: its last lines, fit to be shown, and what they give for the likely cause.

A log is the entry's own words. It never decides a status, whose fault a run's end is, or what may
be told of a hidden pack: of such a run nothing here is asked.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.common.foreign_text import BAR, all_quoted
from harness.common.paths import REPOSITORY
from harness.common.statuses import Cause, Status

MAX_LAST_LINES = 20
TAIL_BYTES = 64 * 1024
# In this order: a full /dev/shm says "no space left", too.
_SPOKEN_OF = (
    (
        Cause.SHM_FULL,
        re.compile(
            r"\bdev/shm|shm_open|shared memory.{0,60}(shm|limit|full)|out of shared memory"
            r"|(allocate|mmap|open|resize|write to)\w* (a )?shared memory|Bus error",
            re.IGNORECASE,
        ),
    ),
    (
        Cause.NO_NETWORK,
        re.compile(
            r"name resolution|name or service not known|getaddrinfo|NameResolutionError"
            r"|could not resolve host|network is unreachable|Max retries exceeded"
            r"|URLError|ConnectionError\b|LocalEntryNotFoundError|OfflineModeIsEnabled"
            r"|offline mode is enabled|cannot find the requested files in the (disk|local) cache",
            re.IGNORECASE,
        ),
    ),
    (Cause.TMP_FULL, re.compile(r"No space left on device|\bENOSPC\b")),
)


def last_lines(log: bytes) -> list[str]:
    """The last lines of a log, each cut and fit to be shown.

    A record may be published: what a process told of this machine's folders is shortened, files of
    the checkout to their place in it, and those of this user by `~`.
    """
    places = {f"{REPOSITORY}/": "", f"{Path.home()}/": "~/"}
    lines = [line.removeprefix(BAR) for line in all_quoted(log[-TAIL_BYTES:])[-MAX_LAST_LINES:]]
    for place, shown in places.items():
        lines = [line.replace(place, shown) for line in lines]
    return lines


def spoken_of(status: Status, log: bytes) -> Cause | None:
    """What the last lines of a log give for the likely cause of a run's end; None where nothing.

    Args:
        status: how the run ended.
        log: of an open pack's run.
    """
    text = "\n".join(last_lines(log))
    found = (cause for cause, words in _SPOKEN_OF if words.search(text))
    return next((cause for cause in found if status in cause.entry.statuses), None)
