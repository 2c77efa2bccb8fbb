"""From runs to the site: a suite, its one-class siblings under the same delivery, and a few shots."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness import evaluate
from harness.benchmarks import demo_pack
from harness.board.sibling_files import sibling_path
from harness.publishing.publication import publish_siblings
from harness.publishing.site_build import build_site, gather
from harness.records.store import Store
from tests.paths import ENTRIES


@pytest.mark.slow
def test_the_site_of_real_runs_has_differences_with_intervals_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    own = demo_pack(tmp_path / "cache", seed="x", name="own").root
    suite = tmp_path / "pair.toml"
    suite.write_text('name = "pair"\nmembers = ["demo", "own"]\n')
    results = tmp_path / "results"
    call = [str(ENTRIES / "trainer"), "--engine", "process", "--results", str(results), "--no-site"]
    assert evaluate.main([*call, "--suite", str(suite), "--pack", str(own)]) == 0
    assert evaluate.main([*call, "--delivery", "256"]) == 0
    assert evaluate.main([*call, "--train", "shots:2"]) == 0

    lacking = gather(results, tmp_path / "none").regimes
    (found,) = lacking.siblings.values()
    reasons = {each.member: each.reason for each in found if each.metric == "image_auroc"}
    assert reasons["demo"] is None
    assert "no one-class run" in (reasons["own"] or "")

    assert evaluate.main([*call, "--delivery", "256", "--pack", str(own)]) == 0
    material = gather(results, tmp_path / "none")
    (found,) = material.regimes.siblings.values()
    told = {(each.member, each.metric): each for each in found}
    for member in ("demo", "own", "mean"):
        one = told[member, "image_auroc"]
        assert one.low is not None
        assert one.difference is not None
        assert one.high is not None
        assert one.low <= one.difference <= one.high
    assert material.rows == ()  # nothing of it is of the main table

    kept = sibling_path(results, _place(results), "trainer")
    before = kept.read_bytes()
    page = build_site(results, tmp_path / "site", published=tmp_path / "none").parent
    assert kept.read_bytes() == before
    html = (page / "unified.html").read_text()
    assert re.search(r"Δ [−+]?\d+\.\d\d \[[−+]?\d+\.\d\d, [−+]?\d+\.\d\d\]", html)
    assert (page / "few-shot-2.html").is_file()

    # What is published has no evidence, and its intervals all the same.
    public = Store(tmp_path / "public")
    for path in Store(results).record_paths():
        target = public.root / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (written,) = publish_siblings(Store(results), public)
    assert written.read_bytes() == before
    assert publish_siblings(Store(results), public) == []
    (shown,) = gather(tmp_path / "none", public.root).regimes.siblings.values()
    assert shown == found


def _place(results: Path) -> str:
    (folder,) = (results / "comparisons" / "siblings").iterdir()
    return folder.name
