"""How values become text: numbers, links, file names, CSV cells. Nothing is computed here.

Metrics are stored as fractions and shown in percent with two decimals, as in the paper.
Traps: a link is passed on only when it is http or https; a text that a spreadsheet would
run as a formula gets an apostrophe; a name from a stranger never becomes a path as it is.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from harness.common.foreign_text import in_lines, unseen

MINUS = "\N{MINUS SIGN}"
MIB_PER_GIB = 1024
SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60, 3600
FORMULA_STARTS = ("=", "+", "-", "@")
SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
WHITE = re.compile(r"[\t-\r]")


def percent(value: float, step: float | None = None) -> str:
    """A metric (0 to 1) in percent: 0.91649 is `91.65`, or `92` where its step is 0.01.

    Args:
        value: the metric.
        step: precision to which it was rounded; None for two decimals.
    """
    if step is None:
        return f"{100 * value:.2f}"
    return f"{100 * value:.{max(0, -round(math.log10(100 * step)))}f}"


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval in percent, `[91.20, 97.03]`, or `[NA]` where there are too few patients."""
    if low is None or high is None:
        return "[NA]"
    return f"[{percent(low)}, {percent(high)}]"


def signed_points(value: float) -> str:
    """A difference of metrics (fractions) in percentage points with its sign."""
    text = f"{100 * value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", MINUS)


def sort_key(value: float) -> str:
    """A number for the page's script to sort by."""
    return f"{value:.7g}"


def seconds(value: float) -> str:
    """A short duration in seconds, three significant digits, never an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.5f}"


def duration(value: float) -> str:
    """A long duration in the unit that a reader would use."""
    if value >= SECONDS_PER_HOUR:
        hours, rest = divmod(round(value), SECONDS_PER_HOUR)
        return f"{hours} h {rest // SECONDS_PER_MINUTE:02d} min"
    if value >= SECONDS_PER_MINUTE:
        minutes, rest = divmod(round(value), SECONDS_PER_MINUTE)
        return f"{minutes} min {rest:02d} s"
    return f"{seconds(value)} s"


def memory(mebibytes: float) -> str:
    """Memory in GiB from 1 GiB on, else in MiB."""
    if mebibytes >= MIB_PER_GIB:
        return f"{mebibytes / MIB_PER_GIB:.1f} GiB"
    return f"{mebibytes:.0f} MiB"


def energy(joules: float) -> str:
    """Energy in J, kJ or MJ, three significant digits from 1 J on."""
    for unit, size in (("MJ", 1e6), ("kJ", 1e3)):
        if joules >= size * 0.9995:  # what rounds to 1000 of the smaller unit is told in the larger
            return f"{_three_digits(joules / size)} {unit}"
    return f"{_three_digits(joules)} J"


def _three_digits(value: float) -> str:
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def quantity(value: float, digits: int = 4) -> str:
    """A number of no known unit, such as a score: four significant digits."""
    return f"{value:.{digits}g}".replace("-", MINUS)


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Two quantities, with as many digits as it takes to see which is the larger."""
    for digits in range(4, 17):
        texts = quantity(one, digits), quantity(other, digits)
        if texts[0] != texts[1] or one == other:
            return texts
    return repr(one).replace("-", MINUS), repr(other).replace("-", MINUS)


def share(value: float) -> str:
    """A share (0 to 1) in percent with one decimal; what would round to nothing is not nothing."""
    return "less than 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"


def short_hash(value: str) -> str:
    """The first twelve digits of a hash, without what stands before them."""
    return value.rpartition(":")[2][:12]


def shortened_commit(value: str) -> str:
    """A commit's first digits, and a mark where the checkout was changed."""
    commit, plus, _ = plain(value).partition("+")
    return (commit[:10] if re.fullmatch(r"[0-9a-f]{40}", commit) else commit) + (
        "+" if plus else ""
    )


def safe_link(value: object) -> str | None:
    """The address if it is one that a page may link to: http or https with a host."""
    if not isinstance(value, str) or unseen(value) or " " in value:
        return None
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        return None
    return value if parts.scheme in ("http", "https") and host else None


def plain(value: object) -> str:
    """A value that an entry declared, as one line of text; what cannot be seen is written out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value)
    return _plain_text(str(value))


@lru_cache(maxsize=8192)  # the same few words stand in thousands of cells
def _plain_text(text: str) -> str:
    return in_lines(WHITE.sub(" ", text).strip())


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis where it is longer."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@lru_cache(maxsize=4096)  # every value has an address
def file_stem(name: str) -> str:
    """A file or folder name for any name: itself where it is safe, else made safe and marked.

    Two different names never share a stem, nor do two that differ in case alone.
    """
    if SAFE_NAME.fullmatch(name) and ".." not in name and "--" not in name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{kept or 'entry'}--{digest}"


def csv_text(value: str) -> str:
    """A text cell of one line that no spreadsheet runs as a formula."""
    text = plain(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def listed(names: Iterable[str], most: int = 3) -> str:
    """Names with commas, the last ones as `and 4 more`."""
    names = list(names)
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def joined(values: Iterable[object]) -> str:
    """Values with commas between them."""
    return ", ".join(str(value) for value in values)
