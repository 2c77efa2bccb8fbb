"""A user namespace around Apptainer's own, in which an ordinary user bounds what nobody else does.

Two bounds need no control group and no administrator, if they are set in a namespace of the start's own:

- RLIMIT_NPROC counts a user's processes in each user namespace by itself (since Linux 5.14;
  user_namespaces(7), kernel/ucount.c). Set in a fresh one it holds this container's processes and
  threads, Apptainer's own dozen among them, and neither the harness's nor another entry's.
- There he may mount a tmpfs. Bound to /dev/shm it has a size, for which Apptainer has no option.

Memory has no such bound: RLIMIT_AS and RLIMIT_DATA are of one process and not of the tree, and CUDA
reserves more addresses than any useful value of the first.

Traps:
- Before 5.14 the limit counts all that the user runs on the machine, other jobs' processes too: so
  whether it may be set is tried (`is_possible`) and never concluded from a version.
- Apptainer makes its control groups through the user's systemd, which knows nothing of such a
  namespace: where processes are bounded by those, this is not used.
- What mounts has capabilities in the namespace. They are given up before Apptainer starts.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.engines.base import Limits

TRY_SECONDS = 30.0
_NEW_NAMESPACE = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount")
_NO_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--ambient-caps=-all")
# $0: where the tmpfs goes. dash calls the limit of processes -p, every other shell -u.
_BOUND = (
    'mount -t tmpfs -o size={shm_mib}m,mode=1777,nosuid,nodev tmpfs "$0"'
    " && {{ ulimit -u {pids} 2>/dev/null || ulimit -p {pids}; }}"
    ' && exec "$@"'
)
# Two processes fit into a namespace of its own; the user who tries has two more outside of it.
_TRIED = Limits(pids=2, shm_mib=1)
_TRIAL = ("/bin/sh", "-c", "/bin/true && /bin/true")


def enclosed(command: Sequence[str], shared_memory: Path, limits: Limits) -> list[str]:
    """A command in a namespace of its own, with its bounds.

    Args:
        command: what is bounded.
        shared_memory: an empty folder; there the command finds a tmpfs of `shm_mib`.
        limits: of which `pids` and `shm_mib` hold from now on.
    """
    bound = _BOUND.format(shm_mib=limits.shm_mib, pids=limits.pids)
    words = [*_NEW_NAMESPACE, "/bin/sh", "-c", bound, str(shared_memory)]
    return [*words, *_NO_CAPABILITIES, *command]


def why_impossible() -> str | None:
    """Why there can be none on this machine; None where there can."""
    with tempfile.TemporaryDirectory(prefix="bmad-enclosure-") as folder:
        command = enclosed(_TRIAL, Path(folder), _TRIED)
        try:
            done = subprocess.run(
                command,
                capture_output=True, encoding="utf-8", errors="replace", timeout=TRY_SECONDS,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.strip() or f"{shlex.join(command)} ends with {done.returncode}"
