"""A predict session with an entry that behaves, or breaks the contract in one step."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from harness.common.statuses import RunEnded, Status
from harness.contract.frames import MapFrame, ReadyFrame
from harness.engines.base import Launch, Program
from harness.session.conversation import PredictSession, Question
from harness.session.one_image import _is_finite
from tests.function_engine import run_function


def zeros(frame, dtype=np.float32):
    return np.zeros(frame.shape[:2], dtype=dtype)


def header_of(frame, **changes):
    """A correct answer's header for this image, with changes; None removes a key."""
    height, width = frame.shape[:2]
    header = {
        "type": "map",
        "id": frame.id,
        "score": 0.5,
        "shape": [height, width],
        "dtype": "float32",
        "nbytes": height * width * 4,
    } | changes
    return {key: value for key, value in header.items() if value is not ...}


def line_of(header):
    return json.dumps(header).encode() + b"\n"


# What comes back


def test_answers_come_in_the_order_of_the_questions_with_their_tokens(play, images):
    asked = images(5)
    outcome = play(images=asked)
    assert outcome.status is Status.OK, outcome.detail
    assert [answer.token for answer in outcome.answers] == [0, 1, 2, 3, 4]
    assert [answer.score for answer in outcome.answers] == [image.mean() for image in asked]


def test_a_map_comes_back_bit_for_bit_and_read_only(play_answers, images):
    asked = images(2, (5, 7, 3))

    def write(script, frame, image):
        script.answer(frame.id, np.sqrt(image[..., 0].astype(np.float32)), 1.0)

    outcome = play_answers(write, images=asked)
    for image, answer in zip(asked, outcome.answers, strict=True):
        np.testing.assert_array_equal(answer.anomaly_map, np.sqrt(image[..., 0].astype(np.float32)))
        assert answer.anomaly_map.dtype == np.float32
        assert not answer.anomaly_map.flags.writeable


def test_float16_maps_stay_float16(play_answers):
    outcome = play_answers(
        lambda script, frame, _: script.answer(frame.id, zeros(frame, "f2"), 0.0)
    )
    assert outcome.status is Status.OK, outcome.detail
    assert {answer.anomaly_map.dtype for answer in outcome.answers} == {np.dtype(np.float16)}


def test_a_missing_score_is_the_maximum_of_the_map_and_says_so(play_answers):
    def write(script, frame, image):
        script.answer(frame.id, image.astype(np.float32), None)

    outcome = play_answers(write)
    assert outcome.status is Status.OK, outcome.detail
    for answer in outcome.answers:
        assert answer.score == answer.anomaly_map.max()
        assert answer.is_score_from_map


def test_a_method_without_maps_answers_with_scores_alone(play_answers):
    outcome = play_answers(
        lambda script, frame, image: script.answer(frame.id, None, float(image.mean())), maps=False
    )
    assert outcome.status is Status.OK, outcome.detail
    assert all(answer.anomaly_map is None for answer in outcome.answers)
    assert not any(answer.is_score_from_map for answer in outcome.answers)


def test_a_score_keeps_all_bits_of_a_float64(play_answers):
    score = float(np.nextafter(1.0, 2.0))
    outcome = play_answers(lambda script, frame, _: script.answer(frame.id, zeros(frame), score))
    assert [answer.score for answer in outcome.answers] == [score] * 3


def test_valid_and_test_are_asked_in_one_session_with_new_ids(play_answers, script, hello, limits):
    seen = []

    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        while (question := entry.next_image()) is not None:
            seen.append(question[0].id)
            entry.answer(question[0].id, zeros(question[0]), 0.0)

    image = np.zeros((2, 2), dtype=np.uint8)
    launch = Launch(Program("test", "folder:test"), "predict", limits=limits)
    with run_function(program) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        first = [answer.token for answer in session.ask([Question(image, "valid")] * 4)]
        second = [answer.token for answer in session.ask([Question(image, "test")] * 4)]
        session.finish()
    assert (first, second) == (["valid"] * 4, ["test"] * 4)
    assert len(set(seen)) == 8
    assert all(len(identifier) == 16 for identifier in seen)


