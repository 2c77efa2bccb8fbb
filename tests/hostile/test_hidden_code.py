"""Attack 25: code and labels where neither the identity nor the review looks never reach a run."""

from __future__ import annotations

import importlib.util
import py_compile
import shutil
from pathlib import Path

import pytest

from harness.common.source_files import source_files
from harness.engines.process import ProcessEngine
from harness.entries.identity import folder_identity
from tests.hostile.conftest import HOSTILE

REVIEWED = "files: Dockerfile entry.toml helper.py model.py"


@pytest.fixture
def lying(tmp_path: Path) -> Path:
    """The entry with code in every place that tools fill and reviews leave out."""
    folder = tmp_path / "hides_code"
    shutil.copytree(HOSTILE / folder.name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for cache in (".ruff_cache", ".pytest_cache", ".mypy_cache", ".git"):
        (folder / cache).mkdir()
        (folder / cache / "answers.py").write_text("sys.stderr.write('swapped\\n')")
    (folder / ".dockerignore").write_text("helper.py\n")
    other = tmp_path / "other.py"
    other.write_text('WHICH = "swapped"\n')
    target = importlib.util.cache_from_source(str(folder / "helper.py"))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(other), target, invalidation_mode=mode, doraise=True)
    return folder


@pytest.mark.engine
def test_25_nothing_is_in_an_image_that_is_not_hashed_and_reviewed(attack, lying) -> None:
    assert folder_identity(lying) == folder_identity(HOSTILE / "hides_code")
    run = attack(lying)
    assert run.record.is_ok, run.record.outcome
    assert REVIEWED in run.log
    assert "helper: reviewed" in run.log
    assert "swapped" not in run.log


def test_25_nothing_else_is_started_as_a_process(lying) -> None:
    engine = ProcessEngine()
    program = engine.prepare_folder(lying, "hides_code", folder_identity(lying))
    copy = Path(program.command[-1])
    listed = [path.relative_to(copy) for path in sorted(copy.rglob("*"))]
    assert listed == [path.relative_to(lying) for path in source_files(lying)]
