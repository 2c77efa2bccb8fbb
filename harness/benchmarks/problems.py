"""A problem of a pack as one sentence, and how a long list of them is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.benchmarks.acceptance import ACCEPTABLE
from harness.common.errors import PackInvalid
from harness.common.foreign_text import one_line

MAX_LISTED = 20  # of one kind; the rest is counted
MAX_CHARACTERS = 4096  # a path and a sentence


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    kind: str
    """Groups problems that have one cause."""
    text: str
    """One sentence that names the file."""


def listed(problems: Iterable[Problem]) -> list[str]:
    """All problems as sentences: the first `MAX_LISTED` of each kind, then how many more."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(one_line(problem.text, MAX_CHARACTERS))
    sentences = []
    for kind, texts in by_kind.items():
        sentences += texts[:MAX_LISTED]
        if len(texts) > MAX_LISTED:
            sentences.append(f"and {len(texts) - MAX_LISTED} more of this kind ({kind})")
    return sentences


def pack_invalid(where: str, problems: Sequence[Problem]) -> PackInvalid:
    """The error of a pack with these problems, with a fix that applies to them."""
    return PackInvalid(where, listed(problems), fix=f"{remedies(problems)}, then run it again")


def remedies(problems: Iterable[Problem]) -> str:
    """What to do about problems of these kinds."""
    kinds = dict.fromkeys(problem.kind for problem in problems)
    ways = [_REMEDIES.get(kind, _MEND) for kind in kinds if kind not in ACCEPTABLE]
    if accept := [kind for kind in kinds if kind in ACCEPTABLE]:
        meaning = "; ".join(f"{kind}: {ACCEPTABLE[kind]}" for kind in accept)
        ways.append(
            f"{_MEND}, or go on as they are with --accept {' '.join(accept)} ({meaning};"
            ' or accepted = ["…"] in pack.toml)'
        )
    ways = list(dict.fromkeys(ways))
    return "; ".join(way for way in ways if way != _MEND or len(ways) == 1 or not accept)


_MEND = "mend or remove the files named above"
_REMEDIES = {
    "card": "mend pack.toml",
    "groups": "mend groups.csv",
    "patients": "say in pack.toml or groups.csv whose the images are",
    "release": "add the splits that are missing",
    "train": "move the abnormal images out of train",
    "several": "give one of these folders",
    "empty": (
        "add the images that are missing (docs/data.md says how a pack lies, and"
        " python -m harness.list benchmarks where a benchmark's images come from)"
    ),
    "mask missing": "add the masks, or state has_masks = false in pack.toml: image metrics alone",
    "image in two splits": "remove the images from one of the splits, or state the pair",
    "size": "bring all images to one size (python -m harness.prepare folder --size WxH)",
    "folder": "see that every folder can be read",
}
