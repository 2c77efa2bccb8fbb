"""The table of options: what a container is given, and that nothing of the caller's is among it."""

from __future__ import annotations

import csv
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engines.apptainer import enclosure, options, seccomp
from harness.engines.apptainer.bounds import Bounds
from harness.engines.base import Launch, Limits, Program

NOBODY = Bounds(frozenset(), {})
PLACE = options.Site(Path("/settings"), True, NOBODY, None)
IMAGE = options.Image(Path("/cache/image.sif"), ("python", "-m", "it"), {}, "/work")
PROGRAM = Program("x", "image:sha256:" + "0" * 64)


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    for name in ("train", "model", "weights"):
        (tmp_path / name).mkdir()
    return Launch(
        PROGRAM, "train", train=tmp_path / "train", model=tmp_path / "model",
        weights=tmp_path / "weights", limits=Limits(tmp_mib=300, memory_mib=512, pids=64),
    )  # fmt: skip


def mounts(words: list[str]) -> dict[str, list[str]]:
    """By place inside, the other fields of each mount."""
    lines = [words[at + 1] for at, word in enumerate(words) if word == "--mount"]
    rows = [row for line in lines for row in csv.reader([line])]
    return {row[2].removeprefix("destination="): row for row in rows}


def test_the_flags_that_isolate_are_always_given(launch: Launch) -> None:
    words = options.call(launch, IMAGE, PLACE, ["train"])
    for flag in ("--containall", "--cleanenv", "--no-home", "--userns", "--net", "--no-privs",
                 "--no-eval", "--pid", "--ipc", "--uts"):  # fmt: skip
        assert flag in words
    assert words[words.index("--network") + 1] == "none"
    assert words[words.index("--drop-caps") + 1] == "all"
    assert words[words.index("--no-mount") + 1] == "home,cwd,hostfs,bind-paths"
    assert words[:3] == ["--config", "/settings/apptainer.conf", "exec"]
    assert words[-5:] == ["/cache/image.sif", "python", "-m", "it", "train"]
    assert "--nv" not in words
    assert not {"--memory", "--pids-limit"} & set(words)


def test_the_model_can_be_written_in_training_alone(launch: Launch) -> None:
    trains = mounts(options.call(launch, IMAGE, PLACE, ["train"]))
    assert [name for name, row in trains.items() if "ro" not in row] == ["/model"]
    predicts = mounts(options.call(replace(launch, verb="predict"), IMAGE, PLACE, ["predict"]))
    assert set(predicts) == {"/model", "/weights", "/data/train", options.VARIABLES_FOLDER}
    assert all(row[-1] == "ro" for row in predicts.values())


def test_a_path_with_commas_and_quotes_is_one_mount(launch: Launch, tmp_path: Path) -> None:
    odd = tmp_path / 'a,"b",ro'
    odd.mkdir()
    found = mounts(options.call(replace(launch, model=odd), IMAGE, PLACE, ["train"]))
    assert found["/model"] == ["type=bind", f"source={odd}", "destination=/model"]


def test_limits_are_asked_for_where_groups_are_delegated(launch: Launch) -> None:
    both = replace(PLACE, bounds=Bounds(frozenset({"memory", "pids"}), {}))
    words = options.call(launch, IMAGE, both, [])
    given = {word: words[at + 1] for at, word in enumerate(words[:-1])}
    assert given["--memory"] == given["--memory-swap"] == str(512 * 1024**2)
    assert given["--pids-limit"] == "64"
    assert "sessiondir max size = 300\n" in options.configuration(launch)


def test_shared_memory_has_a_size_in_a_namespace_of_its_own_and_shares_tmps_else(launch) -> None:
    enclosed = replace(PLACE, bounds=replace(NOBODY, is_enclosed=True))
    words = options.call(launch, IMAGE, enclosed, [])
    assert mounts(words)["/dev/shm"] == [
        "type=bind",
        "source=/settings/shm",
        "destination=/dev/shm",
    ]
    assert "--scratch" not in words
    words = options.call(launch, IMAGE, PLACE, [])
    assert words[words.index("--scratch") + 1] == "/dev/shm"
    assert "/dev/shm" not in mounts(words)


