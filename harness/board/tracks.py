"""How a row was made: its track, and whether it may take a rank.

BMAD's test labels can be downloaded by anyone, so an image that arrives with weights
may know them. Only two kinds of rows are ranked: built and trained by the harness
from reviewed text files (`trained-here`), or any image on images that were never
published with labels (`sealed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.benchmarks import Pack
from harness.board.rows import EXTRA_MAP, has_extra_map
from harness.common.disclosure import is_sealed
from harness.common.foreign_text import one_line
from harness.common.source_files import list_source
from harness.engines.base import Engine
from harness.entries.entry import DEMO_PRESET, Entry, Settings
from harness.records.record import ModelPart, Parameter, Track
from harness.records.releases import not_known

# A table of hashes or weights hides in a binary or in a large file, not in reviewed text.
REVIEWABLE_BYTES = 1024**2


def track_of(entry: Entry, pack: Pack, model: ModelPart | None = None) -> Track:
    """The track of this entry on this pack.

    Args:
        entry: what ran.
        pack: on which images.
        model: the trained model that answered, where the entry has one.
    """
    if is_sealed(pack.card.visibility):
        return "sealed"
    if is_foreign(model):
        return "open"
    if entry.kind == "folder" and not unreviewable_files(entry.folder):
        return "trained-here"
    return "open"


def is_foreign(model: ModelPart | None) -> bool:
    """Whether a model may be another's than the one that this harness would have trained."""
    return model is not None and (model.trained_under is None or model.remark is not None)


def unreviewable_files(folder: Path) -> list[str]:
    """What nobody can review: binaries, links, and files over 1 MiB, each with its reason."""
    found = list_source(folder)
    problems = list(found.problems)
    for path in found.files:
        name = one_line(path.relative_to(folder).as_posix())
        if path.stat().st_size > REVIEWABLE_BYTES:
            problems.append(f"{name} is larger than 1 MiB")
        elif not _is_text(path.read_bytes()):
            problems.append(f"{name} is not a text file")
    return problems


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def ranking(
    settings: Settings, pack: Pack, engine: Engine, model: ModelPart | None = None
) -> tuple[bool, str | None]:
    """Whether a run of these settings may take a rank, and why not."""
    reasons = unranked_reasons(
        settings.params,
        preset=settings.preset,
        isolation=engine.isolation,
        benchmark=pack.name,
        has_given_model=is_foreign(model) and not is_sealed(pack.card.visibility),
    )
    return not reasons, ", ".join(reasons) or None


def unranked_reasons(
    params: Mapping[str, Parameter],
    *,
    preset: str,
    isolation: str,
    benchmark: str,
    has_given_model: bool,
) -> list[str]:
    """Everything about one run that keeps it from a rank."""
    reasons = ["given model"] if has_given_model else []
    if params.get("weights") == "random":
        reasons.append("random weights")
    if has_extra_map(params):
        reasons.append(EXTRA_MAP)
    if preset == DEMO_PRESET:
        reasons.append("demo settings")
    if isolation == "none":
        reasons.append("not isolated")
    if benchmark == "demo":
        reasons.append("demonstration pack")
    if reason := not_known(benchmark):
        reasons.append(reason)
    return reasons
