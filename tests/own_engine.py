"""A container engine of a test's own: it may be stopped, and sees the programs that the test gives it.

with one_of_its_own(path=folder) as engine:      # programs in `folder` come first on its PATH
    engine.load("some/image:tag")                # from the shared engine, which is only read
    monkeypatch.setenv("DOCKER_HOST", engine.address)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


class OwnEngine:
    """A dockerd with its own root, socket and process id file.

    Args:
        root: an empty folder, with a short path: it holds sockets.
        path: a folder of programs that the engine finds before all others.
        options: more of dockerd's command line.
    """

    def __init__(self, root: Path, path: Path | None = None, options: Sequence[str] = ()) -> None:
        self.root = root
        self.address = f"unix://{root}/engine.sock"
        self._path = path
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self.root / "engine.log").open("ab")
        settings = self.root / "engine.json"  # not the machine's, which may speak of runtimes too
        settings.write_text("{}")
        first = f"{self._path}:" if self._path else ""
        self._process = subprocess.Popen(
            [
                # In a network of its own: without a bridge of its own, a dockerd removes the
                # machine's docker0, and the shared engine could build no image any more.
                "unshare", "--net", "dockerd", "--host", self.address, "--data-root", str(self.root / "data"),
                "--config-file", str(settings), "--exec-root", str(self.root / "exec"), "--pidfile", str(self.root / "engine.pid"),
                "--bridge=none", "--iptables=false", "--ip-masq=false", *self._options,
            ],
            env={**os.environ, "PATH": first + os.environ["PATH"]},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self._process.poll() is None, (self.root / "engine.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the engine does not answer"
            time.sleep(0.2)

    def answers(self) -> bool:
        ask = ["docker", "--host", self.address, "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        """End it as a restart of the service does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None

    def load(self, image: str) -> None:
        """Copy an image from the shared engine, which is only read."""
        load = ["docker", "--host", self.address, "load", "--quiet"]
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
            subprocess.run(load, stdin=save.stdout, check=True, capture_output=True)
        assert save.returncode == 0

    def containers(self) -> list[str]:
        """Ids of all containers."""
        return self._ask("ps", "--all", "--quiet").split()

    def names(self) -> str:
        """Names of those that run."""
        return self._ask("ps", "--format", "{{.Names}}")

    def _ask(self, *question: str) -> str:
        ask = ["docker", "--host", self.address, *question]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout


@contextmanager
def one_of_its_own(path: Path | None = None, options: Sequence[str] = ()) -> Iterator[OwnEngine]:
    """An engine from its start to its end, or the reason why the test is skipped."""
    if os.geteuid() != 0 or not (shutil.which("dockerd") and shutil.which("containerd")):
        pytest.skip("an engine of its own needs root and dockerd")
    root = tempfile.mkdtemp(prefix="bmad-engine-")
    # In memory: to remove an image's thousands of files from a disk takes half a minute.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "bmad-engine", root], check=True)
    engine = OwnEngine(Path(root), path, options)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()
        subprocess.run(["umount", "--lazy", root], check=True)
        Path(root).rmdir()
