"""What is asked in a session: images of a split, lazily decoded, in an order nobody can foresee."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.benchmarks import Pack, Sample
from harness.session.conversation import Answer, Question


def questions_of(pack: Pack, samples: Sequence[Sample]) -> Iterator[Question]:
    """Questions whose images are decoded only when they are about to be sent."""
    for sample in samples:
        yield Question(image=_Decode(pack, sample), token=sample)


@dataclass(frozen=True)
class _Decode:
    pack: Pack
    sample: Sample

    def __call__(self) -> np.ndarray:
        return self.pack.image(self.sample)


def sample_of(answer: Answer) -> Sample:
    """The sample that an answer is about.

    Raises:
        TypeError: the question was not made by `questions_of` (a bug).
    """
    if not isinstance(answer.token, Sample):
        raise TypeError("a session gave back a token that it was not given")
    return answer.token


def shuffled(samples: Sequence[Sample]) -> list[Sample]:
    """The samples in an order from the system's randomness, never from the run's seed.

    Images of one patient do not stay together, and no entry can foresee the order.
    """
    order = list(samples)
    secrets.SystemRandom().shuffle(order)
    return order
