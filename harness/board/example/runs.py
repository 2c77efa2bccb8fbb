"""The invented records of the example, and the comparison of each benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.board.comparison import Column, Comparison, Standing
from harness.board.example.forge import made_up_record
from harness.board.example.methods import Method, Samples, generator
from harness.board.local_comparison import LocalComparison, local_column, local_row, named_rows
from harness.board.paired_differences import paired_differences
from harness.common.disclosure import Visibility, is_sealed
from harness.common.statuses import Status
from harness.engines.energy import GpuCounter, ProcessorCounter
from harness.records.energy import EnergyGap
from harness.records.record import Grid, Record, Track, content_hash

if TYPE_CHECKING:
    from harness.metrics.jackknife import Spread

EXAMPLE_RESAMPLES = 400
MADE_UP = "made-up data: no run stands behind this record"
WITH_MASKS = ("brain", "liver", "resc", "demo")
# Benchmark: difficulty (taken off every score) and patients.
SIX = {"brain": (0.06, 777), "liver": (0.25, 11), "resc": (0.1, 10), "oct2017": (0.04, 633),
       "rsna": (0.24, 17194), "camelyon16": (0.28, 114)}  # fmt: skip
PICTURED = ("brain", "oct2017", "camelyon16")
"""With the demo pack's own slices, which stand for theirs."""
COMPARED = ("image_auroc", "pixel_auroc", "pixel_pro", "dice_at_0.5", "dice_at_valid", "dice_max")
FAILURES = {
    ("moth", "brain", 3): Status.OUT_OF_GPU_MEMORY,
    ("bittern", "liver", 0): Status.IMAGE_TIMEOUT,
    ("bittern", "resc", 2): Status.IMAGE_TIMEOUT,
    ("gannet", "rsna", 1): Status.NON_FINITE,
    **{
        ("redstart", name, seed): Status.CRASHED
        for name in ("brain", "oct2017")
        for seed in range(5)
    },
}


def record(
    method: Method,
    benchmark: str,
    seed: int,
    visibility: Visibility = "open",
    **changes: Any,
) -> Record:
    """The record of one run; `changes` are other fields of it."""
    status = FAILURES.get((method.name, benchmark, seed), Status.OK)
    is_ok, is_demo = status is Status.OK, benchmark == "demo"
    track = "sealed" if is_sealed(visibility) else method.track
    has_maps = method.has_maps and benchmark in WITH_MASKS
    return made_up_record({
        "run_key": content_hash(["example", method.name, benchmark, seed]),
        "entry": {
            "name": method.name, "title": method.title,
            "identity": "folder:" + content_hash(method.name), "maps": method.has_maps,
            "metadata": method.metadata, "supervision": method.supervision,
            "params": {"weights": "imagenet", "image_size": 256, "batch_size": 8, "learning_rate": 1e-3},
        },
        "pack": _pack(benchmark, visibility),
        "machine": SAME_USER if method.is_same_user and track != "sealed" else {},
        "seed": seed, "track": track,
        "ranked": track != "open" and not is_demo,
        "unranked_reason": _unranked(track, is_demo=is_demo),
        "times": _times(method, benchmark, seed),
        "training": _training(method, benchmark, seed) if method.trains else None,
        "cost": {"peak_gpu_mib": method.gpu_mib or None},
        "energy": _energy(method, benchmark, seed) if is_ok else [],
        "maps": {} if has_maps else None,
        "outcome": {} if is_ok else _failed(method, benchmark, seed, status),
        "metrics": metrics(method, benchmark, seed),
        "regime": {"name": None if method.is_trivial else "one-class"},
        "warnings": [MADE_UP],
        "evidence": content_hash([method.name, benchmark, seed, "evidence"]),
        **changes,
    })  # fmt: skip


def _failed(method: Method, benchmark: str, seed: int, status: Status) -> dict[str, Any]:
    """How a run ended without a result, with the end of its log."""
    lines = [f"{method.title}: seed {seed}, 412 images so far (made up)"]
    if status is Status.CRASHED:
        lines += [
            "Traceback (most recent call last):",
            '  File "model.py", line 61, in predict',
            "ValueError: an invented error, for looking at the pages",
        ]
    path = f"{benchmark}/{method.name}/seed-{seed}.log"
    log = {"path": path, "lines": lines}
    return {"status": status, "detail": "image 412 of 3715", "answered": 411, "log": log}


SAME_USER = {
    "engine": "apptainer 1.4.5", "isolation": "same user",
    "measured": {
        "network_off": True, "own_pids": True, "own_ipc": True, "root_read_only": True,
        "no_capabilities": True, "seccomp": True, "other_user": False, "memory_bounded": False,
        "pids_bounded": True, "tmp_bounded": True, "tmp_mib": 1024, "shm_bounded": True,
    },
}  # fmt: skip
"""Of a cluster that delegates no control groups."""


def _unranked(track: str, *, is_demo: bool) -> str | None:
    if is_demo:
        return "demonstration pack"
    return "open track" if track == "open" else None


