"""`start`: every form conforms as it is written, and says what is left to say."""

from __future__ import annotations

import json
import subprocess
import textwrap
from pathlib import Path

import pytest

from harness import check, start
from harness.common.declared_text import FILL_IN, text_problems
from harness.common.errors import EntryInvalid, UsageError
from harness.entries.opening import open_entry
from harness.entries.starting import RECIPES
from tests import engine_images
from tests.engine_images import LightDockerEngine
from tests.paths import REPOSITORY

NETWORK = textwrap.dedent(
    """
    from torch import nn

    class Small(nn.Module):
        def __init__(self, width=4, *, depth=1):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Upsample(scale_factor=2),
                nn.Conv2d(width, 3, 3, 1, 1),
            )

        def forward(self, x):
            return self.layers(x)

    class Needy(nn.Module):
        def __init__(self, width, depth=2, *, height):
            super().__init__()
    """
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path / "net.py"


def started(folder: Path, form: str) -> Path:
    assert start.main([str(folder), "--from", form]) == 0
    return folder


def conforms(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    capsys.readouterr()
    code = check.main([str(folder), "--engine", "process", "--limit", "threads=1", *options])
    verdict: dict = json.loads(capsys.readouterr().out)
    assert code == 0, verdict
    assert verdict["conforms"]
    return verdict


def test_the_template_under_another_name_conforms_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    folder = started(tmp_path / "new/my-method", "template")
    template = REPOSITORY / "baselines/template"
    told = (folder / "entry.toml").read_text()
    assert told.replace('"my-method"', '"template"', 1) == (template / "entry.toml").read_text()
    assert (folder / "model.py").read_bytes() == (template / "model.py").read_bytes()
    assert conforms(folder, capsys)["entry"] == "my-method"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch", *RECIPES])
def test_a_network_conforms_as_it_is(
    form: str, tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    told = f"torch:{network}:Small" if form == "torch" else f"anomalib:{form}"
    verdict = conforms(started(tmp_path / "mine", told), capsys)
    assert verdict["metrics"]["image_auroc"] is not None
    assert verdict["metrics"]["pixel_auroc"] is not None


@pytest.mark.engine
def test_an_image_builds_on_the_projects_own_base_and_conforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    engine = LightDockerEngine()
    base = engine_images.authors_base(engine.client)  # a Python, and neither `pip` nor `python`
    folder = started(tmp_path / "started-image", "image")
    command = ["docker", "build", "--quiet", "--network", "host", "--build-arg", f"BASE={base}"]
    subprocess.run([*command, "--tag", "localhost/started-image", str(folder)], check=True)
    try:
        capsys.readouterr()
        assert check.main(["localhost/started-image"]) == 0
        verdict = json.loads(capsys.readouterr().out)
        assert verdict["conforms"]
        assert verdict["limits"]["memory_mib"] == 16384
    finally:
        subprocess.run(["docker", "rmi", "--force", "localhost/started-image"], check=True)


@pytest.mark.parametrize("form", ["anomalib:Padim", "anomalib:Stfpm", "torch", "image"])
def test_what_is_left_to_say_is_marked_and_cannot_be_submitted(
    form: str, tmp_path: Path, network: Path
) -> None:
    folder = started(tmp_path / "mine", f"torch:{network}:Small" if form == "torch" else form)
    assert FILL_IN in (folder / "README.md").read_text()
    if form == "image":
        assert FILL_IN in (folder / "Dockerfile").read_text()
        return
    entry = open_entry(str(folder))
    assert entry.name == "mine"
    assert FILL_IN in (folder / "model.py").read_text()
    compile((folder / "model.py").read_text(), "model.py", "exec")
    problems = text_problems(entry.table.model_dump())
    assert any("not filled in" in problem for problem in problems)
    assert (
        entry.settings("demo").params["image_size"] < entry.settings("brain").params["image_size"]
    )


def test_what_cannot_be_written_is_told_with_what_can(tmp_path: Path, network: Path) -> None:
    def refused(kind: type[Exception], form: str, name: str = "mine") -> tuple[str, str]:
        with pytest.raises(kind) as caught:
            start.main([str(tmp_path / name), "--from", form])
        assert not (tmp_path / name).exists() or name == "there"
        assert not list(tmp_path.glob(".writing-*"))
        return caught.value.what, caught.value.fix  # type: ignore[attr-defined]

    what, fix = refused(UsageError, "anomalib:PatchCor")
    assert "PatchCor" in what
    assert "did you mean Patchcore?" in fix
    assert "Padim" in refused(UsageError, "anomalib:Draem")[1]
    assert "torch:FILE:CLASS" in refused(UsageError, "anomalib")[1]
    assert "did you mean image?" in refused(UsageError, "imag")[1]
    assert "no form" in refused(UsageError, "template:x")[0]
    assert "no form" in refused(UsageError, "torch:Small")[0]
    assert "did you mean Small?" in refused(EntryInvalid, f"torch:{network}:Smal")[1]
    what, fix = refused(EntryInvalid, f"torch:{network}:Needy")
    assert "width, height" in what
    assert "default" in fix
    assert "cannot be read" in refused(EntryInvalid, f"torch:{tmp_path / 'none.py'}:Small")[0]
    network.write_text("class Small(")
    assert "cannot be read" in refused(EntryInvalid, f"torch:{network}:Small")[0]
    (tmp_path / "there").mkdir()
    assert "exists already" in refused(UsageError, "image", "there")[0]
    refused(UsageError, "image", "Not A Name")
