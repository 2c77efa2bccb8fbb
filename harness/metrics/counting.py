"""Kernels that look at every pixel of a map once, as it arrives.

Float16: counted by bit pattern in four tables, each fed from its own quarter of a
segment, for neighbouring pixels of a smooth map hit the same bin and would wait
for one another. Float32: partitioned by the upper half of the key, image by
image, so that the scattered writes stay in the cache. Keys as in
`harness.metrics.keys`; -0.0 counts as +0.0; a kernel that meets NaN or infinity
(they have exponent bins of their own) returns -1.
"""

# ruff: noqa: PLR0917 - a kernel takes arrays, not records, and numba no keywords by name

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.jit import kernel

Halves = NDArray[np.uint16]
Words = NDArray[np.uint32]
Counts = NDArray[np.int64]

ENTRY_MAX = 65535
"""Pixels that one table entry can hold; a fuller bin takes several entries."""


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
def tally_halves(
    bits: Halves,
    lengths: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    tables: Words,
    anomalous: Halves,
) -> int:
    """Count the normal pixels of a float16 map by bit pattern, keep the anomalous ones' keys.

    Args:
        bits: uint16 [H*W].
        lengths, kinds: segments of the image.
        tables: uint32 [2, 4, 65536], counts of background and foreground; added to.
        anomalous: uint16 [pixels of the runs], filled in run order.
    """
    start = 0
    filled = 0
    finite = 0
    for segment in range(lengths.size):
        length = lengths[segment]
        if kinds[segment] < 2:
            table = tables[kinds[segment]]
            quarter = length >> 2
            for place in range(start, start + quarter):
                table[0, bits[place]] += 1
                table[1, bits[place + quarter]] += 1
                table[2, bits[place + 2 * quarter]] += 1
                table[3, bits[place + 3 * quarter]] += 1
            for place in range(start + 4 * quarter, start + length):
                table[0, bits[place]] += 1
        else:
            for place in range(start, start + length):
                pattern = bits[place]
                if pattern & 0x7C00 == 0x7C00:
                    finite = -1
                anomalous[filled] = _half_key(pattern)
                filled += 1
        start += length
    return finite


@kernel
def _put(keys: Halves, counts: Halves, place: int, key: int, count: Any) -> int:
    """Write one bin as table entries; return the next free place."""
    while count > 0:
        part = min(count, ENTRY_MAX)
        keys[place] = key
        counts[place] = part
        place += 1
        count -= part
    return place


@kernel
def fold_halves(tables: Words, totals: Counts, keys: Halves, counts: Halves) -> int:
    """Empty four float16 tables into table entries in ascending order of key.

    Args:
        tables: uint32 [4, 65536] by bit pattern; zero afterwards.
        totals: int64 [65536] by key; added to.
        keys, counts: uint16, room for the entries.

    Returns:
        number of entries, or -1 for a non-finite value.
    """
    for table in range(4):
        tables[table, 0] += tables[table, 0x8000]
        tables[table, 0x8000] = 0
    entries = 0
    for block in range(1024):
        base = 64 * (1023 - block) if block < 512 else 64 * (block - 512)
        used = np.uint32(0)
        for pattern in range(base, base + 64):
            used |= (
                tables[0, pattern] | tables[1, pattern] | tables[2, pattern] | tables[3, pattern]
            )
        if used == 0:
            continue
        if base & 0x7C00 == 0x7C00:
            return -1
        for step in range(64):
            pattern = base + 63 - step if block < 512 else base + step
            count = np.int64(0)
            for table in range(4):
                count += tables[table, pattern]
                tables[table, pattern] = 0
            key = 0xFFFF ^ pattern if block < 512 else pattern | 0x8000
            totals[key] += count
            entries = _put(keys, counts, entries, key, count)
    return entries


@kernel
def keep_floats(
    bits: Words, lengths: NDArray[np.int32], kinds: NDArray[np.uint8], anomalous: Words
) -> int:
    """Write the keys of a float32 map's anomalous pixels in run order."""
    start = 0
    filled = 0
    finite = 0
    for segment in range(lengths.size):
        length = lengths[segment]
        if kinds[segment] >= 2:
            for place in range(start, start + length):
                if bits[place] & np.uint32(0x7F800000) == np.uint32(0x7F800000):
                    finite = -1
                anomalous[filled] = _float_key(bits[place])
                filled += 1
        start += length
    return finite


