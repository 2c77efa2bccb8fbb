"""What of a run's energy belongs to which stretch, and what its record says of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.engines.energy import Counter, EnergyMeter
from harness.records.energy import Counted, EnergyGap
from harness.running.run_energy import RunEnergy


class Given(Counter):
    """Counts what the test adds."""

    of = "gpu"
    covers = "a GPU"
    source = "a counter"

    def __init__(self) -> None:
        self.joules = 0.0

    def step(self) -> float:
        told, self.joules = self.joules, 0.0
        return told


@pytest.fixture
def counter() -> Given:
    return Given()


@pytest.fixture
def run(counter: Given) -> RunEnergy:
    return RunEnergy(EnergyMeter([counter]))


def score_four(run: RunEnergy, counter: Given, *, is_warm: bool) -> None:
    """Four images: the first answer takes 100 J, each other 10, and the harness 1 for each."""

    def answers() -> Iterator[int]:
        for image in range(4):
            counter.joules += 10 if image else 100
            yield image

    counter.joules += 500  # start-up and validation
    for _ in run.over_images(answers(), is_warm=is_warm):
        counter.joules += 1
    counter.joules += 30  # the entry's end


def test_images_are_counted_without_start_up_and_end_and_with_what_lies_between_two(
    run: RunEnergy, counter: Given
) -> None:
    score_four(run, counter, is_warm=True)
    (part,) = run.parts(has_trained=False, images=4)
    assert part.per_image == Counted(joules=(100 + 3 * 10 + 4) / 4)
    assert part.total == Counted(joules=500 + 134 + 30)


def test_the_sessions_first_image_is_warm_up_and_left_out(run: RunEnergy, counter: Given) -> None:
    score_four(run, counter, is_warm=False)
    (part,) = run.parts(has_trained=False, images=3)
    assert part.per_image == Counted(joules=11)


def test_where_no_image_was_timed_or_the_session_broke_off_there_is_none_per_image(
    run: RunEnergy, counter: Given
) -> None:
    for _ in run.over_images([1], is_warm=False):
        counter.joules += 5
    assert run.parts(has_trained=False, images=0)[0].per_image is None
    broken = RunEnergy(run.meter)
    for _ in broken.over_images([1, 2, 3], is_warm=True):
        break
    (part,) = broken.parts(has_trained=False, images=1)
    assert (part.per_image, part.predict, part.train) == (None, None, None)


def test_a_training_that_nobody_counted_is_absent_with_the_reason(run: RunEnergy) -> None:
    (part,) = run.parts(has_trained=True, images=0)
    assert part.train == Counted(reason=EnergyGap.NOT_COUNTED)
    run.train = {"gpu": Counted(joules=7)}
    assert run.parts(has_trained=True, images=0)[0].train == Counted(joules=7)


@pytest.mark.parametrize(
    ("sessions", "told"),
    [
        ([False, False], False), ([False, True], True), ([True, False], True), ([True, None], True),
        ([None, False], None), ([False, None], None), ([None, True], True),
    ],
)  # fmt: skip
def test_a_gpu_is_shared_where_any_session_was_and_unknown_where_one_could_not_be_told(
    run: RunEnergy, sessions, told
) -> None:
    for session in sessions:
        run.note_gpu_use(has_seen_others=session)
    assert run.parts(has_trained=False, images=0)[0].is_shared is told
