"""What every engine gives an entry alike: its environment variables and its CPUs.

Traps:
- torch takes its thread count from the machine, and one or two threads give different
  bytes. So the variables below and the set of CPUs follow from `Limits.threads` alone.
- The list is fixed: nothing of the host's environment reaches an entry, under any engine.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.common.errors import EnvironmentFault
from harness.common.owner import is_owner_gone, owner_mark

REGISTER = "bmad-cpus"  # in the temporary folder: one empty file a run, named by owner and CPUs
_numbers = itertools.count()


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
    """CPU numbers for one run: those that the fewest running entries of this user use.

    At most as many as the harness itself may use. Give them back with `give_cpus`; those of a
    harness that died are free again by its death.
    """
    with _register() as folder:
        used = Counter(cpu for claim in _claims(folder) for cpu in _cpus_of(claim))
        own = sorted(usable_cpus(), key=lambda cpu: (used[cpu], cpu))
        taken = tuple(sorted(own[: max(1, threads)]))
        number = next(_numbers)
        (folder / f"{owner_mark()}-{number}-{'.'.join(map(str, taken))}").touch()
    return taken


def give_cpus(cpus: Sequence[int]) -> None:
    """The run that used these CPUs has ended."""
    with _register() as folder:
        own = f"{owner_mark()}-"
        for claim in _claims(folder):
            if claim.name.startswith(own) and _cpus_of(claim) == tuple(cpus):
                claim.unlink()
                return


def has_other_runs() -> bool:
    """Whether an entry of another harness of this user runs on this machine now.

    Raises:
        EnvironmentFault: the folder that tells it is somebody else's.
    """
    with _register() as folder:
        return any(not claim.name.startswith(f"{owner_mark()}-") for claim in _claims(folder))


@contextmanager
def _register() -> Iterator[Path]:
    """The folder of this user's claims, held against the other harnesses of this machine.

    A campaign's runs are processes of their own: counted in one process alone, all of them
    would sit on the same CPUs.
    """
    folder = Path(tempfile.gettempdir()) / f"{REGISTER}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.stat(follow_symlinks=False)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise EnvironmentFault("the folder is somebody else's", where=str(folder), fix="remove it")
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _claims(folder: Path) -> list[Path]:
    """Claims of harnesses that live; those of others are removed."""
    found = []
    for claim in folder.glob("*-*-*"):
        if is_owner_gone(claim.name.partition("-")[0]):
            claim.unlink(missing_ok=True)
        else:
            found.append(claim)
    return found


def _cpus_of(claim: Path) -> tuple[int, ...]:
    return tuple(map(int, claim.name.rpartition("-")[2].split(".")))
