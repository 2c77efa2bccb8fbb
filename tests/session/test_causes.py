"""Whose fault a bad end is, and what is told of it: on an open pack what came, on a hidden one nothing of it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.common.statuses import Cause, Status, remedy_of
from harness.engines.base import EngineFacts

KILLED = EngineFacts(memory_kills=1, met_memory_limit=True)


def ready(script):
    def play(write):
        def program(stdin, stdout, stderr):
            entry = script(stdin, stdout)
            entry.ready()
            write(entry, stdin)

        return program

    return play


def wait_for_the_end(entry, stdin):
    stdin.read()


def test_a_parent_that_hangs_after_its_childs_death_for_memory_is_out_of_memory(play, script):
    outcome = play(ready(script)(wait_for_the_end), facts=KILLED, image_seconds=0.2)
    assert outcome.status is Status.OUT_OF_MEMORY
    assert "not answered within 0.2 s" in outcome.detail
    assert "memory_mib" in remedy_of(outcome.status, outcome.cause)


def test_the_same_on_the_way_to_ready_and_to_the_exit(play, script):
    def stay(entry, stdin):
        entry.serve()
        stop.wait(3)

    import threading

    stop = threading.Event()
    limits = {"start_seconds": 0.2, "stop_seconds": 0.2}
    outcome = play(lambda stdin, *_: stdin.read(), facts=KILLED, **limits)
    assert outcome.status is Status.OUT_OF_MEMORY
    outcome = play(ready(script)(stay), facts=KILLED, stop_seconds=0.2)
    stop.set()
    assert (outcome.status, len(outcome.answers)) == (Status.OUT_OF_MEMORY, 3)


@pytest.mark.parametrize("code", [1, 0, -9])
def test_an_exit_after_a_childs_death_for_memory_is_out_of_memory(play, script, code):
    outcome = play(ready(script)(lambda *_: None), facts=KILLED, exit_code=code)
    assert outcome.status is Status.OUT_OF_MEMORY


def test_a_kill_below_the_own_limit_is_the_machines(play, script):
    facts = EngineFacts(memory_kills=1, met_memory_limit=False)
    outcome = play(ready(script)(lambda *_: None), facts=facts, exit_code=-9)
    assert (outcome.status, outcome.cause) == (Status.HOST_ERROR, Cause.MACHINE_MEMORY)


def test_where_no_limit_is_held_the_remedy_asks_for_none(play, script):
    facts = EngineFacts(memory_kills=1, has_memory_limit=False)
    outcome = play(ready(script)(lambda *_: None), facts=facts, exit_code=-9)
    assert (outcome.status, outcome.cause) == (Status.OUT_OF_MEMORY, Cause.MACHINE_MEMORY)


def test_a_death_for_memory_that_is_survived_ends_nothing(play):
    assert play(facts=KILLED).status is Status.OK


@pytest.mark.parametrize(
    ("folder", "cause"), [("/dev/shm", Cause.SHM_FULL), ("/tmp", Cause.TMP_FULL)]
)
def test_a_full_folder_is_named_as_the_cause(play, script, folder, cause):
    facts = EngineFacts(full_folders=(folder,))
    for write, options, status in (
        (lambda *_: None, {"exit_code": 1}, Status.CRASHED),
        (lambda *_: None, {"exit_code": 0}, Status.MISSING_ANSWER),
        (wait_for_the_end, {"image_seconds": 0.2}, Status.IMAGE_TIMEOUT),
    ):
        outcome = play(ready(script)(write), facts=facts, **options)
        assert (outcome.status, outcome.cause) == (status, cause)
        assert {"/dev/shm": "shm_mib", "/tmp": "tmp_mib"}[folder] in cause.entry.remedy


def test_a_bus_error_is_a_want_of_shared_memory(play, script):
    outcome = play(ready(script)(lambda *_: None), exit_code=-7)
    assert (outcome.status, outcome.cause) == (Status.CRASHED, Cause.SHM_FULL)


def test_an_entry_that_does_not_exit_is_told_to(play, script):
    import threading

    stop = threading.Event()

    def stay(entry, stdin):
        entry.serve()
        stop.wait(3)

    outcome = play(ready(script)(stay), stop_seconds=0.2)
    stop.set()
    assert (outcome.status, outcome.cause) == (Status.TOTAL_TIMEOUT, Cause.NO_EXIT)


# What came instead: `converse` holds that a hidden pack is told nothing of it.


@pytest.mark.parametrize("text", ["Epoch 1/10: loss 0.3\n", "0.25\n", "\x1b[31mloading\x1b[0m\n"])
def test_a_print_is_recognised_and_shown(play_answers, text):
    outcome = play_answers(lambda script, *_: script.raw(text.encode()))
    assert (outcome.status, outcome.cause) == (Status.BAD_FRAME, Cause.PRINTED)
    assert repr(text.strip()) in outcome.told.replace("\\\\", "\\")
    assert repr(text.strip()) not in outcome.detail


def test_eighty_bytes_of_it_are_shown_and_no_more(play_answers):
    outcome = play_answers(lambda script, *_: script.raw(b"a" * 80 + b"b" * 200 + b"\n"))
    assert "a" * 80 in outcome.told
    assert "b" * 2 not in outcome.told


@pytest.mark.parametrize("sent", [b'{"type":"map"\n', b"\x00\x81\xff\x3f\n", b"\n"])
def test_what_is_no_text_is_not_called_a_print(play_answers, sent):
    outcome = play_answers(lambda script, *_: script.raw(sent))
    assert (outcome.status, outcome.cause) == (Status.BAD_FRAME, None)


def test_text_after_the_last_frame_is_shown_too(play_answers):
    def write(script, frame, image):
        script.answer(frame.id, image.astype(np.float32), 1.0)
        script.raw(b"done with one\n")

    outcome = play_answers(write)
    assert (outcome.status, outcome.cause) == (Status.BAD_FRAME, Cause.PRINTED)
    assert "'done with one" in outcome.told


def test_the_place_of_the_first_bad_value_is_told(play_answers):
    def write(script, frame, image):
        drawn = image.astype(np.float32)
        drawn[1, 2] = drawn[3, 4] = np.nan
        script.answer(frame.id, drawn, 1.0)

    outcome = play_answers(write)
    assert outcome.status is Status.NON_FINITE
    assert "nan in row 1, column 2 (from 0), 2 of 24 values" in outcome.told


def test_a_bad_score_is_told_from_a_bad_map(play_answers):
    outcome = play_answers(
        lambda script, frame, image: script.answer(frame.id, image.astype(np.float32), np.nan)
    )
    assert outcome.status is Status.NON_FINITE
    assert outcome.told.endswith("score is NaN")


def test_the_shape_and_the_dtype_that_came_are_told(play_answers):
    outcome = play_answers(
        lambda script, frame, _: script.answer(frame.id, np.zeros((2, 9), np.float16), 1.0)
    )
    assert outcome.status is Status.WRONG_SHAPE
    assert outcome.told.endswith("the map is not 4x6, as the image is: 2x9 came, in float16")
    assert "2x9" not in outcome.detail


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"type":"map","id":"%s","score":1,"shape":[4,6],"dtype":"float64","nbytes":192}', "'float64' came"),
        (b'{"type":"map","id":"%s","score":1,"shape":[4,6],"dtype":"float32","nbytes":5}', "5 came, not 96"),
        (b'{"type":"map","id":"%s","score":"high","shape":null}', "'high' came"),
        (b'{"type":"map","id":"other","score":1,"shape":null}', "'other' came"),
        (b'{"type":"answer","id":"%s"}', "'answer' came"),
        (b'{"type":"map","id":"%s","scores":[1],"shape":null}', "id, scores, shape came"),
    ],
)  # fmt: skip
def test_what_came_in_a_frame_is_told(play_answers, line, told):
    def write(script, frame, image):
        script.raw(line.replace(b"%s", frame.id.encode()) + b"\n")

    outcome = play_answers(write)
    assert outcome.status is Status.BAD_FRAME
    assert told in outcome.told
    assert told not in outcome.detail


def test_images_are_counted_as_what_they_are_and_in_the_session(converse, limits, hello, images):
    from harness.common.statuses import RunEnded
    from harness.engines.base import Launch, Program
    from harness.session.conversation import PredictSession, Question
    from tests.function_engine import run_function
    from tests.session.conftest import Script

    def program(stdin, stdout, stderr):
        entry = Script(stdin, stdout)
        entry.ready()
        for _ in range(3):
            frame, image = entry.next_image()
            entry.answer(frame.id, image.astype(np.float32), 1.0)
        entry.next_image()
        entry.raw(b"oops\n")

    with run_function(program, limits=limits) as running:
        launch = Launch(Program("test", "folder:test"), "predict", limits=limits)
        session = PredictSession(running, launch, hello)
        session.start()
        asked = [Question(image, number) for number, image in enumerate(images(2))]
        list(session.ask(asked, "validation image"))
        with pytest.raises(RunEnded, match="test image 2, image 4 of the session: "):
            list(session.ask(asked, "test image"))