def test_hello_tells_folders_limits_and_params(script, hello, limits):
    heard = []

    def program(stdin, stdout, stderr):
        heard.append(script(stdin, stdout).ready())

    launch = Launch(Program("test", "folder:test"), "predict", limits=limits)
    told = replace(hello, params={"lr": 0.1, "layers": [1, 2]}, seed=3, maps_wanted=False)
    with run_function(program, paths={"model": "/model"}) as running:
        session = PredictSession(running, launch, told)
        ready = session.start()
        session.finish()
    assert ready.maps
    assert 0 < ready.start_up_seconds < 10
    assert heard[0].paths == {"model": "/model"}
    assert heard[0].params == {"lr": 0.1, "layers": [1, 2]}
    assert heard[0].limits == limits.as_dict()
    assert (heard[0].seed, heard[0].maps_wanted, heard[0].verb) == (3, False, "predict")


# The clock


def test_latency_runs_from_the_send_to_the_last_byte_of_the_answer(play_answers):
    def write(script, frame, image):
        anomaly_map = zeros(frame)
        script.raw(MapFrame(frame.id, 0.0, anomaly_map.shape, "float32").line())
        time.sleep(0.1)
        script.raw(anomaly_map.tobytes())

    outcome = play_answers(write)
    assert all(0.1 <= answer.latency_seconds < 5 for answer in outcome.answers)


def test_a_slow_reader_on_our_side_is_not_counted_as_the_entrys_latency(hello, limits, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        entry.serve()

    launch = Launch(Program("test", "folder:test"), "predict", limits=limits)
    image = np.zeros((2, 2), dtype=np.uint8)
    with run_function(program) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        latencies = []
        for answer in session.ask([Question(image, None)] * 3):
            latencies.append(answer.latency_seconds)
            time.sleep(0.3)  # scoring takes its time
        session.finish()
    assert max(latencies) < 0.3


def test_the_next_image_is_decoded_while_the_entry_computes(play_answers):
    decoded, answered = [], []

    def decode(number):
        decoded.append(number)
        return np.zeros((2, 2), dtype=np.uint8)

    def write(script, frame, image):
        number = len(answered)
        deadline = time.monotonic() + 5
        while len(decoded) < min(number + 2, 4) and time.monotonic() < deadline:
            time.sleep(0.001)
        answered.append(len(decoded))
        script.answer(frame.id, zeros(frame), 0.0)

    outcome = play_answers(write, images=[lambda n=n: decode(n) for n in range(4)])
    assert outcome.status is Status.OK, outcome.detail
    assert answered == [2, 3, 4, 4]
    assert decoded == [0, 1, 2, 3]


def test_the_last_map_is_scored_while_the_entry_computes(hello, limits, script):
    """The entry holds its second answer back until the first one has been worked on."""
    is_scored = threading.Event()

    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        for number in range(3):
            frame, _ = entry.next_image()
            if number == 1:
                assert is_scored.wait(8), "the first answer was kept until the second came"
            entry.answer(frame.id, zeros(frame), float(number))

    launch = Launch(Program("test", "folder:test"), "predict", limits=limits)
    scores = []
    with run_function(program) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        for answer in session.ask([Question(np.zeros((2, 2), dtype=np.uint8), None)] * 3):
            scores.append(answer.score)
            is_scored.set()
        session.finish()
    assert scores == [0.0, 1.0, 2.0]


def test_an_answer_that_came_too_late_while_we_were_busy_times_out(hello, limits, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        for pause in (0.0, 0.4):
            frame, _ = entry.next_image()
            time.sleep(pause)
            entry.answer(frame.id, zeros(frame), 0.0)

    limits = replace(limits, image_seconds=0.3)
    launch = Launch(Program("test", "folder:test"), "predict", limits=limits)
    with run_function(program) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        answers = session.ask([Question(np.zeros((2, 2), dtype=np.uint8), None)] * 2)
        next(answers)
        time.sleep(1.0)  # the second answer lies here when we come to read it
        with pytest.raises(RunEnded) as ended:
            next(answers)
    assert ended.value.status is Status.IMAGE_TIMEOUT


def test_what_was_answered_before_the_entry_broke_is_handed_over(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        frame, _ = entry.next_image()
        answer = MapFrame(frame.id, 0.25, frame.shape[:2], "float32").line()
        entry.raw(answer + zeros(frame).tobytes() + b"too many")  # found before the next image

    outcome = play(program)
    assert outcome.status is Status.BAD_FRAME
    assert [answer.score for answer in outcome.answers] == [0.25]


def test_an_image_that_cannot_be_decoded_is_our_error_and_not_the_entrys(play):
    def broken():
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        play(images=[np.zeros((2, 2), dtype=np.uint8), broken])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2), dtype=np.float32),
        np.zeros((2, 2, 4), dtype=np.uint8),
        np.zeros((0, 2), dtype=np.uint8),
    ],
    ids=["float", "four channels", "empty"],
)
def test_an_image_that_the_contract_does_not_know_is_never_sent(play, image):
    with pytest.raises(ValueError, match="an image is uint8"):
        play(images=[image])


