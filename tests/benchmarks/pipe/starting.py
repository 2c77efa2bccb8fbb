"""What is sent, and how an entry's folder is started to answer it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.engines.base import Engine, Launch, Running
from harness.engines.docker import DockerEngine
from harness.engines.process import ProcessEngine
from harness.entries.identity import folder_identity
from harness.session.conversation import Hello
from tests.engine_images import LightDockerEngine

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Size:
    """What one image of a benchmark moves."""

    benchmark: str
    shape: tuple[int, ...]
    maps: bool = True

    @property
    def sent(self) -> int:
        """Bytes of an image."""
        return int(np.prod(self.shape))

    @property
    def received(self) -> int:
        """Bytes of its float32 map; of a short line where none is wanted."""
        return 4 * self.shape[0] * self.shape[1] if self.maps else 100


SIZES = (
    Size("brain", (240, 240, 3)),
    Size("camelyon16", (256, 256, 3)),
    Size("liver", (512, 512)),
    Size("oct2017", (496, 512)),
    Size("resc", (1024, 512)),
    Size("rsna", (1024, 1024), maps=False),
)


def engine_of(name: str, *, has_torch: bool = False) -> Engine:
    """The engine; containers on the small base where they need no torch."""
    if name == "process":
        return ProcessEngine()
    return DockerEngine() if has_torch else LightDockerEngine()


def started(
    engine: Engine, folder: Path, size: Size, params: dict[str, object], model: Path | None = None
) -> tuple[Running, Launch, Hello]:
    """An entry's folder, started to predict; what runs, the launch and the hello."""
    program = engine.prepare_folder(folder, folder.name, folder_identity(folder))
    launch = Launch(program, "predict", model=model)
    hello = Hello(size.benchmark, 0, "cpu", maps_wanted=size.maps, params=params)
    return engine.start(launch), launch, hello
