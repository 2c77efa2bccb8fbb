"""The direction of imports, and what a verb may cost before it has anything to do."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
HEAVY = {
    "torch",
    "torchvision",
    "anomalib",
    "docker",
    "pandas",
    "sklearn",
    "numba",
    "scipy",
    "pynvml",
    "ray",
}
VERBS = (
    "evaluate",
    "campaign",
    "check",
    "submit",
    "score",
    "site",
    "clean",
    "list",
    "weights",
    "models",
    "compare",
    "prepare",
    "pack",
    "canary",
    "rerun",
    "bundle",
    "verify",
    "queue",
    "publish",
)

# What modules below a prefix may import of our own packages.
ALLOWED: dict[str, tuple[str, ...]] = {
    "harness.contract": ("harness.contract",),
    "harness.metrics": ("harness.metrics", "harness.records", "harness.errors", "harness.statuses"),
    "harness.benchmarks": ("harness.benchmarks", "harness.errors"),
    "harness.engines": ("harness.engines", "harness.errors", "harness.statuses", "harness.contract"),
    "baselines": ("baselines.kit", "harness.contract"),
    "leaderboard": (
        "leaderboard", "harness.records", "harness.comparisons", "harness.material",
        "harness.public_rows", "harness.statistics", "harness.statuses", "harness.errors", "harness.metrics.names",
    ),
}  # fmt: skip


def modules(folder: str) -> list[tuple[str, Path]]:
    paths = sorted((REPOSITORY / folder).rglob("*.py"))
    return [
        (
            ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"),
            path,
        )
        for path in paths
    ]


def imports(name: str, path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, wherever in the file."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - node.level + 1] + ([base] if base else []))
            found.add(base)
            found |= {
                f"{base}.{alias.name}" for alias in node.names if base in ("harness", "baselines")
            }
    return found


@pytest.mark.parametrize("prefix", sorted(ALLOWED))
def test_imports_run_one_way(prefix: str) -> None:
    files = modules(prefix.replace(".", "/"))
    assert files
    wrong = {
        f"{name} imports {imported}"
        for name, path in files
        for imported in imports(name, path)
        if imported.split(".")[0] in {"harness", "baselines", "leaderboard", "tests"}
        and imported not in ("harness", "baselines")
        and not any(imported == ok or imported.startswith(ok + ".") for ok in ALLOWED[prefix])
    }
    assert not wrong


def test_the_contract_needs_numpy_and_the_standard_library_alone() -> None:
    for name, path in modules("harness/contract"):
        foreign = {
            imported.split(".")[0]
            for imported in imports(name, path)
            if imported.split(".")[0] not in sys.stdlib_module_names
        }
        assert foreign <= {"numpy", "harness"}, name


def test_only_the_docker_engine_imports_docker() -> None:
    users = {
        name
        for package in ("harness", "baselines", "leaderboard")
        for name, path in modules(package)
        if "docker" in {i.split(".")[0] for i in imports(name, path)}
    }
    assert all(name.startswith("harness.engines.docker.") for name in users)
    assert users


def test_only_one_module_asks_the_nvidia_driver() -> None:
    users = {name for name, path in modules("harness") if "pynvml" in imports(name, path)}
    assert users == {"harness.engines.gpu.nvidia"}
    callers = {
        name
        for name, path in modules("harness")
        if re.search(r"""["']nvidia-smi["']""", path.read_text())
    }
    assert not callers


def test_only_one_module_imports_ray_and_what_it_sends_to_nodes_needs_the_standard_library() -> (
    None
):
    users = {
        name
        for name, path in modules("harness")
        if "ray" in {i.split(".")[0] for i in imports(name, path)}
    }
    assert users == {"harness.campaigns.on_ray"}
    sent = imports("harness.campaigns.node", REPOSITORY / "harness/campaigns/node.py")
    assert {name.split(".")[0] for name in sent} <= sys.stdlib_module_names


@pytest.mark.parametrize("verb", VERBS)
def test_help_loads_nothing_heavy_and_shows_examples(verb: str) -> None:
    code = (
        "import json, runpy, sys\n"
        f"sys.argv = ['harness.{verb}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('harness.{verb}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    *help_text, loaded = done.stdout.splitlines()
    assert not HEAVY & {name.split(".")[0] for name in json.loads(loaded)}
    assert "examples:" in help_text
