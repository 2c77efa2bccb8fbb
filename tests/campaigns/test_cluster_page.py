"""docs/cluster.md: its commands exist, its manifest holds together, its Slurm script runs a campaign."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import campaign
from harness.campaigns.ray import node
from tests.paths import REPOSITORY
from tests.ray_cluster import QUIET
from tests.slurm import PAGE, SlurmArray, blocks, run_on_two_nodes


@pytest.fixture(scope="module")
def manifest() -> list[dict[str, Any]]:
    """Every document of the page's YAML block."""
    (text,) = blocks("yaml")
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def options_of_ray() -> dict[str, set[str]]:
    """By command, the options of the installed Ray."""
    found = {}
    for command in ("start", "stop", "health-check"):
        done = subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", command, "--help"],
            capture_output=True, text=True, check=True, env=os.environ | QUIET,
        )  # fmt: skip
        found[command] = set(re.findall(r"--[a-z-]+", done.stdout))
    return found


def test_every_call_of_ray_has_options_that_ray_has(options_of_ray) -> None:
    calls = re.findall(r"\bray (start|stop|health-check)\b([^\n;`]*)", PAGE)
    assert len(calls) > 10
    given = re.search(r'given="([^"]*)"', PAGE)
    assert given
    for command, arguments in [*calls, ("start", given.group(1))]:
        used = set(re.findall(r"(?<=\s)--[a-z-]+", " " + arguments.split("#")[0]))
        assert used <= options_of_ray[command], (command, arguments)


def test_every_call_of_the_campaign_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"\\\n\s*", "", PAGE).replace("$CAMPAIGN", "table2").replace("$DEVICE", "cuda")
    text = text.replace("$ENGINE", "apptainer")
    calls = re.findall(r"python -m harness\.campaign ([^\n`]*)", text)
    assert len(calls) == 5
    for call in calls:
        options = campaign.build_parser().parse_args(shlex.split(call))
        assert (options.campaign, options.device) == ("table2", "cuda")
        assert options.on.startswith("ray")


def test_the_manifest_holds_together(manifest, options_of_ray) -> None:
    cluster, job = manifest
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    locked = re.search(r"^ray==(\S+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    assert cluster["spec"]["rayVersion"] == locked.group(1)
    head, (workers,) = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    for group in (head, workers):
        names = {f"--{name}" for name in group["rayStartParams"]}
        assert names <= options_of_ray["start"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    for spec in (
        head["template"]["spec"],
        workers["template"]["spec"],
        job["spec"]["template"]["spec"],
    ):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            mounts = {
                mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", [])
            }
            assert set(mounts.values()) <= set(volumes)
            for variable in container.get("env", []):
                if variable["name"] != node.CHECKOUT:  # in the image
                    assert any(variable["value"].startswith(place) for place in mounts)
    (worker,) = workers["template"]["spec"]["containers"]
    assert worker["resources"]["requests"] == worker["resources"]["limits"]
    (campaigns,) = job["spec"]["template"]["spec"]["containers"]
    service = f"{cluster['metadata']['name']}-head-svc"
    assert set(re.findall(r"[\w-]+-head-svc", campaigns["args"][0])) == {service}
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == campaigns["name"]
    assert not {1, 5} & set(rule["onExitCodes"]["values"])  # Ray's head, or a node, was lost
    done = subprocess.run(["bash", "-n", "-c", campaigns["args"][0]], check=False)
    assert done.returncode == 0


def test_a_job_of_the_array_evaluates_its_own_entry_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    entries = "tests/sample_entries/score_only tests/sample_entries/honest"
    array = SlurmArray(tmp_path, entries, "process")
    assert (array.end(array.start(1)), len(array.records())) == (0, 1)
    (record,) = array.records()
    assert record.entry.name == "honest"
    assert array.end(array.start(1)) == 0  # requeued: it is finished already
    assert array.records() == [record]


def test_the_slurm_script_starts_a_cluster_runs_the_campaign_and_ends_the_cluster(
    tmp_path: Path,
) -> None:
    run_on_two_nodes(tmp_path, "process")
