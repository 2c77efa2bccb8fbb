"""How the metrics' own code is written: few arguments, no circles, kernels below all else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import harness.metrics

FOLDER = Path(harness.metrics.__file__).parent
MODULES = {
    ".".join(("harness.metrics", *path.relative_to(FOLDER).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): ast.parse(path.read_text())
    for path in sorted(FOLDER.rglob("*.py"))
}
KERNELS = "harness.metrics.kernels"
MOST_ARGUMENTS = 8


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def arguments(given: ast.arguments) -> int:
    return len([*given.posonlyargs, *given.args, *given.kwonlyargs])


def imported(tree: ast.Module) -> set[str]:
    """Modules of ours that are imported: at the top, within functions, and for types alone."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= within & set(MODULES) or {node.module}
    return found


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_function_takes_more_than_eight_arguments(name: str) -> None:
    many = {
        getattr(function, "name", "lambda"): taken
        for function in functions(MODULES[name])
        if (taken := arguments(function.args)) > MOST_ARGUMENTS
    }
    assert not many


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: imported(tree) & set(MODULES) for name, tree in MODULES.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_kernels_import_nothing_of_the_metrics_that_they_compute() -> None:
    ours = {
        name: {other for other in imported(tree) if other.startswith("harness.metrics")}
        for name, tree in MODULES.items()
        if name.startswith(KERNELS)
    }
    assert ours
    assert not {
        f"{name} imports {other}"
        for name, others in ours.items()
        for other in others
        if not other.startswith(KERNELS)
    }


def test_a_kernel_stands_with_the_kernels_it_calls_and_the_records_it_takes() -> None:
    """Numba's cache looks at the caller's file alone: the others would be stale."""
    kernels, records = {}, {}
    for name, tree in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and "kernel" in map(
                ast.unparse, node.decorator_list
            ):
                kernels[node.name] = name
            if isinstance(node, ast.ClassDef) and "NamedTuple" in map(ast.unparse, node.bases):
                records[node.name] = name
    assert kernels
    assert records
    homes = kernels | records
    stray = {
        f"{name}.{node.name} uses {homes[word.id]}.{word.id}"
        for name, tree in MODULES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and kernels.get(node.name) == name
        for word in ast.walk(node)
        if isinstance(word, ast.Name) and homes.get(word.id, name) != name
    }
    assert not stray


@pytest.mark.parametrize("name", sorted(MODULES))
def test_hidden_is_a_word_for_packs_alone(name: str) -> None:
    words = {
        word
        for node in ast.walk(MODULES[name])
        for word in (getattr(node, "id", ""), getattr(node, "arg", ""), getattr(node, "name", ""))
        if isinstance(word, str) and "hidden" in word
    }
    assert not words
