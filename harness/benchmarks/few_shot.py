"""The few-shot draw: which k of a pack's training images a run learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from harness.benchmarks.pack import Sample
from harness.common.errors import UsageError


@dataclass(frozen=True)
class ShotDraw:
    """The drawn images."""

    samples: tuple[Sample, ...]
    """In the order in which they were drawn."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Private keys of the images, in the order of the draw."""
        return tuple(sample.key for sample in self.samples)

    @property
    def digest(self) -> str:
        """`sha256:…` over their pixels, whatever the files are called."""
        hashes = "\n".join(sorted(sample.pixel_sha256 for sample in self.samples))
        return "sha256:" + hashlib.sha256(hashes.encode()).hexdigest()

    @property
    def of_unknown_patient(self) -> int:
        """How many images nothing tells the patient of."""
        return sum(not has_known_patient(sample) for sample in self.samples)


def has_known_patient(sample: Sample) -> bool:
    """Whether something tells whose the image is; without it each counts by itself."""
    return sample.group != sample.key


def draw_shots(training: Sequence[Sample], shots: int, seed: int) -> ShotDraw:
    """The training images of a few-shot run: `shots` of them, by the run's seed.

    Draws are nested: those of two shots hold the one of one. One image of every patient comes
    before any second of one, since consecutive files are slices of a patient. The order hangs on
    seed, pixels and patients alone: not on the names of files.

    Args:
        training: all training images of one pack.
        shots: how many are drawn.
        seed: seed of the run.
    Raises:
        UsageError: the pack has fewer.
    """
    if len(training) < shots:
        raise UsageError(
            f"{shots} training images are asked for, and there are {len(training)}",
            where="--train",
            fix=f"--train shots:K with a K of at most {len(training)}",
        )

    def place(sample: Sample) -> tuple[str, str]:
        told = f"few-shot {seed} {sample.pixel_sha256}"
        return hashlib.sha256(told.encode()).hexdigest(), sample.key

    patients: dict[str, list[Sample]] = {}
    for sample in sorted(training, key=place):
        patients.setdefault(sample.group, []).append(sample)
    rounds = zip_longest(*patients.values())  # the first image of each, then the second of each …
    order = [sample for sample in chain.from_iterable(rounds) if sample is not None]
    return ShotDraw(tuple(order[:shots]))
