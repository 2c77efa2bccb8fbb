"""What may leave a pack: one table, asked everywhere; what it does not name is closed."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.benchmarks import Pack, demo_pack
from harness.board import curves, gallery
from harness.board.comparison import without_numbers
from harness.board.data_card import make_card
from harness.board.public_rows import published
from harness.board.rows import summarise
from harness.board.tracks import track_of
from harness.common import disclosure
from harness.common.disclosure import (
    Artefact,
    PictureReach,
    is_sealed,
    may_leave,
    picture_reach,
    strictest,
)
from harness.common.errors import UsageError
from harness.console.cli import Reporter
from harness.entries.lookup_canary import write_canary
from harness.entries.opening import open_image
from harness.publishing.public_form import public_form
from harness.records.record import Record, content_hash
from tests.paths import REPOSITORY
from tests.record_factory import comparison, record

THIRD = "embargoed"
"""A visibility that nobody has thought of."""
EVIDENCE = content_hash("evidence")


@pytest.fixture(scope="module")
def third_pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The demo pack, had it that visibility and a careless card."""
    pack = demo_pack(tmp_path_factory.mktemp("cache"))
    card = pack.card.model_copy(update={"visibility": THIRD, "images_may_be_shown": True})
    return dataclasses.replace(pack, card=card)


def of_visibility(visibility: str, **changes: Any) -> Record:
    """A record, whatever its schema says of the visibility."""
    known = record(**changes)
    return known.model_copy(
        update={"pack": known.pack.model_copy(update={"visibility": visibility})}
    )


def test_every_artefact_has_a_line_and_every_line_an_artefact() -> None:
    assert set(disclosure.MAY_LEAVE) == set(Artefact)


def test_an_open_pack_hides_nothing_and_a_hidden_one_tells_statuses_alone() -> None:
    assert all(may_leave(artefact, "open") for artefact in Artefact)
    assert [one for one in Artefact if may_leave(one, "hidden")] == [Artefact.STATUSES]


@pytest.mark.parametrize("visibility", [THIRD, "", None, "OPEN", "Open "])
def test_a_visibility_without_a_column_is_closed(visibility: str | None) -> None:
    assert not any(may_leave(artefact, visibility) for artefact in Artefact)
    assert not is_sealed(visibility)


def test_an_artefact_without_a_line_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(disclosure.MAY_LEAVE, Artefact.CURVES)
    assert not may_leave(Artefact.CURVES, "open")


@pytest.mark.parametrize("may_be_shown", [True, False])
def test_only_pictures_of_an_open_pack_are_drawn_and_only_permitted_ones_published(
    may_be_shown: bool,
) -> None:
    expected = PictureReach.EVERYWHERE if may_be_shown else PictureReach.THIS_MACHINE
    assert picture_reach("open", may_be_shown=may_be_shown) is expected
    for visibility in ("hidden", THIRD, None):
        assert picture_reach(visibility, may_be_shown=may_be_shown) is PictureReach.NOWHERE


def test_of_several_visibilities_the_one_that_tells_least_counts() -> None:
    assert strictest(["open", "open"]) == "open"
    assert strictest(["open", "hidden"]) == strictest(["hidden", "open"]) == "hidden"
    assert strictest(["hidden", "open", THIRD]) == THIRD  # type: ignore[list-item]


def test_a_third_visibility_gives_away_no_picture_label_or_fact(
    third_pack: Pack, tmp_path: Path
) -> None:
    assert gallery.open_gallery(third_pack, tmp_path, lambda *_: None) is None
    with pytest.raises(UsageError, match="labels are written into no entry"):
        write_canary([third_pack], tmp_path / "canary-x", Reporter())
    with pytest.raises(ValidationError, match="Input should be 'open' or 'hidden'"):
        make_card(third_pack, lambda *_: None)


def test_a_third_visibility_does_not_rank_a_strangers_image(third_pack: Pack) -> None:
    assert track_of(open_image("registry.example/me/method:1"), third_pack) == "open"


def test_a_third_visibility_publishes_no_exact_number() -> None:
    exact = of_visibility(THIRD)
    with pytest.raises(ValueError, match="needs a salt"):
        public_form(exact)
    form = public_form(exact, "0" * 64)
    assert form.public is not None
    assert form.evidence is None
    assert form.times.latency is None
    (row,) = published(summarise([exact]))
    assert all(not metric.seeds for metric in row.metrics)
    assert row.visibility == THIRD
    made = comparison([of_visibility(THIRD)])
    assert without_numbers(made) != made


def test_a_third_visibility_has_no_curves(tmp_path: Path) -> None:
    assert curves.read_curves(tmp_path, [of_visibility(THIRD, evidence=EVIDENCE)]) == {}
    assert not curves.may_have_curves(of_visibility(THIRD, evidence=EVIDENCE))
    assert curves.may_have_curves(of_visibility("open", evidence=EVIDENCE))


def comparisons_of_visibility(source: str) -> list[int]:
    """Lines that compare or match a visibility by themselves."""

    def is_visibility(node: ast.expr) -> bool:
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        return name == "visibility"

    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            found += [node.lineno for side in sides if is_visibility(side)]
        if isinstance(node, ast.Match) and is_visibility(node.subject):
            found.append(node.lineno)
        if isinstance(node, ast.Subscript) and is_visibility(node.slice):
            found.append(node.lineno)
    return found


def test_nothing_else_compares_a_visibility() -> None:
    wrong = {
        str(path.relative_to(REPOSITORY)): lines
        for folder in ("harness", "leaderboard", "baselines")
        for path in (REPOSITORY / folder).rglob("*.py")
        if path.name != "disclosure.py" and (lines := comparisons_of_visibility(path.read_text()))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "line",
    [
        'if pack.card.visibility == "open": pass',
        'if "hidden" != record.pack.visibility: pass',
        'shown = visibility in ("open",)',
        'match row.visibility:\n    case "open": pass',
        "TABLE[row.visibility]",
    ],
)
def test_such_a_comparison_would_be_found(line: str) -> None:
    assert comparisons_of_visibility(line)
