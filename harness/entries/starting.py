"""Writes the folder of a new entry: complete, checked as it is, and marked where it is to be filled in.

    template             a copy of baselines/template under another name
    anomalib:Padim       a network of anomalib, trained by the kit
    torch:net.py:Net     a network of one's own, trained to give its input back
    image                a Dockerfile, the contract and the program that it starts

`forms/` holds the texts. Trap: nothing is imported here, neither anomalib nor the author's file.
"""

from __future__ import annotations

import ast
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from harness.common.errors import EntryInvalid, UsageError
from harness.common.foreign_text import one_line
from harness.common.near_misses import did_you_mean
from harness.common.paths import BASELINES, REPOSITORY
from harness.common.source_files import copy_source
from harness.entries.entry import check_name

FORMS = Path(__file__).with_name("forms")
PYRAMID = ("layer1", "layer2", "layer3")
DESCENT = {"epochs": 100, "checkpoint_every_epochs": 10}


@dataclass(frozen=True)
class Recipe:
    """How a model of anomalib is made and learns; values are the library's own defaults."""

    part: str
    """Folder below `anomalib/models/image/`."""
    network: str
    """Class of the network."""
    family: str
    """As `[entry] family` says it."""
    arguments: Mapping[str, Any]
    """What the network is made with."""
    learning: str
    """Lines of the class that say how it learns."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Other parameters."""
    derived: Sequence[str] = ()
    """Arguments that the adapter gives by itself."""
    imports: str = ""
    """What those lines import."""

    @property
    def is_descent(self) -> bool:
        """Whether it is trained in epochs."""
        return "epochs" in self.params


def _by_loss(loss: str, optimiser: str) -> str:
    return (
        f'    loss = "{loss}"\n\n'
        "    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:\n"
        '        """As the library chooses it."""\n'
        f"        return torch.optim.{optimiser}\n"
    )


TORCH = "import torch\nfrom torch import nn\n\n"
RATE = 'lr=self.params["learning_rate"]'
RECIPES: Mapping[str, Recipe] = {
    "Padim": Recipe(
        "padim", "PadimModel", "memory bank",
        {"backbone": "resnet18", "layers": PYRAMID, "n_features": 100},
        '    finish = "fit"\n',
    ),
    "Patchcore": Recipe(
        "patchcore", "PatchcoreModel", "memory bank",
        {"backbone": "wide_resnet50_2", "layers": PYRAMID[1:], "num_neighbors": 9},
        '    finish, finish_arguments = "subsample_embedding", ("coreset_sampling_ratio",)\n',
        {"coreset_sampling_ratio": 0.1},
    ),
    "Stfpm": Recipe(
        "stfpm", "STFPMModel", "teacher-student",
        {"backbone": "resnet18", "layers": PYRAMID},
        _by_loss("STFPMLoss", f"SGD(parameters, {RATE}, momentum=0.9, weight_decay=0.001)"),
        {**DESCENT, "learning_rate": 0.4}, imports=TORCH,
    ),
    "ReverseDistillation": Recipe(
        "reverse_distillation", "ReverseDistillationModel", "teacher-student",
        {"backbone": "wide_resnet50_2", "layers": PYRAMID, "anomaly_map_mode": "add"},
        _by_loss("ReverseDistillationLoss", f"Adam(parameters, {RATE}, betas=(0.5, 0.99))"),
        {**DESCENT, "learning_rate": 0.005}, ("input_size",), TORCH,
    ),
    "Fastflow": Recipe(
        "fastflow", "FastflowModel", "flow",
        {"backbone": "resnet18", "flow_steps": 8, "conv3x3_only": False, "hidden_ratio": 1.0},
        _by_loss("FastflowLoss", f"Adam(parameters, {RATE}, weight_decay=0.00001)"),
        {**DESCENT, "learning_rate": 0.001}, ("input_size",), TORCH,
    ),
}  # fmt: skip


def start_folder(folder: Path, form: str) -> list[str]:
    """Write a new entry; what was written, by name.

    Args:
        folder: not there yet; its name is the entry's.
        form: `template`, `anomalib:CLASS`, `torch:FILE:CLASS` or `image`.
    Raises:
        UsageError: the folder exists, the name is none, or the form is unknown.
        EntryInvalid: the author's file is not what the form needs.
    """
    check_name(folder.name)
    if folder.exists():
        raise UsageError(
            "the folder exists already and is not overwritten",
            where=str(folder),
            fix="choose another name, or remove it first",
        )
    kind, _, rest = form.partition(":")
    makers = {"template": _template, "anomalib": _anomalib, "torch": _torch, "image": _image}
    if kind not in makers or bool(rest) != (kind in ("anomalib", "torch")):
        raise _unknown_form(form)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as name:
        fresh = Path(name) / folder.name
        makers[kind](fresh, folder, rest)
        fresh.rename(folder)
    return sorted(path.name for path in folder.iterdir())


def _template(fresh: Path, folder: Path, _rest: str) -> None:
    copy_source(BASELINES / "template", fresh)
    told = (fresh / "entry.toml").read_text(encoding="utf-8")
    (fresh / "entry.toml").write_text(
        told.replace('name = "template" ', f"name = {json.dumps(folder.name)} ", 1),
        encoding="utf-8",
    )


