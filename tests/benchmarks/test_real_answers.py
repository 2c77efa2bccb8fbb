"""What is measured on real images is kept run by run, and comes into the page as it was found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.baselines.exchangeable import exchangeable
from tests.benchmarks.bench_features import BestOnValidation, runs, table
from tests.benchmarks.real_answers import SIDE, Kept, Split, write_between


def test_what_was_kept_is_there_again_and_nan_is_not_kept(tmp_path: Path) -> None:
    Kept(tmp_path / "new" / "kept.json").add("padim/true/0", {"pixel_auroc": 0.75})
    again = Kept(tmp_path / "new" / "kept.json")
    again.add("padim/true/1", {"pixel_auroc": 0.25})
    assert Kept(again.file).found == {
        "padim/true/0": {"pixel_auroc": 0.75},
        "padim/true/1": {"pixel_auroc": 0.25},
    }
    with pytest.raises(ValueError, match="JSON"):
        again.add("padim/true/2", {"pixel_auroc": math.nan})
    assert len(Kept(again.file).found) == 2


def test_a_text_comes_between_the_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<a>\nold\n<b>\nafter\n", encoding="utf-8")
    write_between(page, "<a>", "<b>", "new\n")
    write_between(page, "<a>", "<b>", "newer\n")
    assert page.read_text(encoding="utf-8") == "before\n<a>\nnewer\n<b>\nafter\n"


def test_the_table_shows_means_of_the_seeds_and_a_dash_for_what_is_not_there() -> None:
    kept = {
        "cfa/true/0": {"image_auroc": 0.5, "pixel_auroc": 0.8},
        "cfa/true/1": {"image_auroc": 0.7, "pixel_auroc": 0.9},
        "cfa/random/0": {"image_auroc": 0.25},
    }
    *_, row = table(kept).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["`cfa`", "1 and 2", "60.0 ± 14.1", "25.0", "85.0 ± 7.1", *["–"] * 5]


def test_every_method_runs_on_both_kinds_of_features() -> None:
    entries = exchangeable()
    planned = list(runs(entries, [0, 1]))
    assert len({run.name for run in planned}) == len(planned)
    for entry in entries:
        kinds = [run.kind for run in planned if run.variant == entry.name]
        assert sorted(kinds) == ["random", "random", "true", "true"]


class Marking:
    """Its map is the image, as strong as it was told."""

    def __init__(self) -> None:
        self.strength = 0.0

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        return self.strength * image.astype(np.float32), 0.0


def lesions(count: int) -> Split:
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    masks[0, 10:20, 30:40] = 255
    return Split(list(masks), masks, masks.any(axis=(1, 2)))


def test_the_checkpoint_that_is_best_on_validation_answers_the_test_images() -> None:
    model = Marking()
    judge = BestOnValidation(model, {"valid": lesions(2), "test": lesions(3)})
    kept = []
    for step, model.strength in enumerate((-1.0, 2.0, 0.0, 3.0), start=1):
        kept.append(judge(step).keep)
    assert kept == [True, True, False, False]  # at 3 as good as at 2, and no better
    assert judge.chosen is not None
    assert judge.chosen.maps.shape == (3, SIDE, SIDE)
    assert judge.chosen.maps.max() == 2 * 255
