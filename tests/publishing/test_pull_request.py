"""Pull requests that lie: judged as a whole against their base, whoever they say they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.board.comparison import Comparison, comparison_bytes, comparison_path
from harness.publishing.comparison_check import comparison_problems
from harness.publishing.pull_request import PullRequest
from harness.records.store import Store, read_record
from tests.entries.test_submissions import source_folder, submit
from tests.publishing.pull_requests import RECORDS, add, commit, git, problems, rewrite
from tests.record_factory import comparison, record

DIGEST = "sha256:" + "5" * 64
OTHER_IMAGE = "r.example/newcomer@sha256:" + "7" * 64


def of_contributor(repository: Path, *owned: str) -> list[str]:
    """What the check says where nobody vouches for the change."""
    return PullRequest(repository, "origin/main", owned=frozenset(owned)).problems()


@pytest.fixture
def theirs(published: Path) -> Path:
    """A clone of a branch with a published row and the submission of a rival."""
    submit(published / "submissions", "rival", content=DIGEST)
    commit(published)
    git(published, "update-ref", "refs/remotes/origin/main", "HEAD")
    return published


def test_a_contributor_adds_a_submission(theirs: Path) -> None:
    submit(theirs / "submissions", "newcomer", image=OTHER_IMAGE, content="sha256:" + "6" * 64)
    assert of_contributor(theirs) == []
    commit(theirs)
    assert of_contributor(theirs) == []


def test_nobody_who_does_not_know_of_a_submission_changes_it(theirs: Path) -> None:
    file = theirs / "submissions/rival.toml"
    file.write_text(file.read_text() + 'withdrawn = "by a stranger"\n')
    (told,) = of_contributor(theirs)
    assert told.startswith("submissions/rival.toml: the submission rival is there already")
    assert of_contributor(theirs, "rival") == []
    file.unlink()
    (told,) = of_contributor(theirs)
    assert told.startswith("submissions/rival.toml: ")


def test_an_authors_update_changes_what_runs_and_not_who_is_counted_or_came_first(
    theirs: Path,
) -> None:
    file = theirs / "submissions/rival.toml"
    before = file.read_text()
    file.write_text(
        before.replace("5" * 64, "8" * 64) + f'updated = "2026-05-01"\nearlier = ["{DIGEST}"]\n'
    )
    assert of_contributor(theirs, "rival") == []
    (told,) = of_contributor(theirs)  # nobody says that it is his
    assert "not known as this author's" in told
    for old, new in (
        ('team = "Team"', 'team = "Another"'),
        ('submitted = "2026-01-31"', 'submitted = "1999-01-01"'),
    ):
        assert old in before
        file.write_text(before.replace(old, new))
        (told,) = of_contributor(theirs, "rival")
        assert told.startswith(f"submissions/rival.toml: {new.split()[0]} was ")
        commit(theirs)
        assert of_contributor(theirs, "rival") == [told]


def test_what_a_maintainer_withdrew_its_author_does_not_bring_back(theirs: Path) -> None:
    file = theirs / "submissions/rival.toml"
    before = file.read_text()
    file.write_text(before + 'withdrawn = "it looks images up"\n')
    commit(theirs)
    git(theirs, "update-ref", "refs/remotes/origin/main", "HEAD")
    file.write_text(before)
    (told,) = of_contributor(theirs, "rival")
    assert "withdrawn was 'it looks images up'" in told


def touch(path: str) -> Callable[[Path], None]:
    def made(repository: Path) -> None:
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text("x")

    return made


@pytest.mark.parametrize(
    "path",
    [
        f"{RECORDS}/brain/rival/seed-9.json",
        f"{RECORDS}/comparisons/zzz.json",
        f"{RECORDS}/brain/datacard.json",
        f"{RECORDS}/brain/patchcore/seed-0.curves.json",
        f"{RECORDS}/brain/patchcore/seed-0.gallery/1.webp",
        "leaderboard/keys/me.pem",
        "leaderboard/reference/paper_results.csv",
        "leaderboard/static/site.js",
        "leaderboard/templates/base.html",
        "harness/publishing/pull_request.py",
        ".ci/leaderboard",
        ".gitattributes",
        "requirements.lock",
        "baselines/mine/model.py",
        "submissions/README.md",
        "submissions/rival/model.py",
        "submissions/newcomer.tar",
        "submissions/.hidden.toml",
        "submissions/UPPER.toml",
        "Submissions/newcomer.toml",
    ],
)
def test_whatever_else_a_contributor_touches_is_named(theirs: Path, path: str) -> None:
    submit(theirs / "submissions", "newcomer", image=OTHER_IMAGE, content="sha256:" + "6" * 64)
    touch(path)(theirs)
    (told,) = of_contributor(theirs)
    assert told.startswith(f"{path}: ")
    commit(theirs)
    assert of_contributor(theirs) == [told]


def test_a_contributors_link_is_none_of_his_files(theirs: Path) -> None:
    folder = source_folder(theirs / "submissions", "mine")
    (folder / "data").symlink_to("/etc")
    told = of_contributor(theirs)
    assert "submissions/mine/data: it is no regular file" in told
    commit(theirs)
    assert "submissions/mine/data: it is no regular file" in of_contributor(theirs)


def test_a_submission_that_calls_itself_older_is_still_the_copy(theirs: Path) -> None:
    submit(theirs / "submissions", "copycat", content=DIGEST, submitted="1999-01-01")
    (told,) = of_contributor(theirs)
    assert told.startswith("submissions/copycat.toml: its image")
    assert told.endswith("as rival")


def test_a_seed_that_joins_a_published_row_is_named_and_needs_a_word(
    published: Path,
    run: Callable[..., Path],
    tmp_path: Path,
) -> None:
    run(seed=9, scores=3, folder="new")
    assert add(published, tmp_path / "new") == 0
    (told,) = problems(published)
    assert told.startswith(f"{RECORDS}/brain/patchcore/seed-9.json: it joins the published row")
    assert problems(published, "patchcore") == []


def test_a_copy_with_an_older_time_does_not_come_first(
    published: Path,
    run: Callable[..., Path],
    tmp_path: Path,
) -> None:
    run(folder="new", entry="thief", of="patchcore", times__started="1999-01-01T00:00:00Z")
    add(published, tmp_path / "new")
    (told,) = problems(published)
    assert told == "thief: the same program is on the board already, as patchcore"


def test_a_comparison_is_of_the_benchmark_that_its_file_is_named_after(
    fork: Path,
    run: Callable[..., Path],
    tmp_path: Path,
) -> None:
    run()
    add(fork, tmp_path / "results")
    store = Store(fork / RECORDS)
    path = store.root / "comparisons" / "zzz.json"
    store.write(path, comparison_bytes(comparison(store.records())))
    (told,) = problems(fork)
    assert told.startswith(f"{RECORDS}/comparisons/zzz.json: the file is named zzz")


def test_what_a_maintainer_changes_is_told_in_lines(
    published: Path,
    run: Callable[..., Path],
    tmp_path: Path,
) -> None:
    run(folder="new", benchmark="liver", seed=1, scores=2)
    assert add(published, tmp_path / "new") == 0
    touch("leaderboard/keys/me.pem")(published)
    touch("baselines/kit/weight_files.py")(published)
    request = PullRequest(published, "origin/main", is_maintainers=True)
    assert request.problems() == []
    told = request.proofs()
    assert "new: patchcore on liver, an entry of the base" in told
    assert any("the key leaderboard/keys/me.pem" in line for line in told)
    assert any("the pretrained files, by which rows are ranked" in line for line in told)
    assert any("other files, which nothing here judges" in line for line in told)


def test_a_forged_record_is_no_contributors_whatever_it_says(
    fork: Path,
    run: Callable[..., Path],
    tmp_path: Path,
) -> None:
    run()
    add(fork, tmp_path / "results")
    place = fork / RECORDS / "brain/patchcore/seed-0.json"
    rewrite(place, lambda data: data["entry"].update(metadata={"maintainer": "yes"}))
    assert any(told.startswith(f"{RECORDS}/brain") for told in of_contributor(fork))
    assert read_record(place).entry.metadata == {"maintainer": "yes"}


# -- comparisons --------------------------------------------------------------------------------


def two() -> tuple[list, Comparison]:
    records = [record(), record(entry="padim", title="PaDiM")]
    return records, comparison(records, grids=(None,))


def with_column(made: Comparison, **changes: object) -> Comparison:
    first = dataclasses.replace(made.columns[0], **changes)
    return dataclasses.replace(made, columns=(first, *made.columns[1:]))


def test_a_comparison_that_follows_from_its_records_has_no_problem() -> None:
    records, made = two()
    honest = dataclasses.replace(
        made, units=777,
        columns=tuple(
            dataclasses.replace(c, standings=tuple(sorted(c.standings, key=lambda s: s.entry)))
            for c in made.columns
        ),
    )  # fmt: skip
    assert list(comparison_problems(honest, records)) == []


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (lambda s: (dataclasses.replace(s[0], mean=0.99), *s[1:]), "mean or interval"),
        (lambda s: (dataclasses.replace(s[0], seeds=5), *s[1:]), "seeds"),
        (lambda s: s[:1], "its entries are not those"),
        (
            lambda s: (s[0], dataclasses.replace(s[1], rank=2, better=(s[0].entry,), ties=())),
            "contradict each other",
        ),
    ],
)
def test_invented_ranks_and_means_are_found(forge: Callable, told: str) -> None:
    records, made = two()
    forged = with_column(made, standings=forge(made.columns[0].standings))
    assert told in "\n".join(comparison_problems(forged, records))


def test_a_comparison_of_another_pack_or_level_is_found() -> None:
    records, made = two()
    forged = dataclasses.replace(made, pack="brain-000000000000", significance=0.5)
    told = "\n".join(comparison_problems(forged, records))
    assert "its pack is" in told
    assert "its level is 0.5" in told


def test_the_file_of_a_comparison_names_its_benchmark(tmp_path: Path) -> None:
    from harness.board.comparison import read_comparisons
    from harness.common.errors import StoreUnusable

    _, made = two()
    path = comparison_path(tmp_path, "liver")
    path.parent.mkdir(parents=True)
    path.write_bytes(comparison_bytes(made))
    assert json.loads(path.read_text())["benchmark"] == "brain"
    with pytest.raises(StoreUnusable, match="named liver and compares the runs on brain"):
        read_comparisons(tmp_path)
