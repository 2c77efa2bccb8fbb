"""`python -m harness.site`: from folders of records to a front page."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.board.comparison import comparison_bytes, comparison_path
from harness.common.errors import StoreUnusable
from harness.publishing.site_build import build_site as site_of
from harness.publishing.site_build import gather, waiting
from harness.records.store import Store
from harness.site import main
from tests.record_factory import KNOWN, comparison
from tests.reviewed_sets import all_reviewed


@pytest.fixture
def results(tmp_path, make_record):
    folder = tmp_path / "results"
    for seed in (0, 1):
        record = make_record(seed=seed)
        path = folder / "brain" / "patchcore" / f"seed-{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.model_dump_json(indent=1) + "\n")
    return folder


def test_the_site_lies_beside_the_results(results):
    index = site_of(results)
    assert index == results.parent / "site" / "index.html"
    assert "PatchCore" in index.read_text()
    assert (index.parent / "entries/patchcore.html").is_file()


def test_published_records_stand_on_the_same_site_and_count_once(results, tmp_path):
    index = site_of(results, tmp_path / "out", published=results)
    assert "1 measured entry, 2 runs" in index.read_text()


def test_the_verb_prints_the_front_page(results, tmp_path, capsys):
    arguments = ["--results", str(results), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--records", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "index.html")


def test_a_record_that_was_changed_is_refused(results, tmp_path):
    path = results / "brain/patchcore/seed-0.json"
    path.write_text(path.read_text().replace("0.91649", "0.99999"))
    with pytest.raises(StoreUnusable, match="changed"):
        site_of(results)


def test_a_missing_results_folder_gives_the_papers_table(tmp_path):
    index = site_of(tmp_path / "none", tmp_path / "site", published=tmp_path / "none")
    assert "Nothing measured yet" in index.read_text()


def test_two_processes_write_the_same_bytes(results, tmp_path, repository):
    folders = [tmp_path / "first", tmp_path / "second"]
    for seed, folder in enumerate(folders):
        subprocess.run(
            [sys.executable, "-m", "harness.site", "--results", str(results), "--out", str(folder)],
            check=True, capture_output=True, cwd=repository, env={"PYTHONHASHSEED": str(seed), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    trees = [
        {str(p.relative_to(f)): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in folders
    ]
    assert trees[0] == trees[1]


def save(folder, made):
    path = comparison_path(folder, made.benchmark)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(comparison_bytes(made))


def test_ranks_are_shown_while_the_comparison_is_of_these_records(results, tmp_path, make_record):
    reviewed = all_reviewed(Store(results).records())
    save(results, comparison(Store(results).records()))
    material = gather(results, tmp_path / "none", KNOWN, reviewed)
    assert material.outdated == ()
    assert material.rows[0].metric("image_auroc", None).rank == 1
    assert material.overall["localisation", "patchcore", "trained-here"].average_rank == 1.0
    (results / "brain/patchcore/seed-1.json").unlink()
    material = gather(results, tmp_path / "none", KNOWN, reviewed)
    assert material.outdated == ("brain",)
    assert material.rows[0].metric("image_auroc", None).rank is None
    assert material.overall == {}


def test_a_record_that_lies_in_both_folders_is_one_run(results):
    material = gather(results, results, KNOWN)
    assert len(material.records) == 2
    assert [row.seeds for row in material.rows] == [(0, 1)]


def test_a_folder_that_may_not_be_written_is_still_shown(results, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert len(gather(results, tmp_path / "none", KNOWN).records) == 2


def test_submissions_without_a_record_wait_by_date(tmp_path):
    def submit(name, **more):
        fields = {
            "name": name,
            "title": name.upper(),
            "image": f"r.example/{name}@sha256:{'0' * 64}",
            **more,
        }
        lines = "\n".join(f'{key} = "{value}"' for key, value in fields.items())
        (tmp_path / f"{name}.toml").write_text(f"[entry]\n{lines}\n")

    submit("late", submitted="2026-03-02")
    submit("early", submitted="2026-03-01")
    submit("undated")
    submit("done", submitted="2026-01-01")
    (tmp_path / "broken.toml").write_text("[entry")
    found = waiting(tmp_path, {"done"})
    assert [each.name for each in found] == ["early", "late", "undated"]
    assert found[0].title == "EARLY"