def test_what_bounds_processes_is_set_before_apptainer_and_without_its_capabilities(launch) -> None:
    words = enclosure.enclosed(["apptainer", "exec"], Path("/settings/shm"), launch.limits)
    assert words[:2] == ["unshare", "--user"]
    assert words[-5:] == ["setpriv", "--inh-caps=-all", "--ambient-caps=-all", "apptainer", "exec"]
    bound = words[words.index("-c") + 1]
    assert f"size={launch.limits.shm_mib}m" in bound
    assert "ulimit -u 64" in bound


def test_a_machine_without_such_a_namespace_says_why(monkeypatch) -> None:
    monkeypatch.setattr(
        enclosure, "_NEW_NAMESPACE", ("/bin/sh", "-c", "echo 'not permitted' >&2; exit 1")
    )
    assert enclosure.why_impossible() == "not permitted"
    monkeypatch.setattr(enclosure, "_NEW_NAMESPACE", ("/nowhere/unshare",))
    assert "unshare" in enclosure.why_impossible()


def test_a_site_that_takes_no_configuration_is_given_none(launch: Launch) -> None:
    assert options.call(launch, IMAGE, replace(PLACE, has_own_configuration=False), [])[0] == "exec"


def test_every_option_and_line_of_the_configuration_has_its_reason() -> None:
    told = options.table_of_reasons()
    assert told.count("\n") + 1 == len(options.OPTIONS) + len(options.CONFIGURATION)
    assert all(option.reason for option in options.OPTIONS)


def test_the_variables_reach_a_program_as_they_are(launch: Launch) -> None:
    odd = {"TEXT": "a 'b' \"c\" $HOME `id`\nnew", "HOME": "/root", "PATH": "/opt/bin:/usr/bin:/bin"}
    script = options.variables_script(launch, replace(IMAGE, variables=odd), PLACE)
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{script}\nexec env -0"], env={}, capture_output=True, check=True
    ).stdout
    found = dict(each.split("=", 1) for each in shown.decode().split("\0") if each)
    assert found["TEXT"] == odd["TEXT"]
    assert found["HOME"] == "/tmp"  # the harness's list goes over the image's
    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert found["PATH"] == odd["PATH"]


def test_a_gpu_is_named_by_its_uuid_and_its_libraries_are_found(launch: Launch) -> None:
    place = replace(PLACE, gpu="GPU-1")
    image = replace(IMAGE, variables={"LD_LIBRARY_PATH": "/opt/lib"})
    found = options.variables(launch, image, place)
    assert found["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert found["LD_LIBRARY_PATH"] == f"/opt/lib:{options.DRIVER_LIBRARIES}"
    assert "--nv" in options.call(launch, image, place, [])


def test_apptainer_itself_is_given_nothing_of_the_callers(monkeypatch) -> None:
    for name in ("APPTAINER_BIND", "SINGULARITY_NV", "APPTAINERENV_SECRET", "LD_PRELOAD"):
        monkeypatch.setenv(name, "/etc")
    given = options.starter_variables(Path("/usr/bin/apptainer"), PLACE)
    assert "/etc" not in given.values()
    assert given["HOME"] == "/settings"


def test_names_that_a_shell_does_not_know_are_told() -> None:
    assert options.names_that_no_shell_has(["A", "_b1", "a.b", "1a", "a-b"]) == ["a.b", "1a", "a-b"]


def test_the_filter_of_system_calls_denies_namespaces_and_lets_threads_be_made() -> None:
    told = json.loads(seccomp.profile("x86_64"))
    by_action = {rule["action"]: rule["names"] for rule in told["syscalls"] if not rule["args"]}
    assert {"mount", "unshare", "setns", "ptrace", "bpf", "keyctl"} <= set(
        by_action["SCMP_ACT_ERRNO"]
    )
    assert by_action["SCMP_ACT_TRACE"] == ["clone3"]  # without a tracer: ENOSYS, so clone is used
    bits = [rule["args"][0]["value"] for rule in told["syscalls"] if rule["args"]]
    assert sum(bits) == 0x7E020000  # every CLONE_NEW… but that of time, which clone has not
    assert told["defaultAction"] == "SCMP_ACT_ALLOW"
    assert json.loads(seccomp.profile("aarch64"))["architectures"] == []
