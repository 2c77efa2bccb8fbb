"""Attack 25: an entry asks for the labels of the validation split, one checkpoint each."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.benchmarks import Pack, demo_pack
from tests.hostile.conftest import Attack, Run

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def demo(cache: Path) -> Pack:
    return demo_pack(cache)


@pytest.fixture(scope="module")
def truth(demo: Pack) -> dict[str, bool]:
    """Labels of the validation split, by the hash of the pixels as an entry sees them."""
    return {
        hashlib.sha256(demo.image(sample).tobytes()).hexdigest(): sample.is_anomalous
        for sample in demo.split("valid")
    }


def report(run: Run) -> dict[str, Any]:
    (line,) = [line for line in run.log.splitlines() if line.startswith("report ")]
    told: dict[str, Any] = json.loads(line.removeprefix("report "))
    return told


def test_25_one_stop_is_all_that_verdicts_tell(
    attack: Attack, demo: Pack, truth: dict[str, bool]
) -> None:
    run = attack("asks_verdicts", pack=demo, checkpoints=len(truth) + 1)
    training, told = run.record.training, report(run)
    assert run.record.is_ok
    assert training is not None
    assert training.most_checkpoints == len(truth) + 1
    assert training.verdict_bits == pytest.approx(math.log2(len(truth) + 2))
    assert {note["keep"] for note in told["notes"]} == {True}
    assert [note["stop"] for note in told["notes"]] == [False] * (len(told["notes"]) - 1) + [True]
    right = [image for image, label in told["labels"].items() if truth[image] == label]
    assert 0 < len(right) <= training.verdict_bits < len(truth) / 3


def test_25_nothing_else_of_a_checkpoint_tells_which_state_is_held(
    attack: Attack, demo: Pack, truth: dict[str, bool]
) -> None:
    # Few states are held, so by chance alone their times are the longest once in a hundred runs;
    # what tells does so in every run.
    telling = [times_tell(attack, demo, truth)]
    while any(telling[-1]) and len(telling) < 3:
        telling.append(times_tell(attack, demo, truth))
    assert not any(all(each) for each in zip(*telling, strict=True)), telling


def times_tell(attack: Attack, demo: Pack, truth: dict[str, bool]) -> tuple[bool, bool]:
    """Whether held states stand out by the time to a verdict, and to the next checkpoint's image."""
    run = attack("asks_verdicts", "--preset", "patient", pack=demo, checkpoints=99)
    training, told = run.record.training, report(run)
    assert run.record.is_ok
    assert training is not None
    assert len(training.checkpoints) == len(truth) + 1
    assert told["labels"] == {}
    seen = {(note["keep"], note["stop"], *note["found"]) for note in told["notes"]}
    assert seen == {(True, False, "model")}
    held = np.array([checkpoint.kept for checkpoint in training.checkpoints])
    verdicts = np.array([note["to_verdict"] for note in told["notes"]])
    copies = np.array([note["to_first_image"] for note in told["notes"]])
    # The first is the first of everything; a copy is made before the next checkpoint's images.
    by_verdict = roc_auc_score(held[1:], verdicts[1:])
    by_copy = roc_auc_score(held[1:-1], copies[2:])
    return abs(by_verdict - 0.5) >= 0.45, abs(by_copy - 0.5) >= 0.45
