"""The same entries in real containers: isolation changes none of the statuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.common.statuses import Status
from harness.engines.base import Launch
from harness.entries.identity import folder_identity
from harness.session.conversation import (
    PredictSession,
    Question,
    Verdict,
    read_description,
    train_session,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine():
    from tests.engine_images import LightDockerEngine

    return LightDockerEngine()


@pytest.fixture
def play_container(engine, converse, hello, limits, repository):
    """`play_container(name, **limits)`: a predict session with an entry in a container."""

    def play(entry, *, images=None, hello=hello, **changes):
        folder = repository / "tests" / "sample_entries" / entry
        program = engine.prepare_folder(folder, f"test-{entry}", folder_identity(folder))
        changed = replace(limits, **({"memory_mib": 512, "threads": 1} | changes))
        running = engine.start(Launch(program, "predict", limits=changed))
        return converse(running, changed, hello, images)

    return play


def test_each_entry_ends_with_its_status_in_a_container(play_container, behaviour):
    limits = behaviour.limits
    if "start_seconds" in limits:
        limits = limits | {"start_seconds": 3.0}  # a container takes longer to start
    outcome = play_container(behaviour.entry, **limits)
    assert outcome.status is behaviour.status, (outcome.detail, outcome.log)
    assert len(outcome.answers) == behaviour.answered


def test_a_memory_hog_is_out_of_memory(play_container):
    outcome = play_container("memory_hog", memory_mib=256)
    assert outcome.status is Status.OUT_OF_MEMORY, (outcome.detail, outcome.log)
    assert (
        outcome.detail
        == "image 1: the entry ended with signal 9; the memory limit ended a process of it"
    )


def test_a_container_answers_with_the_same_bytes_as_a_process(play_container, play_folder, images):
    asked = images(2, (65, 33, 3))
    contained, bare = play_container("honest", images=asked), play_folder("honest", images=asked)
    assert contained.status is bare.status is Status.OK, contained.detail
    for one, two in zip(contained.answers, bare.answers, strict=True):
        assert one.score == two.score
        np.testing.assert_array_equal(one.anomaly_map, two.anomaly_map)


def test_large_images_pass_through_a_containers_pipe(play_container, images):
    outcome = play_container("map_only", images=images(3, (1500, 1000, 3)))
    assert outcome.status is Status.OK, (outcome.detail, outcome.log)
    assert all(answer.anomaly_map.shape == (1500, 1000) for answer in outcome.answers)


def test_a_model_trained_in_one_container_is_used_in_the_next(
    engine, hello, limits, repository, tmp_path
):
    folder = repository / "tests" / "sample_entries" / "trainer"
    program = engine.prepare_folder(folder, "test-trainer", folder_identity(folder))
    train, model = tmp_path / "train", tmp_path / "model"
    train.mkdir()
    model.mkdir()
    (train / "a.png").write_bytes(b"not read")
    limits = replace(limits, memory_mib=512, threads=1)
    white = np.full((2, 2), 255, dtype=np.uint8)

    def judge(step, ask):
        assert [answer.score for answer in ask([Question(white, None)])] == [step]
        return Verdict(keep=step == 4, stop=False)

    launch = Launch(program, "train", limits=limits, train=train, model=model)
    with engine.start(launch) as running:
        report = train_session(running, launch, hello, judge)
    assert (report.steps, report.checkpoints) == (6, 3)

    launch = Launch(program, "predict", limits=limits, model=model)
    with engine.start(launch) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        scores = [answer.score for answer in session.ask([Question(white, None)])]
        session.finish()
    assert scores == [4]


def test_an_image_describes_itself(engine, limits, repository):
    folder = repository / "tests" / "sample_entries" / "trainer"
    program = engine.prepare_folder(folder, "test-trainer", folder_identity(folder))
    launch = Launch(program, "describe", limits=replace(limits, memory_mib=256))
    with engine.start(launch) as running:
        assert read_description(running, launch).verbs == ("predict", "train")
