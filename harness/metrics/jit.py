"""How the kernels are compiled: by numba, cached on disk, without the interpreter lock.

Never with fast-math: it may flush subnormals to zero, and subnormal halves are
ordinary scores here. A kernel and the kernels that it calls stand in one module:
numba's cache looks at the caller's file alone, and would keep a stale callee.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile at the first call for the argument types met; later processes load the cache."""
    compiled = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return cast("Function", compiled)
