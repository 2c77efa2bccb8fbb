"""What a reader can take along: one JSON, one CSV, and the records of open packs.

Traps: a CSV is opened in spreadsheets, which run a text that starts like a formula;
JSON must not hold NaN; records of hidden packs are never among the files.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from harness.board.rows import MetricSummary, Row
from harness.board.site_data import Material
from harness.records.record import Record
from leaderboard import formats
from leaderboard.paper import Reported, by_cell, difference

SCHEMA_VERSION = 1
CSV_COLUMNS = (
    "source", "benchmark", "entry", "title", "track", "isolation", "ranked", "unranked_reason", "patients_independent",
    "status", "audit", "seeds", "metric", "grid", "mean", "std", "reason", "rank", "paper_difference",
    "seconds_per_image", "seconds_less_echo", "peak_gpu_mib", "peak_ram_mib", "weights", "weight_files",
    "identity", "pack_version",
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
    material: Material, paper: Sequence[Reported], *, version: str, commit: str | None
) -> str:
    """All rows and the paper's values; metrics are fractions, undefined ones null with a reason.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    head = {
        "schema_version": SCHEMA_VERSION,
        "is_made_up": material.is_made_up,
        "harness": {"version": version, "commit": commit},
    }
    lists = {
        "rows": [_row(row) for row in material.rows],
        "waiting": [vars(each) for each in material.waiting],
        "paper": [vars(value) for value in paper],
    }
    # One line per item: small enough to load, and a difference shows which row changed.
    parts = [f"{_json(key)}: {_json(value)}" for key, value in head.items()]
    parts += [
        f"{_json(key)}: [\n" + ",\n".join(_json(item) for item in items) + "\n]"
        for key, items in lists.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _json(value: object) -> str:
    # In ASCII: what a text hides or turns round is a number in this file, and the text still whole.
    return json.dumps(value, sort_keys=True, allow_nan=False)


def leaderboard_csv(material: Material, paper: Sequence[Reported]) -> str:
    """One line per row and metric, then the paper's values; metrics are fractions."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    reported = by_cell(paper)
    lines = [
        _measured(row, metric, difference(row, metric.id, reported) if metric else None)
        for row in material.rows
        for metric in row.metrics or (None,)
    ]
    lines += [_reported(value) for value in paper]
    for line in lines:
        if material.is_made_up:
            line["source"] = f"made up, {line['source']}"
        writer.writerow([_cell(line.get(column)) for column in CSV_COLUMNS])
    return out.getvalue()


def _row(row: Row) -> dict[str, object]:
    """A row with its rank as a number; who ties with whom is in the comparison's own file."""
    return {
        **vars(row),
        "failures": [vars(failure) for failure in row.failures],
        "metrics": [
            {name: value for name, value in vars(metric).items() if name != "standing"}
            | {
                "seeds": [vars(seed) for seed in metric.seeds],
                "rank": metric.rank,
                "ties": None if metric.standing is None else len(metric.standing.ties),
            }
            for metric in row.metrics
        ],
    }


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
        "patients_independent": row.are_patients_independent,
        "status": " ".join(ended) or "ok",
        "audit": " ".join(row.audits),
        "seeds": len(row.seeds),
        "seconds_per_image": row.seconds_per_image,
        "seconds_less_echo": row.seconds_less_echo,
        "peak_gpu_mib": row.peak_gpu_mib,
        "peak_ram_mib": row.peak_ram_mib,
        "weights": row.weights,
        "weight_files": "; ".join(row.weight_files),
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
