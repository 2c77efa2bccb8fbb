"""The audit: equal bytes on a CPU, nearly the same place on a GPU, two verdicts and their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.benchmarks import Sample
from harness.running.audit import IMAGES, AnswersHash, Audit
from harness.session.conversation import Answer


def sample(number: int) -> Sample:
    return Sample(f"t/{number}", "test", False, "p", None, Path(), None, 2, 2, "")


def answer(score: float, level: float | None = 0.0, dtype: str = "float32") -> Answer:
    anomaly_map = None if level is None else np.full((2, 2), level, dtype=dtype)
    return Answer(None, score, anomaly_map, 0.1, False)


def verdict(audit: Audit, run: list[Answer], first: list[Answer], second: list[Answer]) -> str:
    for one, told in zip(audit.picked, run, strict=True):
        audit.see(one, told)
    return audit.verdict(first, second, seconds=1.0).verdict


def audit(device: str = "cpu", count: int = 3) -> Audit:
    return Audit.of([sample(number) for number in range(count)], device)


def test_some_images_are_picked_at_random_and_no_more_than_there_are() -> None:
    many = [sample(number) for number in range(200)]
    picks = [tuple(s.key for s in Audit.of(many, "cpu").picked) for _ in range(5)]
    assert all(len(set(pick)) == IMAGES for pick in picks)
    assert len(set(picks)) == 5
    assert len(audit(count=3).picked) == 3


def test_equal_answers_pass() -> None:
    told = [answer(1.0, 0.5), answer(2.0, 0.25), answer(-3.0, None)]
    assert verdict(audit(), told, told, told) == "passed"


@pytest.mark.parametrize(
    "other",
    [answer(1.0 + 1e-15), answer(1.0, 1e-7), answer(1.0, None), answer(1.0, 0.0, "float16")],
)
def test_on_a_cpu_any_other_byte_differs(other: Answer) -> None:
    same = [answer(1.0), answer(2.0), answer(3.0)]
    changed = [other, *same[1:]]
    assert verdict(audit(), changed, same, same) == "adapts to the test set"
    assert verdict(audit(), same, same, changed) == "not reproducible"


def test_fresh_starts_that_differ_from_each_other_are_told_first() -> None:
    run, first, second = ([answer(s), answer(2.0), answer(3.0)] for s in (0.0, 1.0, 2.0))
    assert verdict(audit(), run, first, second) == "not reproducible"


def test_on_a_gpu_nearly_the_same_place_among_the_runs_answers_is_alike() -> None:
    run = [answer(0.0, 0.0), answer(10.0, 100.0), answer(5.0, 50.0)]
    near = [answer(0.009, 0.09), *run[1:]]
    assert verdict(audit("cuda:0"), run, near, run) == "passed"
    for far in (answer(1.0, 0.0), answer(0.0, 11.0), answer(0.0, None)):
        assert verdict(audit("cuda:0"), run, [far, *run[1:]], run) == "not reproducible"
        changed = [far, *run[1:]]
        assert verdict(audit("cuda:0"), run, changed, changed) == "adapts to the test set"


@pytest.mark.parametrize("outlier", [answer(1e6, 0.5), answer(0.5, 1e6), answer(-1e30, -1e30)])
def test_on_a_gpu_no_single_answer_makes_the_others_differences_small(outlier: Answer) -> None:
    shown = [answer(float(number), float(number)) for number in range(40)]
    adapted = [answer(told.score + 7.0, float(told.score)) for told in shown]
    for change in (adapted, [answer(told.score, told.score + 7.0) for told in shown]):
        made = Audit.of([sample(number) for number in range(40)], "cuda:0")
        fresh = {s.key: told for s, told in zip(made.picked, change, strict=False)}
        made.see(sample(99), outlier)
        for number, one in enumerate(made.picked):
            made.see(one, shown[number])
        told = [fresh[one.key] for one in made.picked]
        assert made.verdict(told, told, seconds=1.0).verdict == "adapts to the test set"


def test_the_hash_of_all_answers_knows_every_byte_and_no_order() -> None:
    def hashed(*pairs: tuple[str, Answer]) -> str | None:
        made = AnswersHash()
        for key, told in pairs:
            made.add(key, told)
        return made.value

    one, two = ("a", answer(1.0)), ("b", answer(2.0))
    assert hashed() is None
    assert hashed(one, two) == hashed(two, one)
    others = [
        (("a", answer(1.0 + 1e-15)), two), (("a", answer(1.0, 1e-7)), two), (("c", one[1]), two),
        (("a", answer(1.0, 0.0, "float16")), two), (("a", answer(1.0, None)), two), (one,),
    ]  # fmt: skip
    assert len({hashed(*pairs) for pairs in [(one, two), *others]}) == 7
