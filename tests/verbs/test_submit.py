"""Submitting, with real containers: the README's example, and what is refused with the reason."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.errors import DockerException

from harness import evaluate, submit
from harness.benchmarks import demo_pack
from harness.common.errors import EntryFailed, EntryInvalid, UsageError
from harness.engines.oci import archive
from harness.entries.opening import open_entry
from harness.entries.program import prepare_program
from harness.entries.submissions import find_archive
from harness.records.record import Record
from harness.records.supervision import Supervision
from tests import engine_images
from tests.engine_images import LightDockerEngine
from tests.engines.docker.test_images import (
    gzip_bomb,
    layer_of_a_terabyte,
    link_that_leads_out,
    path_upwards,
)
from tests.engines.registry import Registry, local_registry
from tests.paths import ENTRIES

WHO = ["--authors", "A. Author", "--paper", "none", "--code", "none", "--licence", "MIT"]
# What an image's author is asked besides; a folder says it in its entry.toml.
HAD_LEARNED_FROM = [
    "--shots-normal", "0", "--shots-abnormal", "0", "--foreign-labels", "none",
    "--contamination", "default=none",
]  # fmt: skip
Submit = Callable[..., Path]

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> LightDockerEngine:
    return LightDockerEngine()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    demo_pack(folder)
    return folder


@pytest.fixture
def submit_to(
    engine: LightDockerEngine, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Submit:
    """The verb itself, with small images for folders; the path of the written file."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setattr("harness.engines.choose_engine", lambda _: engine)

    def call(entry: object, name: str, *more: object) -> Path:
        asked = [] if Path(str(entry)).is_dir() else HAD_LEARNED_FROM
        options = [entry, "--name", name, *WHO, *asked, "--submissions", tmp_path / "submissions"]
        options += more
        assert submit.main([str(option) for option in options]) == 0
        return tmp_path / "submissions" / f"{name}.toml"

    return call


@pytest.fixture(scope="module")
def honest(engine: LightDockerEngine) -> str:
    """Image id of an entry that keeps the contract."""
    return engine.prepare_folder(ENTRIES / "honest", "honest", "folder:sha256:honest").image


@pytest.fixture
def tagged(engine: LightDockerEngine) -> Iterator[Callable[[str, str], str]]:
    """Give an image another name; removed afterwards."""
    names: list[str] = []

    def tag(image: str, name: str) -> str:
        engine.client.tag(image, *name.rsplit(":", 1))
        names.append(name)
        return name

    yield tag
    for name in dict.fromkeys(names):
        with contextlib.suppress(DockerException):
            engine.client.remove_image(name)


