"""A train session: progress, checkpoints, verdicts, and the model on disk."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.common.statuses import RunEnded, Status
from harness.contract.frames import CheckpointFrame, DoneFrame, ProgressFrame
from harness.engines.base import Launch, Program
from harness.session.conversation import PredictSession, Question, Verdict, train_session
from tests.function_engine import run_function

KEEP = Verdict(keep=True, stop=False)
DROP = Verdict(keep=False, stop=False)


def launch_of(limits, verb="train"):
    return Launch(Program("test", "folder:test"), verb, limits=limits)


@pytest.fixture
def play_training(script, hello, limits):
    """`play_training(train, judge)`: a train session with a function after `ready`."""

    def play(train, judge=lambda step, ask: KEEP, on_progress=lambda *_: None, **changes):
        def program(stdin, stdout, stderr):
            entry = script(stdin, stdout)
            entry.ready()
            train(entry)

        changed = replace(limits, **changes)
        with run_function(program, limits=changed) as running:
            return train_session(running, launch_of(changed), hello, judge, on_progress)

    return play


def status_of(play, *arguments, **options):
    with pytest.raises(RunEnded) as ended:
        play(*arguments, **options)
    return ended.value.status, ended.value.detail


def wait_for_verdict(entry):
    """Answer images until the verdict comes."""
    while not isinstance(frame := entry.reader.read(), Verdict):
        entry.answer(
            frame.id, np.zeros(frame.shape[:2], "f4"), float(entry.reader.read_image(frame).max())
        )
    return frame


# The trainer entry, as a real process


@pytest.fixture
def train_folder(start_folder, tmp_path, hello, limits):
    """Train `tests/sample_entries/trainer` into a fresh folder under a judge."""
    train, model = tmp_path / "train", tmp_path / "model"
    train.mkdir()
    model.mkdir()
    for number in range(3):
        (train / f"{number}.png").write_bytes(b"not read")

    def run(judge, **params):
        told = replace(hello, params=params)
        with start_folder("trainer", "train", train=train, model=model) as running:
            report = train_session(running, launch_of(limits), told, judge)
        return report, model

    return run


def score_of(start_folder, model, hello, limits):
    """What the trained model answers to a white image: the steps of its state."""
    white = np.full((2, 2), 255, dtype=np.uint8)
    with start_folder("trainer", model=model) as running:
        session = PredictSession(running, launch_of(limits, "predict"), hello)
        session.start()
        (answer,) = session.ask([Question(white, None)])
        session.finish()
    return answer.score


def test_the_kept_checkpoint_is_the_one_on_disk(train_folder, start_folder, hello, limits):
    asked = []

    def judge(step, ask):
        images = [np.full((2, 3), 51, dtype=np.uint8)] * 2
        asked.append((step, [answer.score for answer in ask(Question(i, None) for i in images)]))
        return KEEP if step == 4 else DROP

    report, model = train_folder(judge)
    # The answers at a checkpoint come from the state at that checkpoint: 51 / 255 x steps.
    assert asked == [(step, [pytest.approx(step / 5)] * 2) for step in (2, 4, 6)]
    assert (report.steps, report.checkpoints) == (6, 3)
    assert [point.step for point in report.curve] == [1, 2, 3, 4, 5, 6]
    assert report.curve[3].loss == 0.25
    assert score_of(start_folder, model, hello, limits) == 4
    state = json.loads((model / "state" / "state.json").read_text())
    assert state["train_images"] == 3


def test_nothing_but_the_model_is_left_in_its_folder(train_folder):
    _, model = train_folder(lambda step, ask: KEEP)
    assert [path.relative_to(model).as_posix() for path in sorted(model.rglob("*"))] == [
        "state",
        "state/state.json",
    ]


def test_a_later_keep_replaces_the_earlier_one(train_folder, start_folder, hello, limits):
    _, model = train_folder(lambda step, ask: KEEP)
    assert score_of(start_folder, model, hello, limits) == 6


def test_where_nothing_is_kept_the_last_state_is_saved(train_folder, start_folder, hello, limits):
    _, model = train_folder(lambda step, ask: DROP, steps=5)
    assert score_of(start_folder, model, hello, limits) == 5


def test_a_method_without_checkpoints_is_saved_after_fit(train_folder, start_folder, hello, limits):
    report, model = train_folder(lambda step, ask: KEEP, steps=3, every=99)
    assert report.checkpoints == 0
    assert score_of(start_folder, model, hello, limits) == 3


def test_stop_ends_the_training(train_folder):
    report, _ = train_folder(lambda step, ask: Verdict(keep=step == 2, stop=step == 4), steps=100)
    assert report.steps == 4
    assert report.checkpoints == 2


def test_a_training_is_told_its_memory_limit_to_stay_under_it(script, hello, limits):
    told = []

    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        told.append(entry.ready())
        entry.writer.write(DoneFrame())

    changed = replace(limits, memory_mib=1234)
    with run_function(program, limits=changed) as running:
        train_session(running, launch_of(changed), hello, lambda step, ask: KEEP)
    assert told[0].limits == changed.as_dict()
    assert told[0].limits["memory_mib"] == 1234


# Frames


def test_progress_is_told_as_it_comes(play_training):
    told = []

    def train(entry):
        entry.writer.write(ProgressFrame(1, 2, 0.5))
        entry.writer.write(ProgressFrame(2, 2, None))
        entry.writer.write(DoneFrame())

    report = play_training(train, on_progress=lambda *point: told.append(point))
    assert told == [(1, 2, 0.5), (2, 2, None)]
    assert report.curve == ((1, 0.5), (2, None))
    assert report.seconds >= report.start_up_seconds > 0


def test_a_training_without_a_word_is_fine(play_training):
    report = play_training(lambda entry: entry.writer.write(DoneFrame()))
    assert (report.steps, report.curve, report.checkpoints) == (None, (), 0)


def test_a_long_training_curve_is_thinned_evenly_in_bounded_memory(play_training):
    def train(entry):
        for step in range(20_000):
            entry.stdout.write(ProgressFrame(step, 20_000, 1.0).line())
        entry.writer.write(DoneFrame())

    report = play_training(train)
    steps = [point.step for point in report.curve]
    assert report.steps == 19_999
    assert 2_000 <= len(steps) <= 4_097
    assert len(set(np.diff(steps))) == 1


def test_a_done_frame_needs_exit_code_0(play_training):
    def train(entry):
        entry.writer.write(DoneFrame())
        raise SystemExit(3)

    assert status_of(play_training, train)[0] is Status.CRASHED


def test_an_end_without_done_is_a_missing_answer(play_training):
    assert status_of(play_training, lambda entry: None)[0] is Status.MISSING_ANSWER


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"ready","contract":1,"maps":true}\n',
        b'{"type":"verdict","keep":true,"stop":true}\n',
        b'{"type":"progress","step":1,"steps":2}\n',
        b'{"type":"progress","step":-1,"steps":2,"loss":0}\n',
        b'{"type":"progress","step":1.5,"steps":2,"loss":0}\n',
        b'{"type":"progress","step":1,"steps":2,"loss":"low"}\n',
        b'{"type":"checkpoint"}\n',
        b'{"type":"checkpoint","step":99999999999999999999}\n',
        b'{"type":"done","auroc":1.0}\n',
        b"training...\n",
    ],
    ids=lambda line: line.decode().strip(),
)
def test_a_wrong_frame_in_training_is_named_by_its_number(play_training, line):
    def train(entry):
        entry.writer.write(ProgressFrame(1, 2, None))
        entry.raw(line)
        entry.reader.read()

    status, detail = status_of(play_training, train)
    assert status is Status.BAD_FRAME
    assert detail.startswith("training frame 2: ")


def test_a_loss_that_is_not_finite_is_named(play_training):
    def train(entry):
        entry.raw(b'{"type":"progress","step":1,"steps":2,"loss":NaN}\n')
        entry.reader.read()

    assert status_of(play_training, train)[0] is Status.NON_FINITE


def test_an_answer_nobody_asked_for_is_a_bad_frame(play_training):
    def train(entry):
        entry.answer("aaaaaaaaaaaaaaaa", np.zeros((2, 2), "f4"), 0.0)
        entry.reader.read()

    assert status_of(play_training, train)[0] is Status.BAD_FRAME


def test_bytes_between_the_answers_and_the_verdict_are_a_bad_frame(play_training):
    def judge(step, ask):
        list(ask([Question(np.zeros((2, 2), dtype=np.uint8), None)]))
        import time

        time.sleep(0.2)  # scoring; what the entry adds meanwhile has arrived
        return KEEP

    def train(entry):
        entry.writer.write(CheckpointFrame(1))
        frame, image = entry.next_image()
        entry.answer(frame.id, np.zeros(image.shape, "f4"), 0.0)
        entry.writer.write(ProgressFrame(1, 1, None))
        entry.reader.read()

    status, detail = status_of(play_training, train, judge)
    assert status is Status.BAD_FRAME
    assert detail.startswith("the verdict on checkpoint 1: ")


def test_a_checkpoint_after_the_stop_is_a_bad_frame(play_training):
    def train(entry):
        entry.writer.write(CheckpointFrame(1))
        wait_for_verdict(entry)
        entry.writer.write(ProgressFrame(2, 9, None))
        entry.writer.write(CheckpointFrame(2))
        entry.reader.read()

    status, detail = status_of(play_training, train, lambda step, ask: Verdict(True, True))
    assert status is Status.BAD_FRAME
    assert detail == "training frame 3: a checkpoint came after the verdict that said stop"


def test_a_state_is_saved_when_the_next_frame_is_there_and_before_the_next_verdict(
    script, hello, limits
):
    order = []

    def judge(step, ask):
        order.append(f"verdict {step}")
        return KEEP

    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        for step in (1, 2):
            entry.writer.write(CheckpointFrame(step))
            wait_for_verdict(entry)
        entry.writer.write(ProgressFrame(2, 2, None))
        entry.writer.write(DoneFrame())

    with run_function(program, limits=limits) as running:
        train_session(
            running, launch_of(limits), hello, judge, on_saved=lambda: order.append("saved")
        )
    assert order == ["verdict 1", "saved", "verdict 2", "saved"]


def test_bytes_after_done_are_a_bad_frame(play_training):
    def train(entry):
        entry.writer.write(DoneFrame())
        entry.writer.write(DoneFrame())

    assert status_of(play_training, train)[0] is Status.BAD_FRAME


def test_the_bytes_of_a_training_are_bounded_and_answers_do_not_count(play_training):
    image = np.zeros((100, 100), dtype=np.uint8)

    def judge(step, ask):
        assert len(list(ask([Question(image, None)] * 3))) == 3
        return KEEP

    def train(entry):
        entry.writer.write(CheckpointFrame(1))  # 3 x 40 kB of answers, and the bound is 10 kB
        wait_for_verdict(entry)
        entry.writer.write(DoneFrame())

    assert play_training(train, judge, train_stdout_bytes=10_000).checkpoints == 1

    def chatter(entry):
        for step in range(10_000):
            entry.writer.write(ProgressFrame(step, 10_000, None))

    status, _ = status_of(play_training, chatter, train_stdout_bytes=10_000, stop_seconds=0.2)
    assert status is Status.BAD_FRAME


def test_a_checkpoint_image_has_the_image_limit(play_training):
    def judge(step, ask):
        list(ask([Question(np.zeros((2, 2), dtype=np.uint8), None)]))
        return KEEP

    def train(entry):
        entry.writer.write(CheckpointFrame(1))
        entry.next_image()
        entry.reader.read()

    status, detail = status_of(play_training, train, judge, image_seconds=0.3)
    assert status is Status.IMAGE_TIMEOUT
    assert detail.startswith("image 1: ")


def test_a_training_without_end_has_the_total_limit(play_training):
    status, _ = status_of(play_training, lambda entry: entry.reader.read(), train_seconds=0.3)
    assert status is Status.TOTAL_TIMEOUT
