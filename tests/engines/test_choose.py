"""Which engine is taken, and what a machine without one is told."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

import harness.engines
from harness.common.errors import EngineUnavailable, UsageError
from harness.console.cli import add_engine_options
from harness.engines import choose_engine, engine_names, make_engine

NOWHERE = "unix:///nowhere/docker.sock"


def test_the_isolated_engines_come_first() -> None:
    assert engine_names() == ("docker", "podman", "apptainer", "process")
    levels = [make_engine(name).at_most for name in engine_names()]
    assert levels == ["container", "container", "container", "none"]


def test_auto_takes_processes_only_where_no_container_engine_answers(monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    monkeypatch.setenv("CONTAINER_HOST", NOWHERE)
    assert choose_engine("auto").name == "process"


@pytest.mark.engine
def test_auto_takes_containers_where_an_engine_answers() -> None:
    chosen = choose_engine("auto")
    assert chosen.name == "docker"
    assert "API" in chosen.describe()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (NOWHERE, "No such file"),
        ("ssh://elsewhere", "local socket"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("tcp://127.0.0.1:abc", "not a port"),
    ],
)
def test_an_engine_asked_for_by_name_must_answer(address, reason, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineUnavailable, match=reason) as caught:
        choose_engine("docker")
    assert "--engine process" in caught.value.fix
    assert choose_engine("process").name == "process"


def test_the_command_line_knows_every_engine() -> None:
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    (option,) = (action for action in parser._actions if action.dest == "engine")
    assert option.choices == ("auto", *engine_names())


def test_a_misspelt_engine_is_answered_with_all_names() -> None:
    for name in ("dokcer", "gpu", "base"):
        with pytest.raises(UsageError, match="auto, docker, podman, apptainer, process"):
            choose_engine(name)


@pytest.mark.parametrize("place", ["sandbox.py", "sandbox/__init__.py"])
def test_a_new_engine_is_one_new_module_or_package(tmp_path: Path, monkeypatch, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(
        "from harness.engines.process import ProcessEngine\n"
        "class SandboxEngine(ProcessEngine):\n"
        "    name = 'sandbox'\n"
        "    at_most = 'container'\n"
    )
    monkeypatch.setattr(harness.engines, "__path__", [*harness.engines.__path__, str(tmp_path)])
    assert engine_names() == ("docker", "podman", "apptainer", "sandbox", "process")
    assert make_engine("sandbox").name == "sandbox"
    sys.modules.pop("harness.engines.sandbox")


def test_nothing_heavy_is_imported_before_an_engine_is_chosen() -> None:
    code = (
        "import sys, harness.engines, harness.engines.process, harness.trained.model_folder;"
        "assert harness.engines.engine_names();"
        "print([m for m in ('docker', 'requests', 'numpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.strip() == "[]"