# Banners


def test_what_start_up_prints_before_the_first_frame_is_skipped(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.raw(b'== CUDA ==\n{not json}\n{"level":"info"}\n\x00\xff\n' + b"x" * 60_000)
        entry.ready()
        entry.serve()

    assert play(program).status is Status.OK


def test_a_banner_of_more_than_64_kib_is_a_bad_frame(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        for _ in range(70):
            entry.raw(b"x" * 1000 + b"\n")
        entry.ready()

    outcome = play(program)
    assert outcome.status is Status.BAD_FRAME
    assert "65536 bytes before the first frame" in outcome.detail


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"ready","contract":2,"maps":true}\n',
        b'{"type":"ready","contract":true,"maps":true}\n',
        b'{"type":"ready","contract":1}\n',
        b'{"type":"ready","contract":1,"maps":1}\n',
        b'{"type":"ready","contract":1,"maps":true,"more":0}\n',
        b'{"type":"ready","contract":1,"maps":true\n',
        b'{"type":"done"}\n',
    ],
)
def test_a_wrong_first_frame_is_named_and_not_skipped(play, script, line):
    def program(stdin, stdout, stderr):
        script(stdin, stdout).raw(line)
        stdin.read()

    outcome = play(program)
    assert outcome.status is Status.BAD_FRAME
    assert outcome.detail.startswith("the ready frame: ")


