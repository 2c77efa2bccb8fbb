"""Where a container engine answers on this machine, and what is said where none does.

Trap: the engine must be on this machine, because folders are mounted by path. So its API is asked
on a local socket only.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import docker

from harness.common.errors import EngineUnavailable
from harness.engines.docker.container import ENGINE_FAULTS

API_SECONDS = 60.0  # an engine call that says nothing for so long has failed
ASK_SECONDS = 10.0  # does it answer at all?
Client: TypeAlias = docker.APIClient


def candidate_sockets() -> list[str]:
    """Where Docker may answer, the most explicit first."""
    if given := os.environ.get("DOCKER_HOST"):
        return [given]
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    places = (
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        str(Path.home() / ".docker/run/docker.sock"),
    )
    return [f"unix://{place}" for place in places if Path(place).exists()]


def connect(addresses: Sequence[str], *, where: str, fix: str) -> Client:
    """A client of the first engine that answers.

    Args:
        addresses: of sockets, the first ones first.
        where, fix: of the error; `where` is what named the addresses.
    Raises:
        EngineUnavailable: none does; the message says what each one said.
    """
    said = []
    for address in addresses:
        try:
            _knock(address)
            client = docker.APIClient(base_url=address, version="auto", timeout=ASK_SECONDS)
        except OSError as error:
            said.append(f"{address}: {error.strerror or error}")
        except ENGINE_FAULTS as error:
            said.append(f"{address}: {error}")
        else:
            client.timeout = API_SECONDS
            return client
    raise EngineUnavailable(
        "no container engine answers: " + ("; ".join(said) or "none is installed"),
        where=where,
        fix=fix,
    )


def _knock(address: str) -> None:
    """Connect once ourselves: the reason is plain, where the SDK wraps it four times.

    Raises:
        OSError: nobody listens there, or we may not ask.
    """
    scheme, _, place = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(ASK_SECONDS)
            knocking.connect(place)
    elif scheme == "tcp":
        host, _, port = place.partition(":")
        if not (port or "2375").isdecimal():
            raise OSError(f"{port!r} is not a port")
        socket.create_connection((host, int(port or 2375)), timeout=ASK_SECONDS).close()
    else:
        raise OSError("folders are mounted by path, so it must be a local socket")
