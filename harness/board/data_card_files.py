"""The data cards that lie beside the records: written by `harness.pack verify`, read for the site.

results/<pack>/datacard.json, datacard.md        written by `python -m harness.pack verify`
"""

from __future__ import annotations

from pathlib import Path

from harness.board.data_card import DataCard
from harness.board.data_card_text import to_markdown
from harness.board.site_data import PackLeak, TrivialAuroc, VerifiedPack
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import StoreUnusable
from harness.common.json_text import BadJson, parse_as
from harness.records.releases import KnownReleases, version_digits

CARD_FILE = "datacard.json"


def read_verified_packs(root: Path, known: KnownReleases) -> dict[str, VerifiedPack]:
    """The cards of the open packs below a results folder, by the name that each stands under.

    Raises:
        StoreUnusable: a file is not a data card of this form.
    """
    cards = [read_card(path) for path in sorted(root.glob(f"*/{CARD_FILE}"))]
    return {
        known.name_of(card.name, card.digest or version_digits(card.version)): _verified(card)
        for card in cards
        if may_leave(Artefact.DATA_CARD, card.visibility)
    }


def read_card(path: Path) -> DataCard:
    """One card.

    Raises:
        StoreUnusable: the file is not a data card of this form.
    """
    try:
        return parse_as(DataCard.model_validate_json, path.read_bytes())
    except (OSError, BadJson) as error:
        raise StoreUnusable(
            "the file is not a data card of this form",
            where=str(path),
            fix="make it anew with python -m harness.pack verify",
        ) from error


def _verified(card: DataCard) -> VerifiedPack:
    return VerifiedPack(
        version=card.version,
        expected=tuple((each.origin, each.is_met) for each in card.expected),
        leaks=tuple(
            PackLeak(each.kind, each.splits, each.count, each.images) for each in card.leaks
        ),
        trivial=tuple(
            TrivialAuroc(each.statistic, each.auroc, each.low, each.high) for each in card.trivial
        ),
        problems=card.problems,
        markdown=to_markdown(card),
        json=card.model_dump_json(indent=1) + "\n",
    )


CARD_FILES = ("datacard.json", "datacard.md")


def write_card(card: DataCard, results: Path) -> list[Path]:
    """Write both forms, each whole or not at all; returns their paths."""
    from harness.benchmarks.cache import write_atomically
    from harness.board.data_card_text import to_markdown

    texts = (card.model_dump_json(indent=1) + "\n", to_markdown(card))
    paths = [results / card.name / name for name in CARD_FILES]
    for path, text in zip(paths, texts, strict=True):
        write_atomically(path, text.encode())
    return paths
