"""Kernels that look at every pixel of a map once, as it arrives.

Float16: counted by bit pattern in eight streams, an eighth of a segment apart, and
two tables: neighbouring pixels of a smooth map hit the same bin, and one stream
would wait for its own last store. Float32: partitioned by the upper half of the key, image by
image, so that the scattered writes stay in the cache. Keys as in
`harness.metrics.kernels.keys`; -0.0 counts as +0.0; a kernel that meets NaN or infinity
(they have exponent bins of their own) returns -1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.arrays import Halves, Integers, Words
from harness.metrics.kernels.jit import kernel
from harness.metrics.kernels.layout import ANOMALOUS_BACKGROUND

ENTRY_MAX = 65535
"""Pixels that one table entry can hold; a fuller bin takes several entries."""

EVEN, ODD = 0, 1  # two tables that are counted into in turns


class Segments(NamedTuple):
    """The segments of one image (`harness.metrics.kernels.regions`)."""

    lengths: NDArray[np.int32]
    """[S] pixels of each, in row-major order."""
    kinds: NDArray[np.uint8]
    """[S] kind of its pixels."""


class Room(NamedTuple):
    """Room for table entries: occupied bins in ascending order."""

    keys: Halves
    """Float16 key, or float32 bucket."""
    counts: Halves
    """Pixels in the bin, at most `ENTRY_MAX`."""


@kernel
def _half_key(bits: Any) -> Any:
    if bits & 0x8000:
        return np.uint16(0xFFFF ^ bits) if bits != 0x8000 else np.uint16(0x8000)
    return np.uint16(bits | 0x8000)


@kernel
def _float_key(bits: Any) -> Any:
    """Key of float32 bits, by arithmetic alone: a branch on the sign would stop vector code."""
    bits = np.uint32(bits) * np.uint32(np.uint32(bits) != np.uint32(0x80000000))
    sign = np.uint32(0) - (bits >> np.uint32(31))
    return np.uint32(bits ^ (sign | np.uint32(0x80000000)))


@kernel
def tally_halves(bits: Halves, segments: Segments, tables: Words, anomalous: Halves) -> int:
    """Count the normal pixels of a float16 map by bit pattern, keep the anomalous ones' keys.

    Args:
        bits: uint16 [H*W].
        segments: those of the image.
        tables: uint32 [2, 2, 65536], two tables of the background and two of the foreground,
            whose sums modulo 2**32 are the counts; added to.
        anomalous: uint16 [pixels of the runs], filled in run order.
    """
    lengths, kinds = segments.lengths, segments.kinds
    filled = np.uint64(0)  # unsigned: an index that cannot be negative is not checked
    is_finite = True
    start = 0
    segment = 0
    while segment < lengths.size:
        # Anomalous runs are short and few: counted with their surroundings, then taken out.
        side = kinds[segment] & 1
        first, kept = start, filled
        while segment < lengths.size and kinds[segment] & 1 == side:
            stop = start + lengths[segment]
            if kinds[segment] >= ANOMALOUS_BACKGROUND:
                for pattern in bits[start:stop]:
                    anomalous[filled] = pattern
                    filled += np.uint64(1)
            start = stop
            segment += 1
        _tally(bits[first:start], False, tables[side, EVEN], tables[side, ODD])
        is_finite &= _take_out(anomalous[kept:filled], tables[side, EVEN], tables[side, ODD])
    return 0 if is_finite else -1


@kernel
def _take_out(pixels: Halves, even: Words, odd: Words) -> bool:
    """Take pixels out of the tables and turn their patterns into keys; whether all are finite."""
    half = pixels.size >> 1
    early, late = pixels[:half], pixels[half : 2 * half]
    for place in range(half):
        even[early[place]] -= 1
        odd[late[place]] -= 1
    for pattern in pixels[2 * half :]:
        even[pattern] -= 1
    is_finite = True
    for place in range(pixels.size):
        pattern = pixels[place]
        is_finite &= pattern & 0x7C00 != 0x7C00
        pixels[place] = _half_key(pattern)
    return is_finite


@kernel
def _bin_of(bits: Any, is_bucketed: bool) -> Any:
    """Float16 bits themselves, or the bucket of float32 bits."""
    return _float_key(bits) >> np.uint32(16) if is_bucketed else np.uint32(bits)


@kernel
def _tally(pixels: Any, is_bucketed: bool, even: Words, odd: Words) -> None:
    # A slice for each stream: an index that is a sum might be negative, and be checked.
    part = pixels.size >> 2
    first, second = pixels[:part], pixels[part : 2 * part]
    third, fourth = pixels[2 * part : 3 * part], pixels[3 * part : 4 * part]
    for place in range(part):
        even[_bin_of(first[place], is_bucketed)] += 1
        odd[_bin_of(second[place], is_bucketed)] += 1
        even[_bin_of(third[place], is_bucketed)] += 1
        odd[_bin_of(fourth[place], is_bucketed)] += 1
    for bits in pixels[4 * part :]:
        even[_bin_of(bits, is_bucketed)] += 1


@kernel
def _put(room: Room, place: int, key: int, count: Any) -> int:
    """Write one bin as table entries; return the next free place."""
    keys, counts = room.keys, room.counts
    while count > 0:
        part = min(count, ENTRY_MAX)
        keys[place] = key
        counts[place] = part
        place += 1
        count -= part
    return place


@kernel
def fold_halves(tables: Words, totals: Integers, room: Room) -> int:
    """Empty two float16 tables into table entries in ascending order of key.

    Args:
        tables: uint32 [2, 65536] by bit pattern, to be added modulo 2**32; zero afterwards.
        totals: int64 [65536] by key; added to.
        room: filled.

    Returns:
        number of entries, or -1 for a non-finite value.
    """
    even, odd = tables[EVEN], tables[ODD]
    even[0] += even[0x8000] + odd[0x8000]
    even[0x8000] = odd[0x8000] = 0
    entries = 0
    for block in range(1024):
        is_negative = block < 512
        base = 64 * (1023 - block) if is_negative else 64 * (block - 512)
        ones, others = even[base : base + 64], odd[base : base + 64]
        used = np.uint32(0)
        for step in range(64):
            used |= ones[step] | others[step]
        if used == 0:
            continue
        if base & 0x7C00 == 0x7C00:
            return -1
        for step in range(64):
            place = 63 - step if is_negative else step
            count = np.int64(np.uint32(ones[place] + others[place]))
            if count:
                pattern = base + place
                key = 0xFFFF ^ pattern if is_negative else pattern | 0x8000
                totals[key] += count
                entries = _put(room, entries, key, count)
        ones[:] = 0
        others[:] = 0
    return entries


@kernel
def keep_floats(bits: Words, segments: Segments, anomalous: Words) -> int:
    """Write the keys of a float32 map's anomalous pixels in run order; -1 if one is not finite."""
    lengths, kinds = segments.lengths, segments.kinds
    start = 0
    filled = 0
    finite = 0
    for segment in range(lengths.size):
        length = lengths[segment]
        if kinds[segment] >= ANOMALOUS_BACKGROUND:
            for place in range(start, start + length):
                if bits[place] & np.uint32(0x7F800000) == np.uint32(0x7F800000):
                    finite = -1
                anomalous[filled] = _float_key(bits[place])
                filled += 1
        start += length
    return finite