# Wrong answers


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"id": "aaaaaaaaaaaaaaaa"}, Status.BAD_FRAME),
        ({"id": 3}, Status.BAD_FRAME),
        ({"id": ...}, Status.BAD_FRAME),
        ({"type": "image"}, Status.BAD_FRAME),
        ({"type": "progress"}, Status.BAD_FRAME),
        ({"type": ["map"]}, Status.BAD_FRAME),
        ({"label": 1}, Status.BAD_FRAME),
        ({"shape": ...}, Status.BAD_FRAME),
        ({"shape": [-4, 6]}, Status.BAD_FRAME),
        ({"shape": [4.0, 6.0]}, Status.BAD_FRAME),
        ({"shape": [True, 6]}, Status.BAD_FRAME),
        ({"shape": [24]}, Status.BAD_FRAME),
        ({"shape": "4x6"}, Status.BAD_FRAME),
        ({"shape": [2**20, 2**18], "nbytes": 2**40}, Status.BAD_FRAME),
        ({"shape": [65535, 65535], "nbytes": 65535**2 * 4}, Status.WRONG_SHAPE),
        ({"shape": [6, 4]}, Status.WRONG_SHAPE),
        ({"shape": [1, 4, 6]}, Status.WRONG_SHAPE),
        ({"nbytes": 2**40}, Status.BAD_FRAME),
        ({"nbytes": 95}, Status.BAD_FRAME),
        ({"nbytes": -96}, Status.BAD_FRAME),
        ({"nbytes": 96.0}, Status.BAD_FRAME),
        ({"nbytes": ...}, Status.BAD_FRAME),
        ({"dtype": "float64", "nbytes": 192}, Status.BAD_FRAME),
        ({"dtype": []}, Status.BAD_FRAME),
        ({"score": "1"}, Status.BAD_FRAME),
        ({"score": True}, Status.BAD_FRAME),
        ({"score": None}, Status.BAD_FRAME),
        ({"score": float("nan")}, Status.NON_FINITE),
        ({"score": float("inf")}, Status.NON_FINITE),
        ({"score": 10**400}, Status.NON_FINITE),
        ({"shape": None}, Status.BAD_FRAME),
        ({"shape": None, "dtype": ..., "nbytes": ...}, Status.BAD_FRAME),
        ({"shape": None, "dtype": ..., "nbytes": ..., "score": ...}, Status.BAD_FRAME),
    ],
    ids=repr,
)
def test_a_wrong_header_ends_the_run_before_its_bytes_are_read(play_answers, changes, status):
    def write(script, frame, image):
        script.raw(line_of(header_of(frame, **changes)) + zeros(frame).tobytes())

    outcome = play_answers(write)
    assert outcome.status is status
    assert outcome.detail.startswith("image 1: ")
    assert not outcome.answers
    assert outcome.seconds < 5


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"\n", Status.BAD_FRAME),
        (b"null\n", Status.BAD_FRAME),
        (b"[]\n", Status.BAD_FRAME),
        (b"\xff\xfe{\n", Status.BAD_FRAME),
        ('{"type":"map"}\n'.encode("utf-16"), Status.BAD_FRAME),
        (b'{"type":"map","type":"map"}\n', Status.BAD_FRAME),
        (b'{"type":"map","id":"x","score":1e999,"shape":null}\n', Status.NON_FINITE),
        (b'{"type":"map","id":"x","score":-Infinity,"shape":null}\n', Status.NON_FINITE),
        (
            b'{"type":"map","id":"x","score":' + b"9" * 60_000 + b',"shape":null}\n',
            Status.BAD_FRAME,
        ),
        (b'{"type":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n", Status.BAD_FRAME),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n", Status.BAD_FRAME),
        (b'"\\' * 30_000 + b"\n", Status.BAD_FRAME),
        (b"x" * 200_000, Status.BAD_FRAME),
        (b"{" + b" " * 65_536 + b"}\n", Status.BAD_FRAME),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else str(value),
)
def test_a_line_that_is_no_strict_json_ends_the_run_at_once(play_answers, line, status):
    outcome = play_answers(lambda script, frame, image: script.raw(line))
    assert outcome.status is status, outcome.detail
    assert outcome.seconds < 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_value_that_is_not_finite_ends_the_run(play_answers, value, dtype):
    def write(script, frame, image):
        anomaly_map = zeros(frame, dtype)
        anomaly_map[-1, -1] = value
        script.answer(frame.id, anomaly_map, 0.0)

    outcome = play_answers(write)
    assert outcome.status is Status.NON_FINITE
    assert outcome.detail == "image 1: the map holds NaN or infinity"


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, -3.0, 3.4e38])
def test_constants_negatives_and_denormals_are_fine(play_answers, value):
    outcome = play_answers(
        lambda script, frame, _: script.answer(frame.id, np.full_like(zeros(frame), value), value)
    )
    assert outcome.status is Status.OK


def test_every_finite_half_precision_number_is_fine_and_no_other(play_answers):
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = np.resize(numbers[np.isfinite(numbers)], (248, 256))

    def write(script, frame, image):
        script.answer(frame.id, finite, 0.0)

    images = [np.zeros(finite.shape, np.uint8)] * 2
    assert play_answers(write, images=images).status is Status.OK
    assert all(not _is_finite(number) for number in numbers[~np.isfinite(numbers)][:, None])


def test_a_wrong_shape_is_not_told_for_an_entry_could_write_pixels_there(play_answers):
    outcome = play_answers(
        lambda script, frame, _: script.answer(frame.id, np.zeros((41, 173), np.float32), 0.0)
    )
    assert outcome.status is Status.WRONG_SHAPE
    assert not {"41", "173"} & set(re.findall(r"\d+", outcome.detail))


def test_the_first_map_fixes_the_dtype(play_answers):
    dtypes = iter(["float32", "float32", "float16"])
    outcome = play_answers(
        lambda script, frame, _: script.answer(frame.id, zeros(frame, next(dtypes)), 0.0)
    )
    assert outcome.status is Status.WRONG_SHAPE
    assert outcome.detail == "image 3: the map is float16, the maps before it were float32"
    assert len(outcome.answers) == 2


