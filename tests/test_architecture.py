"""The house: verbs at the door, rooms behind it, imports one way, no circles; what a verb may cost."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import lane_of
from tests.paths import REPOSITORY

# Each imports itself and what stands above it. `verbs` are the modules at the root of harness/;
# `leaderboard` and `baselines` are packages of their own, and of `baselines` only the kit counts.
ROOMS = (
    "contract",
    "kit",
    "common",
    "records",
    "benchmarks",
    "metrics",
    "engines",
    "console",
    "trained",
    "entries",
    "session",
    "board",
    "leaderboard",
    "publishing",
    "running",
    "campaigns",
    "verbs",
)
# What a room may not import although it stands above: it must run, or travel, without it.
CLOSED = {
    "kit": {"common"},
    "leaderboard": {"kit", "benchmarks", "metrics", "engines", "console", "trained", "entries", "session"},
}  # fmt: skip
HEAVY = {
    "torch", "torchvision", "anomalib", "docker", "pandas", "sklearn", "numba", "scipy", "pynvml", "ray",
}  # fmt: skip
PACKAGES = ("harness", "baselines", "leaderboard")
# Interfaces that several modules offer alike: the recipes of `prepare`, the specs, the entries.
INTERFACES = re.compile(r"harness\.(benchmarks\.(prepare|specs)\.\w+|\w+)$")


def sources() -> dict[str, str]:
    """The text of every module of ours, by its dotted name; packages end in `.__init__`."""
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path.read_text()
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
    }


@dataclass(frozen=True)
class Import:
    """One import of a module."""

    name: str
    """What is imported: a module, or a name in one."""
    is_lazy: bool
    """Inside a function."""
    is_for_types: bool
    """Below `if TYPE_CHECKING`."""


def imports(name: str, source: str) -> Iterator[Import]:
    """Every import of a module, wherever it stands."""
    package = name.rpartition(".")[0]

    def walk(node: ast.AST, *, is_lazy: bool, is_for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            lazy = is_lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typed = is_for_types or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            )
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*parts, base] if base else parts)
                names = [f"{base}.{alias.name}" for alias in child.names]
            for found in names:
                yield Import(found, lazy, typed)
            yield from walk(child, is_lazy=lazy, is_for_types=typed)

    yield from walk(ast.parse(source), is_lazy=False, is_for_types=False)


def module_of(imported: str, tree: Mapping[str, str]) -> str | None:
    """The module of ours that an import loads, or None where it is none of ours."""
    parts = imported.split(".")
    for length in range(len(parts), 0, -1):
        for name in (".".join(parts[:length]), ".".join([*parts[:length], "__init__"])):
            if name in tree:
                return name
    return None


def room_of(module: str) -> str | None:
    """The room that a module stands in; None for the empty roots and for entries."""
    parts = module.removesuffix(".__init__").split(".")
    if parts[0] == "leaderboard":
        return "leaderboard"
    if parts[0] == "baselines":
        return "kit" if parts[1:2] == ["kit"] else None
    if len(parts) == 1:
        return None
    is_package = len(parts) > 2 or module.endswith(".__init__")
    return parts[1] if is_package else "verbs"


def violations(tree: Mapping[str, str]) -> list[str]:
    """Every import against the rule; lazy ones and those for types count."""
    wrong = []
    for name, source in tree.items():
        room = room_of(name)
        for each in imports(name, source) if room else ():
            target = module_of(each.name, tree)
            other = room_of(target) if target else None
            if target is None or other is None or target == name:
                continue
            is_above = other in ROOMS and ROOMS.index(other) < ROOMS.index(room)
            is_inside = other == room and room != "verbs"
            if not is_inside and (not is_above or other in CLOSED.get(room, ())):
                wrong.append(f"{name} imports {target}")
    return wrong


def test_every_module_stands_in_a_room_that_is_listed() -> None:
    rooms = {room for name in sources() if (room := room_of(name))}
    assert rooms == set(ROOMS)


def test_contributing_lists_the_rooms_in_their_order() -> None:
    listed = re.findall(
        r"^\| `([\w/*.]+?)/?` \|", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.M
    )
    names = [path.rpartition("/")[2].replace("*.py", "verbs") for path in listed]
    assert tuple(names) == ROOMS


def test_imports_run_one_way() -> None:
    assert violations(sources()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("harness.session.conversation", "from harness import evaluate, site"),
        ("harness.session.conversation", "import harness.evaluate"),
        ("harness.session.conversation", "from harness.running.run import execute"),
        ("harness.records.record", "def later() -> None:\n    from harness import queue, site"),
        ("harness.records.store", "def later() -> None:\n    from harness.running import run"),
        ("harness.metrics.table", "if TYPE_CHECKING:\n    from harness.board.rows import Row"),
        ("harness.metrics.table", "from harness.benchmarks import *\nfrom harness.session import order"),
        ("harness.benchmarks.pack", "from ..session import order"),
        ("harness.campaigns.plan", "from harness.campaign import main"),
        ("harness.evaluate", "def later() -> None:\n    from harness.site import main"),
        ("harness.publishing.publication", "from harness.verify import main"),
        ("leaderboard.builder", "from harness.metrics import METRICS"),
        ("leaderboard.builder", "def later() -> None:\n    from harness.running.run import execute"),
        ("baselines.kit.maps", "from harness.benchmarks import Pack"),
        ("harness.contract.serve", "from harness.common import errors"),
    ],
)  # fmt: skip
def test_an_import_against_the_rule_is_found(module: str, line: str) -> None:
    tree = sources()
    assert module in tree
    assert violations({**tree, module: f"{tree[module]}\n{line}\n"})


def test_a_new_module_in_no_room_is_found() -> None:
    tree = {**sources(), "harness.attic.rubbish": "import json\n"}
    assert room_of("harness.attic.rubbish") not in ROOMS
    hall = {**tree, "harness.helper": "from harness.evaluate import main\n"}
    assert "harness.helper imports harness.evaluate" in violations(hall)


def test_the_entries_import_the_contract_and_the_kit_alone() -> None:
    for name, source in sources().items():
        if name.startswith("baselines.") and room_of(name) is None:
            ours = {each.name for each in imports(name, source) if each.name.startswith(PACKAGES)}
            assert all(one.startswith(("harness.contract", "baselines.kit")) for one in ours), name


def test_the_harness_imports_three_modules_of_the_kit() -> None:
    tree = sources()
    used = {
        target
        for name, source in tree.items()
        if name.startswith("harness.")
        for each in imports(name, source)
        if (target := module_of(each.name, tree)) and target.startswith("baselines.")
    }
    assert used == {
        "baselines.kit.own_backbones",
        "baselines.kit.trivial",
        "baselines.kit.weight_files",
    }


# -- the door -----------------------------------------------------------------------------------


VERBS = sorted(path.stem for path in (REPOSITORY / "harness").glob("[a-z]*.py"))


@pytest.mark.parametrize("verb", VERBS)
def test_the_root_holds_verbs_alone(verb: str) -> None:
    source = (REPOSITORY / "harness" / f"{verb}.py").read_text()
    assert source.startswith(f'"""`python -m harness.{verb}')
    public = {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert {"build_parser", "main"} <= public
    assert f"`{verb}" in (REPOSITORY / "README.md").read_text()


