"""A regime's place and its part of the run key: those of the first regime are what they were."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.records.members import MEAN, mean_record, member_records
from harness.records.record import MetricValue, Record
from harness.records.regime import ONE_CLASS, Regime
from harness.records.releases import KnownReleases, under_known_names
from harness.records.run_key import RunKey
from tests.record_factory import record
from tests.run_factory import finished

UNIFIED = Regime(name="unified", suite="unified-3", delivery="256")


@pytest.mark.parametrize(
    ("regime", "place", "shown"),
    [
        (ONE_CLASS, "brain", "one-class"),
        (Regime(name="zero-shot"), "brain", "zero-shot"),
        (Regime(name="zero-shot", is_declared=True), "brain@zero-shot", "declared zero-shot"),
        (Regime(name=None), "brain", "no regime"),
        (Regime(name="one-class", delivery="256"), "brain@one-class-256",
         "one-class, images of 256x256"),
        (Regime(name="few-shot", shots=4), "brain@shots-4", "few-shot, k = 4"),
        (Regime(name="few-shot", shots=4, delivery="256"), "brain@shots-4-256",
         "few-shot, k = 4, images of 256x256"),
        (Regime(name="zero-shot", is_declared=True, delivery="256"), "brain@zero-shot-256",
         "declared zero-shot, images of 256x256"),
        (Regime(name=None, delivery="256"), "brain@256", "no regime, images of 256x256"),
    ],
)  # fmt: skip
def test_each_regime_has_a_place_of_its_own(regime: Regime, place: str, shown: str) -> None:
    assert (regime.place("brain"), regime.shown) == (place, shown)


def test_a_suite_is_told_from_its_benchmarks() -> None:
    assert UNIFIED.place("unified-3") == "unified-3@unified"
    assert UNIFIED.shown == "unified-3"
    zero = Regime(name="zero-shot", suite="unified-3", delivery="256")
    assert zero.place("unified-3") == "unified-3@zero-shot"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "few-shot"},
        {"name": "one-class", "shots": 2},
        {"name": "unified", "delivery": "256"},
        {"name": "few-shot", "shots": 2, "suite": "unified-3", "delivery": "256"},
        {"name": "unified", "suite": "unified-3"},
    ],
)
def test_what_contradicts_itself_is_no_regime(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Regime.model_validate(fields)


def test_the_key_of_a_run_of_before_is_what_it_was() -> None:
    for regime in (ONE_CLASS, Regime(name="zero-shot"), Regime(name=None)):
        assert regime.key_part(["brain-1"]) is None


def test_a_key_follows_from_the_record_and_tells_regimes_apart() -> None:
    keys = set()
    for regime in (
        None,
        ONE_CLASS,
        Regime(name="one-class", delivery="256"),
        Regime(name="few-shot", shots=4, drawn=("a",), drawn_digest="sha256:" + "a" * 64),
        Regime(name="few-shot", shots=4, drawn=("b",), drawn_digest="sha256:" + "b" * 64),
        Regime(name="few-shot", shots=2, drawn=("a",), drawn_digest="sha256:" + "a" * 64),
    ):
        made = finished(record(regime=regime))
        assert RunKey.of_record(made).hash == made.run_key  # type: ignore[union-attr]
        keys.add(made.run_key)
    assert len(keys) == 5  # an older record is one-class


def suite_record(*names: str) -> Record:
    plain = record(benchmark="unified-3~abcdef", ranked=False, unranked_reason="own settings")
    members = tuple(plain.pack.model_copy(update={"benchmark": name}) for name in names)
    metrics = [
        MetricValue(id="image_auroc", grid=None, value=value, n=9, member=member)
        for member, value in ((names[0].partition("~")[0], 0.5), ("liver", 0.9), (MEAN, 0.7))
    ]
    pooled = MetricValue(id="pooled_image_auroc", grid=None, value=0.6, n=18)
    told = {"members": members, "regime": UNIFIED, "metrics": [*metrics, pooled]}
    return plain.model_copy(update=told)


def test_a_suites_record_can_be_taken_apart() -> None:
    whole = suite_record("brain~abc123", "liver")
    brain, liver = member_records(whole)
    assert brain.pack.benchmark == "brain~abc123"
    assert brain.metric("image_auroc", None).value == 0.5  # type: ignore[union-attr]
    assert liver.metric("image_auroc", None).value == 0.9  # type: ignore[union-attr]
    assert mean_record(whole).metric("image_auroc", None).value == 0.7  # type: ignore[union-attr]
    assert whole.metric("image_auroc", None) is None
    assert whole.metric("image_auroc", None, "liver").value == 0.9  # type: ignore[union-attr]
    plain = record()
    assert member_records(plain) == [plain]


def test_a_suite_is_known_once_all_its_members_are() -> None:
    whole = suite_record("brain~abc123", "liver")
    digest = str(whole.pack.digest)
    unlisted = KnownReleases({"brain": frozenset(), "liver": frozenset({digest})})
    (same,) = under_known_names([whole], unlisted)
    assert same.pack.benchmark == "unified-3~abcdef"
    assert "not a known release of brain" in str(same.unranked_reason)
    listed = KnownReleases({"brain": frozenset({digest}), "liver": frozenset({digest})})
    (known,) = under_known_names([whole], listed)
    assert known.place == "unified-3@unified"
    assert [pack.benchmark for pack in known.members] == ["brain", "liver"]
    assert known.unranked_reason == "own settings"
