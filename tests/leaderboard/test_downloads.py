"""The JSON and the CSV that a reader takes along."""

from __future__ import annotations

import csv
import io
import json
import math

from leaderboard.paper import read_paper


def lines_of(folder):
    return list(csv.DictReader(io.StringIO((folder / "data/leaderboard.csv").read_text())))


def test_the_csv_holds_every_metric_and_the_paper(build_site, make_record):
    record = make_record()
    lines = lines_of(build_site([record]))
    measured = {(x["metric"], x["grid"]): x for x in lines if x["source"] == "measured"}
    assert {key: float(line["mean"]) for key, line in measured.items()} == {
        (metric.id, metric.grid or ""): metric.value for metric in record.metrics
    }
    assert len(lines) == len(record.metrics) + len(read_paper())


def test_the_csv_gives_the_difference_on_the_papers_grid_alone(build_site, make_record):
    lines = lines_of(build_site([make_record()]))
    found = {
        (x["metric"], x["grid"]): x["paper_difference"]
        for x in lines
        if x["source"] == "measured" and x["metric"] == "pixel_auroc"
    }
    assert found["pixel_auroc", "native"] == ""
    assert math.isclose(float(found["pixel_auroc", "paper"]), 0.96512 - 0.9697, abs_tol=1e-12)


def test_the_json_is_versioned_and_says_who_built_it(build_site, make_record):
    content = json.loads((build_site([make_record()]) / "data/leaderboard.json").read_text())
    assert content["schema_version"] == 1
    assert content["harness"] == {"version": "0.1.0", "commit": "c0ffee"}
    assert content["rows"][0]["metrics"][0]["seeds"][0]["value"] == 0.91649
    assert len(content["paper"]) == len(read_paper())


def test_a_row_without_a_metric_is_still_a_line(build_site, make_record):
    from harness.common.statuses import Status

    lines = lines_of(build_site([make_record(status=Status.CRASHED)]))
    assert [line["status"] for line in lines if line["source"] == "measured"] == ["crashed"]
