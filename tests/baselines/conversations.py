"""Holds a baseline in its own program, whatever the engine, to its class called directly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.engines.base import Engine, Launch, Limits
from harness.entries.identity import folder_identity
from harness.session.conversation import (
    Answer,
    Hello,
    PredictSession,
    Question,
    Verdict,
    train_session,
)
from harness.trained import model_folder

from .conftest import Listener, open_baseline

LIMITS = Limits(threads=1, start_seconds=600)  # many tests may share one core


def assert_answers_like_the_class(
    engine: Engine,
    folder: Path,
    training_folder: Path,
    images: list[np.ndarray],
    place: Path,
) -> None:
    """Train, be judged, predict: through the contract and in this process, equal to the last bit.

    Args:
        engine: what starts the baseline.
        folder: the baseline's.
        training_folder: normal images.
        images: what is asked at each checkpoint, and after the training.
        place: an empty folder.
    """
    written, model = place / "written", place / "model"
    written.mkdir()
    model.mkdir(mode=0o755)  # under root an entry in a container is another user
    baseline = open_baseline(folder)
    program = engine.prepare_folder(folder, folder.name, folder_identity(folder))
    hello = Hello("demo", seed=0, device="cpu", maps_wanted=True, params=baseline.params())
    questions = [Question(image, number) for number, image in enumerate(images)]
    asked: list[Answer] = []

    def judge(step: int, ask) -> Verdict:
        asked.extend(ask(questions))
        return Verdict(keep=True, stop=False)

    launch = Launch(program, "train", limits=LIMITS, train=training_folder, model=written)
    with engine.start(launch) as running:
        report = train_session(running, launch, hello, judge)
    assert not (written / ".training").exists()
    model_folder.copy(written, model, LIMITS)
    launch = replace(launch, verb="predict", train=None, model=model)
    with engine.start(launch) as running:
        session = PredictSession(running, launch, hello)
        has_maps = session.start().maps
        answers = list(session.ask(questions))
        session.finish()

    direct = baseline.make()
    listener = Listener()
    direct.fit(training_folder, listener)
    assert report.steps == listener.points[-1][0]
    assert report.checkpoints == len(listener.checkpoints)
    assert len(asked) == len(listener.checkpoints) * len(images)
    for answer, image in zip(answers, images, strict=True):
        anomaly_map, score = direct.predict(image)
        assert has_maps == (anomaly_map is not None)
        if anomaly_map is None:
            assert answer.anomaly_map is None
        else:
            np.testing.assert_array_equal(answer.anomaly_map, anomaly_map)
        assert answer.score == score
