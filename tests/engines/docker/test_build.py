"""Images of source folders: built once, found again, believed only when they are our own."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from io import BytesIO
from pathlib import Path

import pytest

from harness.common import source_files
from harness.common.errors import EntryInvalid, EnvironmentFault
from harness.engines.base import Launch, Limits
from harness.engines.docker import DockerEngine, build
from harness.engines.oci import baselines_base
from tests.engine_images import ROOT, locked

DOCKERFILE = "ARG BASE\nFROM ${BASE}\nCOPY . /entry\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "method"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "model.py").write_text("")
    return folder


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    """An entry that runs, as its author writes it: without a Dockerfile."""
    return Path(shutil.copytree(ROOT / "tests/sample_entries/honest", tmp_path / "honest"))


@pytest.mark.engine
def test_an_image_is_built_once_and_again_when_its_identity_changes(engine, folder) -> None:
    first = engine.prepare_folder(folder, "test-once", "folder:sha256:1")
    (folder / "model.py").write_text("changed = True")
    assert engine.prepare_folder(folder, "test-once", "folder:sha256:1") == first
    second = engine.prepare_folder(folder, "test-once", "folder:sha256:2")
    assert second.image != first.image
    assert second.identity != first.identity


@pytest.mark.engine
def test_a_tag_that_points_elsewhere_is_not_believed(engine, folder, script_program) -> None:
    built = engine.prepare_folder(folder, "test-moved", "folder:sha256:1")
    tag = next(
        name
        for name in engine.client.inspect_image(built.image)["RepoTags"]
        if "test-moved" in name
    )
    engine.client.tag(script_program.image, *tag.split(":"), force=True)
    assert engine.prepare_folder(folder, "test-moved", "folder:sha256:1").image == built.image


@pytest.mark.engine
def test_a_build_that_fails_shows_its_last_lines(engine, folder) -> None:
    with (folder / "Dockerfile").open("a") as file:
        file.write("RUN echo the reason; exit 3\n")
    with pytest.raises(EntryInvalid, match="the reason") as caught:
        engine.prepare_folder(folder, "test-broken", "folder:sha256:1")
    assert "returned a non-zero code: 3" in caught.value.what
    assert caught.value.where.endswith("method/Dockerfile")


@pytest.mark.engine
def test_a_folder_with_a_link_is_refused(engine, folder) -> None:
    (folder / "data").symlink_to("/etc")
    with pytest.raises(EntryInvalid, match="link"):
        engine.prepare_folder(folder, "test-link", "folder:sha256:1")


@pytest.mark.engine
def test_a_folder_without_dockerfile_runs_the_model_that_its_entry_toml_names(
    engine, honest
) -> None:
    program = engine.prepare_folder(honest, "test-default", "folder:sha256:1")
    assert first_line(engine, program)["name"] == "honest"


@pytest.mark.engine
def test_a_folder_with_a_dockerfile_of_its_own_runs_as_that_says(engine, honest) -> None:
    own = """ENTRYPOINT ["python", "-c", "print('[4711]')"]"""
    (honest / "Dockerfile").write_text(f"ARG BASE\nFROM ${{BASE}}\n{own}\n")
    program = engine.prepare_folder(honest, "test-own", "folder:sha256:1")
    assert first_line(engine, program) == [4711]


@pytest.mark.engine
def test_an_image_finds_the_weights_that_it_holds_where_it_says(engine, honest) -> None:
    own = """ENTRYPOINT ["python", "-c", "import json, os; print(json.dumps(dict(os.environ)))"]"""
    caches = "ENV TORCH_HOME=/opt/torch HF_HOME=/tmp/hf NUMBA_CACHE_DIR=/opt/numba"
    (honest / "Dockerfile").write_text(f"ARG BASE\nFROM ${{BASE}}\n{caches}\n{own}\n")
    program = engine.prepare_folder(honest, "test-caches", "folder:sha256:1")
    seen = first_line(engine, program)
    assert seen["TORCH_HOME"] == "/opt/torch"
    assert seen["HF_HOME"].startswith("/tmp/.cache")
    assert seen["NUMBA_CACHE_DIR"].startswith("/tmp/.cache")
    assert seen["HF_HUB_OFFLINE"] == "1"


@pytest.mark.engine
def test_another_default_dockerfile_is_another_identity_and_another_image(
    engine, honest, monkeypatch
) -> None:
    first = engine.prepare_folder(honest, "test-default", "folder:sha256:1")
    other = build.DEFAULT_DOCKERFILE + "LABEL other=1\n"
    for module in (build, baselines_base):
        monkeypatch.setattr(module, "DEFAULT_DOCKERFILE", other)
    second = engine.prepare_folder(honest, "test-default", "folder:sha256:1")
    assert second.image != first.image
    assert second.identity != first.identity
    assert second.identity == engine.folder_identity("folder:sha256:1")


@pytest.mark.engine
def test_a_failed_build_without_a_dockerfile_names_the_folder(engine, honest, monkeypatch) -> None:
    monkeypatch.setattr(build, "DEFAULT_DOCKERFILE", "ARG BASE\nFROM ${BASE}\nRUN exit 3\n")
    with pytest.raises(EntryInvalid, match="non-zero code: 3") as caught:
        engine.prepare_folder(honest, "test-broken", "folder:sha256:1")
    assert caught.value.where == str(honest)


def first_line(engine, program) -> object:
    """What a program says first when it is asked to describe itself."""
    with engine.start(Launch(program, "describe", limits=Limits(threads=1))) as running:
        running.close_input()
        return json.loads(running.receive_line(1 << 16, time.monotonic() + 60))


def test_a_context_is_the_same_bytes_whoever_packs_it_and_when(folder, tmp_path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    (copied / "__pycache__").mkdir()
    (copied / "__pycache__" / "model.pyc").write_bytes(b"cache")
    (copied / "model.py").chmod(0o700)
    packed = build._folder_context(folder)
    assert packed == build._folder_context(copied)
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        assert tar.getnames() == ["Dockerfile", "model.py"]
        assert tar.extractfile("Dockerfile").read() == DOCKERFILE.encode()
        assert {member.uid for member in tar} == {member.mtime for member in tar} == {0}


def test_a_context_holds_the_files_of_the_identity_and_no_other(folder) -> None:
    (folder / "helper.pyc").write_bytes(b"code")
    for name in source_files.LEFT_OUT - {".DS_Store"}:
        (folder / "part" / name).mkdir(parents=True)
        (folder / "part" / name / "swapped.py").write_text("labels = {}")
    (folder / ".dockerignore").write_text("model.py")
    (folder / ".hidden").write_text("seen by all")
    with tarfile.open(fileobj=BytesIO(build._folder_context(folder))) as tar:
        names = tar.getnames()
    assert names == [".hidden", "Dockerfile", "helper.pyc", "model.py"]
    assert names == [path.name for path in source_files.source_files(folder)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """A small stand-in for the repository: one package in the extra, and the real Dockerfile.gpu."""
    root = tmp_path / "project"
    for name in ("harness/contract", "baselines/kit"):
        (root / name).mkdir(parents=True)
    for name in ("harness/__init__.py", "baselines/__init__.py", "baselines/kit/maps.py"):
        (root / name).touch()
    (root / "baselines/kit/__init__.py").touch()
    shutil.copytree(ROOT / "harness/contract", root / "harness/contract", dirs_exist_ok=True)
    shutil.copy(ROOT / "Dockerfile.gpu", root)
    (root / "requirements.lock").write_text(locked("uv") + locked("packaging") + locked("idna"))
    write_extra(root, "packaging>=20")
    for module in (build, baselines_base):
        monkeypatch.setattr(module, "REPOSITORY", root)
    return root


def write_extra(root: Path, *packages: str, more: str = "") -> None:
    extras = f"[project.optional-dependencies]\nbaselines = {json.dumps(packages)}\n"
    (root / "pyproject.toml").write_text(f'[project]\nname = "x"\n{extras}{more}')


def test_the_base_is_named_by_what_is_in_it_and_nothing_else(project, monkeypatch) -> None:
    first = build.baselines_base()
    write_extra(project, "packaging>=20", more="[tool.ruff]\nline-length = 80\n")
    assert build.baselines_base() == first
    seen = {first.identity}
    changes = {
        "kit": lambda: (project / "baselines/kit/maps.py").write_text("x = 1"),
        "contract": (project / "harness/contract/new.py").touch,
        "lock": lambda: (project / "requirements.lock").write_text("y"),
        "extra": lambda: write_extra(project, "packaging>=20", "idna"),
        "base": lambda: monkeypatch.setenv("BMAD_BASE_IMAGE", "another:base"),
        "cuda": lambda: monkeypatch.setenv("BMAD_TORCH_BACKEND", "cu126"),
    }
    for name, change in changes.items():
        change()
        identity = build.baselines_base().identity
        assert identity not in seen, name
        seen.add(identity)


@pytest.mark.engine
def test_the_base_holds_the_extra_at_its_locked_version_and_no_other_package(
    engine, project, python_base, monkeypatch
) -> None:
    monkeypatch.setenv("BMAD_BASE_IMAGE", python_base)
    base = build.ensure_base(engine.client)
    begin = time.monotonic()
    assert build.ensure_base(engine.client) == base
    assert time.monotonic() - begin < 1
    found = installed_packages(engine.client, base.tag)
    assert found == {"packaging": locked("packaging").split()[0].partition("==")[2]}


@pytest.mark.engine
def test_a_lock_that_changes_elsewhere_installs_nothing_again(
    engine, project, python_base, monkeypatch
) -> None:
    monkeypatch.setenv("BMAD_BASE_IMAGE", python_base)
    first = build.ensure_base(engine.client)
    with (project / "requirements.lock").open("a") as file:
        file.write(locked("click"))
    second = build.ensure_base(engine.client)
    assert second != first
    layers = [engine.client.inspect_image(base.tag)["RootFS"]["Layers"] for base in (first, second)]
    assert layers[0] == layers[1]


def installed_packages(client, tag: str) -> dict[str, str]:
    """Names and versions of what Python finds in an image, run without network as nobody."""
    code = (
        "import importlib.metadata as m, json, baselines.kit\n"
        "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions()}))\n"
    )
    container = client.create_container(
        tag, ["-c", code], entrypoint=["python"], user="65534", network_disabled=True
    )
    try:
        client.start(container)
        client.wait(container)
        return json.loads(client.logs(container, stderr=False))
    finally:
        client.remove_container(container, force=True)


@pytest.mark.engine
def test_a_file_that_is_not_the_locked_one_is_never_installed(
    engine, project, python_base, monkeypatch
) -> None:
    monkeypatch.setenv("BMAD_BASE_IMAGE", python_base)
    version = locked("packaging").split()[0]
    forged = f"{version} \\\n    --hash=sha256:{'0' * 64}\n"
    (project / "requirements.lock").write_text(locked("uv") + forged)
    with pytest.raises(EnvironmentFault, match="BMAD_BUILD_CA") as caught:
        build.ensure_base(engine.client)
    assert "Hash mismatch" in caught.value.what


@pytest.mark.engine
def test_the_baselines_stand_on_one_base_and_the_second_takes_seconds(
    python_base, monkeypatch
) -> None:
    """Builds the torch image where it is not there yet: minutes, once per machine."""
    monkeypatch.setenv("BMAD_BASE_IMAGE", python_base)
    engine = DockerEngine()
    seconds, layers = [], []
    for name in ("template", "padim"):
        begin = time.monotonic()
        program = engine.prepare_folder(ROOT / "baselines" / name, f"test-{name}", f"x:{name}")
        seconds.append(time.monotonic() - begin)
        layers.append(engine.client.inspect_image(program.image)["RootFS"]["Layers"])
    assert seconds[1] < 30
    assert layers[0][:-1] == layers[1][:-1]
    found = installed_packages(engine.client, program.image)
    assert {"torch", "torchvision", "anomalib", "freia", "timm", "scikit-learn"} <= set(found)
    wrong = {
        name: version
        for name, version in found.items()
        if locked(name.replace(".", "-")).split()[0] != f"{name}=={version}"
    }
    assert wrong == {}
    launch = Launch(program, "describe", limits=Limits(threads=1))
    with engine.start(launch) as running:
        running.close_input()
        told = json.loads(running.receive_line(1 << 16, time.monotonic() + 60))
        assert told["name"] == "padim"
        assert running.wait(time.monotonic() + 30).code == 0
