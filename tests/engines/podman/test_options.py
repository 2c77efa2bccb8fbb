"""What a rootless Podman makes of the create call, by `podman inspect` and by what a container sees.

The table in `harness/engines/podman/engine.py` says which options hold; these hold the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from harness.common.errors import DeviceUnavailable
from harness.engines.base import Launch, Limits
from harness.engines.docker.options import OPEN_FILES, OPTIONS
from harness.engines.oci import vetting
from harness.records.isolation import isolation_level
from tests.engine_images import LightPodmanEngine, on_engines

pytestmark = pytest.mark.hpc
MIB = 1024**2
WAIT = "import sys; sys.stdin.buffer.read()"
on_podman = on_engines("engine", "podman")
# What an option of the call is called in Podman's own inspection, where that has another word.
RENAMED = {"HostConfig.Mounts": "Mounts", "HostConfig.DeviceRequests": "HostConfig.Devices"}
# Not told back; what they are for is tried by the tests of containers (half-close, no network).
UNTOLD = {
    "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr", "NetworkDisabled",
    "HostConfig.UsernsMode",
}  # fmt: skip


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def inspected(name: str) -> dict:
    """What `podman inspect` says of a container, its configuration's fields without a prefix."""
    done = subprocess.run(["podman", "inspect", name], capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout)
    host = {f"HostConfig.{field}": value for field, value in found["HostConfig"].items()}
    return {**found, **found["Config"], **host}


@on_podman
def test_podmans_own_inspection_confirms_the_table(engine, start_script, tmp_path) -> None:
    model, train = tmp_path / "model", tmp_path / "train"
    model.mkdir()
    train.mkdir()
    limits = Limits(memory_mib=123, pids=45, shm_mib=6, tmp_mib=7, threads=1)
    running = start_script(WAIT, "train", model=model, train=train, limits=limits)
    found = inspected(running._name)
    unbounded = engine._place((0,), None).unbounded
    read_only = "ro,noexec,nosuid,nodev,mode=555,size=4k"
    expected = {
        "Image": lambda value: value == found["Image"],
        "Cmd": lambda value: value == ["train"],
        "Env": lambda value: {"HOME=/tmp", "OMP_NUM_THREADS=1", "container=podman"} <= set(value),
        "User": lambda value: value == "0:0",
        "Hostname": lambda value: value == "entry",
        "Labels": lambda value: value["bmad.verb"] == "train" and value["bmad.owner"],
        "Healthcheck": lambda value: value["Test"] == ["NONE"],
        "StopSignal": lambda value: value == "SIGTERM",
        "StopTimeout": lambda value: value == 0,
        "Tty": lambda value: value is False,
        "OpenStdin": lambda value: value is True,
        "HostConfig.NetworkMode": lambda value: value == "none",
        "HostConfig.ReadonlyRootfs": lambda value: value is True,
        "HostConfig.CapDrop": lambda value: len(value) > 5 and not found["EffectiveCaps"],
        "HostConfig.SecurityOpt": lambda value: value == ["no-new-privileges"],
        "HostConfig.Privileged": lambda value: value is False,
        "HostConfig.Memory": lambda value: value == (0 if "memory" in unbounded else 123 * MIB),
        "HostConfig.MemorySwap": lambda value: value == (0 if "memory" in unbounded else 123 * MIB),
        "HostConfig.CpusetCpus": lambda value: (value == "") == ("cpus" in unbounded),
        "HostConfig.PidsLimit": lambda value: value == (0 if "pids" in unbounded else 45),
        "HostConfig.Ulimits": lambda value: (
            {("RLIMIT_CORE", 0, 0), ("RLIMIT_NOFILE", OPEN_FILES, OPEN_FILES)}
            <= {(each["Name"], each["Soft"], each["Hard"]) for each in value}
        ),
        "HostConfig.ShmSize": lambda value: value == 6 * MIB,
        "HostConfig.Tmpfs": lambda value: (
            value.keys() - {"/sys/fs/cgroup"} == {"/tmp", "/run", "/var/tmp"}
            and value["/tmp"].startswith("rw,exec,nosuid,nodev,mode=1777,size=7m")
            and all(value[name].startswith(read_only) for name in ("/run", "/var/tmp"))
        ),
        "Mounts": lambda value: (
            {mount["Destination"]: mount["RW"] for mount in value}
            == {"/data/train": False, "/model": True, "/weights": False}
        ),
        "HostConfig.Devices": lambda value: value == [],
        "HostConfig.IpcMode": lambda value: value == "private",
        "HostConfig.Init": lambda value: value is True,
        "HostConfig.LogConfig": lambda value: value["Type"] == "none",
        "HostConfig.RestartPolicy": lambda value: value["Name"] == "no",
        "HostConfig.AutoRemove": lambda value: value is False,
    }  # fmt: skip
    wrong = {name: found.get(name) for name, holds in expected.items() if not holds(found[name])}
    assert not wrong
    asked = {RENAMED.get(option.field, option.field) for option in OPTIONS}
    assert asked == expected.keys() | UNTOLD, "an option that nothing is known of on Podman"
    assert (found["HostConfig.PidMode"], found["HostConfig.UTSMode"]) == ("private", "private")