def test_the_id_of_the_last_image_is_no_answer_to_this_one(play_answers):
    ids = []

    def write(script, frame, image):
        ids.append(frame.id)
        script.answer(ids[0], zeros(frame), 0.0)

    outcome = play_answers(write)
    assert outcome.status is Status.BAD_FRAME
    assert outcome.detail == "image 2: the id is not the one of the image"


def test_a_map_where_none_was_promised_is_a_bad_frame(play_answers):
    outcome = play_answers(
        lambda script, frame, _: script.answer(frame.id, zeros(frame), 0.0), maps=False
    )
    assert outcome.status is Status.BAD_FRAME


def test_a_map_where_none_is_wanted_is_a_bad_frame(play, hello):
    outcome = play(hello=replace(hello, maps_wanted=False))
    assert outcome.status is Status.BAD_FRAME
    assert "a map came where none was wanted" in outcome.detail


def test_the_same_answer_twice_is_a_bad_frame(play_answers):
    def write(script, frame, image):
        script.answer(frame.id, zeros(frame), 0.0)
        script.answer(frame.id, zeros(frame), 0.0)

    outcome = play_answers(write)
    assert outcome.status is Status.BAD_FRAME
    assert len(outcome.answers) == 1


def test_an_answer_before_the_question_is_a_bad_frame(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        assert entry.reader.read()
        entry.raw(ReadyFrame(maps=True).line() + line_of({"type": "map"}))
        stdin.read()

    outcome = play(program)
    assert outcome.status is Status.BAD_FRAME
    assert outcome.detail.startswith("image 1: ")


def test_one_extra_byte_after_the_last_answer_is_a_bad_frame(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        entry.serve()
        entry.raw(b"\n")

    outcome = play(program)
    assert outcome.status is Status.BAD_FRAME
    assert outcome.detail.startswith("the end of the session: ")


def test_an_endless_stream_instead_of_an_answer_ends_the_run_in_bounded_memory(play_answers):
    def write(script, frame, image):
        while True:
            script.raw(b"x" * 65_536)

    outcome = play_answers(write, stop_seconds=0.1)
    assert outcome.status is Status.BAD_FRAME
    assert outcome.seconds < 10


def test_details_never_repeat_what_the_entry_wrote(play_answers):
    def write(script, frame, image):
        script.raw(b'{"type":"SECRET","SECRET":"SECRET","id":"SECRET"}\n')

    outcome = play_answers(write)
    assert outcome.status is Status.BAD_FRAME
    assert "SECRET" not in outcome.detail


# Ends


@pytest.mark.parametrize(
    ("code", "is_out_of_memory", "status"),
    [
        (0, False, Status.MISSING_ANSWER),
        (1, False, Status.CRASHED),
        (-9, False, Status.CRASHED),
        (77, False, Status.OUT_OF_GPU_MEMORY),
        (78, False, Status.NOT_APPLICABLE),
        (78, True, Status.OUT_OF_MEMORY),
        (-9, True, Status.OUT_OF_MEMORY),
        (1, True, Status.OUT_OF_MEMORY),
    ],
)
@pytest.mark.parametrize("moment", ["before hello", "before ready", "in an answer", "at an image"])
def test_an_early_end_is_judged_by_how_it_ended(
    play, script, moment, code, is_out_of_memory, status
):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        if moment == "before hello":
            return
        if moment == "before ready":
            entry.reader.read()
            return
        entry.ready()
        frame, _ = entry.next_image()
        if moment == "in an answer":
            entry.raw(line_of(header_of(frame)) + b"half")

    if status is Status.NOT_APPLICABLE and moment in ("in an answer", "at an image"):
        status = Status.CRASHED  # what it has seen of an image must not decide whether it counts
    outcome = play(program, exit_code=code, is_out_of_memory=is_out_of_memory)
    assert outcome.status is status
    if "exit code" in outcome.detail:
        assert str(code) in outcome.detail


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, Status.OK),
        (3, Status.CRASHED),
        (77, Status.OUT_OF_GPU_MEMORY),
        (78, Status.CRASHED),
        (-11, Status.CRASHED),
    ],
)
def test_after_the_last_answer_only_exit_code_0_is_success(play, code, status):
    outcome = play(exit_code=code)
    assert outcome.status is status
    assert len(outcome.answers) == 3


