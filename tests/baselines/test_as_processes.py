"""Every baseline through the contract, as a process of its own: train, then predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.engines.process import ProcessEngine
from harness.entries.opening import open_folder

from .conftest import FOLDERS
from .conversations import assert_answers_like_the_class

# A network's start alone takes 7 s: the template stands for all in the fast tests.
CASES = [
    pytest.param(
        folder, id=folder.name, marks=[] if folder.name == "template" else pytest.mark.slow
    )
    for folder in FOLDERS
    if open_folder(folder).table.trains
]


@pytest.mark.parametrize("folder", CASES)
def test_a_process_answers_to_the_last_bit_like_the_class_called_directly(
    folder: Path, training_folder: Path, test_images: list[np.ndarray], tmp_path: Path
) -> None:
    assert_answers_like_the_class(ProcessEngine(), folder, training_folder, test_images, tmp_path)
