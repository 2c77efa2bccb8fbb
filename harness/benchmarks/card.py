"""The pack's card, `pack.toml`: what a pack is, as found in the folder and as its maker states it.

A folder may bring a card with any of the fields; what it leaves out comes from the benchmark's
spec, then from a cautious default (images not to be shown). What can be counted is counted: a
stated count, size, mode or version id that differs from what was found is a problem. The card
made here holds every field, so it can be copied into the folder as it is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.benchmarks.acceptance import known_reason
from harness.benchmarks.problems import Problem
from harness.benchmarks.spec import GROUP_UNITS, BenchmarkSpec, SplitPair
from harness.common.disclosure import Visibility
from harness.common.foreign_text import one_line
from harness.common.toml_text import BadToml, read_toml

CARD_NAME = "pack.toml"

PackName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
AcceptedReason = Annotated[str, AfterValidator(known_reason)]
Variant = Literal["paper", "disjoint", "resplit"]
# No patient and no image of these may be in two splits: `harness.pack verify` holds them to it.
DISJOINT_VARIANTS = ("disjoint", "resplit")


class Counts(BaseModel):
    """Images per split and class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    valid_normal: int
    valid_anomalous: int
    test_normal: int
    test_anomalous: int


class Groups(BaseModel):
    """Patients (volumes, slides) per split; absent where the names do not tell for every image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int | None = None
    valid: int | None = None
    test: int | None = None


class StatedCard(BaseModel):
    """A card as a folder brings it: every field optional, unknown ones refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """Version of the card's format."""
    name: PackName | None = None
    """Benchmark that the pack is; one of the known ones, or a name of its own."""
    base: PackName | None = None
    """Known benchmark that a pack with a name of its own is another cut of."""
    variant: Variant | None = None
    """Rule by which it was split: as the paper, patient-disjoint, or with a secret salt."""
    version: str | None = None
    """Version id; checked against the images."""
    title: str | None = None
    """One line for readers."""
    modality: str | None = None
    """How the images were acquired."""
    visibility: Visibility | None = None
    """`hidden`: nothing but rounded aggregates may be published."""
    images_may_be_shown: bool | None = None
    """Whether a published site may show the images."""
    show_evidence: str | None = None
    """Why they may, or may not, be shown."""
    licence: str | None = None
    """Licence of the images."""
    citation: str | None = None
    """What to cite."""
    source: str | None = None
    """Where the images come from."""
    access: str | None = None
    """What one needs to get them."""
    name_rules: tuple[str, ...] | None = None
    """Regular expressions on file names with the groups `patient` (`volume`, `slide`), `subclass`."""
    patients: Literal["independent"] | None = None
    """`independent`: the maker states that every image is of a patient of its own."""
    shared_images: tuple[SplitPair, ...] | None = None
    """Pairs of splits that may hold identical images: a known leak."""
    known_leaks: tuple[str, ...] | None = None
    """Facts that make scores too good."""
    remarks: tuple[str, ...] | None = None
    """Other facts that a reader of the scores needs."""
    accepted: tuple[AcceptedReason, ...] | None = None
    """What its maker accepts of the folder, which is an error else (`acceptance.py`)."""
    left_out: dict[str, int] | None = None
    """Files that are not used, counted by reason; found anew at each reading."""
    release: str | None = None
    """Which copy of the benchmark it is, by counts and order of folders; found anew likewise."""
    has_masks: bool | None = None
    """Whether abnormal images have pixel masks."""
    mode: Literal["L", "RGB"] | None = None
    """Mode in which every image is delivered."""
    sizes: tuple[str, ...] | None = None
    """Image sizes that occur, `WxH`, most frequent first."""
    group_unit: Literal["patient", "volume", "slide", "mixed"] | None = None
    """What images are grouped by; absent where nothing is known."""
    counts: Counts | None = None
    """Images per split and class."""
    groups: Groups | None = None
    """Patients (volumes, slides) per split."""

    @field_validator("name_rules")
    @classmethod
    def _rules_are_regular_expressions(
        cls, rules: tuple[str, ...] | None
    ) -> tuple[str, ...] | None:
        for rule in rules or ():
            try:
                names = set(re.compile(rule).groupindex)
            except re.error as error:
                raise ValueError(f"{rule!r} is no regular expression: {error}") from error
            if not names & {*GROUP_UNITS, "subclass"}:
                raise ValueError(f"{rule!r} has no group patient, volume, slide or subclass")
        return rules

    def as_toml(self) -> str:
        """The card as it stands in `pack.toml`."""
        fields = self.model_dump(mode="json", exclude_none=True)
        tables = {name: value for name, value in fields.items() if isinstance(value, dict)}
        lines = [f"{name} = {_toml(value)}" for name, value in fields.items() if name not in tables]
        for name, table in tables.items():
            if not table:
                continue
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