def test_closing_standard_output_and_living_on_is_a_missing_answer(play, script):
    def program(stdin, stdout, stderr):
        script(stdin, stdout).ready()
        stdout.close()
        stdin.read()

    outcome = play(program, stop_seconds=0.3)
    assert outcome.status is Status.MISSING_ANSWER
    assert outcome.seconds < 5


def test_a_flood_of_the_log_ends_the_run(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        entry.next_image()
        for _ in range(20):
            stderr.write(b"x" * 65_536)
        stdin.read()

    outcome = play(program, log_bytes=100_000)
    assert outcome.status is Status.LOG_FLOOD
    assert len(outcome.log) <= 100_000


def test_a_flood_of_the_log_after_the_last_answer_is_one_too(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        entry.serve()
        stderr.write(b"x" * 200_000)

    assert play(program, log_bytes=100_000).status is Status.LOG_FLOOD


# Time limits


def test_an_entry_that_never_gets_ready_times_out_at_the_start(play):
    outcome = play(lambda stdin, *_: stdin.read(), start_seconds=0.3)
    assert outcome.status is Status.START_TIMEOUT
    assert outcome.detail == "the ready frame: it did not come within 0.3 s"
    assert 0.3 <= outcome.seconds < 3


def test_an_entry_that_does_not_answer_times_out_at_the_image(play, script):
    def program(stdin, stdout, stderr):
        script(stdin, stdout).ready()
        stdin.read()

    outcome = play(program, image_seconds=0.3)
    assert outcome.status is Status.IMAGE_TIMEOUT
    assert outcome.detail == "image 1: it was not answered within 0.3 s"
    assert 0.3 <= outcome.seconds < 3


def test_an_entry_that_looks_ahead_times_out_on_the_first_image(play, script):
    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        first, _ = entry.next_image()
        entry.next_image()
        entry.answer(first.id, zeros(first), 0.0)

    outcome = play(program, image_seconds=0.3)
    assert outcome.status is Status.IMAGE_TIMEOUT
    assert outcome.detail.startswith("image 1: ")


def test_an_entry_that_answers_byte_by_byte_cannot_stretch_its_limit(play_answers):
    def write(script, frame, image):
        for byte in line_of(header_of(frame)):
            script.raw(bytes([byte]))
            time.sleep(0.05)

    outcome = play_answers(write, image_seconds=0.4, stop_seconds=0.1)
    assert outcome.status is Status.IMAGE_TIMEOUT
    assert outcome.seconds < 3


def test_many_images_each_in_time_can_still_pass_the_total(play_answers, images):
    def write(script, frame, image):
        time.sleep(0.1)
        script.answer(frame.id, zeros(frame), 0.0)

    outcome = play_answers(write, images=images(50), predict_seconds=0.5)
    assert outcome.status is Status.TOTAL_TIMEOUT
    assert 1 <= len(outcome.answers) < 10
    assert outcome.seconds < 3


def test_an_entry_that_does_not_exit_after_its_input_has_ended_times_out(play, script):
    import threading

    release = threading.Event()

    def program(stdin, stdout, stderr):
        entry = script(stdin, stdout)
        entry.ready()
        entry.serve()
        release.wait(10)

    outcome = play(program, stop_seconds=0.3)
    release.set()
    assert outcome.status is Status.TOTAL_TIMEOUT
    assert "did not exit" in outcome.detail
    assert len(outcome.answers) == 3


def test_a_large_image_to_an_entry_that_never_reads_times_out(play, script, images):
    def program(stdin, stdout, stderr):
        script(stdin, stdout).raw(ReadyFrame(maps=True).line())
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            time.sleep(0.01)

    outcome = play(program, images=images(1, (2000, 1500, 3)), image_seconds=0.3)
    assert outcome.status is Status.IMAGE_TIMEOUT
