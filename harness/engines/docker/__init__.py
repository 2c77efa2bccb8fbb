"""The `docker` engine: isolated containers, through the engine API of Docker or Podman.

`engine.py` connects and starts, `build.py` makes images of source folders, `images.py` finds and
loads those of others, `engines/oci` looks at them first, `options.py` says how a container is closed
off, and `container.py` talks to it until its certain end. Nothing else imports the Docker SDK.
"""

from harness.engines.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
