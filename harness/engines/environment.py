"""What every engine gives an entry alike: its environment variables and its CPUs.

Traps:
- torch takes its thread count from the machine, and one or two threads give different
  bytes. So the variables below and the set of CPUs follow from `Limits.threads` alone.
- The list is fixed: nothing of the host's environment reaches an entry, under any engine.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Sequence

_in_use: Counter[int] = Counter()
_in_use_lock = threading.Lock()


def entry_environment(threads: int, home: str) -> dict[str, str]:
    """The environment of an entry, without PATH.

    Args:
        threads: CPU threads of the run.
        home: the entry's home, a folder that is empty at its start; all caches are below it.
    """
    count = str(threads)
    return {
        "HOME": home,
        "USER": "entry",
        "TMPDIR": home,
        "XDG_CACHE_HOME": f"{home}/.cache",
        "TORCH_HOME": f"{home}/.cache/torch",
        "HF_HOME": f"{home}/.cache/huggingface",
        "MPLCONFIGDIR": f"{home}/.cache/matplotlib",
        "NUMBA_CACHE_DIR": f"{home}/.cache/numba",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "NUMBA_NUM_THREADS": count,
        # Threads that wait sleep instead of spinning: on a busy machine a training step takes
        # half the time (measured: 0.5 s instead of 1.2 s), on an idle one as long as before.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "LC_ALL": "C.UTF-8",
    }


def usable_cpus() -> list[int]:
    """CPU numbers that the harness itself may use."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def take_cpus(threads: int) -> tuple[int, ...]:
    """CPU numbers for one run: those that the fewest running entries of this harness use.

    At most as many as the harness itself may use. Give them back with `give_cpus`.
    """
    with _in_use_lock:
        own = sorted(usable_cpus(), key=lambda cpu: (_in_use[cpu], cpu))
        taken = tuple(sorted(own[: max(1, threads)]))
        _in_use.update(taken)
    return taken


def give_cpus(cpus: Sequence[int]) -> None:
    """The run that used these CPUs has ended."""
    with _in_use_lock:
        _in_use.subtract(cpus)
