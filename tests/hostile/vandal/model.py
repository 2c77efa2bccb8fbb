"""Tries to write, change, remove and remount everything, in training and in prediction."""

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path

import numpy as np

OURS = (
    "/data/train",
    "/weights",
    "/entry",
    "/opt/bmad/harness",
    "/etc",
    "/usr/bin",
    "/sys/fs/cgroup",
    "/",
)
libc = ctypes.CDLL(None, use_errno=True)


def attempt(action):
    """`done`, or the name of the error."""
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"


def remount(folder):
    """Ask the kernel for a writable mount."""
    if libc.mount(b"none", folder.encode(), b"none", 32 | 4096, None) != 0:  # MS_REMOUNT | MS_BIND
        raise OSError(ctypes.get_errno(), "mount")


def vandalise(folders):
    """Every attempt by its name."""
    tried = {}
    for folder in folders:
        tried[f"write {folder}"] = attempt(lambda f=folder: Path(f, "planted").write_text("x"))
        tried[f"remount {folder}"] = attempt(lambda f=folder: remount(f))
        files = []
        with contextlib.suppress(OSError):
            files = [path for path in sorted(Path(folder).iterdir()) if path.is_file()]
        for path in files[:1]:
            tried[f"change {path}"] = attempt(lambda p=path: p.open("ab").close())
            tried[f"remove {path}"] = attempt(lambda p=path: p.unlink())
            tried[f"chmod {path}"] = attempt(lambda p=path: p.chmod(0o777))
    tried["hosts"] = attempt(lambda: Path("/etc/hosts").write_text("x"))
    tried["kernel"] = attempt(lambda: Path("/proc/sys/kernel/core_pattern").write_text("|/x"))
    tried["device"] = attempt(lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0)))
    return tried


class Model:
    """Reports on standard error."""

    def __init__(self, device, seed, params, weights):
        self.weights = weights

    def fit(self, train, checkpoint):
        """Look for something to spoil."""
        print("TRIED " + json.dumps(vandalise(OURS)), file=sys.stderr, flush=True)

    def save(self, folder):
        """A model to spoil later."""
        (folder / "model.txt").write_text("trained")

    def load(self, folder):
        """The model is not ours any more."""
        print("TRIED " + json.dumps(vandalise(("/model", *OURS))), file=sys.stderr, flush=True)

    def predict(self, image):
        """Grey values."""
        grey = image.astype(np.float32)
        return grey, float(grey.mean())
