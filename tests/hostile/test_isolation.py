"""Attacks 1, 15 and 16 on real containers: out of the machine, at what is not theirs, at what is ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.entries.identity import tree_hash
from tests.hostile.conftest import on_all

pytestmark = pytest.mark.engine

# Everything that a container shows to its entry; nothing may be added in silence.
MOUNTS = {
    "/": "ro", "/proc": "rw", "/dev": "rw", "/dev/pts": "rw", "/dev/mqueue": "rw", "/dev/shm": "rw",
    "/sys": "ro", "/tmp": "rw", "/model": "ro", "/weights": "ro",
    "/etc/hosts": "ro", "/etc/hostname": "ro", "/etc/resolv.conf": "ro", "/usr/sbin/docker-init": "ro",
    "/sbin/docker-init": "ro",
}  # fmt: skip
# Podman says where its settings and its init are; and it covers what it has no device for.
MOUNTS_OF_PODMAN = {
    "/run": "ro", "/run/.containerenv": "ro", "/run/podman-init": "ro", "/var/tmp": "ro",
    **dict.fromkeys(
        ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom"), "rw"
    ),
}  # fmt: skip
# The image's own folders (its root is made of them), its own devices one by one, and the file of
# variables over the image's.
MOUNTS_OF_APPTAINER = {
    **dict.fromkeys(
        (
            "/.singularity.d", "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt",
            "/opt", "/root", "/run", "/sbin", "/srv", "/usr", "/var",
        ),
        "ro",
    ),
    "/.singularity.d/env": "ro", "/entry": "ro", "/var/tmp": "rw", "/etc/hostname": "rw",
    "/sys": "rw",  # its files are root's, whom nobody inside is
    **dict.fromkeys(("/dev/null", "/dev/zero", "/dev/tty", "/dev/random", "/dev/urandom"), "rw"),
}  # fmt: skip
MOUNTS_OF = {
    "docker": MOUNTS, "podman": MOUNTS | MOUNTS_OF_PODMAN, "apptainer": MOUNTS | MOUNTS_OF_APPTAINER,
}  # fmt: skip
# What an engine says of itself in variables; Apptainer's are empty but for the image's place.
OF_THE_ENGINE = {
    "docker": set[str](), "podman": {"container"},
    "apptainer": {
        "APPTAINER_APPNAME", "APPTAINER_NO_EVAL", "LANG", "SINGULARITY_NO_EVAL",
        "APPTAINER_BIND", "APPTAINER_COMMAND", "APPTAINER_CONTAINER", "APPTAINER_ENVIRONMENT",
        "APPTAINER_NAME", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "PS1", "PROMPT_COMMAND", "PWD",
        "SINGULARITY_BIND", "SINGULARITY_CONTAINER", "SINGULARITY_ENVIRONMENT", "SINGULARITY_NAME",
    },
}  # fmt: skip
INITS = {"docker-init", "tini", "catatonit", "podman-init", "appinit"}
# Covered by the engine, so that the kernel's own tables cannot be read or written; the folder of
# control groups is root's (attack 16 tries to write there).
MASKED = ("/proc/", "/sys/firmware", "/sys/fs/cgroup", "/sys/devices/virtual/powercap")
DEVICES = {
    "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
    "stdout", "tty", "urandom", "zero",
}  # fmt: skip
ENVIRONMENT = {
    "HOME", "USER", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR",
    "NUMBA_CACHE_DIR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG",
    "LC_ALL", "PATH", "PYTHONPATH", "HOSTNAME", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
}  # fmt: skip


def told(log: str, word: str) -> list[dict]:
    """What the entry reported after a word."""
    return [json.loads(line[len(word) + 1 :]) for line in log.splitlines() if line.startswith(word)]


@on_all
def test_1_no_way_leads_out_and_the_run_still_counts(attacked, attack) -> None:
    run = attack("network")
    assert run.record.is_ok
    assert len(run.record.metrics) > 5
    tried = json.loads(run.log.splitlines()[0])
    assert len(tried) == 9
    assert "done" not in tried.values(), tried


@on_all
def test_15_an_entry_sees_what_is_on_the_list_and_nothing_of_others(
    attacked, attack, open_small, cache, monkeypatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    other = cache / "work" / "of-another-run"
    seen = []
    for seed in ("0", "1"):  # the second looks for what the first has planted
        run = attack("spy", "--seed", seed, results=f"r{seed}")
        assert run.record.is_ok
        seen += told(run.log, "SEEN")
    assert len(seen) == 2
    for found in seen:
        mounts = {k: v for k, v in found["mounts"].items() if not k.startswith(MASKED)}
        allowed = MOUNTS_OF[attacked.name]
        assert mounts.items() <= allowed.items(), mounts.items() - allowed.items()
        assert set(found["environment"]) <= ENVIRONMENT | OF_THE_ENGINE[attacked.name]
        assert set(found["processes"]) <= INITS | {"python", "python3"}
        assert len(found["processes"]) == 2
        assert set(found["devices"]) <= DEVICES
        assert found["left behind"] == found["model"] == found["data"] == []
        assert found["hostname"] == "entry"
        assert found["interfaces"] == ["lo"]
        user, group, groups = found["identity"]
        if (
            attacked.name == "docker"
        ):  # a rootless Podman's root is the caller, without a capability
            assert 0 not in (user, group, *groups)
        assert str(open_small.root) not in json.dumps(found)
    assert not other.exists()


@on_all
def test_16_nothing_but_the_model_folder_in_training_can_be_changed(
    attacked, attack, cache, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "backbone.pt").write_bytes(b"weights")
    tmp_path.chmod(0o755)
    before = tree_hash([weights], base=weights)
    run = attack("vandal", "--weights", str(weights))
    assert run.record.is_ok, run.record.outcome
    in_training, in_prediction = told(run.log, "TRIED")
    for tried in (in_training, in_prediction):
        assert "done" not in tried.values(), {k: v for k, v in tried.items() if v == "done"}
    assert {"write /data/train", "write /weights", "write /", "remount /weights"} <= set(
        in_training
    )
    assert "remove /weights/backbone.pt" in in_training
    assert any(name.startswith("remove /data/train/") for name in in_training)
    assert {"write /model", "remove /model/model.txt"} <= set(in_prediction)
    assert tree_hash([weights], base=weights) == before
    staged = [path for path in cache.rglob("*") if path.name == "planted"]
    assert staged == []
