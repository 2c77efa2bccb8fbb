"""Every baseline through the contract, as a process of its own: train, then predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.engines.base import Launch, Limits
from harness.engines.process import ProcessEngine
from harness.session import Answer, Hello, PredictSession, Question, Verdict, train_session

from .conftest import FOLDERS, Listener, open_baseline

# A network's start alone takes 7 s: the template stands for all in the fast tests.
CASES = [
    pytest.param(
        folder, id=folder.name, marks=[] if folder.name == "template" else pytest.mark.slow
    )
    for folder in FOLDERS
]


@pytest.mark.parametrize("folder", CASES)
def test_a_process_answers_to_the_last_bit_like_the_class_called_directly(
    folder: Path, training_folder: Path, test_images: list[np.ndarray], tmp_path: Path
) -> None:
    baseline = open_baseline(folder)
    engine = ProcessEngine()
    program = engine.prepare_folder(folder, folder.name, "folder:test")
    hello = Hello("demo", seed=0, device="cpu", maps_wanted=True, params=baseline.params())
    questions = [Question(image, number) for number, image in enumerate(test_images)]
    asked = 0

    def judge(step: int, ask) -> Verdict:
        nonlocal asked
        asked += len(list(ask(questions)))
        return Verdict(keep=True, stop=False)

    launch = Launch(
        program, "train", limits=Limits(threads=1), train=training_folder, model=tmp_path
    )
    with engine.start(launch) as running:
        report = train_session(running, launch, hello, judge)
    launch = replace(launch, verb="predict", train=None)
    with engine.start(launch) as running:
        session = PredictSession(running, launch, hello)
        assert session.start().maps
        answers: list[Answer] = list(session.ask(questions))
        session.finish()

    direct = baseline.make()
    listener = Listener()
    direct.fit(training_folder, listener)
    assert report.steps == listener.points[-1][0]
    assert report.checkpoints == len(listener.checkpoints)
    assert asked == len(listener.checkpoints) * len(test_images)
    for answer, image in zip(answers, test_images, strict=True):
        anomaly_map, score = direct.predict(image)
        np.testing.assert_array_equal(answer.anomaly_map, anomaly_map)
        assert answer.score == score
