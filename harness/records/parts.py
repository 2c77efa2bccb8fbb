"""Parts of a record that say how a run ended, what was seen of it, and what its entry is made of."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from harness.common.statuses import Cause, Status, remedy_of

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Mark(StrEnum):
    """What qualifies a whole row; the record's warnings tell it in full."""

    KILLED_FOR_MEMORY = "went on after a kill for memory"
    COLLAPSED = "has probably collapsed"
    FEW_IMAGES = "few training images for its settings"


class Part(BaseModel):
    """Base of every part of a record: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourcesPart(Part):
    """What an entry's identity as a folder is made of: the same parts on every engine."""

    own: Sha256
    """Hash over the folder's own files."""
    shared: Sha256
    """Hash of what every baseline stands on: contract, kit, Dockerfile.gpu, lock file."""
    base: str | None
    """Content hash of the base image; None where it ran as a process, which has none."""

    def difference(self, now: SourcesPart) -> list[str]:
        """In words, what is another one now; empty where all that can be compared is the same."""
        told = []
        if self.own != now.own:
            told.append("the folder's own files were others")
        if self.shared != now.shared:
            told.append(
                "the files that every folder stands on (harness/contract, baselines/kit,"
                " Dockerfile.gpu, requirements.lock) were others"
            )
        if self.base and now.base and self.base != now.base:
            told.append(
                f"the folder's base image was {self.base} and is {now.base} (BMAD_BASE_IMAGE and"
                " BMAD_TORCH_BACKEND choose it)"
            )
        is_same_folder = self.own == now.own and told
        return (
            [f"the folder's own files are the same; {told[0]}", *told[1:]]
            if is_same_folder
            else told
        )


class WeightsPart(Part):
    """A pretrained file that the entry could read, or the description of an own backbone."""

    name: str
    """What the entry and `python -m harness.weights` call it."""
    file: str | None = None
    """Its name in the weights folder; None where the network that is described has random
    weights."""
    sha256: Sha256 | None = None
    """Its hash; None likewise."""
    architecture: str | None = None
    """Of an own backbone: its network in timm's words."""
    description: Sha256 | None = None
    """Of an own backbone: hash over what its description says of network and normalisation."""

    @property
    def shown(self) -> str:
        """Name, network of an own one, and digest, for whoever reads of it."""
        network = f" ({self.architecture})" if self.architecture else ""
        return f"{self.name}{network} {self.sha256 or 'with random weights'}"


def weights_in_key(weights: Sequence[WeightsPart] | None) -> dict[str, object]:
    """What weight files add to a run key: `weights`, by name what decides a result; nothing where
    there are none, or nothing is known of them.
    """
    told = {
        part.name: part.model_dump(include={"sha256", "description"}, exclude_none=True)
        for part in weights or ()
    }
    return {"weights": told} if told else {}


class LogPart(Part):
    """The end of what the entry wrote to standard error (open packs alone)."""

    path: str
    """The whole log, from the results folder."""
    lines: list[str]
    """Its last lines, each cut, and what cannot be seen in them written out."""


class EngineFactsPart(Part):
    """What the engine saw of the run's programs, beside their pipes, over all sessions."""

    memory_kills: int | None = None
    """Processes killed for memory, children of the entry too; None where they cannot be seen."""
    met_memory_limit: bool | None = None
    """Where one was killed, whether the entry's own limit was met; None where nothing tells it."""
    full_folders: list[str] = Field(default_factory=list)
    """`/dev/shm` and `/tmp`, where they were seen full."""
    exit_code: int | None = None
    """Of the last session's main process; negative = by that signal; None = killed by us."""


class OutcomePart(Part):
    """How it ended."""

    status: Status
    detail: str = ""
    """One sentence that names the frame, image number or limit."""
    answered: int | None
    """Test images answered before the end; None in the public form of a failed hidden run."""
    cause: Cause | None = None
    """The way into the status, where it asks for another remedy: seen, or likely by the log."""
    log: LogPart | None = None
    """Of a failed run on an open pack."""

    @property
    def sentence(self) -> str:
        """What happened, with the cause where one is known."""
        told = self.status.entry.sentence
        return told if self.cause is None else f"{told} {self.cause.entry.sentence}"

    @property
    def remedy(self) -> str:
        """The first thing to try."""
        return remedy_of(self.status, self.cause)
