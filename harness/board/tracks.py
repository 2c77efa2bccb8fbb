"""How a row was made: its track, and whether it may take a rank.

BMAD's test labels can be downloaded by anyone, so an image that arrives with weights
may know them. Only two kinds of rows are ranked: built and trained by the harness
from reviewed text files (`trained-here`), or any image on images that were never
published with labels (`sealed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.kit.weight_files import WEIGHT_FILES
from harness.benchmarks.suites import shipped_suites
from harness.common.disclosure import is_sealed
from harness.common.foreign_text import one_line
from harness.common.source_files import list_source
from harness.entries.entry import DEMO_PRESET, Entry, Settings
from harness.entries.weights import is_pinned
from harness.records.isolation import IsolationLevel
from harness.records.parts import WeightsPart
from harness.records.record import ModelPart, Parameter, Record, Track
from harness.records.regime import ONE_CLASS, Regime
from harness.records.releases import not_known

if TYPE_CHECKING:
    from harness.benchmarks import Pack

OPEN_TRACK = "open track"
# Why what nobody reviewed takes none where it was not held in all that a container holds it in.
SAME_USER = "same user without a reviewed source"
# Why an image that only predicts takes none among entries whose every file can be read.
DECLARED_ZERO_SHOT = "declared zero-shot"
# Why a run with `native_map` takes no rank.
EXTRA_MAP = "a map that its paper does not give"
# Why a run takes no rank for its pretrained files: none of the committed table, or a maintainer's.
UNPINNED, OWN_BACKBONE = "unpinned weights", "own backbone"
# A table of hashes or weights hides in a binary or in a large file, not in reviewed text.
REVIEWABLE_BYTES = 1024**2


def track_of(entry: Entry, pack: Pack, model: ModelPart | None = None) -> Track:
    """The track of this entry on this pack.

    Args:
        entry: what ran.
        pack: on which images.
        model: the trained model that answered, where the entry has one.
    """
    # One open member of a suite is enough for a stranger to know labels by heart.
    if all(is_sealed(member.card.visibility) for member in pack.members):
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


def has_extra_map(params: Mapping[str, object]) -> bool:
    """Whether the entry was asked for a map that its paper does not give (NA there)."""
    return params.get("native_map") is True


def ranking(
    settings: Settings,
    pack: Pack,
    isolation: IsolationLevel,
    *,
    track: Track,
    model: ModelPart | None = None,
    weights: Sequence[WeightsPart] | None = (),
    regime: Regime = ONE_CLASS,
) -> tuple[bool, str | None]:
    """Whether a run of these settings may take a rank, and why not."""
    reasons = unranked_reasons(
        settings.params,
        preset=settings.preset,
        isolation=isolation,
        benchmarks=(pack.name, *(member.name for member in pack.members)),
        track=track,
        has_given_model=is_foreign(model) and track != "sealed",
        suite=regime.suite,
        is_declared=regime.is_declared,
    ) + weights_reasons(weights)
    return not reasons, ", ".join(reasons) or None


def reasons_of(record: Record) -> list[str]:
    """Everything about a recorded run that keeps it from a rank, whatever the record says of that.

    Records of harness 0.1 said nothing of the open track.
    """
    regime = record.regime or ONE_CLASS
    return unranked_reasons(
        record.entry.params,
        preset=record.entry.preset,
        isolation=record.machine.isolation,
        benchmarks=(record.pack.benchmark, *(pack.benchmark for pack in record.members)),
        track=record.track,
        has_given_model=is_foreign(record.model) and record.track != "sealed",
        suite=regime.suite,
        is_declared=regime.is_declared,
    ) + weights_reasons(weights_of(record))


def weights_of(record: Record) -> Sequence[WeightsPart] | None:
    """Its pretrained files; None where it read one that it does not tell of."""
    metadata, params = record.entry.metadata, record.entry.params
    told = record.weights or ()
    names = set(metadata.get("backbones", ())) - set(metadata.get("needed_where", {}))
    if not names or has_random_weights(params):
        return told
    chosen = {params.get("backbone")} & WEIGHT_FILES.keys() or names
    return told if chosen & {each.name for each in told if each.sha256} or _has_own(told) else None


def _has_own(weights: Sequence[WeightsPart]) -> bool:
    return any(each.architecture and each.sha256 for each in weights)


def weights_reasons(weights: Sequence[WeightsPart] | None) -> list[str]:
    """What of a run's pretrained files is against its rank: a digest that the committed table lacks.

    Args:
        weights: the files; None: it read some, and nothing is known of them.
    """
    if weights is None:
        return [UNPINNED]
    unpinned = [each for each in weights if not is_pinned(each.name, each.sha256)]
    reasons = [OWN_BACKBONE if each.architecture else UNPINNED for each in unpinned if each.sha256]
    return list(dict.fromkeys(reasons))


def has_random_weights(params: Mapping[str, object]) -> bool:
    """Whether the entry's backbone has random weights, and reads no file."""
    return params.get("weights") == "random"


def why_unranked(record: Record) -> list[str]:
    """What a record says against a rank, and what is found against it; empty where it may take one."""
    said = (record.unranked_reason or "the run is marked unranked").split(", ")
    return list(dict.fromkeys([*([] if record.ranked else said), *reasons_of(record)]))


def unranked_reasons(
    params: Mapping[str, Parameter],
    *,
    preset: str,
    isolation: IsolationLevel,
    benchmarks: Sequence[str],
    track: Track,
    has_given_model: bool,
    suite: str | None = None,
    is_declared: bool = False,
) -> list[str]:
    """The one place where it is decided whether a run may take a rank: everything against it.

    Args:
        params, preset, isolation, track, has_given_model: of the run.
        benchmarks: names that its packs stand under, and the suite's, where it is of one.
        suite: name of the suite.
        is_declared: it is zero-shot by the word of whoever made the image.
    """
    reasons = ["given model"] if has_given_model else []
    if has_random_weights(params):
        reasons.append("random weights")
    if has_extra_map(params):
        reasons.append(EXTRA_MAP)
    if params.get("penalty") == "none":  # EfficientAD without the images it is defined with
        reasons.append("no penalty images")
    if preset == DEMO_PRESET:
        reasons.append("demo settings")
    if isolation == "none":
        reasons.append("not isolated")
    if isolation == "same user" and track != "trained-here":
        reasons.append(SAME_USER)
    if "demo" in benchmarks:
        reasons.append("demonstration pack")
    if track == "open":
        reasons.append(OPEN_TRACK)
    if suite is not None and suite not in shipped_suites():
        reasons.append("own suite")
    if is_declared:
        reasons.append(DECLARED_ZERO_SHOT)
    reasons += filter(None, map(not_known, benchmarks))
    return list(dict.fromkeys(reasons))
