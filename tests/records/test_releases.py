"""Names that follow from contents: what a record kept of its day, and what the list of today says."""

from __future__ import annotations

from harness.board.example.forge import made_up_digest
from harness.board.rows import ranked_records, summarise
from harness.records.record import Record
from harness.records.releases import (
    KnownReleases,
    claimed_name,
    not_known,
    under_known_names,
    unlisted_name,
)
from tests.record_factory import KNOWN, record

DIGEST = made_up_digest("brain")
MARKED = unlisted_name("brain", DIGEST)
NOBODY = KnownReleases({"brain": frozenset()})


def unlisted(**changes: object) -> Record:
    """A record of the day when its pack was on no list."""
    told = {
        "benchmark": MARKED, "pack__digest": DIGEST, "pack__base": "brain", "ranked": False,
        "unranked_reason": "not a known release of brain",
    }  # fmt: skip
    return record(**(told | changes))


def names(records: list[Record]) -> list[str]:
    return [each.pack.benchmark for each in records]


def test_the_mark_is_six_digits_and_the_claim_what_stands_before_it() -> None:
    assert f"brain~{DIGEST.removeprefix('sha256:')[:6]}" == MARKED
    assert (claimed_name(MARKED), claimed_name("ours")) == ("brain", "ours")
    assert (not_known(MARKED), not_known("brain")) == ("not a known release of brain", None)


def test_a_row_becomes_the_benchmarks_with_the_line_and_not_before() -> None:
    (before,) = under_known_names([unlisted()], NOBODY)
    assert (before.pack.benchmark, before.ranked) == (MARKED, False)
    assert ranked_records([before]) == {}
    (after,) = under_known_names([unlisted()], KNOWN)
    assert (after.pack.benchmark, after.ranked, after.unranked_reason) == ("brain", True, None)
    assert list(ranked_records([after])) == ["brain"]
    assert after.record_hash == unlisted().record_hash  # shown, never written


def test_a_row_loses_the_benchmarks_name_with_the_line() -> None:
    (shown,) = under_known_names([record()], NOBODY)
    assert (shown.pack.benchmark, shown.ranked) == (MARKED, False)
    (row,) = summarise([shown])
    assert (row.benchmark, row.unranked_reason) == (MARKED, "not a known release of brain")


def test_other_reasons_stay_as_they_are() -> None:
    told = "random weights, not a known release of brain, not isolated"
    (after,) = under_known_names([unlisted(unranked_reason=told)], KNOWN)
    assert (after.ranked, after.unranked_reason) == (False, "random weights, not isolated")
    (before,) = under_known_names([record(ranked=False, unranked_reason="random weights")], NOBODY)
    assert before.unranked_reason == "random weights, not a known release of brain"
    marked = record(ranked=False, unranked_reason=None)
    assert not under_known_names([marked], KNOWN)[0].ranked


def test_no_other_digest_has_the_name_however_alike() -> None:
    near = DIGEST[:-1] + ("0" if DIGEST[-1] != "0" else "1")
    assert names(under_known_names([record(pack__digest=near)], KNOWN)) == [MARKED]


def test_a_record_of_an_older_harness_stands_by_what_its_version_id_holds() -> None:
    old = {"pack__digest": None, "pack__base": None, "pack__patients_digest": None}
    version = f"brain-{DIGEST[7:19]}"
    assert names(under_known_names([record(**old, pack__version=version)], KNOWN)) == ["brain"]
    other = record(**old, pack__version="brain-00000000000a")
    assert names(under_known_names([other], KNOWN)) == ["brain~000000"]
    own = record(benchmark="ours", **old, pack__version="ours-00000000000a")
    assert names(under_known_names([own], NOBODY)) == ["ours"]


def test_a_hidden_pack_is_no_exception() -> None:
    hidden = record(visibility="hidden", track="sealed", pack__digest="sha256:" + "a" * 64)
    assert names(under_known_names([hidden], KNOWN)) == ["brain~aaaaaa"]
