"""A stranger's image on a maintainer's sealed pack, from the queue to the public board."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import publish, queue
from harness.benchmarks import Pack, open_pack
from harness.board.reviews import review
from harness.common.statuses import Status
from harness.entries.opening import open_entry
from harness.entries.reviewed import NOTHING_REVIEWED, ReviewedSet
from harness.entries.submissions import archive_file_hash, submission_text, write_new
from harness.publishing.publication import record_problems
from harness.publishing.site_build import build_site
from harness.records.store import Store
from harness.records.supervision import Supervision
from tests.engine_images import LightDockerEngine
from tests.entries.test_submissions import table
from tests.hostile.conftest import small_pack
from tests.paths import ENTRIES
from tests.record_factory import KNOWN

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> LightDockerEngine:
    return LightDockerEngine()


@pytest.fixture
def sealed(tmp_path: Path) -> Pack:
    return small_pack(
        tmp_path / "cache", tmp_path / "sealed", visibility="hidden", seed="of this test alone"
    )


def submit_archive(engine: LightDockerEngine, folder: Path, name: str) -> None:
    """An image that no registry holds, as its author hands it over."""
    program = engine.prepare_folder(ENTRIES / name, name, f"folder:sha256:{name}")
    archive = folder / f"{name}.tar"
    folder.mkdir(exist_ok=True)
    engine.save_archive(program, archive)
    pinned = {"archive_hash": archive_file_hash(archive), "content": program.content}
    write_new(
        folder / f"{name}.toml",
        submission_text(table(name, archive=archive.name, **pinned), supervision=Supervision()),
    )


def test_a_submission_is_ranked_on_a_sealed_pack_and_published_in_its_public_form(
    engine, sealed, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.engines.choose_engine", lambda _: engine)
    submissions, results = tmp_path / "submissions", tmp_path / "results"
    submit_archive(engine, submissions, "honest")
    submit_archive(engine, submissions, "crashing")
    place = ["--submissions", str(submissions), "--results", str(results)]
    files = [open_entry(str(path)) for path in sorted(submissions.glob("*.toml"))]
    merged = ReviewedSet(submissions={entry.name: entry for entry in files})
    monkeypatch.setattr("harness.entries.reviewed.protected_branch", lambda *_, **__: merged)
    options = [*place, "--pack", str(sealed.root), "--no-site", "--json"]
    assert queue.main(["run", *options]) == 4  # one of the two fails
    jobs = {job["entry"]: job for job in json.loads(capsys.readouterr().out)}
    assert {name: job["state"] for name, job in jobs.items()} == {
        "crashing": "failed", "honest": "finished",
    }  # fmt: skip

    records = {record.entry.name: record for record in Store(results).records()}
    assert records["crashing"].outcome.status is Status.CRASHED
    honest = records["honest"]
    assert (honest.track, honest.ranked) == ("sealed", True)
    assert honest.audit is not None
    assert honest.audit.verdict == "passed"

    # What these tests run from may have changes that are not committed; a maintainer's may not.
    clean = honest.source.model_copy(update={"commit": "0" * 40})
    monkeypatch.setattr(
        "harness.publishing.publication.DIRTY", "dirty checkouts are told apart elsewhere"
    )
    board = tmp_path / "board"
    assert publish.main(["add", "--results", str(results), "--records", str(board)], KNOWN) == 0
    published = {record.entry.name: record for record in Store(board).records()}
    assert published["honest"].public is not None
    made = published["honest"].model_copy(update={"source": clean})
    assert record_problems(made, review(made, merged), KNOWN) == []
    assert "unreviewed" in review(made, NOTHING_REVIEWED).reasons
    assert {path.suffix for path in board.rglob("*") if path.is_file()} == {".json"}
    assert open_pack(sealed.root, tmp_path / "cache").version == honest.pack.version

    index = build_site(tmp_path / "none", tmp_path / "site", published=board, known=KNOWN)
    assert "sealed" in index.read_text()
    exact = honest.metric("image_auroc", None)
    rounded = published["honest"].metric("image_auroc", None)
    assert rounded.value == pytest.approx(exact.value, abs=rounded.step)
    assert str(exact.value) not in index.read_text()
