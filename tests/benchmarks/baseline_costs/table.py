"""Brings what was measured into the table that ships (`harness/campaigns/throughput.json`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from harness.campaigns.throughput import (
    TABLE,
    Anomalib,
    CostRow,
    Device,
    Machine,
    OperationCounts,
    Table,
)
from harness.entries.opening import open_folder
from tests.benchmarks.baseline_costs.settings import costly, full_size

BASELINES = Path(__file__).resolve().parents[3] / "baselines"
DIGITS = 4  # significant ones: more is noise


def write(report: Mapping[str, Any], path: Path = TABLE) -> None:
    """Rows of the report replace those of the same baseline and kind of device; others stay."""
    table = Table.model_validate_json(path.read_bytes())
    merged = merge(table, report)
    told = json.dumps(_rounded(merged.model_dump(exclude_defaults=True)), indent=1)
    path.write_text(told + "\n", encoding="utf-8")


def merge(table: Table, report: Mapping[str, Any]) -> Table:
    """The table with the report's rows; what was measured under other settings is left out."""
    counts = dict(table.counts)
    for entry, told in report["counts"].items():
        found = OperationCounts.model_validate(told)
        if found.settings == costly(full_size(open_folder(BASELINES / entry), "brain")):
            counts[entry] = found
    measured = dict(table.measured)
    for kind, device in report["devices"].items():
        if device.get("changes"):
            print(f"{kind} was measured under other settings: left out", file=sys.stderr)
            continue
        if "failed" in device.get("loading", {"failed": ""}):
            continue
        before = measured[kind].entries if kind in measured else {}
        fresh = {
            entry: row_of(parts)
            for entry, parts in device["entries"].items()
            if "failed" not in parts.get("ours", {"failed": ""})
        }
        fields = Machine.model_fields.keys() & device["machine"].keys()
        measured[kind] = Device(
            machine=Machine(**{name: device["machine"][name] for name in fields}),
            loading_seconds=device["loading"],
            entries=dict(sorted({**before, **fresh}.items())),
        )
    return Table(presumed=table.presumed, counts=dict(sorted(counts.items())), measured=measured)


def row_of(parts: Mapping[str, Any]) -> CostRow:
    """One baseline's measurements as the table has them."""
    ours, training = parts["ours"], parts["ours"].get("training", {})
    phases, spans = training.get("phases", []), training.get("spans", {})
    answers = ours["prediction"]
    images = ours["images"]
    whole = training.get("fit_seconds", 0.0) / images  # of a method that reports nothing between
    passed = spans.get("first pass", [0.0])[0] / images if phases else whole
    theirs = parts.get("anomalib", {})
    return CostRow(
        batch_size=ours["batch_size"] or 1,
        phase_seconds=tuple(phase["loop_seconds"] / phase["loop_images"] for phase in phases),
        bare_seconds=tuple(phase["bare_seconds"] / phase["bare_images"] for phase in phases),
        ratios=tuple(median(phase["ratios"]) for phase in phases),
        pass_seconds=training.get("pass_seconds_per_image", passed),
        extraction_seconds=training.get("extraction_seconds_per_image"),
        fitting_seconds=_fitting(training, answers),
        judging_seconds=spans.get("judging pass", [0.0])[-1] / images,
        state_seconds=max(spans.get("state", [0.0])),
        start_up_seconds=ours["start_up_seconds"],
        prediction_seconds={name: told["median_seconds"] for name, told in answers.items()},
        prediction_p90_seconds={name: told["p90_seconds"] for name, told in answers.items()},
        first_prediction_seconds=next(iter(answers.values()))["first_seconds"],
        peak_ram_mib=ours["memory"]["peak_ram_mib"],
        peak_torch_mib=ours["memory"].get("torch_allocated_mib"),
        peak_reserved_mib=ours["memory"].get("torch_reserved_mib"),
        peak_gpu_mib=parts.get("host", {}).get("peak_gpu_mib"),
        anomalib=Anomalib(seconds_per_image=theirs["seconds_per_image"], workers=theirs["workers"])
        if theirs.get("seconds_per_image")
        else None,
    )


def _fitting(training: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, float]:
    """What comes after the one pass: PatchCore's selection by benchmark, PaDiM's inversions."""
    if "fitting_seconds" in training:
        return {"any": training["fitting_seconds"]}
    return {
        name: told["selection"]["seconds"] for name, told in answers.items() if "selection" in told
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