@kernel
def _count_buckets(
    bits: Words, lengths: NDArray[np.int32], kinds: NDArray[np.uint8], kind: int, tables: Words
) -> None:
    start = 0
    for segment in range(lengths.size):
        length = lengths[segment]
        if kinds[segment] == kind:
            quarter = length >> 2
            for place in range(start, start + quarter):
                tables[0, _float_key(bits[place]) >> np.uint32(16)] += 1
                tables[1, _float_key(bits[place + quarter]) >> np.uint32(16)] += 1
                tables[2, _float_key(bits[place + 2 * quarter]) >> np.uint32(16)] += 1
                tables[3, _float_key(bits[place + 3 * quarter]) >> np.uint32(16)] += 1
            for place in range(start + 4 * quarter, start + length):
                tables[0, _float_key(bits[place]) >> np.uint32(16)] += 1
        start += length


@kernel
def partition_floats(
    bits: Words,
    lengths: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    kind: int,
    tables: Words,
    totals: Counts,
    keys: Halves,
    counts: Halves,
    low: Halves,
) -> int:
    """Sort a float32 map's pixels of one kind by bucket, keeping their lower 16 bits.

    Args:
        bits: uint32 [H*W].
        tables: uint32 [4, 65536] of zeros; zero afterwards.
        totals: int64 [65536] by bucket; added to.
        keys, counts: uint16, room for the table entries (bucket, pixels).
        low: uint16 [pixels of this kind], filled bucket by bucket, ascending.

    Returns:
        number of entries, or -1 for a non-finite value.
    """
    _count_buckets(bits, lengths, kinds, kind, tables)
    entries = 0
    before = np.int64(0)
    for bucket in range(65536):
        count = np.int64(tables[0, bucket]) + tables[1, bucket]
        count += np.int64(tables[2, bucket]) + tables[3, bucket]
        if count == 0:
            continue
        if bucket >= 0xFF80 or bucket <= 0x007F:
            return -1
        totals[bucket] += count
        entries = _put(keys, counts, entries, bucket, count)
        tables[0, bucket] = before
        before += count
    start = 0
    for segment in range(lengths.size):
        length = lengths[segment]
        if kinds[segment] == kind:
            for place in range(start, start + length):
                key = _float_key(bits[place])
                bucket = key >> np.uint32(16)
                low[tables[0, bucket]] = key & np.uint32(0xFFFF)
                tables[0, bucket] += 1
        start += length
    for entry in range(entries):
        tables[:, keys[entry]] = 0
    return entries


@kernel
def sort_by_bucket(
    keys: Words, run_lengths: NDArray[np.int32], low: Halves, runs: NDArray[np.int32]
) -> Counts:
    """Order all anomalous float32 pixels by bucket, those of one bucket in run order.

    Returns:
        int64 [65537], where each bucket begins in `low` (lower halves) and `runs`.
    """
    offsets = np.zeros(65537, np.int64)
    for key in keys:
        offsets[np.int64(key >> np.uint32(16)) + 1] += 1
    for bucket in range(65536):
        offsets[bucket + 1] += offsets[bucket]
    cursors = offsets[:65536].copy()
    pixel = 0
    for run in range(run_lengths.size):
        for _ in range(run_lengths[run]):
            bucket = keys[pixel] >> np.uint32(16)
            low[cursors[bucket]] = keys[pixel] & np.uint32(0xFFFF)
            runs[cursors[bucket]] = run
            cursors[bucket] += 1
            pixel += 1
    return offsets


@kernel
def tally_runs(
    keys: Any,
    shift: int,
    run_lengths: NDArray[np.int32],
    run_kinds: NDArray[np.uint8],
    run_weights: NDArray[np.float64],
    totals: Counts,
    weights: NDArray[np.float64],
) -> None:
    """Histograms of the anomalous pixels, and of their region weights, in run order.

    Args:
        keys: uint16 or uint32 [P] in run order; `shift` bits are cut off them.
        run_weights: float64 [R, 5].
        totals: int64 [4, 65536] by kind; rows 2 and 3 are added to.
        weights: float64 [5, 65536]; added to.
    """
    pixel = 0
    for run in range(run_lengths.size):
        for _ in range(run_lengths[run]):
            place = keys[pixel] >> shift
            totals[run_kinds[run], place] += 1
            for row in range(5):
                if run_weights[run, row] != 0.0:
                    weights[row, place] += run_weights[run, row]
            pixel += 1
