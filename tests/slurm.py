"""The scripts of docs/cluster.md, run as Slurm would: the array's jobs, and srun on two nodes.

array = SlurmArray(folder, "baselines/a baselines/b", "apptainer")
job = array.start(1)         # what sbatch --array starts as its second job
array.time_is_over(job)      # what Slurm does at the end of its time
array.end(array.start(1))    # requeued
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from harness.records.record import Record
from harness.records.store import Store
from tests.paths import REPOSITORY
from tests.ray_cluster import QUIET, of_cluster

PAGE = (REPOSITORY / "docs" / "cluster.md").read_text()
# Runs its command once for each of two nodes, as srun would, and ends them when it is ended.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for id in 0 1; do SLURM_PROCID=$id "$@" & done
trap 'kill $(jobs -p); wait; exit' TERM
wait
"""
JOB_SECONDS = 240


def blocks(language: str) -> list[str]:
    """The page's code blocks of a language; '' for those that name none."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


class SlurmArray:
    """The page's array of jobs.

    Args:
        folder: of this test's own; the results are below `results`.
        entries: the array's, one for each job.
        engine: name of the engine.
        pack: what says on which images.
    """

    def __init__(
        self, folder: Path, entries: str, engine: str, pack: str = "--benchmark demo"
    ) -> None:
        self._folder = folder
        self._script, _ = blocks("bash")
        self._told = {
            "ENTRIES": entries, "ENGINE": engine, "DEVICE": "cpu", "SEEDS": "0",
            "SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "1", "CHECKOUT": str(REPOSITORY),
            "RESULTS": str(folder / "results"), "BMAD_DATA": str(folder / "data"),
            "OPTIONS": pack,
        }  # fmt: skip

    def start(self, number: int) -> subprocess.Popen[bytes]:
        """A job; its output is appended to its log, as --open-mode=append has it."""
        with self.log(number).open("ab") as log:
            return subprocess.Popen(
                ["bash", "-c", self._script],
                cwd=self._folder, env=os.environ | self._told | {"SLURM_ARRAY_TASK_ID": str(number)},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def log(self, number: int) -> Path:
        """What a job has printed."""
        return self._folder / f"bmad-1-{number}.log"

    def time_is_over(self, job: subprocess.Popen[bytes]) -> int:
        """Send what `--signal=B:TERM@120` sends, to the script alone; the job's exit code."""
        assert "#SBATCH --signal=B:TERM@120\n" in self._script
        job.send_signal(signal.SIGTERM)
        return self.end(job)

    def node_is_lost(self, job: subprocess.Popen[bytes]) -> None:
        """Everything of the job is gone at once."""
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()

    def end(self, job: subprocess.Popen[bytes]) -> int:
        """Wait for a job's end; its exit code."""
        return job.wait(JOB_SECONDS)

    def records(self) -> list[Record]:
        """What the jobs have left, by name."""
        found = Store(self._folder / "results").records()
        return sorted(found, key=lambda record: record.entry.name)


def run_on_two_nodes(folder: Path, engine: str) -> list[Record]:
    """The page's job on several nodes, of which there are two here, on CPUs; its records.

    The campaign is the honest entry on the demo pack with two seeds; nothing of Ray may be left.
    """
    _, script = blocks("bash")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    (folder / "data").mkdir(exist_ok=True)
    job_id = str(os.getpid())
    place = Path(f"/tmp/ray-{job_id}")  # the script's own choice
    results = folder / "ray-results"
    told = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": job_id, "SLURM_CPUS_PER_TASK": "2", "GPUS": "0", "DEVICE": "cpu",
        "CHECKOUT": str(REPOSITORY), "RESULTS": str(results), "BMAD_DATA": str(folder / "data"),
        "CAMPAIGN": "--entries tests/sample_entries/honest --benchmark demo --seed 0 1"
        " --no-site",
        "ENGINE": engine,
    }  # fmt: skip
    told["BMAD_CACHE"] = os.environ.get("BMAD_CACHE", str(folder / "cache"))
    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=os.environ | QUIET | told,
            capture_output=True, text=True, timeout=JOB_SECONDS, check=False,
        )  # fmt: skip
        ray_log = results / f"ray-{job_id}.log"
        assert done.returncode == 0, done.stderr + (ray_log.read_text() if ray_log.exists() else "")
        assert "2  finished: a record with its metrics" in done.stdout
        assert of_cluster(place) == []
        return Store(results).records()
    finally:
        for process in of_cluster(place):
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)
