"""How the kernels are compiled: by numba, cached on disk, without the interpreter lock.

Never with fast-math: it may flush subnormals to zero, and subnormal halves are
ordinary scores here. A kernel, the kernels that it calls and the records that it
takes stand in one module: numba's cache looks at the caller's file alone, and would
keep a stale callee or a stale order of fields. What it takes from `layout` never changes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

if not os.access(Path(__file__).parent, os.W_OK):
    # Beside a read-only checkout numba looks for a cache in HOME, and fails where there is none.
    _folder = os.environ.get("BMAD_CACHE") or tempfile.mkdtemp(prefix="bmad-numba-")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(_folder) / "numba"))

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile at the first call for the argument types met; later processes load the cache."""
    compiled = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return cast("Function", compiled)
