"""The contract's page names every variable that an entry is given, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from harness.engines.base import Launch, Program
from harness.engines.docker.options import Place, container_settings
from harness.engines.environment import entry_environment
from harness.engines.oci.vetting import WEIGHT_CACHES
from harness.engines.process import ProcessEngine

PAGE = Path(__file__).resolve().parents[2] / "harness/contract/README.md"
SECTION = PAGE.read_text().split("## What is set in its environment")[1].split("\n## ")[0]


def listed() -> dict[str, str]:
    """By variable, the value that the page gives."""
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", SECTION, re.MULTILINE)
    return {name: value for names, value in rows for name in re.findall(r"`(\w+)`", names)}


def given() -> dict[str, str]:
    """By variable, what engines set in code."""
    launch = Launch(Program("x", "image:x", command=("x",)), "predict")
    place = Place(user="1:1", cpus=(0,), gpu=None, userns="")
    docker = dict(text.split("=", 1) for text in container_settings(launch, place, {})["Env"])
    return docker | ProcessEngine()._environment(launch)


def test_the_list_is_the_codes() -> None:
    assert listed().keys() == given().keys()


def test_the_values_are_the_codes() -> None:
    told = listed()
    for name, value in entry_environment(2, "HOME").items():
        if value.startswith("HOME/"):
            assert value.replace("HOME", "$HOME") in told[name]
        elif value not in ("HOME", "2"):
            assert f"`{value}`" in told[name]


def test_what_an_image_may_name_itself_is_said_so() -> None:
    own = {name for name, value in listed().items() if "the image's own" in value}
    assert own == set(WEIGHT_CACHES)
