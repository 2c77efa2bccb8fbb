"""Choosing by salted hash, and dealing out patients."""

from __future__ import annotations

import hashlib
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.benchmarks.prepare.ranking import draw, in_proportion, rank, ranked_items
from harness.benchmarks.prepare.recipe import Item


def items(groups: list[tuple[int, bool]]) -> list[Item]:
    return [
        Item(f"i{number:03d}", "case", is_anomalous, f"p{group}")
        for number, (group, is_anomalous) in enumerate(groups)
    ]


def label(item: Item) -> str:
    return "abnormal" if item.is_anomalous else "normal"


def test_a_rank_is_the_hash_of_salt_and_key() -> None:
    assert rank("bmad-liver-v1", "7_412") == hashlib.sha256(b"bmad-liver-v1:7_412").hexdigest()


def test_another_salt_gives_another_order_and_the_order_of_arrival_none() -> None:
    some = items([(number, False) for number in range(50)])
    first = ranked_items("one salt", some)
    assert ranked_items("one salt", some[::-1]) == first
    assert ranked_items("another salt", some) != first


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 3000))
def test_a_quota_is_cut_in_proportion(quota: int, found: int, expected: int) -> None:
    cut = in_proportion(quota, found, expected)
    if found >= expected:
        assert cut == quota
    else:
        assert abs(cut - quota * found / expected) <= 1
        assert bool(cut) <= bool(quota)


GROUPS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=60)


@given(GROUPS, st.integers(0, 9), st.integers(0, 9), st.integers(1, 4))
def test_no_patient_is_dealt_to_two_splits(
    groups: list[tuple[int, bool]], test: int, valid: int, most: int
) -> None:
    some = items(groups)
    quotas = {
        ("test", "normal"): test, ("test", "abnormal"): test,
        ("valid", "normal"): valid, ("valid", "abnormal"): valid,
    }  # fmt: skip
    drawn = draw(
        some, quotas, "salt", class_of=label, most_per_group={"normal": most, "abnormal": most}
    )
    splits_of: dict[str | None, set[str]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    per_group: Counter[tuple[str | None, str, str]] = Counter()
    for item in some:
        if item.key in drawn:
            split = drawn[item.key]
            splits_of.setdefault(item.group, set()).add(split)
            counts[split, label(item)] += 1
            per_group[item.group, split, label(item)] += 1
    assert all(len(found) == 1 for found in splits_of.values())
    assert all(counts[slot] <= size for slot, size in quotas.items())
    assert counts["train", "abnormal"] == 0
    assert all(n <= most for (_, split, _), n in per_group.items() if split != "train")


@given(GROUPS)
def test_dealing_does_not_depend_on_the_order_of_arrival(groups: list[tuple[int, bool]]) -> None:
    some = items(groups)
    quotas = {("test", "normal"): 3, ("test", "abnormal"): 3, ("train", "normal"): 9}
    assert draw(some, quotas, "s", class_of=label) == draw(some[::-1], quotas, "s", class_of=label)