def _anomalib(fresh: Path, folder: Path, name: str) -> None:
    recipe = RECIPES.get(name)
    if recipe is None:
        raise _unknown_class(name)
    fresh.mkdir()
    size = {"image_size": 256, "batch_size": 32}
    params = {**size, "weights": "imagenet", **recipe.arguments, **recipe.params}
    backbone = recipe.arguments["backbone"]
    demo: dict[str, Any] = {"image_size": 128, "batch_size": 8, "weights": "random"}
    demo |= {"backbone": "resnet18"} if backbone != "resnet18" else {}
    demo |= {"epochs": 2, "checkpoint_every_epochs": 1} if recipe.is_descent else {}
    demo |= {"coreset_sampling_ratio": 0.02} if "coreset_sampling_ratio" in recipe.params else {}
    texts = {
        "class_name": name, "part": recipe.part, "network": recipe.network,
        "title": name, "imports": recipe.imports, "learning": recipe.learning,
        "arguments": json.dumps([*recipe.arguments, *recipe.derived])[1:-1],
    }  # fmt: skip
    _fill("anomalib/model.py", fresh / "model.py", texts)
    _fill("anomalib/README.md", fresh / "README.md", texts)
    _entry_toml(
        fresh, folder.name, name, family=recipe.family, pretraining="ImageNet",
        backbones=[backbone], is_judged=recipe.is_descent, params=params, demo=demo,
    )  # fmt: skip


def _torch(fresh: Path, folder: Path, rest: str) -> None:
    file, _, name = rest.rpartition(":")
    source = Path(file)
    if not file or not name.isidentifier():
        raise _unknown_form(f"torch:{rest}")
    _check_network(source, name)
    fresh.mkdir()
    shutil.copyfile(source, fresh / "network.py")
    texts = {"title": folder.name, "class_name": name, "source": source.name}
    texts |= {"name": folder.name, "folder": str(folder)}
    _fill("torch/model.py", fresh / "model.py", texts)
    _fill("torch/README.md", fresh / "README.md", texts)
    params = {"image_size": 256, "batch_size": 32, **DESCENT, "learning_rate": 0.0001}
    demo = {"image_size": 64, "batch_size": 8, "epochs": 2, "checkpoint_every_epochs": 1}
    _entry_toml(
        fresh, folder.name, folder.name, family="reconstruction", pretraining="none",
        backbones=[], is_judged=True, params=params, demo=demo,
    )  # fmt: skip


def _check_network(source: Path, name: str) -> None:
    """That a file holds a class which can be made without arguments, without running it.

    Raises:
        EntryInvalid: it does not.
    """
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise EntryInvalid(f"it cannot be read as Python: {error}", where=str(source)) from error
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        raise EntryInvalid(
            f"there is no class {name!r}",
            where=str(source),
            fix=f"{did_you_mean(name, classes)}classes: {one_line(', '.join(classes)) or 'none'}",
        )
    for node in classes[name].body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            told = node.args
            positional = [*told.posonlyargs, *told.args][1:]
            needed = positional[: len(positional) - len(told.defaults)]
            needed += [
                argument
                for argument, default in zip(told.kwonlyargs, told.kw_defaults, strict=True)
                if default is None
            ]
            if needed:
                raise EntryInvalid(
                    f"{name} needs arguments: {', '.join(each.arg for each in needed)}",
                    where=f"{source}:{node.lineno}",
                    fix="give each a default, so that it can be made as it is",
                )


def _image(fresh: Path, folder: Path, _rest: str) -> None:
    fresh.mkdir()
    shutil.copytree(
        REPOSITORY / "harness/contract", fresh / "contract",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    texts = {"name": folder.name, "title": folder.name, "folder": str(folder)}
    for name in ("entry.py", "Dockerfile", "README.md"):
        _fill(f"image/{name}", fresh / name, texts)


def _entry_toml(
    fresh: Path, name: str, title: str, *, family: str, pretraining: str, backbones: list[str],
    is_judged: bool, params: Mapping[str, Any], demo: Mapping[str, Any],
) -> None:  # fmt: skip
    texts = {
        "name": json.dumps(name), "quoted_title": json.dumps(title), "family": json.dumps(family),
        "pretraining": json.dumps(pretraining),
        "backbones": ", ".join(map(json.dumps, backbones)),
        "metric": json.dumps("image_auroc" if is_judged else "none"),
        "params": _toml_lines(params), "demo": _toml_lines(demo),
    }  # fmt: skip
    _fill("folder.toml", fresh / "entry.toml", texts)


def _toml_lines(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


def _fill(form: str, path: Path, texts: Mapping[str, str]) -> None:
    path.write_text(
        Template((FORMS / f"{form}.txt").read_text(encoding="utf-8")).substitute(texts),
        encoding="utf-8",
    )


def _unknown_form(form: str) -> UsageError:
    forms = ("template", "anomalib", "torch", "image")
    return UsageError(
        f"{form!r} is no form of an entry",
        where="--from",
        fix=did_you_mean(form.partition(":")[0], forms)
        + "template, anomalib:CLASS (anomalib:Padim), torch:FILE:CLASS (torch:net.py:Net), or image",
    )


def _unknown_class(name: str) -> UsageError:
    return UsageError(
        f"there is no recipe for anomalib's {name!r}",
        where="--from",
        fix=f"{did_you_mean(name, RECIPES)}models: {', '.join(sorted(RECIPES))}; another one learns"
        " in a way of its own: start with one of these, and write its fit"
        " (baselines/kit/anomalib_model.py)",
    )
