"""A tiny parent that runs one entry as a subprocess and leaves nothing of it behind.

Run as `python -I -S supervisor.py CONTROL_FD CPUS COMMAND...` with the entry's three
pipes as its own. It adopts every orphan below it (Linux: child subreaper), so a child that
calls setsid, or is started twice removed, is still found and killed.

The control socket: the harness writes `T` (TERM to the entry's process group), `K` (KILL
to everything); the supervisor writes the entry's process id and a newline, and at the end
`CODE PEAK_KIB` and a newline. The end of the socket means that the harness has died, by
whatever death: everything is killed. (A parent-death signal would not do: it fires when the
thread that started the child ends.)

Standard library alone, and few modules of it: this is paid at every start.
"""

from __future__ import annotations

import os
import select
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C is the harness's to handle
CHANGED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)


def adopt_orphans() -> None:
    """Become the parent of every process below that loses its own (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """All processes below this one, by /proc; empty where there is none."""
    children: dict[int, list[int]] = {}
    names = os.listdir("/proc") if os.path.isdir("/proc/self") else []
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:  # it ended while we looked
                continue
            if fields[0] != b"Z":
                children.setdefault(int(fields[1]), []).append(int(name))
    found, rest = [], [os.getpid()]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def kill_group(entry: int, number: signal.Signals) -> None:
    """Signal the entry's own process group."""
    try:
        os.killpg(entry, number)
    except (ProcessLookupError, PermissionError):  # gone, or (macOS) only a zombie is left
        pass


def kill_all(entry: int) -> None:
    """KILL to every descendant until none is left; a fork in between is found by the next round."""
    kill_group(entry, signal.SIGKILL)
    while rest := descendants():
        for process in rest:
            try:
                os.kill(process, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        select.select([], [], [], 0.005)


def start(command: list[str], cpus: set[int]) -> int:
    """Start the entry in a session of its own; returns its process id."""
    if cpus and sys.platform == "linux":
        os.sched_setaffinity(0, cpus)
    entry = os.fork()  # one thread and no locks here: a plain fork is safe
    if entry == 0:
        os.setsid()
        for number in (*IGNORED, *CHANGED_BY_PYTHON):  # an ignored signal survives exec
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execv(command[0], command)
        except OSError as error:
            os.write(2, f"cannot start {command[0]}: {error}\n".encode())
            os._exit(127)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # the pipes are the entry's alone, or they would never end
        os.dup2(null, fd)
    return entry


def watch(control: int, child_ended: int, entry: int) -> int:
    """Obey the harness until the entry has ended; returns its wait status."""
    while True:
        ready = select.select([control, child_ended], [], [])[0]
        if control in ready:
            try:
                order = os.read(control, 1)
            except ConnectionResetError:  # it died before it read what we had written
                order = b""
            if order == b"T":
                kill_group(entry, signal.SIGTERM)
            else:
                kill_all(entry)
        if child_ended in ready:
            os.read(child_ended, 4096)
        ended = reap()
        if entry in ended:
            return ended[entry]


def reap() -> dict[int, int]:
    """Wait status of every child, adopted ones too, that has ended since the last call."""
    ended: dict[int, int] = {}
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if process == 0:
            return ended
        ended[process] = status


def main() -> None:
    """Run one entry to its end and report how it ended."""
    import resource

    control, cpus, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    os.set_inheritable(control, False)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    child_ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    entry = start(command, {int(cpu) for cpu in cpus.split(",") if cpu})
    os.write(control, b"%d\n" % entry)
    status = watch(control, child_ended, entry)
    kill_all(entry)
    reap()
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if sys.platform == "darwin":  # bytes there
        peak_kib //= 1024
    try:
        os.write(control, b"%d %d\n" % (os.waitstatus_to_exitcode(status), peak_kib))
    except (BrokenPipeError, ConnectionResetError):  # the harness has died
        pass


if __name__ == "__main__":
    main()