def _pack(benchmark: str, visibility: Visibility) -> dict[str, Any]:
    units = SIX.get(benchmark, (0.0, 150))[1]
    has_masks = benchmark in WITH_MASKS
    return {
        "benchmark": benchmark, "base": benchmark if benchmark in (*SIX, "demo") else None,
        "visibility": visibility, "images_may_be_shown": benchmark in PICTURED,
        "patients": units if units < 1000 else None,
        "regions": 4210 if has_masks else None, "regions_lost": 12 if has_masks else None,
    }  # fmt: skip


def _times(method: Method, benchmark: str, seed: int) -> dict[str, Any]:
    draw = generator("times", method.name, benchmark, seed)
    seconds = method.seconds * float(draw.uniform(0.95, 1.05))
    return {
        "total": 4000.0 + 60 * seed,
        "train": 3600.0 if method.trains else None,
        "latency": {
            "median": seconds, "p90": seconds * 1.15, "p99": seconds * 1.9, "warm_up": seconds * 9,
        },
    }  # fmt: skip


def _energy(method: Method, benchmark: str, seed: int) -> list[dict[str, Any]]:
    """Of a GPU at 350 W; the processor of every other benchmark's machine tells root alone."""
    per_image = 350 * float(_times(method, benchmark, seed)["latency"]["median"])
    gpu = {
        "of": "gpu", "source": GpuCounter.source, "covers": GpuCounter.covers, "is_shared": False,
        "total": {"joules": 350 * 3900.0}, "per_image": {"joules": per_image},
        "train": {"joules": 350 * 3600.0} if method.trains else None,
    }  # fmt: skip
    is_told = benchmark in ("brain", "resc", "rsna")

    def counted(joules: float) -> dict[str, Any]:
        return {"joules": joules} if is_told else {"reason": EnergyGap.NOT_PERMITTED}

    processor = {
        "of": "processor", "source": "RAPL (package-0)", "covers": ProcessorCounter.covers,
        "is_shared": method.name == "osprey", "total": counted(150 * 3900.0),
        "per_image": counted(0.4 * per_image),
        "train": counted(150 * 3600.0) if method.trains else None,
    }  # fmt: skip
    return [*([gpu] if method.gpu_mib else []), processor]


def _training(method: Method, benchmark: str, seed: int) -> dict[str, Any]:
    draw = generator("training", method.name, benchmark, seed)
    steps = [20 * k for k in range(1, 41)]
    loss = [0.9 * np.exp(-step / 180) + 0.1 + abs(float(draw.normal(0, 0.012))) for step in steps]
    values = [
        0.93 - 0.3 * np.exp(-step / 150) + float(draw.normal(0, 0.006)) for step in steps[3::4]
    ]
    kept = int(np.argmax(values))
    return {
        "steps": 800,
        "curve": [{"step": s, "loss": v} for s, v in zip(steps, loss, strict=True)],
        "checkpoints": [
            {"step": s, "metric": "image_auroc", "value": v, "kept": v == max(values[: k + 1])}
            for k, (s, v) in enumerate(zip(steps[3::4], values, strict=True))
        ],
        "most_checkpoints": 100, "kept": steps[3::4][kept], "stop_reason": "finished", "model": None,
    }  # fmt: skip


def metrics(method: Method, benchmark: str, seed: int, lost: float = 0.0) -> list[dict[str, Any]]:
    """The metrics of one run, as they stand in a record; `lost` is taken off the method's quality."""
    difficulty, units = SIX.get(benchmark, (0.12, 150))
    draw = generator(method.name, benchmark)
    base = method.quality - difficulty * (1 - method.quality) * 2 + draw.normal(0, 0.015)
    base = float(np.clip(base - lost, 0.31, 0.999))
    moved = base + generator(method.name, benchmark, seed).normal(0, 0.004)
    has_masks = benchmark in (*WITH_MASKS, "demo")
    shapes: dict[tuple[str, str | None], float | None] = {
        ("image_auroc", None): moved,
        ("image_ap", None): moved**0.7,
        ("image_f1_max", None): moved**0.8,
    }
    for grid in ("native", "paper") if has_masks else ():
        shift = 0.0 if grid == "native" else -0.004
        shapes |= {
            ("pixel_auroc", grid): moved**0.35 + shift,
            ("pixel_ap", grid): moved**4 + shift,
            ("pixel_pro", grid): moved**1.2 + shift,
            ("dice_at_0.5", grid): moved**6 * 0.7 + shift,
            ("dice_at_valid", grid): moved**4 * 0.7 + shift,
            ("dice_max", grid): moved**4 * 0.72 + shift,
            ("dice_at_fpr", grid): moved**5 * 0.7 + shift,
            ("pro_05", grid): moved**4 * 0.9 + shift,
            ("aupimo", grid): moved**8 * 0.6 + shift,
        }
    return [
        _metric(name, grid, value, units, has_maps=method.has_maps)
        for (name, grid), value in shapes.items()
    ]


