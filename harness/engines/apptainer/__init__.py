"""The `apptainer` engine: isolated entries where there is no daemon and no root, as on most clusters.

`preflight.py` says whether this machine can, `engine.py` makes programs and starts them, `options.py`
says how each is closed off (`seccomp.py` its filter of system calls, `bounds.py` who bounds it),
`running.py` talks to it until its certain end, `gpus.py` counts what it could reach. `store.py`
keeps images, which `images.py` makes of archives and registries (`registry.py`), and `base.py` of
Dockerfile.gpu (`definition.py`). The harness's own programs run in `own_python.py`'s container.
"""

from harness.engines.apptainer.engine import ApptainerEngine

__all__ = ["ApptainerEngine"]
