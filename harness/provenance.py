"""Where a result comes from: content hashes, the run key, the commit, the machine.

Trap: file systems differ in order, time stamps and permissions, so every hash here
is over sorted relative POSIX paths and contents alone.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import harness
from harness.contract import CONTRACT_VERSION
from harness.engines.base import Engine, Program
from harness.engines.gpu import nvidia
from harness.entries import Settings
from harness.records import MachinePart, Record, SourcePart, content_hash

REPOSITORY = Path(harness.__file__).resolve().parent.parent
LOCK_FILE = REPOSITORY / "requirements.lock"
# Everything beside an entry's own folder that decides what its program does.
SHARED_SOURCES = ("Dockerfile.gpu", "requirements.lock", "harness/contract", "baselines/kit")
IGNORED_NAMES = {"__pycache__", ".DS_Store", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


def tree_files(root: Path) -> list[Path]:
    """Files under `root` (or `root` itself), sorted by path, caches left out."""
    if root.is_file():
        return [root]
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not IGNORED_NAMES & set(path.relative_to(root).parts)
    )


def tree_hash(roots: Iterable[Path], *, base: Path) -> str:
    """`sha256:…` over the relative path and content of every file under `roots`."""
    digest = hashlib.sha256()
    for root in roots:
        for path in tree_files(root):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(base).as_posix()}\0{content}\n".encode())
    return "sha256:" + digest.hexdigest()


@cache
def shared_sources_hash() -> str:
    """Hash of what every baseline stands on: Dockerfile.gpu, lock file, contract and kit."""
    return tree_hash((REPOSITORY / name for name in SHARED_SOURCES), base=REPOSITORY)


def folder_identity(folder: Path) -> str:
    """Identity of a source folder: its own files and the shared sources below them."""
    own = tree_hash([folder], base=folder)
    return "folder:" + content_hash({"folder": own, "shared": shared_sources_hash()})


def submitted_folder_hash(folder: Path) -> str:
    """Hash of a submitted folder's own files: what a reviewer looked at."""
    return tree_hash([folder], base=folder)


def method_hash(folder: Path) -> str:
    """Hash of what a folder does, whatever it calls itself.

    Every file but entry.toml counts, and of entry.toml all but its name and description.
    """
    document = tomllib.loads((folder / "entry.toml").read_text(encoding="utf-8"))
    files = [path for path in tree_files(folder) if path != folder / "entry.toml"]
    entry = document.get("entry", {})
    told = {name: entry.get(name) for name in ("model", "maps", "trains")}
    settings = {
        name: table for name, table in document.items() if name not in ("entry", "deviations")
    }
    return content_hash([tree_hash(files, base=folder), told, settings])


def run_key_parts(
    program: Program,
    settings: Settings,
    *,
    pack_version: str,
    seed: int,
    engine: str,
    device: str,
    threads: int,
) -> dict[str, object]:
    """Everything that decides a run's result; the run key is the hash of these parts.

    Args:
        program: what runs; its identity counts, not its name.
        settings: hyper-parameters and the rule by which checkpoints are judged.
        pack_version: version id of the pack.
        seed: seed of the run.
        engine: `docker` or `process`.
        device: kind of device: `cpu`, or the GPU's model.
        threads: CPU threads; other counts give other last digits.
    """
    return {
        "identity": program.identity,
        "params": dict(settings.params),
        "training": settings.training.model_dump(),
        "pack": pack_version,
        "seed": seed,
        "engine": engine,
        "device": device,
        "threads": threads,
        "contract": CONTRACT_VERSION,
        "harness": harness.__version__,
    }


def key_parts_of(record: Record) -> dict[str, object] | None:
    """The parts of a stored record's run key, or None where it does not hold them all."""
    if record.entry.checkpoint_rule is None:
        return None
    is_given = record.model is not None and record.model.origin == "given"
    given = {"model": record.model.hash} if record.model and is_given else {}
    return given | {
        "identity": record.entry.identity,
        "params": dict(record.entry.params),
        "training": dict(record.entry.checkpoint_rule),
        "pack": record.pack.version,
        "seed": record.seed,
        "engine": "process" if record.machine.isolation == "none" else "docker",
        "device": record.machine.device,
        "threads": record.machine.threads,
        "contract": record.source.contract,
        "harness": record.source.version,
    }


@cache
def source(metrics_version: str) -> SourcePart:
    """Which harness this is."""
    return SourcePart(
        version=harness.__version__,
        commit=_commit(),
        contract=CONTRACT_VERSION,
        metrics=metrics_version,
        lock="sha256:" + hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest(),
    )


def _commit() -> str | None:
    if not (REPOSITORY / ".git").exists():
        return None
    commit = _output("git", "-C", str(REPOSITORY), "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _output("git", "-C", str(REPOSITORY), "status", "--porcelain", "--untracked-files=no")
    return commit + ("+dirty" if changed else "")


def machine(engine: Engine, device: str, threads: int) -> MachinePart:
    """On what a run happens, as the host sees it."""
    gpu = nvidia.find(device) if device != "cpu" else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    return MachinePart(
        engine=engine.describe(),
        isolation=engine.isolation,
        device=gpu.name if gpu else "cpu",
        driver=gpu.driver if gpu else None,
        cuda=gpu.cuda if gpu else None,
        cpu=_cpu_model(),
        threads=threads,
        memory_mib=memory,
        python=platform.python_version(),
    )


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _output(*command: str) -> str | None:
    """Standard output of a short command, or None when it cannot be had."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
