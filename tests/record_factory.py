"""Made-up records, for everything that reads records."""

from __future__ import annotations

from typing import Any

from harness.benchmarks import BENCHMARKS
from harness.benchmarks.known import known_releases
from harness.board.comparison import Column, Comparison, Standing
from harness.board.example.forge import made_up_record, made_up_releases
from harness.board.rows import ranked_records, summarise
from harness.common.statuses import Status
from harness.records.isolation import MeasuredIsolation
from harness.records.record import Record, content_hash
from harness.records.releases import KnownReleases

Metrics = dict[tuple[str, str | None], float | None]

_MADE_UP = made_up_releases(*BENCHMARKS).digests
KNOWN = KnownReleases({n: d | _MADE_UP[n] for n, d in known_releases().digests.items()})
"""The list on which the packs of these records stand, and the generated one."""

NO_CGROUPS = MeasuredIsolation(
    network_off=True, own_pids=True, own_ipc=True, root_read_only=True, no_capabilities=True,
    seccomp=True, other_user=False, memory_bounded=False, pids_bounded=False, tmp_bounded=True,
    tmp_mib=1024, shm_bounded=True,
)  # fmt: skip
"""What `machine__measured` says where nothing bounds memory and processes: `same user`."""
CONTAINER = MeasuredIsolation.model_validate(
    NO_CGROUPS.model_dump(exclude={"unbounded"}) | {"memory_bounded": True, "pids_bounded": True}
)
"""The same where everything holds."""

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
    told: dict[str, Any] = {
        "run_key": content_hash([entry, benchmark, seed, track, isolation, changes.pop("mark", None)]),
        "entry": {
            "name": entry, "title": title, "identity": "folder:" + content_hash(entry),
            "params": {"weights": "imagenet", "coreset_ratio": 0.1} | (params or {}),
            "metadata": metadata or {},
        },
        "pack": {
            "benchmark": benchmark, "base": benchmark if benchmark in BENCHMARKS else None,
            "visibility": visibility,
        },
        "seed": seed, "track": track, "ranked": ranked, "unranked_reason": unranked_reason,
        "limits": {"start_seconds": 300.0, "threads": 2},
        "machine": {"isolation": isolation, "device": "NVIDIA H200", "cpu": "EPYC 9654"},
        "source": {"commit": "0123456789abcdef0123456789abcdef01234567"},
        "times": {
            "total": 4000.0 + seed, "predict": 120.0,
            "latency": {
                "median": median_seconds, "p90": median_seconds * 1.2, "p99": median_seconds * 2,
            },
        },
        "cost": {"peak_gpu_mib": gpu_mib},
        "outcome": {
            "status": status, "detail": detail, "answered": 3715 if status is Status.OK else 12,
        },
        "metrics": [
            _metric(name, grid, value, interval)
            for (name, grid), value in (LOCALISATION if metrics is None else metrics).items()
        ],
    }  # fmt: skip
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = told
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = value
    return made_up_record(told)


def _metric(
    name: str, grid: str | None, value: float | None, interval: float | None
) -> dict[str, Any]:
    low = high = None
    if value is not None and interval is not None:
        low, high = max(0.0, value - interval), min(1.0, value + interval)
    reason = "the entry gives no maps" if value is None else None
    return {
        "id": name, "grid": grid, "value": value, "low": low, "high": high, "n": 777, "reason": reason,
    }  # fmt: skip


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
        metrics=ranked[0].metrics_version,
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