class PackCard(StatedCard):
    """A pack's complete card, as made from its files, its own card and the benchmark's spec."""

    name: PackName
    version: str
    title: str
    modality: str
    visibility: Visibility
    images_may_be_shown: bool
    show_evidence: str
    licence: str
    citation: str
    source: str
    access: str
    name_rules: tuple[str, ...]
    shared_images: tuple[SplitPair, ...]
    known_leaks: tuple[str, ...]
    remarks: tuple[str, ...]
    accepted: tuple[AcceptedReason, ...]
    left_out: dict[str, int]
    release: str
    has_masks: bool
    mode: Literal["L", "RGB"]
    sizes: tuple[str, ...]
    counts: Counts
    groups: Groups


def read_stated_card(folders: list[Path]) -> tuple[StatedCard, list[Problem]]:
    """The card in the first of these folders that has one; an empty card where none has.

    Returns:
        The card, and what is wrong with it (then the card is empty): two that differ, too.
    """
    paths = [folder / CARD_NAME for folder in folders if (folder / CARD_NAME).is_file()]
    if len({path.read_bytes() for path in paths}) > 1:
        told = ", ".join(str(path) for path in paths)
        return StatedCard(), [Problem("card", f"several {CARD_NAME} that differ: {told}; keep one")]
    if not paths:
        return StatedCard(), []
    try:
        return StatedCard.model_validate(read_toml(paths[0])), []
    except BadToml as error:
        return StatedCard(), [Problem("card", f"{CARD_NAME} is no TOML: {one_line(error)}")]
    except ValidationError as error:
        return StatedCard(), [
            Problem("card", f"{CARD_NAME}, {one_line('.'.join(map(str, e['loc'])))}: {e['msg']}")
            for e in error.errors()
        ]


def stated_by_spec(spec: BenchmarkSpec) -> StatedCard:
    """What a benchmark's spec says about every pack of it."""
    return StatedCard(
        name=spec.name,
        title=spec.title,
        modality=spec.modality,
        images_may_be_shown=spec.may_show_images,
        show_evidence=spec.show_evidence,
        licence=spec.licence,
        citation=spec.citation,
        source=spec.source,
        access=spec.access,
        name_rules=spec.name_rules,
        shared_images=spec.shared_images,
        known_leaks=spec.known_leaks,
        remarks=spec.remarks,
        has_masks=spec.has_masks,
    )


def over(upper: StatedCard, lower: StatedCard) -> StatedCard:
    """The upper card's fields, and the lower one's where the upper has none."""
    own = upper.model_dump(exclude_none=True, exclude_unset=True)
    return StatedCard.model_validate({**lower.model_dump(exclude_none=True), **own})


def default_card(name: str) -> StatedCard:
    """What is assumed of a folder that says nothing about itself."""
    return StatedCard(
        name=name,
        title=name,
        modality="not stated",
        visibility="open",
        images_may_be_shown=False,
        show_evidence="nobody has stated that they may be shown",
        licence="not stated",
        citation="not stated",
        source="not stated",
        access="not stated",
        name_rules=(),
        shared_images=(),
        known_leaks=(),
        remarks=(),
        accepted=(),
    )


def contradictions(stated: StatedCard, found: PackCard) -> list[Problem]:
    """Where the folder's own card says something else than its images."""
    problems = []
    for field in ("version", "has_masks", "mode", "sizes", "counts"):
        said, is_so = getattr(stated, field), getattr(found, field)
        if said is not None and said != is_so:
            problems.append(
                Problem(
                    "card", f"{CARD_NAME} states {field} = {_shown(said)}, found {_shown(is_so)}"
                )
            )
    return problems


def pack_name(folder: Path) -> str:
    """A folder's name as a pack name: lower case, anything unusual replaced by `-`."""
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")
    return name[:64] or "pack"


def _shown(value: Any) -> str:
    return value.model_dump_json() if isinstance(value, BaseModel) else repr(value)


def _toml(value: Any) -> str:
    """One TOML value. JSON's strings, numbers and booleans are TOML's; DEL alone is not."""
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
