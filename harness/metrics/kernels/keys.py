"""Order-preserving integer keys of floating-point numbers.

Sorting the keys as unsigned integers sorts the numbers. -0.0 takes the key of
+0.0, for they are equal; subnormals keep keys of their own. A float16 has a key
of 16 bits, a float32 one of 32, whose upper half is its bucket.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

KEYS = 1 << 16
"""Number of float16 bit patterns, and of float32 buckets."""

_BITS: dict[str, type[np.unsignedinteger[Any]]] = {"float16": np.uint16, "float32": np.uint32}


def keys_of(values: NDArray[np.floating[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Keys of finite float16 or float32 `values`, of the same shape, as uint16 or uint32."""
    unsigned = _BITS[values.dtype.name]
    sign = unsigned(1) << unsigned(values.dtype.itemsize * 8 - 1)
    bits = (values + values.dtype.type(0)).view(unsigned)  # -0.0 + 0.0 = +0.0
    return np.where(bits & sign, ~bits, bits | sign)


def values_of(
    keys: NDArray[np.unsignedinteger[Any]], dtype: np.dtype[Any]
) -> NDArray[np.floating[Any]]:
    """Numbers of `dtype` (float16 or float32) that have these keys; inverse of `keys_of`."""
    unsigned = _BITS[dtype.name]
    sign = unsigned(1) << unsigned(dtype.itemsize * 8 - 1)
    keys = keys.astype(unsigned)
    return np.where(keys & sign, keys ^ sign, ~keys).view(dtype)


def key_from(threshold: float, dtype: np.dtype[Any]) -> int:
    """Key of the smallest number of `dtype` that is not below `threshold` in float64.

    So `value >= threshold` and `key(value) >= key_from(threshold)` are the same.
    """
    number = np.array([threshold], dtype=np.float64).astype(dtype)
    if float(number[0]) < threshold:
        number = np.nextafter(number, dtype.type(np.inf))
    return int(keys_of(number)[0])
