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


KINDS = {
    made.__name__: made
    for made in (link, folder_link, fifo, unix_socket, device, sparse, many, deep)
}


class Model:
    """Hopes that the harness copies blindly."""

    def __init__(self, device, seed, params, weights):
        self.kind = params.get("kind", "link")

    def fit(self, train, checkpoint):
        """Learn nothing."""

    def save(self, folder):
        """One good file, and the bad one."""
        (folder / "good.txt").write_text("good")
        KINDS[self.kind](folder)

    def load(self, folder):
        """Read nothing."""

    def predict(self, image):
        """Zeros."""
        return np.zeros(image.shape[:2], dtype=np.float32), 0.0
