"""What a reader can take along: one JSON, one CSV, and the records of open packs.

Traps: a CSV is opened in spreadsheets, which run a text that starts like a formula;
JSON must not hold NaN; records of hidden packs are never among the files.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from harness.records import Record
from harness.statistics import MetricSummary, Row
from leaderboard import formats
from leaderboard.paper import Reported, by_cell, difference

SCHEMA_VERSION = 1
CSV_COLUMNS = (
    "source", "benchmark", "entry", "title", "track", "isolation", "ranked", "unranked_reason",
    "status", "seeds", "metric", "grid", "mean", "std", "reason", "rank", "paper_difference",
    "seconds_per_image", "peak_gpu_mib", "peak_ram_mib", "weights", "identity", "pack_version",
    "harness_commit",
)  # fmt: skip
Scalar = str | int | float | bool | None


def row_key(record: Record) -> tuple[str, str, str, str]:
    """The row that a record belongs to: benchmark, entry, track, isolation."""
    return (
        record.pack.benchmark,
        record.entry.name,
        record.track,
        record.machine.isolation,
    )


def record_path(record: Record) -> str:
    """Where the copy of a record lies in the site.

    The run key is part of the name: the same seed may stand on the site twice.
    """
    folder = "/".join(formats.file_stem(name) for name in row_key(record)[:2])
    return f"data/records/{folder}/seed-{record.seed}-{formats.short_hash(record.run_key)}.json"


def record_text(record: Record) -> str:
    """A record as the store writes it."""
    return record.model_dump_json(indent=1) + "\n"


def leaderboard_json(
    rows: Sequence[Row], paper: Sequence[Reported], *, version: str, commit: str | None
) -> str:
    """All rows and the paper's values; metrics are fractions, undefined ones null with a reason.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "harness": {"version": version, "commit": commit},
        "rows": [asdict(row) for row in rows],
        "paper": [asdict(value) for value in paper],
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def leaderboard_csv(rows: Sequence[Row], paper: Sequence[Reported]) -> str:
    """One line per row and metric, then the paper's values; metrics are fractions."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    reported = by_cell(paper)
    lines = [
        _measured(row, metric, difference(row, metric.id, reported) if metric else None)
        for row in rows
        for metric in row.metrics or (None,)
    ]
    lines += [_reported(value) for value in paper]
    for line in lines:
        writer.writerow([_cell(line.get(column)) for column in CSV_COLUMNS])
    return out.getvalue()


def _measured(row: Row, metric: MetricSummary | None, points: float | None) -> dict[str, Scalar]:
    ended = dict.fromkeys(failure.status.value for failure in row.failures)
    line: dict[str, Scalar] = {
        "source": "measured",
        "benchmark": row.benchmark,
        "entry": row.entry,
        "title": row.title,
        "track": row.track,
        "isolation": row.isolation,
        "ranked": row.ranked,
        "unranked_reason": row.unranked_reason,
        "status": " ".join(ended) or "ok",
        "seeds": len(row.seeds),
        "seconds_per_image": row.seconds_per_image,
        "peak_gpu_mib": row.peak_gpu_mib,
        "peak_ram_mib": row.peak_ram_mib,
        "weights": row.weights,
        "identity": " ".join(row.identities),
        "pack_version": " ".join(row.packs),
        "harness_commit": " ".join(row.commits),
    }
    if metric is not None:
        line |= {
            "metric": metric.id,
            "grid": metric.grid,
            "mean": metric.mean,
            "std": metric.std,
            "reason": metric.reason or metric.std_reason,
            "rank": metric.rank,
            "paper_difference": points if metric.grid != "native" else None,
        }
    return line


def _reported(value: Reported) -> dict[str, Scalar]:
    return {
        "source": f"paper, {value.table}",
        "benchmark": value.benchmark,
        "title": value.method,
        "metric": value.metric,
        "mean": value.mean,
        "std": value.std,
        "reason": "NA in the paper" if value.mean is None else None,
    }


def _cell(value: Scalar) -> str:
    """A cell; only texts can be formulas, so numbers keep their sign."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return formats.csv_text(value)
    return repr(value)
