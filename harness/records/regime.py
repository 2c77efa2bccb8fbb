"""The regime of a run: what its entry may learn from, and how images are delivered to it.

One-class is the board's first: one model for each benchmark, from all its normal training images.
Beside it stand one model for several benchmarks (unified), k normal images (few-shot), and none
(zero-shot). What a regime means in full is on the page `docs/regimes.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import model_validator

from harness.records.parts import Part, Sha256

RegimeName = Literal["one-class", "unified", "few-shot", "zero-shot"]
Delivery = Literal["native", "256"]

SHOTS = (1, 2, 4, 8, 16)
"""How many training images a few-shot run may have."""
BOARD_SUITES = "unified-"
"""How the names of the board's own suites begin: nobody else's may."""
MARK = "~"
"""Between a benchmark's name and six digits, where a pack is no known release of it."""
PLACE_MARK = "@"
"""Between a benchmark and a regime, in the name of a folder below the results."""


class Regime(Part):
    """What the entry of a run may learn from, and how images reach it."""

    name: RegimeName | None
    """None: trivial rows and the canary, which learn nothing by design, stand in every regime."""
    suite: str | None = None
    """Name of the suite, where the images are several packs'."""
    shots: int | None = None
    """Number of training images of a few-shot run."""
    delivery: Delivery = "native"
    """`native`: each image in its own size and mode; `256`: all of them 256x256 and RGB."""
    is_declared: bool = False
    """Zero-shot by the word of whoever made the image: it may carry trained weights."""
    drawn: tuple[str, ...] | None = None
    """Private keys of the training images of a few-shot run, in the order in which they were drawn;
    None in the public form of a hidden run."""
    drawn_digest: Sha256 | None = None
    """Hash over the pixels of the same: a part of the run key."""
    of_unknown_patient: int | None = None
    """How many of the drawn images nothing tells the patient of: two may be of one."""

    @model_validator(mode="after")
    def _is_one_of_its_kind(self) -> Self:
        if (self.name == "few-shot") != (self.shots is not None):
            raise ValueError("few-shot, and it alone, has a number of shots")
        if self.name == "unified" and self.suite is None:
            raise ValueError("a unified run is one of a suite")
        if self.suite is not None and self.name in ("one-class", "few-shot"):
            raise ValueError(f"{self.name} is of one benchmark, not of a suite")
        if self.suite is not None and self.delivery != "256":
            raise ValueError("the images of a suite have one size: another gives the member away")
        return self

    @property
    def label(self) -> str:
        """What marks its runs' place; empty where a place without a mark can be of no other regime.

        A folder without `train` is zero-shot whatever is asked for, so its place bears no mark; an
        image is so where it is said, and stands unmarked where it is not.
        """
        if self.suite is not None:
            return self.name or ""
        if self.name == "few-shot":
            name = f"shots-{self.shots}"
        else:
            is_marked = self.delivery != "native" or self.is_declared
            name = self.name or "" if is_marked else ""
        return "-".join(part for part in (name, self._delivery_label) if part)

    @property
    def _delivery_label(self) -> str:
        return "" if self.delivery == "native" else self.delivery

    @property
    def shown(self) -> str:
        """The regime as a reader is told it."""
        if self.name is None:
            told = "no regime"
        elif self.name == "few-shot":
            told = f"few-shot, k = {self.shots}"
        elif self.name == "unified":
            told = str(self.suite)
        else:
            told = f"declared {self.name}" if self.is_declared else self.name
        is_told_by_suite = self.suite is not None or self.delivery == "native"
        return told if is_told_by_suite else f"{told}, images of 256x256"

    @property
    def options(self) -> list[str]:
        """The options of `harness.evaluate` that ask for it; a suite's own stands with its packs.

        An entry that trains nothing needs none of them: it is zero-shot whatever is asked for.
        """
        told = ["--train", f"shots:{self.shots}"] if self.shots else []
        told += ["--train", "none"] if self.is_declared else []
        if self.delivery != "native" and self.suite is None:
            told += ["--delivery", self.delivery]
        return told

    def place(self, benchmark: str) -> str:
        """The folder of its runs below the results.

        Args:
            benchmark: name of the benchmark, or of the suite; of a member of the suite, the place
                says of which suite, for members of two are of two runs.
        """
        is_member = self.suite is not None and benchmark.partition(MARK)[0] != self.suite
        label = self.suite if is_member else self.label
        return f"{benchmark}{PLACE_MARK}{label}" if label else benchmark

    def key_part(self, versions: Iterable[str]) -> dict[str, object] | None:
        """What it adds to a run key; None where the run is what it was before there were regimes.

        Args:
            versions: version ids of the packs.
        """
        if self.suite is None and self.shots is None and self.delivery == "native":
            return {"name": self.name, "declared": True} if self.is_declared else None
        return {
            "name": self.name,
            "suite": self.suite,
            "shots": self.shots,
            "delivery": self.delivery,
            "declared": self.is_declared,
            "members": sorted(versions),
            "drawn": self.drawn_digest,
        }

    def without_draw(self) -> Regime:
        """The regime of all seeds: the same without what one of them drew."""
        nothing = {"drawn": None, "drawn_digest": None, "of_unknown_patient": None}
        return self.model_copy(update=nothing)

    def without_keys(self) -> Regime:
        """The regime as it may leave a hidden pack: the names of its images stay."""
        return self.model_copy(update={"drawn": None})


def regime_label(place: str) -> str:
    """What marks the regime in the name of a folder below the results; empty where nothing does."""
    return place.partition(PLACE_MARK)[2]


ONE_CLASS = Regime(name="one-class")
