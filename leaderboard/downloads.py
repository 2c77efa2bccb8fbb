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
from harness.board.suite_rows import WholeRow
from harness.board.tidy_rows import regime_cells, supervision_cells
from harness.records.record import Record
from leaderboard import formats
from leaderboard.paper import Reported, by_cell, difference

SCHEMA_VERSION = 1
REGIME_COLUMNS = ("regime", "suite", "shots", "delivery", "member")
SIBLING_COLUMNS = ("one_class", "one_class_difference", "one_class_low", "one_class_high")
"""Of a unified value: the one-class mean under the same delivery, and unified less one-class."""
SUPERVISION_COLUMNS = (
    "labels", "shots_normal", "shots_abnormal", "foreign_labels", "contamination",
)  # fmt: skip
CSV_COLUMNS = (
    "source", "benchmark", "entry", "title", "track", "isolation", "isolation_lacks", "ranked",
    "unranked_reason", "patients_independent", "status", "audit", "seeds", "metric", "grid", "mean", "std", "reason", "rank", "paper_difference",
    "seconds_per_image", "seconds_less_echo", "peak_gpu_mib", "peak_ram_mib", "weights", "weight_files",
    "identity", "pack_version", "harness_commit", *REGIME_COLUMNS, *SUPERVISION_COLUMNS, *SIBLING_COLUMNS,
)  # fmt: skip
SIBLING_KEY = ("place", "entry", "track", "isolation")
Scalar = str | int | float | bool | None


def row_key(record: Record) -> tuple[str, str, str, str]:
    """The row that a record belongs to: place (benchmark and regime), entry, track, isolation."""
    return (
        record.place,
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
        "rows": [
            *(_row(row) for row in material.rows),
            *(
                _row(row) | {"benchmark": whole.row.benchmark, "member": member}
                for whole in material.regimes.rows
                for member, row in whole.parts
            ),
        ],
        "siblings": [
            dict(zip(SIBLING_KEY, key, strict=True)) | vars(each)
            for key, differences in sorted(material.regimes.siblings.items())
            for each in differences
        ],
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
    lines += [line for whole in material.regimes.rows for line in _whole(whole, material)]
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
        "not_applicable": [vars(each) for each in row.not_applicable],
        "regime": row.regime.without_draw().model_dump(mode="json"),
        "supervision": row.supervision and row.supervision.model_dump(mode="json"),
        "labels": row.labels.value,
        "contamination": row.contamination.value,
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


def _whole(whole: WholeRow, material: Material) -> list[dict[str, Scalar]]:
    """A row of another regime: one line per metric, of a suite for each of its parts."""
    siblings = {
        (each.member, each.metric, each.grid): each
        for each in material.regimes.siblings.get(whole.key, ())
    }
    lines = []
    for member, row in whole.parts:
        for metric in row.metrics or (None,):
            line = _measured(row, metric, None)
            line |= {"benchmark": whole.row.benchmark, "member": member}
            found = siblings.get((member or "", metric.id, metric.grid)) if metric else None
            if found is not None:
                told = (found.sibling, found.difference, found.low, found.high)
                line |= dict(zip(SIBLING_COLUMNS, told, strict=True))
            lines.append(line)
    return lines


def _measured(row: Row, metric: MetricSummary | None, points: float | None) -> dict[str, Scalar]:
    ended = dict.fromkeys(each.status.value for each in row.without_result)
    line: dict[str, Scalar] = {
        "source": "measured",
        "benchmark": row.benchmark,
        "entry": row.entry,
        "title": row.title,
        "track": row.track,
        "isolation": row.isolation,
        "isolation_lacks": "; ".join(row.lacks) or None,
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
        **supervision_cells(row),
        **regime_cells(row),
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