@on_podman
def test_nothing_but_tmp_shm_and_dev_can_be_written(engine, start_script) -> None:
    code = """
        import json, os
        found = {}
        for line in open("/proc/self/mounts"):
            place = line.split()[1]
            try:
                open(place + "/x", "w").close()
            except OSError:
                continue
            found[place] = os.statvfs(place).f_blocks * os.statvfs(place).f_frsize // 2**20
        print(json.dumps(found), flush=True)
    """
    limits = Limits(threads=1, tmp_mib=7, shm_mib=6)
    written = json.loads(start_script(code, limits=limits).receive_line(1 << 16, soon()))
    assert written == {"/tmp": 7, "/dev/shm": 6, "/dev": 64, "/dev/mqueue": 0}


@on_podman
def test_an_images_own_init_gets_no_more_than_another_program(engine, tmp_path) -> None:
    (tmp_path / "Dockerfile").write_text(
        'ARG BASE\nFROM ${BASE}\nCOPY Dockerfile /entry/\nENTRYPOINT ["/sbin/init"]\n'
    )
    program = engine.prepare_folder(tmp_path, "test-init", "folder:sha256:init")
    with engine.start(Launch(program, "predict", limits=Limits(threads=1))) as running:
        assert not inspected(running._name).get("SystemdMode", False)


@on_podman
def test_what_a_machine_gives_to_every_container_is_no_entrys(
    engine, script_program, tmp_path, monkeypatch
) -> None:
    settings = tmp_path / "containers" / "containers.conf"
    settings.parent.mkdir()
    settings.write_text(
        '[containers]\nenv = ["SECRET=1"]\nvolumes = ["/etc:/mnt/etc"]\npidns = "host"\nutsns = "host"\n'
        'devices = ["/dev/zero:/dev/given:r"]\ndefault_ulimits = ["nofile=77:77"]\nuserns = "keep-id"\n'
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://proxy.example:1")
    code = (
        "import json, os, resource; print(json.dumps([sorted(os.environ), os.listdir('/mnt'),"
        " os.path.exists('/dev/given'), resource.getrlimit(resource.RLIMIT_NOFILE)[0],"
        " sum(name.isdigit() for name in os.listdir('/proc')), open('/etc/hosts').read()]), flush=True)"
    )
    (tmp_path / "main.py").write_text(code)
    launch = Launch(script_program, "predict", weights=tmp_path, limits=Limits(threads=1))
    with LightPodmanEngine().start(launch) as running:
        variables, mounted, has_device, files, processes, hosts = json.loads(
            running.receive_line(1 << 16, soon())
        )
    assert not {"SECRET", "http_proxy", "HTTP_PROXY"} & set(variables)
    assert (mounted, has_device, files, processes) == ([], False, OPEN_FILES, 2)
    assert {line.split()[0] for line in hosts.splitlines()} <= {"127.0.0.1", "::1"}


@on_podman
def test_what_is_not_delegated_is_measured_as_unbounded(engine, script_program) -> None:
    launch = Launch(script_program, "predict", limits=Limits(threads=1, memory_mib=256, tmp_mib=7))
    measured = engine.measure(launch)
    unbounded = engine._place((0,), None).unbounded
    assert measured.memory_bounded == ("memory" not in unbounded)
    assert measured.pids_bounded == ("pids" not in unbounded)
    assert measured.tmp_bounded
    assert measured.tmp_mib == 7
    assert measured.other_user is False
    assert isolation_level(measured) == ("same user" if measured.unbounded else "container")


@on_podman
def test_a_gpu_is_found_by_its_uuid_in_the_machines_cdi_description(
    engine, start_script, monkeypatch
) -> None:
    monkeypatch.setattr(vetting, "toolkit_version", lambda: vetting.SAFE_TOOLKIT)
    devices = [
        {"name": name, "containerEdits": {"env": [f"GIVEN_{name[-2:].upper()}=1"]}}
        for name in ("GPU-12ab", "GPU-34cd", "all")
    ]
    description = Path("/run/cdi/nvidia.json")
    description.write_text(
        json.dumps({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices})
    )
    code = "import os; print(sorted(n for n in os.environ if n.startswith('GIVEN')), flush=True)"
    try:
        running = start_script(code, device="cuda:GPU-12ab")
        assert running.receive_line(100, soon()) == b"['GIVEN_AB']\n"
        with pytest.raises(DeviceUnavailable, match="nvidia-ctk cdi generate") as caught:
            start_script(code, device="cuda:GPU-ffff")
    finally:
        description.unlink()
    assert "GPU-ffff" in caught.value.what
    assert (
        engine.client.containers(filters={"label": "bmad.verb=predict", "status": "created"}) == []
    )


@on_podman
def test_an_archive_is_the_same_image_as_in_docker_and_goes_with_the_harness(
    engine, tmp_path
) -> None:
    archive = Path(os.environ["BMAD_TEST_BASE"].split(" ", 2)[2])
    own = LightPodmanEngine()
    program = own.prepare_archive(archive, "x")
    listed = subprocess.run(
        ["tar", "-xOf", str(archive), "manifest.json"], capture_output=True, check=True
    )
    (manifest,) = json.loads(listed.stdout)
    config = Path(manifest["Config"]).name.removesuffix(".json")
    assert program.identity == f"image:sha256:{config}", (
        "an image's id is the hash of its configuration"
    )
    (name,) = [
        tag for tag in own.client.inspect_image(program.image)["RepoTags"] if "bmad-loaded/" in tag
    ]
    own._loaded.release()
    assert name not in own.client.inspect_image(program.image)["RepoTags"]
