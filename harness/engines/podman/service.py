"""Podman's API, served by a process of the harness's own as long as the harness lives.

Its settings are ours, not this machine's: what an administrator gives to every container (folders,
devices, variables, a proxy, more open files) is no entry's, and what the API's create call drops in
silence (`Ulimits`, seen with 5.4) is said here.

Traps:
- A harness that is killed cannot end it. So a shell stands between them and waits for the end of a
  pipe that the harness alone holds; containers go on without the service, and the next harness
  removes them (`remove_leftovers`).
- A socket's path may have 107 bytes, and a temporary folder's may be longer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from harness.common.errors import EngineUnavailable
from harness.common.foreign_text import quoted
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.removal import remove_tree_if_possible
from harness.engines.docker.options import OPEN_FILES

START_SECONDS = 60.0  # the first start of a user makes his storage
STOP_SECONDS = 10.0
_PREFIX = "bmad-podman-"
_SOCKET, _LOG, _SETTINGS = "api.sock", "service.log", "containers.conf"
_SERVE = 'podman system service --time=0 "$1" & read -r _; kill $!; wait $!'
# Podman's own words: containers.conf(5). A list replaces the machine's.
SETTINGS = f"""\
[containers]
annotations = []
default_sysctls = []
default_ulimits = ["core=0:0", "nofile={OPEN_FILES}:{OPEN_FILES}"]
devices = []
env = []
env_host = false
host_containers_internal_ip = "none"
http_proxy = false
label_users = false
mounts = []
pidns = "private"
utsns = "private"
volumes = []
"""


class PodmanService:
    """A running service.

    Raises:
        EngineUnavailable: Podman cannot serve here; with what it said last.
    """

    def __init__(self) -> None:
        self._folder = Path(
            tempfile.mkdtemp(prefix=f"{_PREFIX}{owner_mark()}-", dir=_runtime_folder())
        )
        self.address = f"unix://{self._folder / _SOCKET}"
        """Of its API, as the Docker SDK takes it."""
        # The other end is the shell's input: it is at its end when this one is closed, or we are dead.
        theirs, self._ours = os.pipe()
        try:
            with open(theirs, "rb") as waits_for:  # noqa: PTH123 - a descriptor
                self._shell = self._start(waits_for)
            self._wait_until_it_listens()
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    _shell: subprocess.Popen[bytes] | None = None

    def _start(self, waits_for: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = self._folder / _SETTINGS
        settings.write_text(SETTINGS, encoding="utf-8")
        with (self._folder / _LOG).open("wb") as log:
            return subprocess.Popen(
                ["sh", "-c", _SERVE, "sh", self.address],
                stdin=waits_for,
                stdout=log,
                stderr=log,
                env={**os.environ, "CONTAINERS_CONF_OVERRIDE": str(settings)},
                start_new_session=True,  # a Ctrl-C is the harness's: containers are removed after it
            )

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if time.monotonic() > deadline or self._said_error():
                raise EngineUnavailable(
                    f"Podman cannot serve its API here:\n{quoted(self._last_words())}",
                    where="podman system service",
                    fix="mend what it names (`podman info` says the same); a rootless Podman needs"
                    " user namespaces and ids of the user's own in /etc/subuid and /etc/subgid",
                )
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as knocking, contextlib.suppress(OSError):
            knocking.connect(str(self._folder / _SOCKET))
            return True
        return False

    def _said_error(self) -> bool:
        """The shell waits for us, not for Podman: that it has ended is known by its last word."""
        return "Error: " in self._last_words()

    def _last_words(self) -> str:
        return (self._folder / _LOG).read_text("utf-8", "replace").strip()[-1000:]

    def stop(self) -> None:
        """End it, and remove its folder. Containers that still run are not touched."""
        os.close(self._ours)
        if self._shell is not None:
            try:
                self._shell.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._shell.kill()
                self._shell.wait()
        remove_tree_if_possible(self._folder)


def remove_left_folders() -> int:
    """Remove the folders of services whose harness is gone; returns how many."""
    left = [
        folder
        for folder in Path(_runtime_folder()).glob(f"{_PREFIX}*")
        if is_owner_gone(folder.name.removeprefix(_PREFIX).rpartition("-")[0])
    ]
    return sum(map(remove_tree_if_possible, left))


def _runtime_folder() -> str:
    """Where this user's sockets are; without such a folder, where temporary files are."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    return given if given and Path(given).is_dir() else tempfile.gettempdir()
