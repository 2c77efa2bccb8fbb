"""Whole entries as real processes: every behaviour of tests/sample_entries ends with its own status."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.common.statuses import RunEnded, Status
from harness.engines.base import Launch, Program
from harness.session.conversation import Verdict, read_description, train_session

PERL_ENTRY = Path(__file__).parents[1] / "contract" / "entries" / "mean_grey.pl"


def test_each_entry_ends_with_its_status(play_folder, behaviour):
    outcome = play_folder(behaviour.entry, **behaviour.limits)
    assert outcome.status is behaviour.status, (outcome.detail, outcome.log)
    assert len(outcome.answers) == behaviour.answered


def test_a_hog_is_an_honest_entry_where_memory_suffices(play_folder, hello):
    outcome = play_folder("memory_hog", hello=replace(hello, params={"mib": 64}))
    assert outcome.status is Status.OK


@pytest.mark.parametrize("entry", ["stderr_flood", "never_reads", "ignores_term"])
def test_an_entry_that_resists_a_large_image_ends_within_its_limits(play_folder, images, entry):
    began = time.monotonic()
    outcome = play_folder(
        entry,
        images=images(1, (1024, 768, 3)),  # 2.4 MB: more than any pipe holds
        image_seconds=1.0,
        stop_seconds=1.0,
        log_bytes=1 << 20,
    )
    assert outcome.status in {Status.IMAGE_TIMEOUT, Status.LOG_FLOOD}
    assert time.monotonic() - began < 15


def test_a_model_that_raises_leaves_its_traceback_in_the_log(play_folder):
    outcome = play_folder("crashing")
    assert outcome.status is Status.CRASHED
    assert outcome.detail == "image 1: the entry ended with exit code 1"
    assert b"RuntimeError: this model always fails" in outcome.log


def test_prints_go_to_the_log_and_answers_stay_honest(play_folder, images):
    asked = images(2)
    outcome = play_folder("stdout_print", images=asked)
    assert [answer.score for answer in outcome.answers] == [
        pytest.approx(image.mean(), rel=1e-6) for image in asked
    ]
    for text in (b"imported", b"a library's banner", b"made", b"forged", b"no newline", b"child"):
        assert text in outcome.log


def test_honest_maps_have_the_images_size_and_repeat_exactly(play_folder, images):
    asked = images(2, (17, 9, 3)) + images(1, (8, 8))
    first, second = play_folder("honest", images=asked), play_folder("honest", images=asked)
    for image, one, two in zip(asked, first.answers, second.answers, strict=True):
        assert one.anomaly_map.shape == image.shape[:2]
        assert one.score == two.score
        np.testing.assert_array_equal(one.anomaly_map, two.anomaly_map)


def test_the_forged_result_of_an_early_exit_counts_for_nothing(play_folder):
    outcome = play_folder("early_exit")
    assert outcome.status is Status.MISSING_ANSWER
    assert b'"image_auroc": 1.0' in outcome.log  # it is in the log, and nowhere else


def test_maps_are_dropped_and_the_score_is_their_maximum_where_none_are_wanted(play_folder, hello):
    outcome = play_folder("map_only", hello=replace(hello, maps_wanted=False))
    assert outcome.status is Status.OK, outcome.detail
    assert all(answer.anomaly_map is None for answer in outcome.answers)


def test_a_nan_score_is_called_non_finite_and_not_a_crash(play_folder, model_folder):
    folder = model_folder(
        "class Model:\n"
        "    def __init__(self, device, seed, params, weights): pass\n"
        "    def predict(self, image): return None, float('nan')\n",
        maps=False,
    )
    assert play_folder(folder).status is Status.NON_FINITE


def test_a_bad_model_trains_to_its_end_for_the_host_to_judge_its_files(
    start_folder, hello, limits, tmp_path
):
    train, model = tmp_path / "train", tmp_path / "model"
    train.mkdir()
    model.mkdir()
    launch = Launch(Program("bad_model", "folder:test"), "train", limits=limits)
    with start_folder("bad_model", "train", train=train, model=model) as running:
        train_session(running, launch, hello, lambda step, ask: Verdict(keep=True, stop=False))
    assert (model / "passwords").is_symlink()
    assert (model / "queue").is_fifo()


# Describe


def describe(start_folder, entry, limits):
    launch = Launch(Program("test", "folder:test"), "describe", limits=limits)
    with start_folder(entry, "describe") as running:
        return read_description(running, launch)


def test_entries_describe_themselves(start_folder, limits):
    described = describe(start_folder, "trainer", limits)
    assert (described.name, described.maps, described.verbs) == (
        "trainer",
        True,
        ("predict", "train"),
    )
    described = describe(start_folder, "score_only", limits)
    assert (described.maps, described.verbs) == (False, ("predict",))


def test_an_entry_that_cannot_describe_itself_has_crashed(start_folder, limits, model_folder):
    folder = model_folder("")
    (folder / "entry.toml").write_text("[entry]\n")
    with pytest.raises(RunEnded) as ended:
        describe(start_folder, folder, limits)
    assert ended.value.status is Status.CRASHED


# Another language


def test_an_entry_in_perl_holds_the_contract(play_command, images):
    asked = images(3, (5, 4)) + images(2, (300, 200, 3))
    outcome = play_command(["/usr/bin/perl", str(PERL_ENTRY)], images=asked)
    assert outcome.status is Status.OK, (outcome.detail, outcome.log)
    for image, answer in zip(asked, outcome.answers, strict=True):
        mean = image.mean() / 255
        assert answer.score == pytest.approx(mean, rel=1e-12)
        np.testing.assert_allclose(answer.anomaly_map, np.full(image.shape[:2], mean), rtol=1e-6)


def test_the_entry_in_perl_answers_without_maps_where_none_are_wanted(play_command, hello):
    outcome = play_command(
        ["/usr/bin/perl", str(PERL_ENTRY)], hello=replace(hello, maps_wanted=False)
    )
    assert outcome.status is Status.OK, (outcome.detail, outcome.log)
    assert all(answer.anomaly_map is None for answer in outcome.answers)


def test_a_program_that_is_no_entry_at_all_ends_with_a_status(play_command):
    outcome = play_command([sys.executable, "-c", "print('hello world')"])
    assert outcome.status is Status.MISSING_ANSWER
