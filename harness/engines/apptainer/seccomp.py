"""Which system calls an entry may not make: the filter that Apptainer is given.

What is denied is what Docker's default profile denies to a program without capabilities
(https://docs.docker.com/engine/security/seccomp/), and tracing of other programs: it makes kernels
and namespaces, and reads other processes; numpy, torch and CUDA need none of it.

Traps:
- Apptainer loads the filter inside its own starter, before the program: what that still does (it
  starts threads and reaps children) must stay allowed. Its own example profile does not: there the
  first thread fails (seen with 1.4.5 and glibc 2.41).
- glibc makes threads with `clone3`, whose flags no filter can read, and takes `clone` only where
  the kernel says ENOSYS. Apptainer knows no error but EPERM; a call that is handed to a tracer
  (`SCMP_ACT_TRACE`) where there is none fails with ENOSYS (seccomp(2)), and `ptrace` is denied.
"""

from __future__ import annotations

import json

_DENIED = (
    # The kernel itself, its clock and its devices.
    *("acct", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "delete_module", "finit_module"),
    *("init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "lookup_dcookie"),
    *(
        "nfsservctl",
        "perf_event_open",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "settimeofday",
        "stime",
    ),
    *("swapoff", "swapon", "sysfs", "syslog", "uselib", "ustat", "vhangup", "vm86", "vm86old"),
    # Namespaces and mounts, through which capabilities come back.
    *("chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount"),
    *("open_tree", "pivot_root", "setdomainname", "sethostname", "setns", "umount", "umount2"),
    "unshare",
    # Other processes, and files by their handles.
    *("fanotify_init", "kcmp", "name_to_handle_at", "open_by_handle_at", "pidfd_getfd"),
    *("process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"),
    # Interfaces that are often attacked, and keys, which no namespace keeps apart.
    *("add_key", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl", "request_key"),
    *("userfaultfd",),
)
# linux/sched.h: a new mount, cgroup, UTS, IPC, user, pid or network namespace.
_NEW_NAMESPACES = (
    *(0x00020000, 0x02000000, 0x04000000, 0x08000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
# The machine's own architecture is always filtered; these are what its kernel runs besides.
_ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")


def profile(machine: str) -> str:
    """The filter as `apptainer --security seccomp:FILE` reads it (OCI runtime specification, «Seccomp»).

    Args:
        machine: the machine's architecture, as `platform.machine()` calls it.
    """
    calls: list[dict[str, object]] = [
        {"names": list(_DENIED), "action": "SCMP_ACT_ERRNO", "args": []},
        {"names": ["clone3"], "action": "SCMP_ACT_TRACE", "args": []},
    ]
    for bit in _NEW_NAMESPACES:
        condition = {"index": 0, "value": bit, "valueTwo": bit, "op": "SCMP_CMP_MASKED_EQ"}
        calls.append({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [condition]})
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": list(_ARCHITECTURES) if machine == "x86_64" else [],
            "syscalls": calls,
        },
        indent=1,
    )
