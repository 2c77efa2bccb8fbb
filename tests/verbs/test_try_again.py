"""The command that an entry's page gives for a failed run does it again: the same status, tried for real."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

import harness.engines
from harness import check, evaluate
from harness.common.statuses import Status
from harness.engines.docker import DockerEngine
from harness.engines.process import ProcessEngine
from harness.publishing.site_build import build_site
from tests.engine_images import LightDockerEngine
from tests.hostile.conftest import small_pack
from tests.paths import ENTRIES, REPOSITORY

ENDS = {
    "crashing": Status.CRASHED,
    "hanging_image": Status.IMAGE_TIMEOUT,
    "wrong_shape": Status.WRONG_SHAPE,
    "nan": Status.NON_FINITE,
    "early_exit": Status.MISSING_ANSWER,
}
"""As a process."""
IN_A_CONTAINER = {
    "crashing": Status.CRASHED,
    "hanging_image": Status.IMAGE_TIMEOUT,
    "memory_hog": Status.OUT_OF_MEMORY,
    "bad_frame": Status.BAD_FRAME,
}
LIMITS = ["--limit", "image_seconds=2", "--limit", "memory_mib=128"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a cache and a small pack of one's own; the repository is where one stands."""
    folder = tmp_path_factory.mktemp("again")
    small_pack(folder / "cache", folder / "own pack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMAD_CACHE", str(folder / "cache"))
        patch.chdir(REPOSITORY)
        yield folder


def pages_of_failed_runs(place: Path, engine: str, names: list[str]) -> Path:
    """Evaluate entries that fail, each with seed 3, and build the site; the folder of its entries."""
    results = place / engine
    call = [*(f"tests/sample_entries/{name}" for name in names), "--pack", str(place / "own pack")]
    call += ["--seed", "3", "--engine", engine, *LIMITS, "--no-site", "--results", str(results)]
    assert evaluate.main(call) == 4
    return build_site(results, place / f"{engine}-site").parent / "entries"


def tried_again(page: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """Run the command of the one failed run of a page, as a reader does who puts his folder in."""
    text = re.search(
        r'id="failed-[^"]*-3".*?<code>([^<]*)</code></pre></div>\n<small>', page.read_text(), re.S
    )
    assert text is not None
    *before, command = unescape(text[1]).splitlines()
    assert all(line.startswith(("git checkout ", "# ")) for line in before)
    words = [str(place / "own pack") if word == "DIR" else word for word in shlex.split(command)]
    assert words[:3] == ["python", "-m", "harness.check"]
    capsys.readouterr()
    assert check.main(words[3:]) == 4
    told = json.loads(capsys.readouterr().out)
    assert isinstance(told, dict)
    return told


@pytest.fixture(scope="module")
def of_processes(place: Path) -> Path:
    return pages_of_failed_runs(place, "process", [*ENDS])


@pytest.mark.parametrize(("name", "status"), ENDS.items())
def test_what_failed_as_a_process_fails_alike_by_the_command_of_its_page(
    of_processes, place, name, status, capsys
) -> None:
    told = tried_again(of_processes / f"{name}.html", place, capsys)
    assert told["status"] == status.value
    assert told["limits"]["image_seconds"] == 2
    assert told["engine"].startswith(ProcessEngine.name)


@pytest.fixture(scope="module")
def of_containers(place: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.engines, "choose_engine", lambda wanted: LightDockerEngine())
        yield pages_of_failed_runs(place, "docker", [*IN_A_CONTAINER])


@pytest.mark.engine
@pytest.mark.parametrize(("name", "status"), IN_A_CONTAINER.items())
def test_what_failed_in_a_container_fails_alike_by_the_command_of_its_page(
    of_containers, place, name, status, capsys
) -> None:
    told = tried_again(of_containers / f"{name}.html", place, capsys)
    assert told["status"] == status.value
    assert told["limits"]["memory_mib"] == 128
    assert DockerEngine.name in told["engine"]


def test_check_takes_the_regime_of_a_run(place, capsys) -> None:
    call = [str(ENTRIES / "counts_questions"), "--pack", str(place / "own pack")]
    assert check.main([*call, "--train", "shots:2", "--engine", "process"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert '"images": 2' in told["log"]
