"""Leaves in its model folder what its parameter says."""

import os
import socket
from pathlib import Path

import numpy as np


def link(folder):
    """A file of the host."""
    (folder / "passwords").symlink_to("/etc/passwd")


def folder_link(folder):
    """The host's root."""
    (folder / "root").symlink_to("/")


def fifo(folder):
    """Whoever opens it waits for ever."""
    os.mkfifo(folder / "queue")


def unix_socket(folder):
    """Neither a file nor a folder."""
    socket.socket(socket.AF_UNIX).bind(str(folder / "socket"))


def device(folder):
    """The kernel refuses this; then a FIFO has to do."""
    try:
        os.mknod(folder / "disk", 0o60666, os.makedev(8, 0))
    except OSError:
        fifo(folder)
    else:
        (folder / "made a device").write_text("x")


def sparse(folder):
    """A terabyte that takes no space."""
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 40)


def many(folder):
    """A million names, or as many as it is let."""
    for number in range(1_000_000):
        (folder / str(number)).touch()


def deep(folder):
    """Folders in folders."""
    os.chdir(folder)
    for _ in range(200):
        Path("x").mkdir()
        os.chdir("x")


def deeper(folder):
    """More of them than a stack or a path can hold."""
    nest(folder, 3_000)


def home(_folder):
    """The same, in the temporary folder."""
    nest(os.environ["TMPDIR"], 3_000)


def nest(folder, depth):
    """Folders in folders, with a name that makes a path of them too long."""
    here = Path.cwd()
    os.chdir(folder)
    for _ in range(depth):
        Path("deeper").mkdir()
        os.chdir("deeper")
    os.chdir(here)


def closed(folder):
    """Folders that nobody may enter, and the one that they are in."""
    (folder / "a" / "b").mkdir(parents=True)
    os.mkfifo(folder / "a" / "b" / "queue")
    (folder / "a" / "b").chmod(0)
    (folder / "a").chmod(0)
    folder.chmod(0)


def long_paths(folder):
    """Names that are each allowed, and together longer than any path."""
    os.chdir(folder)
    for _ in range(25):
        Path("n" * 250).mkdir()
        os.chdir("n" * 250)
    Path("file").touch()


KINDS = {
    made.__name__: made
    for made in (
        link, folder_link, fifo, unix_socket, device, sparse, many, deep, deeper, home, closed,
        long_paths,
    )
}  # fmt: skip

# The contract's server would stumble over these: they come when it is done.
AT_THE_END = {"closed", "long_paths"}


class Model:
    """Hopes that the harness copies blindly."""

    def __init__(self, device, seed, params, weights):
        self.kind = params.get("kind", "link")

    def fit(self, train, checkpoint):
        """Learn nothing."""

    def save(self, folder):
        """One good file, and the bad one."""
        (folder / "good.txt").write_text("good")
        if self.kind in AT_THE_END:
            leave = os._exit
            os._exit = lambda code: leave(KINDS[self.kind](Path("/model")) or code)
        else:
            KINDS[self.kind](folder)

    def load(self, folder):
        """Read nothing."""

    def predict(self, image):
        """Zeros."""
        return np.zeros(image.shape[:2], dtype=np.float32), 0.0
