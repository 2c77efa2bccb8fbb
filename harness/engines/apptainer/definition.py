"""Apptainer's definition file of the baselines' base, made out of Dockerfile.gpu.

What is installed, and how, stands in one place: each instruction of that file becomes its section
here. Only what it uses is understood; a new instruction is an error that names it, which a test
finds before a user does.

Format: Dockerfile reference (docs.docker.com/reference/dockerfile), Apptainer user guide,
«Definition Files», «Multi-Stage Builds».

Trap: in a definition file, all files come before all commands. So a stage may not copy onto what
its own commands have made.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass
class Stage:
    """One stage of a Dockerfile."""

    name: str
    """As `FROM … AS` calls it, else `final`."""
    base: str
    """The image that it stands on."""
    arguments: dict[str, str] = field(default_factory=dict)
    """Its ARGs with their values."""
    copies: list[tuple[str, ...]] = field(default_factory=list)
    """Sources in the context and, last, the place: as COPY has them."""
    from_stages: list[tuple[str, str, str]] = field(default_factory=list)
    """Stage, path there, path here."""
    folder: str = "/"
    """WORKDIR."""
    commands: list[str] = field(default_factory=list)
    """RUN, each with the folder that it runs in."""
    variables: dict[str, str] = field(default_factory=dict)
    """ENV."""
    entrypoint: tuple[str, ...] = ()
    """ENTRYPOINT."""


def read_dockerfile(text: str, arguments: Mapping[str, str]) -> list[Stage]:
    """The stages of a Dockerfile.

    Args:
        text: the file's.
        arguments: values of its build arguments.
    Raises:
        ValueError: it holds an instruction that is not understood.
    """
    stages: list[Stage] = []
    given: dict[str, str] = {}
    for word, rest in _instructions(text):
        if word == "ARG":
            name, _, default = rest.partition("=")
            value = arguments.get(name, default.strip('"') or given.get(name, ""))
            (stages[-1].arguments if stages else given)[name] = value
        elif word == "FROM":
            base, _, name = _VARIABLE.sub(lambda found: given[found[1]], rest).partition(" AS ")
            stages.append(Stage(name or "final", base))
        else:
            _read(word, rest, stages[-1])
    return stages


def _read(word: str, rest: str, stage: Stage) -> None:
    if word == "COPY" and rest.startswith("--from="):
        source, *paths, target = rest.removeprefix("--from=").split()
        stage.from_stages += [(source, path, _placed(path, target)) for path in paths]
    elif word == "COPY":
        stage.copies.append(tuple(rest.split()))
    elif word == "WORKDIR":
        stage.folder = rest
    elif word == "RUN":
        stage.commands.append(f"cd {shlex.quote(stage.folder)}\n{rest}")
    elif word == "ENV":
        stage.variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    elif word == "ENTRYPOINT":
        stage.entrypoint = tuple(json.loads(rest))
    elif word != "CMD":  # the verb is always given
        raise ValueError(f"Dockerfile.gpu: {word} is not understood")


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Instructions and what they say; a RUN keeps the line ends that it escapes, its shell reads them."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for block in re.split(r"(?<!\\)\n", plain):
        word, _, rest = block.strip().partition(" ")
        if word:
            yield (
                word,
                rest.strip() if word == "RUN" else " ".join(rest.replace("\\\n", " ").split()),
            )


def _placed(path: str, target: str) -> str:
    return target + Path(path).name if target.endswith("/") else target


def write_definition(
    stages: list[Stage], context: Mapping[str, Path], folder: Path, authorities: bytes
) -> Path:
    """Write the definition file, and beside it the files that it copies.

    Args:
        stages: of `read_dockerfile`.
        context: the build context: files by their names in it.
        folder: where to.
        authorities: of `build_authorities`; the context's build-ca.pem.
    """
    text = []
    for stage in stages:
        root = folder / f"files-{stage.name}"
        for *sources, target in stage.copies:
            for source in sources:
                _copy(source, target, context, root, authorities)
        tops = sorted(root.iterdir()) if root.is_dir() else []
        text += [*_bootstrap(stage.base), f"Stage: {stage.name}", ""]
        if tops:
            text += ["%files", *(f"    {shlex.quote(str(top))} /" for top in tops), ""]
        for source, path, place in stage.from_stages:
            text += [f"%files from {source}", f"    {path} {place}", ""]
        exports = [f"export {name}={shlex.quote(value)}" for name, value in stage.arguments.items()]
        text += ["%post", *exports, *(f"(\n{command}\n)" for command in stage.commands), ""]
    (folder / "base.def").write_text("\n".join(text), encoding="utf-8")
    return folder / "base.def"


def _bootstrap(base: str) -> list[str]:
    """Where a stage's base comes from: a registry, an archive of `docker save`, a SIF or a folder."""
    if base.endswith(".tar"):
        return ["Bootstrap: docker-archive", f"From: {base}"]
    if base.endswith(".sif") or base.startswith("/"):
        return ["Bootstrap: localimage", f"From: {base}"]
    return ["Bootstrap: docker", f"From: {base}"]


def _copy(
    source: str, target: str, context: Mapping[str, Path], root: Path, authorities: bytes
) -> None:
    """One source of a COPY, as Docker places it: a folder's content goes into the target."""
    inside = root / target.lstrip("/")
    if source == "build-ca.pem":
        inside.mkdir(parents=True, exist_ok=True)
        (inside / source).write_bytes(authorities)
        return
    for name, path in context.items():
        if name == source:
            placed = inside / path.name
        elif name.startswith(f"{source}/"):
            placed = inside / name.removeprefix(f"{source}/")
        else:
            continue
        placed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, placed)