def variant(engine: LightDockerEngine, image: str, tmp_path: Path, text: str) -> str:
    """Another image on top of one."""
    folder = tmp_path / re.sub(r"\W", "-", text)
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {image}\n{text}\n")
    command = ["docker", "build", "--quiet", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def registry(engine: LightDockerEngine) -> Iterator[Registry]:
    with local_registry() as served:
        yield served


def readme_blocks(repository: Path, place: Path) -> dict[str, list[str]]:
    text = (repository / "submissions/README.md").read_text().replace("/tmp/my-method", str(place))
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        found.setdefault(language, []).append(block)
    return found


def shims(folder: Path, base: str, target: Path) -> str:
    """`docker` and `python` as the README writes them, on this machine's base and into `target`."""
    folder.mkdir()
    scripts = {
        "python": f'case "$2" in harness.submit) set -- "$@" --submissions {shlex.quote(str(target))};;'
        f' esac\nexec {shlex.quote(sys.executable)} "$@"\n',
        "docker": f'[ "$1" != build ] || {{ shift; set -- build --network host --build-arg BASE={base} "$@"; }}\n'
        f'PATH={os.environ["PATH"]} exec docker "$@"\n',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_the_readmes_example_goes_from_nothing_to_a_record(
    engine: LightDockerEngine,
    cache: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, target = tmp_path / "my-method", tmp_path / "submissions"
    blocks = readme_blocks(repository, place)
    (program,), (dockerfile,) = blocks["python"], blocks["dockerfile"]
    first, build_and_check, submit_it = blocks["sh"]
    # A base that holds a Python and no more: neither `pip` nor `python`.
    path = shims(tmp_path / "bin", engine_images.authors_base(engine.client), target)
    environment = os.environ | {"PATH": path, "BMAD_CACHE": str(cache)}

    def shell(script: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", script], cwd=repository, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shell(first)
    assert (place / "entry.py").read_text() == program
    assert (place / "Dockerfile").read_text() == dockerfile
    try:
        checked = shell(build_and_check)
        verdict = json.loads(checked[checked.index("{\n") :])
        assert verdict["conforms"]
        told = shell(submit_it)
    finally:
        with contextlib.suppress(DockerException):
            engine.client.remove_image("my-method")
    written = target / "my-method.toml"
    assert f"wrote {written}" in told
    assert "pull request" in told
    assert open_entry(str(written)).table.archive == "my-method.tar"

    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setenv("BMAD_ARCHIVES", str(place))
    options = ["--engine", "docker", "--results", str(tmp_path / "r"), "--json", "--no-site"]
    capsys.readouterr()
    assert evaluate.main([str(written), "--benchmark", "demo", *options]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert Record.model_validate(record).entry.kind == "submission"
    assert record["track"] == "open"

    (place / "my-method.tar").write_bytes(b"another")
    with pytest.raises(EntryInvalid, match="not the one that was submitted"):
        evaluate.main([str(written), "--benchmark", "demo", *options])


def test_a_pushed_image_is_pinned_by_the_digest_that_its_registry_confirms(
    engine: LightDockerEngine,
    submit_to: Submit,
    registry: Registry,
    honest: str,
    tmp_path: Path,
    tagged: Callable[[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "harness.running.submitting._check", lambda *_: None
    )  # the example's test checks
    archive = tmp_path / "honest.tar"
    archive.write_bytes(b"".join(engine.client.get_image(honest)))
    digest = registry.push_archive("v1", archive)
    name = f"localhost:{registry.port}/honest"
    tagged(honest, f"{name}:v2")  # a name in that registry alone was never pushed
    with pytest.raises(EntryInvalid, match=r"docker push .* --archive"):
        submit_to(f"{name}:v2", "honest")
    engine.client.remove_image(f"{name}:v2")
    engine.client.pull(name, tag="v1")
    tagged(honest, f"{name}:v1")
    table = open_entry(str(submit_to(f"{name}:v1", "honest"))).table
    assert table.image == f"{name}@{digest}"

    # attack 20: the same image under another name is refused with the first's
    with pytest.raises(EntryInvalid, match="on the board already, as honest"):
        submit_to(f"{name}:v1", "renamed")
    relabelled = tagged(variant(engine, honest, tmp_path, "LABEL a=b"), "localhost/relabelled:1")
    with pytest.raises(EntryInvalid, match="on the board already, as honest"):
        submit_to(relabelled, "relabelled")


def test_a_tag_that_moves_between_check_and_run_is_refused(
    engine: LightDockerEngine,
    submit_to: Submit,
    honest: str,
    tmp_path: Path,
    tagged: Callable[[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = tagged(honest, "localhost/moving:1")
    other = variant(engine, honest, tmp_path, "ENV A=b")
    monkeypatch.setattr("harness.running.submitting._check", lambda *_: tagged(other, name))
    with pytest.raises(EntryInvalid, match="moved to another image"):
        submit_to(name, "moving", "--archive", tmp_path / "moving.tar")
    assert not list(tmp_path.glob("submissions/*"))
    assert not (tmp_path / "moving.tar").exists()

    # and after the approval: what runs is not what was checked
    monkeypatch.setattr("harness.running.submitting._check", lambda *_: None)
    written = submit_to(name, "moving", "--archive", tmp_path / "moving.tar")
    text = written.read_text()
    pinned = open_entry(str(written)).table
    moved = text.replace(f'archive = "{pinned.archive}"', f'image = "{honest}"').replace(
        f'archive_hash = "{pinned.archive_hash}"\n', ""
    )
    written.write_text(moved)
    with pytest.raises(EntryInvalid, match="not the one that was submitted"):
        prepare_program(open_entry(str(written)), engine)
    written.write_text(moved.replace(honest, other))
    assert prepare_program(open_entry(str(written)), engine).image == other


def test_a_folder_is_checked_copied_and_pinned(
    submit_to: Submit, engine: LightDockerEngine, tmp_path: Path
) -> None:
    written = submit_to(ENTRIES / "honest", "honest")
    entry = open_entry(str(written))
    assert entry.kind == "folder"
    assert entry.folder == tmp_path / "submissions/honest"
    assert prepare_program(entry, engine).identity.startswith("folder:sha256:")
    with pytest.raises(EntryInvalid, match="not overwritten"):
        submit_to(ENTRIES / "honest", "honest")


def test_all_problems_are_told_at_once_and_nothing_is_written(
    submit_to: Submit,
    engine: LightDockerEngine,
    honest: str,
    tmp_path: Path,
    tagged: Callable[[str, str], str],
) -> None:
    image = variant(engine, honest, tmp_path, 'VOLUME ["/cache"]')
    name = tagged(image, "localhost/bad:1")
    with pytest.raises(EntryInvalid) as caught:
        submit_to(
            name, "bad", "--code", "javascript:alert(1)", "--title", "<b>x", "--licence", "=1"
        )
    text = str(caught.value)
    assert "4 problems" in text
    for part in ("title", "code", "licence", "VOLUME /cache"):
        assert part in text
    assert not (tmp_path / "submissions").exists()


def test_what_an_image_had_learned_from_is_asked_and_a_folder_says_it_itself(
    submit_to: Submit, engine: LightDockerEngine, honest: str, tmp_path: Path,
    tagged: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("harness.running.submitting._check", lambda *_: None)
    name, target = tagged(honest, "localhost/silent:1"), str(tmp_path / "submissions")
    call = [name, "--name", "silent", *WHO, "--submissions", target]
    call += ["--archive", str(tmp_path / "silent.tar")]
    with pytest.raises(EntryInvalid) as caught:
        submit.main([*call, "--shots-normal", "4"])
    text = str(caught.value)
    assert "--shots-abnormal, --foreign-labels, --contamination are missing" in text
    assert "unknown" in text
    wrong = [*HAD_LEARNED_FROM[:4], "--foreign-labels", "VisA", "--contamination", "brain=pixels"]
    with pytest.raises(EntryInvalid) as caught:
        submit.main([*call, *wrong])
    for part in ("'VisA' does not read as 'data set:split'", "contamination.brain"):
        assert part in str(caught.value)
    told = ["--foreign-labels", "VisA:test", "--contamination", "default=unknown", "rsna=images"]
    assert submit.main([*call, "--shots-normal", "4", "--shots-abnormal", "all", *told]) == 0
    declared = open_entry(str(tmp_path / "submissions/silent.toml")).supervision
    assert declared == Supervision.model_validate(
        {"shots_normal": 4, "shots_abnormal": "all", "foreign_labels": ["VisA:test"],
         "contamination": {"default": "unknown", "rsna": "images"}}
    )  # fmt: skip
    folder = tmp_path / "honest"
    shutil.copytree(ENTRIES / "honest", folder)
    with pytest.raises(EntryInvalid, match="--shots-normal is for images"):
        submit_to(folder, "honest", "--shots-normal", "0")
    text = (folder / "entry.toml").read_text()
    (folder / "entry.toml").write_text(text.partition("[supervision]")[0])
    with pytest.raises(EntryInvalid, match="it declares no supervision"):
        submit_to(folder, "honest")


def test_everything_about_a_folder_is_told_before_anything_is_built(
    submit_to: Submit, engine: LightDockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "prepare_folder", lambda *_: pytest.fail("it was built"))
    folder = tmp_path / "mine"
    shutil.copytree(ENTRIES / "honest", folder)  # it calls itself honest
    (folder / "Dockerfile").write_text("FROM debian:12\nRUN true\n")
    (folder / "table.bin").write_bytes(bytes(100))
    with pytest.raises(EntryInvalid) as caught:
        submit.main([str(folder), "--submissions", str(tmp_path / "s")])
    text = str(caught.value)
    for part in (
        "the folder is 'mine'",
        "ARG BASE",
        "table.bin",
        "--authors",
        "--paper",
        "--code",
        "--licence",
    ):
        assert part in text
    told = (folder / "entry.toml").read_text()
    (folder / "entry.toml").write_text(
        told.replace('"honest"', '"mine"', 1) + "\n[limits]\npid = 3\n"
    )
    with pytest.raises(EntryInvalid, match="did you mean pids"):
        submit_to(folder, "mine")
    (folder / "entry.toml").write_text(told.replace('"honest"', '"mine"', 1))
    with pytest.raises(EntryInvalid) as caught:
        submit_to(folder, "mine", "--limit", "memory_mib=10000000", "--limit", "checkpoints=7")
    text = str(caught.value)
    for part in ("ARG BASE", "table.bin", "at most 65536", "checkpoints is the same for all"):
        assert part in text


def test_a_corrected_version_takes_the_place_of_the_first(
    submit_to: Submit,
    engine: LightDockerEngine,
    honest: str,
    tmp_path: Path,
    tagged: Callable[[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.running.submitting._check", lambda *_: None)
    archive = tmp_path / "mine.tar"
    one = tagged(honest, "localhost/mine:1")
    more = ["--archive", archive, "--pretraining", "ImageNet", "--limit", "memory_mib=32768"]
    with pytest.raises(UsageError, match="no submission 'mine' to update"):
        submit_to(one, "mine", "--archive", archive, "--update")
    first = open_entry(str(submit_to(one, "mine", *more)))
    content = archive.read_bytes()
    with pytest.raises(EntryInvalid, match="--update"):
        submit_to(one, "mine", "--archive", tmp_path / "other.tar")

    two = tagged(variant(engine, honest, tmp_path, "ENV A=2"), "localhost/mine:2")
    options = [
        two,
        "--name",
        "mine",
        "--archive",
        archive,
        "--submissions",
        tmp_path / "submissions",
    ]
    with pytest.raises(EntryInvalid, match="and stays so"):
        submit.main([str(each) for each in (*options, "--update", "--team", "Another")])
    assert (
        submit.main([str(each) for each in (*options, "--update", "--paper", "https://a.example")])
        == 0
    )
    second = open_entry(str(tmp_path / "submissions/mine.toml"))
    assert second.table.content != first.table.content
    assert second.table.earlier == (first.table.pinned,)
    assert (second.table.submitted, second.table.team) == (first.table.submitted, "A. Author")
    assert second.table.updated
    assert second.table.pretraining == "ImageNet"  # what is not given stays
    assert second.table.paper == "https://a.example"
    assert second.limits == {"memory_mib": 32768}
    assert second.supervision == first.supervision == Supervision.model_validate(
        {"shots_normal": 0, "shots_abnormal": 0, "foreign_labels": [],
         "contamination": {"default": "none"}}
    )  # fmt: skip
    # the first archive is kept under its hash, and is what the first file's pin finds
    assert find_archive(first.table, archive.with_suffix(".toml")).read_bytes() == content
    assert find_archive(second.table, archive.with_suffix(".toml")) == archive


def test_a_corrected_folder_replaces_the_copy_that_was_reviewed(
    submit_to: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.running.submitting._check", lambda *_: None)
    folder = tmp_path / "honest"
    shutil.copytree(ENTRIES / "honest", folder, ignore=shutil.ignore_patterns("__pycache__"))
    first = open_entry(str(submit_to(folder, "honest")))
    with (folder / "model.py").open("a") as file:
        file.write("\n# corrected\n")
    assert (
        submit.main([str(folder), "--submissions", str(tmp_path / "submissions"), "--update"]) == 0
    )
    second = open_entry(str(tmp_path / "submissions/honest.toml"))
    assert second.table.earlier == (first.table.pinned,)
    assert (tmp_path / "submissions/honest/model.py").read_text().endswith("# corrected\n")
    assert second.table.licence == "MIT"


def test_an_entry_that_breaks_the_contract_is_not_submitted_and_its_log_is_shown(
    submit_to: Submit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EntryFailed, match="does not keep the contract"):
        submit_to(ENTRIES / "crashing", "crashing")
    assert "Traceback" in capsys.readouterr().err
    assert not (tmp_path / "submissions").exists()


def test_an_archive_that_is_a_bomb_or_leads_out_is_refused_before_it_is_loaded(
    submit_to: Submit, engine: LightDockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 21: sizes and members are looked at first, and nothing is unpacked by path."""
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 2_000_000)
    before = {image["Id"] for image in engine.client.images(all=True)}
    for make, reason in (
        (gzip_bomb, "unpacks to more than"),
        (layer_of_a_terabyte, "unpacks to more than"),
        (path_upwards, "outside"),
        (link_that_leads_out, "not in it"),
    ):
        with pytest.raises(EntryInvalid, match=reason):
            submit_to(make(tmp_path / "bad.tar"), "bad")
    assert {image["Id"] for image in engine.client.images(all=True)} <= before
    assert not (tmp_path / "submissions").exists()


def test_a_folder_with_a_binary_cannot_be_reviewed(submit_to: Submit, tmp_path: Path) -> None:
    folder = tmp_path / "honest"
    folder.mkdir()
    for path in (ENTRIES / "honest").iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "table.bin").write_bytes(bytes(1000))
    (folder / "long.txt").write_text("a" * (1024**2 + 1))
    with pytest.raises(EntryInvalid) as caught:
        submit_to(folder, "honest")
    assert "table.bin is not a text file" in str(caught.value)
    assert "long.txt is larger than 1 MiB" in str(caught.value)


def test_a_submission_is_never_checked_without_a_container(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in a container"):
        submit.main([str(ENTRIES / "honest"), "--engine", "process"])
