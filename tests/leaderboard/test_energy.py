"""Joules on the pages and in the downloads: what was counted, and why where nothing was."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from typing import Any

import pytest

from harness.board.public_rows import published
from harness.board.rows import summarise
from harness.board.tidy_rows import TIDY_COLUMNS
from harness.common.statuses import Status
from harness.records.energy import EnergyGap
from leaderboard import energy, formats
from leaderboard.downloads import ENERGY_COLUMNS

ROOT_ALONE = "the counter may be read by root alone"


def part(
    of: str,
    per_image: float | None,
    train: float | None = None,
    *,
    is_shared: bool = False,
    gap: EnergyGap = EnergyGap.NOT_PERMITTED,
) -> dict[str, Any]:
    """What one counter told of a run; None as a number is a gap."""

    def counted(joules: float | None) -> dict[str, Any]:
        return {"reason": gap} if joules is None else {"joules": joules}

    return {
        "of": of, "source": "a counter", "covers": "all of it", "is_shared": is_shared,
        "total": counted(None if per_image is None else 1e6), "per_image": counted(per_image),
        "train": counted(train),
    }  # fmt: skip


def table_of(html: str) -> list[list[str]]:
    """The cells of the first table of energy, line by line."""
    table = re.search(r'<table class="numbers energy">.*?</table>', html, re.S)
    rows = re.findall(r"<tr>(.*?)</tr>", table[0] if table else "", re.S)
    cell = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.S)
    return [[unescape(re.sub("<[^>]*>", "", each)) for each in cell.findall(row)] for row in rows]


@pytest.fixture
def two_seeds(make_record):
    return [
        make_record(seed=0, energy=[part("gpu", 10.0, 4e6), part("processor", 2.0, 1e6)]),
        make_record(
            seed=1,
            energy=[part("gpu", 14.0, 5e6, is_shared=True), part("processor", None)],
            times__train=3000.0,
        ),
    ]


def test_a_row_holds_means_over_the_runs_that_were_counted_and_says_why_others_were_not(two_seeds):
    (row,) = summarise(two_seeds)
    assert (row.gpu_joules_per_image, row.gpu_train_joules) == (12.0, 4.5e6)
    assert (row.processor_joules_per_image, row.processor_train_joules) == (2.0, 1e6)
    assert row.energy_gaps == (f"processor: {ROOT_ALONE}",)
    assert row.is_energy_shared


def test_a_run_that_failed_or_that_an_older_harness_recorded_counts_nowhere(make_record):
    failed = make_record(status=Status.CRASHED, energy=[part("gpu", 10.0)])
    for record in (failed, make_record()):
        (row,) = summarise([record])
        assert row.gpu_joules_per_image is row.processor_train_joules is None
        assert (row.energy_gaps, row.is_energy_shared) == ((), False)


def test_of_a_hidden_pack_two_digits_are_told(make_record):
    told = [part("gpu", 12.345, 4.5678e6), part("processor", 2.345, 1.2345e6)]
    (row,) = published(summarise([make_record(visibility="hidden", energy=told)]))
    assert (row.gpu_joules_per_image, row.gpu_train_joules) == (12, 4.6e6)
    assert (row.processor_joules_per_image, row.processor_train_joules) == (2.3, 1.2e6)


@pytest.mark.parametrize(
    ("benchmark", "page"), [("brain", "cost.html"), ("harbour", "benchmarks/harbour.html")]
)
def test_the_table_has_the_least_first_a_dash_for_what_was_not_meant_and_na_for_what_is_missing(
    build_site, make_record, two_seeds, benchmark, page
):
    on_cpu = make_record(entry="padim", title="PaDiM", energy=[part("processor", 3.0, 900.0)])
    frugal = make_record(
        entry="stfpm", title="STFPM", energy=[part("gpu", 9.994, 1e5), part("processor", None)]
    )
    silent = make_record(entry="cfa", title="CFA", energy=[part("processor", None)])
    records = [
        each.model_copy(update={"pack": each.pack.model_copy(update={"benchmark": benchmark})})
        for each in (*two_seeds, on_cpu, frugal, silent)
    ]
    folder = build_site(records)
    html = (folder / page).read_text()
    head, *lines = table_of(html)
    assert head == ["Method", *energy.HEADS, "Remarks"]
    missing = f"processor: {ROOT_ALONE}"
    assert lines == [
        ["STFPM", "9.99 J", "NA", "100 kJ", "NA", missing],
        ["PatchCore", "12.0 J", "2.00 J", "4.50 MJ", "1.00 MJ", f"{energy.SHARED}; {missing}"],
        ["PaDiM", "–", "3.00 J", "–", "900 J", ""],
    ]
    assert "guide.html#energy" in html
    if page == "cost.html":  # the benchmark's own page would be too large with it
        own = (folder / "benchmarks/brain.html").read_text()
        assert table_of(own) == []
        assert 'href="../cost.html#energy-brain"' in own
        assert 'id="energy-brain"' in html


def test_where_nothing_was_counted_there_is_no_table(build_site, make_record):
    folder = build_site([make_record()])
    for page in ("cost.html", "benchmarks/brain.html"):
        assert "numbers energy" not in (folder / page).read_text()
    assert "not recorded" in (folder / "entries/patchcore.html").read_text()


def test_an_entrys_page_tells_each_run_with_the_reason_where_there_is_none(build_site, two_seeds):
    page = unescape((build_site(two_seeds) / "entries/patchcore.html").read_text())
    assert "GPU 10.0 J per image, 4.00 MJ training; processor 2.00 J per image, 1.00 MJ" in page
    assert f"5.00 MJ training, {energy.SHARED}; processor NA: {ROOT_ALONE}" in page


def test_the_downloads_hold_every_digit(build_site, two_seeds):
    folder = build_site(two_seeds)
    line = next(csv.DictReader(io.StringIO((folder / "data/leaderboard.csv").read_text())))
    told = dict(zip(ENERGY_COLUMNS, map(line.__getitem__, ENERGY_COLUMNS), strict=True))
    assert told == {
        "gpu_joules_per_image": "12.0", "processor_joules_per_image": "2.0",
        "gpu_train_joules": "4500000.0", "processor_train_joules": "1000000.0",
        "is_energy_shared": "true", "energy_gaps": f"processor: {ROOT_ALONE}",
    }  # fmt: skip
    (row,) = json.loads((folder / "data/leaderboard.json").read_text())["rows"]
    assert row["gpu_joules_per_image"] == 12.0
    assert row["energy_gaps"] == [f"processor: {ROOT_ALONE}"]
    assert set(ENERGY_COLUMNS) <= set(TIDY_COLUMNS)


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (0.031, "0.03 J"), (9.994, "9.99 J"), (9.996, "10.0 J"), (12.34, "12.3 J"), (999.4, "999 J"),
        (999.6, "1.00 kJ"), (4567, "4.57 kJ"), (999_400, "999 kJ"), (999_900, "1.00 MJ"), (1.26e9, "1260 MJ"),
    ],
)  # fmt: skip
def test_joules_are_told_in_the_unit_of_a_reader(joules, text):
    assert formats.energy(joules) == text