def _metric(
    name: str, grid: str | None, value: float | None, units: int, *, has_maps: bool
) -> dict[str, Any]:
    if grid is not None and not has_maps:
        reason = "the method gives no anomaly maps"
        return {"id": name, "grid": grid, "value": None, "n": units, "reason": reason}
    value = float(np.clip(value or 0.0, 0.02, 0.9995))
    half = 1.2 * (value * (1 - value) / units) ** 0.5
    return {
        "id": name, "grid": grid, "value": value, "n": units,
        "low": max(0.0, value - half), "high": min(1.0, value + half),
        "reason": "few patients" if units < 20 else None,
    }  # fmt: skip


def comparison(benchmark: str, records: Sequence[Record]) -> Comparison:
    """Ranks as `harness.compare` would find them, from invented resamples."""
    from harness.metrics.ranks import SIGNIFICANCE

    tracks = sorted({record.track for record in records})
    keys = dict.fromkeys((m.id, m.grid) for record in records for m in record.metrics)
    first = records[0]
    units = SIX.get(benchmark, (0.0, 150))[1]
    return Comparison(
        benchmark=benchmark,
        pack=first.pack.version,
        visibility=first.pack.visibility,
        metrics="1",
        harness="0.1.0",
        commit="0" * 40,
        records=tuple(sorted(record.record_hash or "" for record in records)),
        unit="patient" if first.pack.patients else "image",
        units=units,
        resamples=EXAMPLE_RESAMPLES,
        significance=SIGNIFICANCE,
        columns=tuple(
            _column(track, metric, grid, [r for r in records if r.track == track])
            for track in tracks
            for metric, grid in keys
            if grid != "paper" and metric in COMPARED
        ),
    )  # fmt: skip


def local_comparison(records: Sequence[Record]) -> LocalComparison:
    """How rows that take no rank differ, as `harness.compare` would find it for one's own site."""
    from harness.metrics.ranks import SIGNIFICANCE

    first = records[0]
    names = {record.run_key: name for name, runs in named_rows(records).items() for record in runs}
    keys = dict.fromkeys((m.id, m.grid) for record in records for m in record.metrics)
    columns = []
    for metric, grid in keys:
        if grid != "paper" and metric in COMPARED:
            spreads, _ = _spreads(records, metric, grid, names)
            columns.append(local_column(metric, grid, spreads))
    return LocalComparison(
        benchmark=first.place,
        pack=first.pack.version,
        visibility=first.pack.visibility,
        metrics="1",
        harness="0.1.0",
        commit="0" * 40,
        records=tuple(sorted(record.record_hash or "" for record in records)),
        unit="patient" if first.pack.patients else "image",
        units=max(metric.n for metric in first.metrics),
        significance=SIGNIFICANCE,
        rows=tuple(local_row(key, runs) for key, runs in named_rows(records).items()),
        columns=tuple(columns),
    )


def _column(track: Track, metric: str, grid: Grid | None, records: Sequence[Record]) -> Column:
    names = {record.run_key: record.entry.name for record in records}
    spreads, drawn = _spreads(records, metric, grid, names)
    found = _standings(spreads, drawn)
    return Column(track, metric, grid, found, differences=paired_differences(spreads))


def _spreads(
    records: Sequence[Record], metric: str, grid: Grid | None, names: Mapping[str, str]
) -> tuple[dict[str, list[Spread]], dict[str, list[Samples]]]:
    """By name of the row, what moves the metric of each seed, and its invented resamples."""
    from harness.metrics.jackknife import Spread
    from harness.metrics.table import RANKED

    spreads: dict[str, list[Spread]] = {}
    drawn: dict[str, list[Samples]] = {}
    shared = generator("patients", records[0].pack.benchmark, metric).normal(
        0, 1, EXAMPLE_RESAMPLES
    )
    for record in records:
        found = record.metric(metric, grid)
        if found is None or found.value is None or found.low is None or found.high is None:
            continue
        own = generator(record.run_key, metric).normal(0, 1, EXAMPLE_RESAMPLES)
        moves = (found.high - found.low) / 4 * (0.8 * shared + 0.8 * own)
        some = moves[: found.n]
        spread = Spread(found.value, some / some.size**0.5, found.n, RANKED)
        name = names[record.run_key]
        spreads.setdefault(name, []).append(spread)
        drawn.setdefault(name, []).append(found.value + moves)
    return spreads, drawn


def _standings(
    spreads: Mapping[str, Sequence[Spread]], drawn: Mapping[str, Sequence[Samples]]
) -> tuple[Standing, ...]:
    from harness.metrics.ranks import standings

    return tuple(
        Standing(
            entry=row.entry,
            rank=row.rank,
            better=row.better,
            ties=row.ties,
            seeds=len(spreads[row.entry]),
            mean=row.mean,
            low=row.interval.low if row.interval else None,
            high=row.interval.high if row.interval else None,
            stability=row.stability,
        )
        for row in standings(spreads, drawn)
    )
