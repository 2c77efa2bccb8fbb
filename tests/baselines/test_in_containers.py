"""Baselines in real containers, with the images of production: one per family, and all when asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.engines.docker import DockerEngine
from harness.entries.opening import open_folder

from .conftest import FOLDERS
from .conversations import assert_answers_like_the_class

# In CI, one for each family of the paper; `make test-all` runs the rest too.
REPRESENTATIVES = {
    "f-anogan": "reconstruction",
    "stfpm": "teacher-student",
    "padim": "memory bank",
    "cflow": "flow",
}
TRAINED = [folder for folder in FOLDERS if open_folder(folder).table.trains]

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return DockerEngine()


def test_the_representatives_are_there_and_of_their_families() -> None:
    families = {folder.name: open_folder(folder).table.family for folder in TRAINED}
    assert {name: families.get(name) for name in REPRESENTATIVES} == REPRESENTATIVES


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(
            folder,
            id=folder.name,
            marks=[] if folder.name in REPRESENTATIVES else pytest.mark.slow,
        )
        for folder in TRAINED
    ],
)
def test_a_container_answers_to_the_last_bit_like_the_class_called_directly(
    folder: Path,
    engine: DockerEngine,
    training_folder: Path,
    test_images: list[np.ndarray],
    tmp_path: Path,
) -> None:
    training_folder.chmod(0o755)  # under root the entry is another user
    assert_answers_like_the_class(engine, folder, training_folder, test_images, tmp_path)
