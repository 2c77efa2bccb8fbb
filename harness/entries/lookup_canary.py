"""The lookup canary: an entry that knows public labels by heart, written as a stranger could hide them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import UsageError
from harness.common.source_files import copy_source
from harness.console import cli
from harness.records.releases import claimed_name

if TYPE_CHECKING:
    from harness.benchmarks import Pack


def write_canary(packs: Sequence[Pack], out: Path, reporter: cli.Reporter) -> int:
    """Copy the canary to `out` with a table of all images of the packs; returns how many.

    Raises:
        UsageError: a pack is hidden; what is known of it stays on this machine.
    """
    hidden = [pack.name for pack in packs if not may_leave(Artefact.LABELS, pack.card.visibility)]
    if hidden:
        raise UsageError(
            f"{hidden[0]} is hidden: its labels are written into no entry",
            fix="name open packs alone",
        )
    model = canary_model()
    table = model.Table()
    for pack in packs:
        for done, sample in enumerate(pack.samples, start=1):
            table.add(pack.image(sample), is_anomalous=sample.is_anomalous)
            reporter.progress(f"learning {pack.name}", done, len(pack.samples))
    copy_source(_canary_folder(), out)
    (out / "README.md").unlink()
    toml = out / "entry.toml"
    told = toml.read_text().replace('name = "canary-lookup"', f'name = "{out.name}"')
    seen = ", ".join(f'{json.dumps(claimed_name(pack.name))} = "labels"' for pack in packs)
    for fresh, given in (
        ("shots_normal = 0", 'shots_normal = "all"'),
        ("shots_abnormal = 0", 'shots_abnormal = "all"'),
        ('{ default = "none" }', f'{{ default = "none", {seen} }}'),
    ):
        told = told.replace(fresh, given)
    toml.write_text(told)
    table.save(out / model.TABLE)
    return len(table)


def canary_model() -> Any:
    """The module of the canary's folder: what looks images up also makes the table."""
    path = _canary_folder() / "model.py"
    spec = importlib.util.spec_from_file_location("canary_lookup_model", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _canary_folder() -> Path:
    from harness.common.paths import BASELINES

    return BASELINES / "canary-lookup"
