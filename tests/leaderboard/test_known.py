"""What the pages say of packs that are no known release, and of patients that nobody told."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from harness.publishing.site_build import benchmark_cards
from tests.leaderboard.test_pages import row_of, text_of

INDEPENDENT = (
    "an image whose patient is not known counts as a patient of its own, as the pack's maker states"
)
VALUES = {("image_auroc", None): 0.876543, ("pixel_auroc", "paper"): 0.9}
MARKED = {
    "benchmark": "brain~ababab", "ranked": False, "unranked_reason": "not a known release of brain",
}  # fmt: skip


@pytest.fixture
def folder(build_site, make_record) -> Path:
    return build_site([make_record(**MARKED, metrics=VALUES)], cards=benchmark_cards())


def test_a_stand_in_is_shown_beside_no_row_of_the_benchmark_and_says_why(folder):
    (page,) = folder.glob("benchmarks/brain-ababab--*.html")
    told = text_of(page.read_text())
    assert "Brain MRI ~ababab" in told
    assert "These images are not a known release of brain, whatever their folder says" in told
    assert "unranked: not a known release of brain" in told
    assert benchmark_cards()["brain"].licence in told  # what the benchmark's images are under
    plain = text_of((folder / "benchmarks/brain.html").read_text())
    assert "87.65" in told
    assert "87.65" not in plain


def test_a_stand_in_has_no_difference_to_the_paper_and_the_reason(folder, build_site, make_record):
    front = (folder / "index.html").read_text()
    cells = row_of(front, "own-localisation.patchcore.trained-here.container")
    assert "not comparable with the paper" in cells
    assert "87.65" in cells
    entry = text_of((folder / "entries/patchcore.html").read_text())
    assert "Not comparable with the paper: not a known release of brain." in entry
    assert entry.count("not comparable with the paper: not a known release of brain") == 2
    assert "No method of the paper has been measured yet" in (folder / "paper.html").read_text()
    lines = csv.DictReader(io.StringIO((folder / "data/leaderboard.csv").read_text()))
    measured = [line for line in lines if line["source"] == "measured"]
    assert {line["benchmark"] for line in measured} == {"brain~ababab"}
    assert {line["paper_difference"] for line in measured} == {""}
    real = build_site([make_record()], name="real", cards=benchmark_cards())
    assert "not comparable" not in (real / "index.html").read_text()


def test_the_command_that_repeats_it_names_the_benchmark_as_a_user_types_it(folder):
    page = (folder / "entries/patchcore.html").read_text()
    assert "--benchmark brain --data-root DIR" in page


def test_a_maker_who_says_that_patients_are_independent_is_quoted_on_the_rows(
    build_site, make_record
):
    stated = make_record(
        benchmark="ours", pack__patients_stated="independent", pack__patients_digest="none"
    )
    folder = build_site([stated, make_record(entry="padim", title="PaDiM", benchmark="ours")])
    front = (folder / "index.html").read_text()
    assert INDEPENDENT in text_of(
        row_of(front, "own-localisation.patchcore.trained-here.container")
    )
    assert INDEPENDENT not in row_of(front, "own-localisation.padim.trained-here.container")
    entry = text_of((folder / "entries/patchcore.html").read_text())
    assert f"Intervals: {INDEPENDENT}." in entry
    assert entry.count(INDEPENDENT) > 1  # beside the number of resampled units, too
    assert INDEPENDENT not in text_of((folder / "entries/padim.html").read_text())


def test_of_a_hidden_pack_it_is_said_as_well(build_site, make_record):
    hidden = make_record(
        benchmark="clinic", visibility="hidden", track="sealed", pack__patients_stated="independent"
    )
    page = text_of((build_site([hidden]) / "entries/patchcore.html").read_text())
    assert INDEPENDENT in page