@kernel
def _scatter(pixels: Words, rising: Words, falling: Words, low: Halves) -> None:
    """Write lower halves to their buckets, from both ends at once: two independent streams."""
    half = pixels.size >> 1
    early, late = pixels[:half], pixels[half : 2 * half]
    for place in range(half):
        key = _float_key(early[place])
        bucket = key >> np.uint32(16)
        low[rising[bucket]] = key & np.uint32(0xFFFF)
        rising[bucket] += 1
        key = _float_key(late[place])
        bucket = key >> np.uint32(16)
        falling[bucket] -= 1
        low[falling[bucket]] = key & np.uint32(0xFFFF)
    for bits in pixels[2 * half :]:
        key = _float_key(bits)
        bucket = key >> np.uint32(16)
        low[rising[bucket]] = key & np.uint32(0xFFFF)
        rising[bucket] += 1


@kernel
def _count_side(bits: Words, segments: Segments, kind: int, even: Words, odd: Words) -> None:
    """Count one kind's pixels by bucket in two tables to be added modulo 2**32."""
    lengths, kinds = segments.lengths, segments.kinds
    start = 0
    segment = 0
    while segment < lengths.size:
        first = start
        side = kinds[segment] & 1
        while segment < lengths.size and kinds[segment] & 1 == side:
            stop = start + lengths[segment]
            if kinds[segment] == kind + ANOMALOUS_BACKGROUND:
                for place in range(start, stop):
                    even[_float_key(bits[place]) >> np.uint32(16)] -= 1
            start = stop
            segment += 1
        if side == kind:
            _tally(bits[first:start], True, even, odd)


@kernel
def partition_floats(
    bits: Words,
    segments: Segments,
    kind: int,
    tables: Words,
    totals: Integers,
    room: Room,
    low: Halves,
) -> int:
    """Sort a float32 map's pixels of one kind by bucket, keeping their lower 16 bits.

    Args:
        bits: uint32 [H*W].
        kind: normal, background (0) or foreground (1).
        tables: uint32 [2, 65536] of zeros; zero afterwards.
        totals: int64 [65536] by bucket; added to.
        room: filled.
        low: uint16 [pixels of this kind], filled bucket by bucket, ascending.

    Returns:
        number of entries, or -1 for a non-finite value.
    """
    lengths, kinds = segments.lengths, segments.kinds
    even, odd = tables[EVEN], tables[ODD]
    _count_side(bits, segments, kind, even, odd)
    entries = 0
    before = np.int64(0)
    for bucket in range(65536):
        if even[bucket] | odd[bucket] == 0:
            continue
        count = np.int64(np.uint32(even[bucket] + odd[bucket]))
        if count > 0 and (bucket >= 0xFF80 or bucket <= 0x007F):
            return -1
        totals[bucket] += count
        entries = _put(room, entries, bucket, count)
        even[bucket] = before
        before += count
        odd[bucket] = before
    start = 0
    for segment in range(lengths.size):
        if kinds[segment] == kind:
            _scatter(bits[start : start + lengths[segment]], even, odd, low)
        start += lengths[segment]
    for bucket in range(65536):
        even[bucket] = odd[bucket] = 0
    return entries
