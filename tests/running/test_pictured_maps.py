"""Maps that are shown where nothing is scored by pixel: the record knows nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness import evaluate
from harness.board.gallery import read_galleries
from harness.common.statuses import Status
from harness.records.record import Record
from harness.records.store import Store
from harness.session.conversation import PredictSession
from tests.paths import ENTRIES

IN_TIME = {"times", "energy", "cost", "record_hash", "engine_facts"}
"""What of a record no two runs have in common."""


def write_pack(folder: Path, *, may_be_shown: bool) -> Path:
    """Images without masks, some bright in the middle."""
    draw = np.random.default_rng(0)
    for split, good, bad in (("train", 4, 0), ("valid", 2, 2), ("test", 6, 8)):
        for label, count in (("good", good), ("Ungood", bad)):
            place = folder / split / label
            place.mkdir(parents=True)
            for number in range(count):
                image = draw.integers(20, 90, (48, 40), np.uint8)
                image[16:30, 12:28] += 5 * number * (label == "Ungood")
                Image.fromarray(image).save(place / f"{number}.png")
    (folder / "pack.toml").write_text(
        f'title = "plain"\nimages_may_be_shown = {str(may_be_shown).lower()}\n'
    )
    return folder


def run(entry: Path, pack: Path, results: Path, *options: str) -> Record:
    told = ["--engine", "process", "--results", str(results), "--no-site", "--pack", str(pack)]
    evaluate.main([str(entry), *told, "--json", *options])
    (record,) = Store(results).records()
    return record


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether maps were asked for, by predict session."""
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    seen: list[bool] = []
    start = PredictSession.start

    def noted(session: PredictSession) -> Any:
        seen.append(session._hello.maps_wanted)
        return start(session)

    monkeypatch.setattr(PredictSession, "start", noted)
    return seen


@pytest.mark.parametrize(
    "entry",
    ["honest", "map_only", "score_only"],
)
def test_the_record_is_the_same_whether_maps_are_shown_or_not(
    entry: str, tmp_path: Path, wanted: list[bool]
) -> None:
    """Scores, hash of the answers, audit, remarks, run key: all that is not a time."""
    told = {}
    for name, may_be_shown in (("shown", True), ("closed", False)):
        pack = write_pack(tmp_path / name / "plain", may_be_shown=may_be_shown)
        audit = ["--audit"] if entry == "honest" else []
        record = run(ENTRIES / entry, pack, tmp_path / name / "r", *audit)
        assert record.is_ok
        assert record.maps is None
        assert record.audit is None or record.audit.verdict == "passed"
        told[name] = record.model_dump(mode="json", exclude=IN_TIME)
        assert told[name]["pack"].pop("images_may_be_shown") == may_be_shown
        (told[name]["audit"] or {}).pop("seconds", None)
        [gallery] = read_galleries(tmp_path / name / "r", [record], with_local=True).values()
        shows = {picture.map is not None for picture in gallery.card.pictures}
        assert shows == {may_be_shown and record.entry.maps}
        assert gallery.card.is_local == (not may_be_shown)
        assert not gallery.card.pictures[0].truth
    assert told["shown"] == told["closed"]
    starts = 3 if audit else 1  # the run, and the two of its audit
    assert wanted == [True] * starts + [False] * starts


def test_a_map_that_is_only_shown_is_held_to_the_contract(
    tmp_path: Path, wanted: list[bool]
) -> None:
    pack = write_pack(tmp_path / "plain", may_be_shown=True)
    record = run(ENTRIES / "nan", pack, tmp_path / "r")
    assert record.outcome.status is Status.NON_FINITE
    assert wanted == [True]


def test_a_checkpoint_is_judged_by_its_scores_where_there_are_no_masks(
    tmp_path: Path, wanted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.running import model

    asked: list[bool] = []
    train = model.train_session

    def noted(running: Any, launch: Any, hello: Any, *more: Any, **options: Any) -> Any:
        asked.append(hello.maps_wanted)
        return train(running, launch, hello, *more, **options)

    monkeypatch.setattr(model, "train_session", noted)
    pack = write_pack(tmp_path / "plain", may_be_shown=True)
    assert run(ENTRIES / "trainer", pack, tmp_path / "r", "--set", "steps=2").is_ok
    assert (asked, wanted) == ([False], [True])
