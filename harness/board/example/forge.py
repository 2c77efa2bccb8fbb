"""Made-up records: a whole one of plausible parts, of which the caller changes what matters to him.

For the example site and for tests; nothing else makes a record that no run has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from harness.benchmarks.version import version_id
from harness.common.statuses import Status
from harness.records.record import Record, content_hash
from harness.records.releases import KnownReleases, claimed_name

PARTS: dict[str, Any] = {
    "run_key": content_hash("made up"),
    "entry": {
        "name": "patchcore", "title": "PatchCore", "kind": "folder",
        "identity": "folder:" + content_hash("patchcore"), "maps": True, "preset": "bmad",
        "params": {"weights": "imagenet"}, "overrides": {}, "metadata": {},
    },
    "pack": {
        "benchmark": "brain", "visibility": "open",
        "images_may_be_shown": False, "train": 7500, "valid": 83, "test_normal": 640,
        "test_anomalous": 3075, "patients": 777,
    },
    "seed": 0, "track": "trained-here", "ranked": True, "unranked_reason": None,
    "limits": {"threads": 2},
    "machine": {
        "engine": "docker 29.1", "isolation": "container", "device": "Invented GPU 80 GB",
        "driver": "580.12", "cuda": "13.0", "cpu": "Invented CPU", "threads": 2,
        "memory_mib": 131072, "python": "3.11.2",
    },
    "source": {
        "version": "0.1.0", "commit": "0" * 40, "contract": 1, "metrics": "1",
        "lock": content_hash("lock"),
    },
    "times": {
        "started": "2026-01-02T03:04:05Z", "total": 4000.0, "train": 3600.0, "start_up": 4.5,
        "latency": {"median": 0.0312, "p90": 0.0374, "p99": 0.0624, "warm_up": 0.9},
    },
    "cost": {"peak_ram_mib": 3050.0, "peak_gpu_mib": 2150.0},
    "maps": {"dtype": "float32", "levels": 123456, "largest_bin": 0.001},
    "outcome": {"status": Status.OK, "detail": "", "answered": 3715},
    "metrics": [],
}  # fmt: skip
"""A run that ended well."""
# What only a run that ended well leaves.
_OF_A_FINISHED_RUN = ("train", "start_up", "predict", "latency")


def made_up_digest(benchmark: str) -> str:
    """The digest of the pack that made-up records of a benchmark are on."""
    return content_hash(benchmark)


def made_up_releases(*benchmarks: str) -> KnownReleases:
    """A list of known releases on which the made-up packs of these benchmarks stand."""
    return KnownReleases({name: frozenset({made_up_digest(name)}) for name in benchmarks})


def made_up_record(changes: Mapping[str, Any]) -> Record:
    """A sealed record of `PARTS` with these changes.

    Args:
        changes: by name of a field, its value; a table changes the fields that it names alone,
            but for `params`, `metadata` and `overrides`, which are taken whole.
            A status that is not ok takes metrics, maps and most times away.
    """
    parts = _changed(PARTS, changes)
    entry, pack = parts["entry"], parts["pack"]
    if entry["kind"] == "folder":
        entry.setdefault("source", entry["identity"])
    name = claimed_name(pack["benchmark"])
    digest = pack.setdefault("digest", made_up_digest(name)) or made_up_digest(name)
    pack.setdefault("version", version_id(name, digest))
    pack.setdefault("patients_digest", content_hash([digest, "patients"]))
    if parts["outcome"]["status"] is not Status.OK:
        parts["times"] |= dict.fromkeys(_OF_A_FINISHED_RUN)
        parts |= {"maps": None, "metrics": [], "training": None, "evidence": None}
    return Record.model_validate(parts).sealed()


def _changed(parts: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    changed = deepcopy(dict(parts))
    for name, value in changes.items():
        is_table = isinstance(value, Mapping) and isinstance(changed.get(name), dict)
        if is_table and name not in ("params", "metadata", "overrides"):
            changed[name] = _changed(changed[name], value)
        else:
            changed[name] = value
    return changed