# -- circles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["when loaded", "and lazily", "and for types"])
def test_there_is_no_circle_of_imports(kind: str) -> None:
    tree = sources()
    graph = {
        name: {
            target
            for each in imports(name, source)
            if (kind != "when loaded" or not (each.is_lazy or each.is_for_types))
            and (kind == "and for types" or not each.is_for_types)
            and (target := module_of(each.name, tree)) is not None
            and target != name
            and not is_own_package(target, name)
        }
        for name, source in tree.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def is_own_package(target: str, name: str) -> bool:
    """Whether a module names the package that it stands in: it is loaded already."""
    return target.endswith(".__init__") and name.startswith(target.removesuffix("__init__"))


# -- names --------------------------------------------------------------------------------------


def public_names(source: str) -> set[str]:
    """Classes, functions and type aliases that a module defines."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.Assign):
            found |= {one.id for one in node.targets if isinstance(one, ast.Name)}
    return {name for name in found if not name.startswith("_") and not name.isupper()}


def test_one_public_name_has_one_meaning() -> None:
    seen: dict[str, list[str]] = {}
    for module, source in sources().items():
        if module.startswith("harness.") and not INTERFACES.match(module):
            for name in public_names(source) - {"main", "logger"}:
                seen.setdefault(name, []).append(module)
    assert {name: modules for name, modules in seen.items() if len(modules) > 1} == {}


# -- heavy packages -----------------------------------------------------------------------------


def users_of(package: str) -> set[str]:
    """The modules of the harness that import a package, wherever."""
    return {
        name
        for name, source in sources().items()
        if name.startswith("harness.")
        and any(each.name.split(".")[0] == package for each in imports(name, source))
    }


def test_the_contract_needs_numpy_and_the_standard_library_alone() -> None:
    for name, source in sources().items():
        if name.startswith("harness.contract."):
            foreign = {each.name.split(".")[0] for each in imports(name, source)}
            assert foreign - sys.stdlib_module_names <= {"numpy", "harness"}, name


def test_only_the_docker_engine_imports_docker() -> None:
    users = users_of("docker")
    assert users
    assert all(name.startswith("harness.engines.docker") for name in users)


def test_only_one_module_asks_the_nvidia_driver() -> None:
    (user,) = users_of("pynvml")
    assert user.endswith(".nvidia")
    callers = {
        name for name, text in sources().items() if re.search(r"""["']nvidia-smi["']""", text)
    }
    assert not {name for name in callers if name.startswith("harness.")}


def test_only_the_ray_room_imports_ray_and_what_it_sends_needs_the_standard_library() -> None:
    users = users_of("ray")
    assert users
    assert all(name.startswith("harness.campaigns.ray.") for name in users)
    node = "harness.campaigns.ray.node"
    sent = {each.name.split(".")[0] for each in imports(node, sources()[node])}
    assert sent <= sys.stdlib_module_names


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


# -- the tests ----------------------------------------------------------------------------------


def test_the_tests_mirror_the_rooms() -> None:
    tested = {path.relative_to(REPOSITORY / "tests").parts[0]
              for path in (REPOSITORY / "tests").rglob("test_*.py")}  # fmt: skip
    others = {"baselines", "hostile", "test_hpc_root.py", Path(__file__).name}
    assert tested == set(ROOMS) - {"kit"} | others


# Which modules may write to a terminal by themselves: the console, and programs whose output is read.
WRITERS = {
    "harness.console.ends", "harness.console.cli", "harness.engines.canary", "harness.engines.probe",
    "harness.engines.supervisor", "harness.campaigns.ray.node_check",
}  # fmt: skip


def writes_of(source: str) -> list[int]:
    """Lines that print, or write to standard output or error, past the console."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in
        ("print", "sys.stdout.write", "sys.stderr.write", "rich.print")
    ]  # fmt: skip


def test_nothing_is_printed_past_the_console() -> None:
    found = {
        name: lines
        for name, text in sources().items()
        if name.startswith(("harness.", "leaderboard."))
        and not name.startswith("harness.contract.")
        and name not in WRITERS
        and (lines := writes_of(text))
    }
    assert found == {}
    assert writes_of("print(1)\nsys.stderr.write('x')") == [1, 2]


def test_every_test_of_this_process_stands_in_its_lane(request: pytest.FixtureRequest) -> None:
    """pytest-xdist splits by what follows the `@`; what has none goes to any process."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process has one lane")
    strays = [
        item.nodeid
        for item in request.session.items
        if not item.nodeid.endswith(f"@{lane_of(item)}")
    ]
    assert strays == []


def test_all_that_uses_the_engine_is_one_lane(request: pytest.FixtureRequest) -> None:
    lanes = {
        lane_of(item)
        for item in request.session.items
        if {"docker_engine", "attacked"} & set(getattr(item, "fixturenames", ()))
    }
    assert lanes <= {"engine", "hpc"}
