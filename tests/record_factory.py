"""Made-up records, for everything that reads records."""

from __future__ import annotations

from typing import Any

from harness.board.comparison import Column, Comparison, Standing
from harness.board.rows import ranked_records, summarise
from harness.common.statuses import Status
from harness.records.record import Record, content_hash

Metrics = dict[tuple[str, str | None], float | None]

LOCALISATION: Metrics = {
    ("image_auroc", None): 0.91649,
    ("image_ap", None): 0.9312,
    ("pixel_auroc", "native"): 0.96971,
    ("pixel_auroc", "paper"): 0.96512,
    ("pixel_pro", "native"): 0.85678,
    ("pixel_pro", "paper"): 0.85555,
    ("dice_at_0.5", "native"): 0.32821,
    ("dice_at_0.5", "paper"): 0.32711,
    ("dice_max", "native"): 0.5123,
    ("dice_max", "paper"): 0.5111,
}


def record(
    *,
    entry: str = "patchcore",
    title: str = "PatchCore",
    benchmark: str = "brain",
    seed: int = 0,
    metrics: Metrics | None = None,
    status: Status = Status.OK,
    detail: str = "",
    track: str = "trained-here",
    isolation: str = "container",
    visibility: str = "open",
    ranked: bool = True,
    unranked_reason: str | None = None,
    params: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    interval: float | None = 0.01,
    gpu_mib: float | None = 2150.0,
    median_seconds: float = 0.0312,
    **changes: Any,
) -> Record:
    """A sealed record; every argument has a plausible default.

    Args:
        metrics: value by (id, grid); None as a value is an undefined metric.
        interval: half width of every interval; None for no intervals.
        changes: other fields of the record by dotted path with `__`, such as
            `entry__identity` or `source__commit`.
    """
    is_ok = status is Status.OK
    values = LOCALISATION if metrics is None else metrics
    data: dict[str, Any] = {
        "run_key": content_hash([entry, benchmark, seed, track, isolation, changes.get("mark")]),
        "entry": {
            "name": entry,
            "title": title,
            "kind": "folder",
            "identity": "folder:" + content_hash(entry),
            "maps": True,
            "preset": "bmad",
            "params": {"weights": "imagenet", "coreset_ratio": 0.1} | (params or {}),
            "overrides": {},
            "metadata": metadata or {},
        },
        "pack": {
            "benchmark": benchmark,
            "version": content_hash(benchmark)[7:19],
            "visibility": visibility,
            "images_may_be_shown": False,
            "train": 7500,
            "valid": 83,
            "test_normal": 640,
            "test_anomalous": 3075,
            "patients": 777,
        },
        "seed": seed,
        "track": track,
        "ranked": ranked,
        "unranked_reason": unranked_reason,
        "limits": {"start_seconds": 300.0, "threads": 2},
        "machine": {
            "engine": "docker 29.1",
            "isolation": isolation,
            "device": "NVIDIA H200",
            "driver": "580.12",
            "cuda": "13.0",
            "cpu": "EPYC 9654",
            "threads": 2,
            "memory_mib": 131072,
            "python": "3.11.2",
        },
        "source": {
            "version": "0.1.0",
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "contract": 1,
            "metrics": "1",
            "lock": content_hash("lock"),
        },
        "times": {
            "started": "2026-01-02T03:04:05Z",
            "total": 4000.0 + seed,
            "train": 3600.0 if is_ok else None,
            "start_up": 4.5 if is_ok else None,
            "predict": 120.0 if is_ok else None,
            "latency": {
                "median": median_seconds,
                "p90": median_seconds * 1.2,
                "p99": median_seconds * 2,
                "warm_up": 0.9,
            }
            if is_ok
            else None,
        },
        "cost": {"peak_ram_mib": 3050.0, "peak_gpu_mib": gpu_mib},
        "maps": {"dtype": "float32", "levels": 123456, "largest_bin": 0.001} if is_ok else None,
        "outcome": {"status": status, "detail": detail, "answered": 3715 if is_ok else 12},
        "metrics": [
            {
                "id": metric_id,
                "grid": grid,
                "value": value,
                "low": None if value is None or interval is None else max(0.0, value - interval),
                "high": None if value is None or interval is None else min(1.0, value + interval),
                "n": 777,
                "reason": "the entry gives no maps" if value is None else None,
            }
            for (metric_id, grid), value in values.items()
        ]
        if is_ok
        else [],
    }
    for path, value in changes.items():
        if path != "mark":
            *parents, last = path.split("__")
            part = data
            for parent in parents:
                part = part[parent]
            part[last] = value
    return Record.model_validate(data).sealed()


def comparison(
    records: list[Record], *, grids: tuple[str | None, ...] = (None, "native", "paper")
) -> Comparison:
    """A comparison of these records of one benchmark in which nothing can be told apart.

    Args:
        grids: columns of which grids it holds.
    """
    [(benchmark, ranked)] = ranked_records(records).items()
    rows = [row for row in summarise(records) if row.ranked]
    names = {track: [row.entry for row in rows if row.track == track] for track in
             sorted({row.track for row in rows})}  # fmt: skip
    keys = sorted({(metric.id, metric.grid or "") for row in rows for metric in row.metrics})
    return Comparison(
        benchmark=benchmark,
        pack=ranked[0].pack.version,
        visibility=ranked[0].pack.visibility,
        metrics="1",
        harness="0.1.0",
        commit="c0ffee",
        records=tuple(sorted(record.record_hash for record in ranked)),
        unit="patient",
        units=777,
        resamples=2000,
        significance=0.05,
        columns=tuple(
            Column(track, metric, grid or None, tuple(_tied(rows, track, members, metric, grid)))
            for track, members in names.items()
            for metric, grid in keys
            if (grid or None) in grids
        ),
    )


def _tied(rows: Any, track: str, members: list[str], metric: str, grid: str) -> list[Standing]:
    means = {
        row.entry: found.mean
        for row in rows
        if row.track == track and (found := row.metric(metric, grid or None)) is not None
    }
    return [
        Standing(
            entry=name,
            rank=1,
            better=(),
            ties=tuple(other for other in members if other != name),
            seeds=1,
            mean=means.get(name),
            low=None if means.get(name) is None else max(0.0, means[name] - 0.01),
            high=None if means.get(name) is None else min(1.0, means[name] + 0.01),
            stability=(1 / len(members),) * len(members),
        )
        for name in members
    ]
