"""The audit: does an entry answer an image alike, whatever it was shown before?

Before a run, some test images are picked at random, and their answers are kept. Afterwards
two fresh starts of the same program each get these images, in one new order and under new
ids. If the two differ from each other, the entry is `not reproducible`; else, if they differ
from the run, it `adapts to the test set`: its answer hung on the images in between.

On a CPU, alike means equal bytes; on a GPU, sums run in an order that nobody fixes, so alike
means nearly the same place among the run's answers (`alike.py`). Traps: an entry's word is a
channel, so of a hidden pack only the verdict is ever published; maps are kept for the picked
images alone.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from harness.benchmarks import Sample
from harness.records.record import AuditPart, AuditVerdict, canonical_json
from harness.running.alike import RANK_SHIFT, SCORES, Distribution
from harness.session.conversation import Answer

IMAGES = 32


def tolerance_on(device: str) -> float | None:
    """What counts as alike on a device; None is equal bytes."""
    return None if device == "cpu" else RANK_SHIFT


class AnswersHash:
    """One hash over every answer of a run, whatever the order in which they came."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    def add(self, key: str, answer: Answer) -> None:
        """Note the answer to one image."""
        digest = hashlib.sha256(canonical_json(answer.score))
        if answer.anomaly_map is not None:
            digest.update(f"{answer.anomaly_map.dtype} {answer.anomaly_map.shape}".encode())
            digest.update(np.ascontiguousarray(answer.anomaly_map).data)
        self._digests[key] = digest.hexdigest()

    @property
    def value(self) -> str | None:
        """`sha256:…` over all images by their keys; None without answers."""
        if not self._digests:
            return None
        return "sha256:" + hashlib.sha256(canonical_json(self._digests)).hexdigest()


@dataclass
class Audit:
    """The picked images of one run, and what the run said of them."""

    picked: tuple[Sample, ...]
    """In the order in which both fresh starts are asked; it is not the run's."""
    tolerance: float | None
    """As `tolerance_on` gives it."""
    scores: list[float] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Sequence[Sample], device: str) -> Audit:
        """Pick from these test images, at random and before the run."""
        picked = secrets.SystemRandom().sample(list(samples), min(IMAGES, len(samples)))
        return cls(tuple(picked), tolerance_on(device))

    def see(self, sample: Sample, answer: Answer) -> None:
        """One answer of the run."""
        self.scores.append(answer.score)
        if any(sample.key == one.key for one in self.picked):
            self.answers[sample.key] = answer

    def verdict(
        self, first: Sequence[Answer], second: Sequence[Answer], *, seconds: float
    ) -> AuditPart:
        """What the two fresh starts show.

        Args:
            first: the answers of one start, in the order of `picked`.
            second: those of the other.
            seconds: what the audit took.
        """
        run = [self.answers[sample.key] for sample in self.picked]
        between = self._count(zip(first, second, strict=True))
        from_run = self._count(zip(run, first, strict=True))
        verdict: AuditVerdict = "passed"
        detail = ""
        if between:
            verdict = "not reproducible"
            detail = f"two fresh starts answer {between} of {len(run)} images differently"
        elif from_run:
            verdict = "adapts to the test set"
            detail = f"fresh starts answer {from_run} of {len(run)} images differently from the run"
        return self.part(verdict, detail, seconds=seconds)

    def part(self, verdict: AuditVerdict, detail: str, *, seconds: float) -> AuditPart:
        """The audit as it stands in the record."""
        return AuditPart(
            verdict=verdict,
            detail=detail,
            images=len(self.picked),
            tolerance=self.tolerance,
            seconds=seconds,
        )

    def _count(self, pairs: Iterable[tuple[Answer, Answer]]) -> int:
        return sum(not self._is_alike(one, other) for one, other in pairs)

    def _is_alike(self, one: Answer, other: Answer) -> bool:
        if self.tolerance is None:
            return one.score == other.score and _has_equal_bytes(one, other)
        if not self._scores.is_alike(one.score, other.score):
            return False
        if one.anomaly_map is None or other.anomaly_map is None:
            return one.anomaly_map is other.anomaly_map
        return self._values is not None and self._values.is_alike(
            one.anomaly_map, other.anomaly_map
        )

    @cached_property
    def _scores(self) -> Distribution:
        """All scores of the run; asked for when it is over."""
        return Distribution.of(self.scores, SCORES)

    @cached_property
    def _values(self) -> Distribution | None:
        """The values of the run's kept maps; None without maps."""
        maps = [one.anomaly_map for one in self.answers.values() if one.anomaly_map is not None]
        return Distribution.of_maps(maps) if maps else None


def _has_equal_bytes(one: Answer, other: Answer) -> bool:
    if one.anomaly_map is None or other.anomaly_map is None:
        return one.anomaly_map is other.anomaly_map
    is_same_kind = one.anomaly_map.dtype == other.anomaly_map.dtype
    return is_same_kind and one.anomaly_map.tobytes() == other.anomaly_map.tobytes()
