"""The pipe's own share of an entry's time: what the echo entry takes for the same images.

`baselines/echo` computes nothing, so its seconds per image are the pipe's. They are taken from
another entry's only where both were measured on the same images, engine, processor and threads,
and both sent maps of one dtype, or none. What dtype a map had that was only shown, no record tells:
such maps count as of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from harness.records.record import Record

ECHO = "echo"
_Where = tuple[str, str, str, int, str | None, bool]


def is_echo(record: Record) -> bool:
    """Whether a record is the echo entry's own: a folder of that name without a method."""
    entry = record.entry
    return (
        entry.name == ECHO and entry.kind == "folder" and entry.metadata.get("family") == "trivial"
    )


class EchoTimes:
    """Seconds per image of the echo entry, by where it was measured.

    Args:
        records: any records; those of the echo entry that ended well count.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        medians: dict[_Where, list[float]] = defaultdict(list)
        for record in records:
            if record.is_ok and is_echo(record) and record.seconds_per_image is not None:
                medians[_where(record)].append(record.seconds_per_image)
        self._seconds = {where: fmean(values) for where, values in medians.items()}

    def less_echo(self, records: Sequence[Record]) -> float | None:
        """Mean over runs of the median seconds per image less the echo's; at least 0.

        Args:
            records: the runs of one row; those that did not end well do not count.
        Returns:
            None where one of them has no echo on its machine, none ended well, or they are
            the echo's own.
        """
        if any(map(is_echo, records)):
            return None
        left = []
        for record in records:
            if record.is_ok and record.seconds_per_image is not None:
                echo = self._seconds.get(_where(record))
                if echo is None:
                    return None
                left.append(max(0.0, record.seconds_per_image - echo))
        return fmean(left) if left else None


def _where(record: Record) -> _Where:
    machine, dtype = record.machine, record.maps.dtype if record.maps else None
    is_shown = record.entry.maps and record.pack.images_may_be_shown
    return record.pack.version, machine.engine, machine.cpu, machine.threads, dtype, is_shown
