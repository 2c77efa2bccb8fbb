"""Attacks 6, 7 and 17 on real containers: learning from the stream, looking ahead, changing sides."""

from __future__ import annotations

import pytest

from harness import evaluate
from harness.board.site_data import is_trivial
from harness.common.statuses import Status
from harness.publishing.site_build import default_site_folder
from harness.records.store import Store
from tests.hostile.conftest import ENTRIES, HOSTILE

BASELINES = HOSTILE.parents[1] / "baselines"
FOLDERS = sorted(path.parent for path in BASELINES.glob("*/entry.toml"))
TRIVIAL = [
    folder for folder in FOLDERS if 'family = "trivial"' in (folder / "entry.toml").read_text()
]

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("name", "options", "verdict"),
    [
        ("running_mean", [], "adapts to the test set"),
        ("turncoat", ["--set", "after=12"], "adapts to the test set"),
        ("noise", [], "not reproducible"),
    ],
)  # fmt: skip
def test_6_and_17_what_hangs_on_the_stream_is_found_and_marked(
    attack, name, options, verdict
) -> None:
    run = attack(name, "--audit", *options, site=True)
    assert run.record.is_ok
    assert run.record.audit is not None
    assert run.record.audit.verdict == verdict
    assert run.record.audit.images == 24
    assert f"ok, unranked, {verdict}" in run.terminal
    pages = "".join(path.read_text() for path in default_site_folder(run.results).rglob("*.html"))
    assert f'<small class="remark">{verdict}</small>' in pages
    assert f"Audit: {verdict}." in pages


@pytest.mark.parametrize("entry", ["honest", "map_only", "score_only", "trainer"])
def test_6_honest_entries_pass_the_audit(attack, entry) -> None:
    run = attack(ENTRIES / entry, "--audit")
    assert run.record.audit is not None
    assert run.record.audit.verdict == "passed", run.record.audit
    assert run.record.answers is not None


@pytest.mark.parametrize(
    "folder",
    [pytest.param(f, marks=[] if f in TRIVIAL else [pytest.mark.slow], id=f.name) for f in FOLDERS],
)
def test_6_the_baselines_pass_the_audit(folder, tmp_path, monkeypatch, cache, open_small) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    options = ["--engine", "process", "--audit", "--no-site", "--results", str(tmp_path)]
    options += ["--pack", str(open_small.root)]
    if folder not in TRIVIAL:
        options += ["--preset", "demo"]
    assert evaluate.main([str(folder), *options]) == 0
    (record,) = Store(tmp_path).records()
    assert record.audit is not None
    assert record.audit.verdict == "passed", record.audit


def test_6_a_strangers_image_is_audited_without_being_asked_to(attack, docker_engine) -> None:
    from harness.entries.identity import folder_identity

    folder = HOSTILE / "running_mean"
    program = docker_engine.prepare_folder(folder, "running_mean", folder_identity(folder))
    run = attack(program.image, "--as", "strange")
    assert run.record.entry.kind == "image"
    assert run.record.audit.verdict == "adapts to the test set"


def test_7_looking_ahead_ends_at_the_first_image(attack) -> None:
    run = attack("look_ahead", image_seconds=1.5)
    assert run.record.outcome.status is Status.IMAGE_TIMEOUT
    assert run.record.outcome.answered == 0
    assert "image 1" in run.record.outcome.detail


def test_the_trivial_baselines_are_known_as_such() -> None:
    assert len(TRIVIAL) >= 5
    assert is_trivial({"family": "trivial"})
