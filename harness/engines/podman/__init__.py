"""The `podman` engine: containers of Podman 5, rootless too, where there is no Docker.

`engine.py` says what Podman does otherwise than Docker, whose engine it goes on from; `service.py`
starts the API that it is asked through. Nothing has to be set up: `podman` on PATH is enough.
"""

from harness.engines.podman.engine import PodmanEngine

__all__ = ["PodmanEngine"]
