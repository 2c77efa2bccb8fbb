"""`python -m harness.site`: from folders of records to a front page."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.errors import StoreUnusable
from harness.site import build_site as site_of
from harness.site import main


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
