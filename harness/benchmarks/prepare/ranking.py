"""Choosing by salted hash: the same on every machine, and for nobody to foresee without the salt.

`rank(salt, key)` is the SHA-256 of `salt:key`; whoever has the smallest ranks is chosen. A public
salt (`bmad-<benchmark>-v1`) makes a split that anyone can repeat, a secret one a split that nobody
can.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from harness.benchmarks.prepare.recipe import Item, Split

Thing = TypeVar("Thing")


def rank(salt: str, key: str) -> str:
    """64 hex digits: the SHA-256 of `salt:key`."""
    return hashlib.sha256(f"{salt}:{key}".encode()).hexdigest()


def ranked(salt: str, things: Iterable[Thing], key: Callable[[Thing], str]) -> list[Thing]:
    """The things by rank, smallest first."""
    return sorted(things, key=lambda thing: (rank(salt, key(thing)), key(thing)))


def ranked_items(salt: str, items: Iterable[Item]) -> list[Item]:
    """The same for images, by their keys."""
    return ranked(salt, items, lambda item: item.key)


def ranked_groups(salt: str, items: Iterable[Item]) -> list[list[Item]]:
    """Images by patient (an image of unknown patient by itself), the patients by rank."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group or item.key].append(item)
    return [ranked_items(salt, groups[name]) for name in ranked(salt, groups, str)]


def in_proportion(quota: int, found: int, expected: int) -> int:
    """A quota for the whole source, cut to the part of it that was found.

    The quota itself where all (or more) was found; else its share, rounded, at least 1 where
    something was found.
    """
    if found >= expected:
        return quota
    return max(1 if found and quota else 0, (quota * found + expected // 2) // expected)


def draw(
    items: Sequence[Item],
    quotas: Mapping[tuple[Split, str], int],
    salt: str,
    *,
    class_of: Callable[[Item], str],
    most_per_group: Mapping[str, int] | None = None,
) -> dict[str, Split]:
    """Split by patients so that no patient is in two splits.

    Patients are taken by rank. One that has images of a class still wanted in test goes there,
    else one still wanted in valid goes there, with as many images as are still wanted; what is
    beyond is left out. All others go to train with their normal images.

    Args:
        items: all images.
        quotas: how many images of which class test and valid should have, and train at most.
        salt: of the ranks.
        class_of: class of an image, as the quotas name it.
        most_per_group: images of a class that one patient may give to test or valid, so that
            few patients with many images do not fill them.

    Returns:
        Split of every image that is in one, by key.
    """
    wanted = dict(quotas)
    splits: dict[str, Split] = {}
    for members in ranked_groups(salt, items):
        split = _split_for(members, wanted, class_of)
        given: Counter[str] = Counter()
        for item in members:
            name = class_of(item)
            slot = (split, name)
            is_full = slot in wanted and not wanted[slot]
            if split == "train":
                is_full = is_full or item.is_anomalous
            else:
                most = (most_per_group or {}).get(name)
                is_full = is_full or slot not in wanted or given[name] == most
            if is_full:
                continue
            given[name] += 1
            splits[item.key] = split
            if slot in wanted:
                wanted[slot] -= 1
    return splits


def _split_for(
    members: Iterable[Item],
    wanted: Mapping[tuple[Split, str], int],
    class_of: Callable[[Item], str],
) -> Split:
    classes = {class_of(item) for item in members}
    splits: tuple[Split, ...] = ("test", "valid")
    for split in splits:
        if any(wanted.get((split, name), 0) for name in classes):
            return split
    return "train"
