"""A trained model that the caller gives: where it lies, its hash, and what is known of it.

Traps: nobody may claim a training. Only a model whose very content this machine's store saw
trained, by the same entry with the same settings on the same pack, counts as trained here;
the card that comes with a folder or an import is a claim, and only its hashes are held to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import StoreUnusable, UsageError
from harness.common.foreign_text import one_line
from harness.engines.base import Limits
from harness.records.record import ModelPart, TrainingPart
from harness.trained import model_folder
from harness.trained.model_card import (
    FILES_FOLDER,
    MODEL_CARD_NAME,
    ModelCard,
    ModelFile,
    hash_of,
    list_model_files,
    read_model_card,
)
from harness.trained.model_store import ModelStore, StoredModel

# Parts of a run key that make a model what it is; device, threads and versions do not count.
DECISIVE = ("identity", "params", "training", "pack", "seed", "engine", "regime", "weights")


@dataclass(frozen=True)
class GivenModel:
    """A trained model for every run of one call."""

    hash: str
    """Over its files."""
    trained: tuple[StoredModel, ...]
    """The trainings on this machine that ended in this very model."""
    claimed: ModelCard | None
    """The card that came with it from elsewhere."""
    folder: Path | None = None
    """Where its files lie, outside the store."""
    stored: StoredModel | None = None
    """Where it is one of the store."""

    @property
    def seed(self) -> int | None:
        """Seed of its training, where a card tells."""
        cards = [*(model.card for model in self.trained), self.claimed]
        return next((card.seed for card in cards if card is not None), None)

    def copy(self, destination: Path, store: ModelStore, limits: Limits) -> None:
        """Copy its files into an empty folder of the host's.

        Raises:
            StoreUnusable: they are not what they were when the call began.
            RunEnded: `bad_model` where they pass the limits.
        """
        if self.stored is not None:
            store.fetch(self.stored, destination)
        elif self.folder is not None:
            model_folder.copy(self.folder, destination, limits)
            if model_folder.model_hash(destination) != self.hash:
                raise StoreUnusable("the model changed during the run", where=str(self.folder))

    def training_like(self, parts: Mapping[str, object]) -> ModelCard | None:
        """The training on this machine that these settings would repeat, if there is one."""
        for model in self.trained:
            if not training_differences(model.card, parts):
                return model.card
        return None

    def part(self, parts: Mapping[str, object]) -> ModelPart:
        """What the record says of it.

        Args:
            parts: what decides the training that the run would otherwise do.
        """
        card = self.training_like(parts)
        if card is not None:
            return ModelPart(hash=self.hash, origin="given", trained_under=card.key)
        if self.trained:
            card = self.trained[0].card
            remark = f"trained here, but {'; '.join(training_differences(card, parts))}"
            return ModelPart(hash=self.hash, origin="given", trained_under=card.key, remark=remark)
        remark = "its training is unknown"
        if self.claimed is not None:
            remark = f"not trained here; its card claims {self.claimed.name}"
        return ModelPart(hash=self.hash, origin="given", trained_under=None, remark=remark)

    def training(self, parts: Mapping[str, object]) -> TrainingPart | None:
        """The training that the record may show: one of this machine, with the same settings."""
        card = self.training_like(parts)
        return card.training if card else None


def give_folder(folder: Path, store: ModelStore) -> GivenModel:
    """A model from any folder that holds files for `load`, or from an unpacked export.

    Raises:
        UsageError: there is no such folder.
        StoreUnusable: it holds links or devices, or an export's files are not those of its card.
    """
    if not folder.is_dir():
        raise UsageError(
            "there is no such folder",
            where=f"--model {folder}",
            fix="give the folder that holds the model's files, or --stored-model NAME",
        )
    claimed = None
    card_path = folder / MODEL_CARD_NAME
    if card_path.is_file():
        claimed = read_model_card(card_path.read_bytes(), str(card_path))
        folder = folder / FILES_FOLDER
    files = list_model_files(folder)
    if not files:
        raise UsageError("the folder holds no file", where=f"--model {folder}")
    if claimed is not None and files != claimed.files:
        raise StoreUnusable(
            f"the files are not those of the model's card: {_differing(claimed, files)}",
            where=str(folder),
            fix="unpack the export again",
        )
    digest = hash_of(files)
    return GivenModel(digest, tuple(store.trained_with_hash(digest)), claimed, folder=folder)


def _differing(card: ModelCard, files: Sequence[ModelFile]) -> str:
    """The files that are not as a card says, by name where names may be told."""
    changed = [file for file in card.files if file not in files]
    named = {file.path: card.called(file) for file in changed}
    if may_leave(Artefact.ENTRY_WORDS, card.visibility):
        added = [file.path for file in files if file not in card.files]
        named |= {path: one_line(path) for path in added}
    return ", ".join(named[path] for path in sorted(named)) or "there are more than it names"


def open_stored(name: str, store: ModelStore) -> GivenModel:
    """A model of the store.

    Raises:
        UsageError: the name stands for none, or for several.
    """
    model = store.named(name)
    digest = model.card.model
    claimed = model.card if model.origin == "imported" else None
    return GivenModel(digest, tuple(store.trained_with_hash(digest)), claimed, stored=model)


def training_differences(card: ModelCard, parts: Mapping[str, object]) -> list[str]:
    """What the training of a card was, where another would be different, in words."""
    before, after = _flat(card.parts), _flat(parts)
    return [
        f"{one_line(name)} was {_short(before.get(name))} and is {_short(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _flat(parts: Mapping[str, object]) -> dict[str, object]:
    """The decisive parts by name, tables of settings taken apart."""
    flat: dict[str, object] = {}
    for name in DECISIVE:
        value = parts.get(name)
        if isinstance(value, dict) and name not in ("regime", "weights"):
            flat |= value
        else:
            flat[name] = value
    return flat


def _short(value: object) -> str:
    text = one_line(value, 60)
    return text if len(text) <= 60 else text[:57] + "…"
