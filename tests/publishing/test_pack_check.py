"""A published pack bears the name that its images have, by the list of the branch it goes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.benchmarks.known import known_line
from harness.board.data_card import DataCard
from harness.board.example.forge import made_up_digest
from harness.publishing.pack_check import name_problems
from harness.publishing.pull_request import PullRequest
from harness.publishing.site_build import build_site
from harness.records.releases import KnownReleases
from harness.records.store import Store
from tests.publishing.pull_requests import RECORDS, add, commit, git, known_toml, problems, rewrite
from tests.record_factory import KNOWN, made_up_releases

DEMO = "sha256:4e6eda221ed5367705b1030d9541f17f4e7aac42d6ba0beee6ee2882a4b14412"
STAND_IN = "sha256:" + "ab" * 32
MARKED = {
    "benchmark": "brain~ababab", "pack__base": "brain", "pack__digest": STAND_IN, "ranked": False,
    "unranked_reason": "not a known release of brain",
}  # fmt: skip
AS_BRAIN = {
    "pack": {"benchmark": "brain", "base": "brain"}, "ranked": True, "unranked_reason": None,
}  # fmt: skip


def forge(place: Path, **changes: object) -> None:
    """Change fields of a record, those of a part by name, and seal it as a forger would."""

    def change(data: dict) -> None:
        for name, value in changes.items():
            data[name] = data[name] | value if isinstance(value, dict) else value

    rewrite(place, change)


def test_a_stand_in_is_published_under_its_own_name_without_a_rank(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    path = run(**MARKED)
    assert add(fork, tmp_path / "results") == 0
    place = fork / RECORDS / "brain~ababab/patchcore/seed-0.json"
    assert place.read_bytes() == path.read_bytes()
    commit(fork)
    assert problems(fork) == []
    told = PullRequest(fork, "origin/main", is_maintainers=True).proofs()
    assert "new: patchcore on brain~ababab" in told


def test_a_stand_in_that_calls_itself_brain_is_refused_by_file_and_reason(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    run(**MARKED)
    add(fork, tmp_path / "results")
    place = fork / RECORDS / "brain/patchcore/seed-0.json"
    place.parent.mkdir(parents=True)
    (fork / RECORDS / "brain~ababab/patchcore/seed-0.json").rename(place)
    (fork / RECORDS / "brain~ababab/patchcore/seed-0.curves.json").unlink()
    forge(place, **AS_BRAIN)
    (told,) = problems(fork)
    assert told == (
        f"{RECORDS}/brain/patchcore/seed-0.json: its images (sha256:abababababab…) are no known"
        " release of brain: they stand as brain~ababab, not as brain"
    )
    forge(place, pack={"digest": None})
    assert any("does not hold the digest" in told for told in problems(fork))


def test_the_demo_packs_version_under_brain_is_refused(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    run()
    add(fork, tmp_path / "results")
    place = fork / RECORDS / "brain/patchcore/seed-0.json"
    forge(place, pack={"version": f"demo-{DEMO[7:19]}"})
    assert any("version demo-4e6eda221ed5 is not of brain" in told for told in problems(fork))
    forge(place, pack={"version": f"brain-{DEMO[7:19]}", "digest": DEMO})
    assert any("no known release of brain" in told for told in problems(fork))


def test_the_list_counts_once_it_is_merged_and_not_in_the_change_itself(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    run(**(MARKED | {"benchmark": "brain", "ranked": True, "unranked_reason": None}))
    known = KnownReleases({"brain": frozenset({STAND_IN})})
    options = ["--results", str(tmp_path / "results"), "--records", str(fork / RECORDS)]
    options += ["--repository", str(fork)]
    from harness import publish

    assert publish.main(["add", *options], known) == 0
    path = fork / "harness/benchmarks/known.toml"
    path.write_text(known_toml().replace(made_up_digest("brain"), STAND_IN))
    assert any("no known release of brain" in told for told in problems(fork))
    git(fork, "add", "harness/benchmarks/known.toml")
    git(fork, "commit", "--quiet", "-m", "the release")
    git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")
    commit(fork)
    assert problems(fork) == []


def test_a_change_of_the_list_is_told_in_a_line(fork: Path) -> None:
    path = fork / "harness/benchmarks/known.toml"
    path.write_text(f"{known_line('brain', STAND_IN)}\n")
    (refused,) = PullRequest(fork, "origin/main").problems()
    assert refused.startswith("harness/benchmarks/known.toml: it comes from a maintainer")
    request = PullRequest(fork, "origin/main", is_maintainers=True)
    assert request.problems() == []
    assert any("changed: the known releases" in line for line in request.proofs())


def test_a_base_whose_list_is_none_judges_nothing(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    run()
    add(fork, tmp_path / "results")
    (fork / "harness/benchmarks/known.toml").write_text("brain = 1\n")
    git(fork, "commit", "--quiet", "-a", "-m", "broken")
    git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")
    touched = fork / RECORDS / "brain/patchcore/seed-0.json"
    touched.write_text(touched.read_text() + "\n")
    told = problems(fork, "patchcore")
    assert any("known releases is not one: brain has no list of digests" in each for each in told)


def test_what_was_published_under_a_mark_is_shown_as_the_benchmark_once_listed(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    path = run(**MARKED)
    add(fork, tmp_path / "results")
    site = tmp_path / "site"
    marked = build_site(tmp_path / "none", site, published=fork / RECORDS, known=KNOWN).parent
    pages = {page.name for page in (marked / "benchmarks").glob("*.html")}
    (page,) = {name for name in pages if name.startswith("brain-ababab")}
    assert "not a known release of brain" in (marked / "benchmarks" / page).read_text()
    known = KnownReleases({"brain": frozenset({STAND_IN})})
    build_site(tmp_path / "none", site, published=fork / RECORDS, known=known)
    assert "PatchCore" in (site / "benchmarks/brain.html").read_text()
    assert not list(site.glob("benchmarks/brain-*"))
    (copy,) = (site / "data/records/brain/patchcore").iterdir()
    assert copy.read_bytes() == path.read_bytes()  # as it was stored and sealed
    assert Store(fork / RECORDS).records()[0].pack.benchmark == "brain~ababab"


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("brain", {"base": None}, "base is None"),
        ("brain", {"base": "liver"}, "base is liver"),
        ("brain", {"version": "brain-000000000000"}, "version brain-000000000000 is not of brain"),
        ("brain~000000", {}, "they stand as brain or brain~"),
        ("liver", {"base": "liver"}, "no known release of liver"),
        ("ours~000000", {"base": None}, "no benchmark that has releases"),
        ("brain", {"digest": None}, "older harness"),
    ],
)
def test_name_base_version_and_digest_agree(name: str, changes: dict, told: str) -> None:
    digest = made_up_digest("brain")
    known = made_up_releases("brain", "liver")
    claim = name.partition("~")[0]
    honest = {"base": "brain", "version": f"{claim}-{digest[7:19]}", "digest": digest}
    assert told in "\n".join(name_problems(name, known=known, **(honest | changes)))
    own = honest | {"base": "brain", "version": f"brain-disjoint-{digest[7:19]}"}
    assert list(name_problems("brain-disjoint", known=known, **own)) == []
    for each in ("brain", f"brain~{digest[7:13]}"):
        fine = honest | {"version": f"brain-{digest[7:19]}"}
        assert list(name_problems(each, known=known, **fine)) == []


def test_a_data_card_is_held_to_the_same(fork: Path) -> None:
    card = DataCard.model_validate(
        {
            field: {}
            if field in ("repeated", "subclasses", "left_out")
            else ()
            if field in _LISTS
            else "x"
            for field in DataCard.model_fields
            if field not in ("format", "masks")
        }
        | {
            "name": "brain",
            "base": None,
            "variant": None,
            "version": f"brain-{STAND_IN[7:19]}",
            "digest": STAND_IN,
            "visibility": "open",
            "images_may_be_shown": False,
            "masks": None,
            "group_unit": None,
        }
    )
    place = fork / RECORDS / "brain/datacard.json"
    place.parent.mkdir(parents=True)
    place.write_text(card.model_dump_json())
    (told,) = problems(fork)
    assert told.startswith(f"{RECORDS}/brain/datacard.json: its images (sha256:abababababab…)")
    place.unlink()
    marked = fork / RECORDS / "brain~ababab/datacard.json"
    marked.parent.mkdir()
    marked.write_text(json.dumps(json.loads(card.model_dump_json()) | {"name": "brain~ababab"}))
    assert problems(fork) == []


_LISTS = (
    "splits", "expected", "leaks", "trivial", "known_leaks", "remarks", "problems", "accepted",
)  # fmt: skip
