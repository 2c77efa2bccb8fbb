"""What a container may do is one table: the call says it, the engine confirms it, nothing is added."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.engines.base import Launch, Limits, Program
from harness.engines.docker.options import OPTIONS, Place, container_settings, reasons

# What an engine itself decides about a container; everything else is either in the table or empty.
ENGINES_OWN = {
    "HostConfig.CgroupnsMode": {"private", "host"},
    "HostConfig.Runtime": {"runc", "crun", "nvidia", "oci"},
    "HostConfig.Isolation": {"", "default"},
    "HostConfig.ConsoleSize": {"[0, 0]"},
    "HostConfig.MaskedPaths": None,
    "HostConfig.ReadonlyPaths": None,
}
# What the image may decide: where it starts, and how.
IMAGES_OWN = {"Config.Entrypoint", "Config.WorkingDir"}


def flat(settings: dict) -> dict[str, object]:
    """Field by field, as the table names them."""
    host = settings["HostConfig"]
    own = {name: value for name, value in settings.items() if name != "HostConfig"}
    return own | {f"HostConfig.{name}": value for name, value in host.items()}


def test_the_table_is_the_call_and_each_option_has_its_reason() -> None:
    place = Place(user="1:1", cpus=(0,), gpu=None, userns="")
    launch = Launch(Program("x", "image:sha256:1", image="sha256:1"), "predict")
    assert list(flat(container_settings(launch, place, {}))) == [option.field for option in OPTIONS]
    assert all(len(option.reason) > 10 for option in OPTIONS)
    assert all(option.field in reasons() and option.reason in reasons() for option in OPTIONS)


@pytest.mark.engine
@pytest.mark.parametrize("verb", ["train", "predict"])
def test_the_engine_confirms_every_field_of_a_running_container_and_knows_no_other(
    engine, start_script, tmp_path: Path, verb: str
) -> None:
    model, train = tmp_path / "model", tmp_path / "train"
    model.mkdir()
    train.mkdir()
    limits = Limits(memory_mib=123, pids=45, shm_mib=6, tmp_mib=7, threads=1)
    wait = "import sys; sys.stdin.buffer.read()"
    running = start_script(wait, verb, model=model, train=train, limits=limits)
    found = engine.client.inspect_container(running._name)
    asked = flat(json.loads(json.dumps(container_settings(
        running_launch(running, verb, model, train, limits, found),
        Place(user=found["Config"]["User"], cpus=cpus_of(found), gpu=None, userns=""),
        {name: value for name, value in found["Config"]["Labels"].items() if name != "bmad.identity"},
    ))))  # fmt: skip
    said = {f"HostConfig.{name}": value for name, value in found["HostConfig"].items()}
    said |= {f"Config.{name}": value for name, value in found["Config"].items()}
    asked = {name if "." in name else f"Config.{name}": value for name, value in asked.items()}
    wrong = {}
    for field, value in said.items():
        if field in IMAGES_OWN:
            continue
        wanted = asked.pop(field, None)
        if field in ENGINES_OWN:
            allowed = ENGINES_OWN[field]
            is_right = allowed is None or str(value) in allowed
        else:
            is_right = normal(field, value) == normal(field, wanted)
        if not is_right:
            wrong[field] = (value, wanted)
    assert not wrong, "the engine runs it otherwise than asked"
    assert not {name: value for name, value in asked.items() if value}, "asked for, and not told"
    mounts = {mount["Destination"]: mount["RW"] for mount in found["Mounts"]}
    assert mounts == {"/data/train": False, "/model": verb == "train", "/weights": False}
    assert found["Config"]["User"] == (
        "65534:65534" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"
    )
    assert found["Config"]["Labels"]["bmad.owner"].count(".") == 3
    assert len(cpus_of(found)) == 1


def running_launch(running, verb, model, train, limits, found) -> Launch:
    """The launch that was made, told again from the test's own knowledge."""
    weights = next(
        Path(mount["Source"]) for mount in found["Mounts"] if mount["Destination"] == "/weights"
    )
    image = Program("x", "x", image=found["Config"]["Image"])
    assert image.image == found["Image"], "it runs by the image's id"
    return Launch(image, verb, limits=limits, model=model, train=train, weights=weights)


def cpus_of(found: dict) -> tuple[int, ...]:
    return tuple(map(int, found["HostConfig"]["CpusetCpus"].split(",")))


def normal(field: str, value: object) -> object:
    """A field's value without what engines say in more than one way."""
    if not value:
        return None
    if field == "Config.Env":  # the image's own variables follow; those of the call win
        return sorted(v for v in value if v.split("=")[0] not in {"PATH", "PYTHONPATH"})
    if field == "Config.Labels":
        return {k: v for k, v in value.items() if k != "bmad.identity"}
    if field == "HostConfig.LogConfig":
        return value["Type"]
    if field == "HostConfig.RestartPolicy":
        return value["Name"]
    if field == "HostConfig.Mounts":
        return sorted((m["Source"], m["Target"], m.get("ReadOnly", False)) for m in value)
    if field == "HostConfig.Ulimits":
        return sorted((u["Name"], u["Soft"], u["Hard"]) for u in value)
    return value
