"""Pull requests whose rows nobody reviewed: what ran is derived again from the base, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import publish
from harness.board.reviews import with_reviews
from harness.board.rows import summarise
from harness.entries.reviewed import ReviewedSet, protected_branch
from harness.publishing.pull_request import PullRequest
from harness.publishing.site_build import gather
from harness.records.record import Record
from harness.records.run_key import RunKey
from harness.records.store import Store, read_record
from harness.records.supervision import Labels, Supervision
from tests.entries.test_submissions import submit
from tests.publishing.pull_requests import (
    RECORDS,
    add,
    commit,
    git,
    made_of,
    problems,
    rewrite,
    write_folder,
)
from tests.record_factory import KNOWN

DECLARED = Supervision(shots_normal=0, shots_abnormal=0, foreign_labels=())
ROW = f"{RECORDS}/brain/patchcore/seed-0.json"


def forge(path: Path, change: Callable[[dict], None]) -> None:
    """Change a record as a forger would who knows the run key and seals it again."""

    def made(data: dict) -> None:
        change(data)
        key = RunKey.of_record(Record.model_validate(data))
        data["run_key"] = key.hash if key else data["run_key"]

    rewrite(path, made)


def check(fork: Path, *more: str) -> int:
    arguments = ["check", "--base", "origin/main", "--repository", str(fork), "--maintainer"]
    return publish.main([*arguments, *more])


def put(fork: Path, path: Path) -> None:
    """Copy a record among the published ones by hand, past `publish add`."""
    record = read_record(path)
    target = Store(fork / RECORDS).record_path(Store(fork / RECORDS).name_of(record))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def test_an_identity_that_nothing_is_behind_is_refused(fork, run, tmp_path, capsys) -> None:
    run()
    add(fork, tmp_path / "results")
    (fork / RECORDS / "brain/patchcore/seed-0.curves.json").unlink()
    forge(fork / ROW, lambda data: data["entry"].update(identity="folder:sha256:" + "0" * 64))
    capsys.readouterr()
    assert check(fork) == 5
    told = capsys.readouterr().out.splitlines()
    assert (
        f"{ROW}: it is trained here, and unreviewed: its identity is not that of its sources"
        in told
    )


@pytest.mark.parametrize(
    "change",
    [
        {"identity": "folder:sha256:" + "0" * 64, "source": "folder:sha256:" + "0" * 64,
         "built_on": None},
        {"source": None},
        {"source": "folder:sha256:" + "0" * 64},
        {"built_on": "sha256:" + "0" * 64},
        {"metadata": {"source": "baselines/padim"}},
    ],
)  # fmt: skip
def test_every_part_of_an_identity_is_derived_again(fork, run, tmp_path, change) -> None:
    run()
    add(fork, tmp_path / "results")
    (fork / RECORDS / "brain/patchcore/seed-0.curves.json").unlink()
    forge(fork / ROW, lambda data: data["entry"].update(change))
    told = problems(fork)
    assert all(line.startswith(f"{ROW}: ") for line in told)
    assert "it is trained here, and unreviewed" in told[0]


@pytest.mark.parametrize("place", ["baselines", "elsewhere"])
def test_a_folder_that_ran_and_was_never_committed_is_refused_by_both(
    fork, run, tmp_path, capsys, place
) -> None:
    """Copied in, run, removed again; or run from another place under a name of its own."""
    folder = write_folder(fork, "stranger", "PatchCore", "import labels\n")
    path = run(entry="stranger", **made_of(folder))
    shutil.rmtree(folder)
    if place == "elsewhere":
        forge(path, lambda data: data["entry"]["metadata"].update(source="stranger"))
    assert add(fork, tmp_path / "results") == 5
    assert "unreviewed: no commit of origin/main holds what it ran" in capsys.readouterr().err
    put(fork, path)
    capsys.readouterr()
    assert check(fork) == 5
    (told, end) = capsys.readouterr().out.splitlines()
    assert told.startswith(f"{RECORDS}/brain/stranger/seed-0.json: it is trained here, and unrev")
    assert end == "1 changed files, 1 problems"


def test_a_folder_that_comes_in_the_same_change_was_not_merged(fork, run, tmp_path) -> None:
    folder = write_folder(fork, "fresh", "Fresh")
    put(fork, run(entry="fresh", title="Fresh", **made_of(folder)))
    commit(fork)
    (told,) = problems(fork)
    assert "unreviewed: no commit of origin/main holds what it ran" in told
    git(fork, "update-ref", "refs/remotes/origin/main", "HEAD~0")
    assert protected_branch("origin/main", root=fork).find_folder(
        str(made_of(folder)["entry__source"]), "fresh"
    )


def test_what_was_merged_after_it_ran_is_published_with_its_rank(fork, run, tmp_path) -> None:
    """And again by contents: the commit that merged it is another than the one that it ran at."""
    folder = write_folder(fork, "fresh", "Fresh")
    path = run(
        entry="fresh", title="Fresh", ranked=False, unranked_reason="unreviewed", **made_of(folder)
    )
    git(fork, "add", ".")
    git(fork, "commit", "--quiet", "-m", "squashed")
    git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert add(fork, tmp_path / "results") == 0
    published = Store(fork / RECORDS).records()[0]
    assert (published.ranked, published.unranked_reason) == (True, None)
    assert not read_record(path).ranked  # what the run left stays as it is
    assert problems(fork) == []


def test_settings_of_ones_own_are_published_without_a_rank(fork, run, tmp_path) -> None:
    run(params={"k": 5}, entry__overrides={"k": 5})
    assert add(fork, tmp_path / "results") == 0
    published = read_record(fork / ROW)
    assert (published.ranked, published.unranked_reason) == (False, "own settings")
    assert problems(fork) == []
    (fork / RECORDS / "brain/patchcore/seed-0.curves.json").unlink()
    forge(fork / ROW, lambda data: data.update(ranked=True, unranked_reason=None))
    (told,) = problems(fork)
    assert told == f"{ROW}: whether it may take a rank is wrong; reasons against it: own settings"
    # Whether `overrides` tells of them or not: the preset's own settings decide.
    forge(fork / ROW, lambda data: data["entry"].update(overrides={}))
    assert problems(fork) == [told]


def test_a_committed_preset_ranks_and_its_name_on_other_settings_does_not(
    fork, run, tmp_path
) -> None:
    run(params={"k": 9}, entry__preset="nine")
    assert add(fork, tmp_path / "results") == 0
    assert read_record(fork / ROW).ranked
    assert problems(fork) == []
    (fork / RECORDS / "brain/patchcore/seed-0.curves.json").unlink()
    forge(fork / ROW, lambda data: data["entry"]["params"].update(k=10))
    assert "own settings" in problems(fork)[0]


def test_an_entry_is_called_as_its_committed_folder_says(fork, run, tmp_path) -> None:
    run()
    add(fork, tmp_path / "results")
    rewrite(fork / ROW, lambda data: data["entry"].update(title="RD4AD"))
    (told,) = problems(fork)
    assert told == f"{ROW}: its title is not 'PatchCore', as its entry is called in origin/main"


def test_what_it_had_learned_from_is_as_its_committed_folder_says(fork, run, tmp_path) -> None:
    path = run(entry__supervision=None)
    assert read_record(path).entry.supervision is None  # as an older harness left it
    assert add(fork, tmp_path / "results") == 0
    assert read_record(fork / ROW).entry.supervision == DECLARED
    assert problems(fork) == []
    rewrite(fork / ROW, lambda data: data["entry"]["supervision"].update(shots_abnormal=4))
    (told,) = problems(fork)
    assert told.startswith(f"{ROW}: its supervision is not what its entry declares")


def test_a_declaration_that_was_put_right_holds_for_the_rows_that_are_there(
    fork, run, tmp_path, capsys
) -> None:
    """Of a submission: its file says it, and what it pins stays the same."""
    digest = "sha256:" + "5" * 64
    file = submit(fork / "submissions", "mine", content=digest)

    def merge() -> None:
        commit(fork)
        git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")

    merge()
    for seed in (0, 1):
        run(
            seed, entry="mine", title="Mine", entry__kind="submission",
            entry__identity="image:" + digest, track="open", ranked=False,
            unranked_reason="open track", metadata={"pinned": digest, "source": "r.example/mine"},
            entry__supervision=Supervision().model_dump(),
        )  # fmt: skip
    assert add(fork, tmp_path / "results") == 0
    assert problems(fork) == []
    merge()
    file.write_text(file.read_text().replace('shots_abnormal = "unknown"', "shots_abnormal = 4"))
    assert problems(fork) == []
    merge()
    first = tmp_path / "results/brain/mine/seed-0.json"
    shown = with_reviews([read_record(first)], protected_branch("origin/main", root=fork))
    assert summarise(shown)[0].labels is Labels.ABNORMAL
    assert publish.main(
        ["add", str(first), "--replace", "--results", str(tmp_path / "results"),
         "--records", str(fork / RECORDS), "--repository", str(fork)], KNOWN
    ) == 0  # fmt: skip
    (told,) = problems(fork, "mine")
    assert told.startswith("mine on brain: its seeds declare different supervision; publish all")
    assert add(fork, tmp_path / "results", "--replace") == 0
    assert problems(fork, "mine") == []


def test_one_method_under_two_committed_names_is_found(published, run, tmp_path) -> None:
    """A folder's own name and title are no part of what it does."""
    model = (published / "baselines/patchcore/model.py").read_text()
    folder = write_folder(published, "newer", "Newer", model)
    told = made_of(folder)
    commit(published)
    git(published, "update-ref", "refs/remotes/origin/main", "HEAD")
    run(folder="new", entry="newer", title="Newer", times__started="1999-01-01T00:00:00Z", **told)
    assert add(published, tmp_path / "new") == 0
    assert problems(published) == ["newer: the same program is on the board already, as patchcore"]


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_submission_is_pinned_by_the_base_and_not_by_the_change(
    fork, run, tmp_path, is_merged
) -> None:
    digest = "sha256:" + "5" * 64
    submit(fork / "submissions", "mine", content=digest)
    commit(fork)
    if is_merged:
        git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")
    put(fork, run(
        entry="mine", title="Mine", entry__kind="submission", entry__identity="image:" + digest,
        track="open", metadata={"pinned": digest, "source": "r.example/mine"},
        ranked=is_merged, unranked_reason=None if is_merged else "unreviewed, own settings",
    ))  # fmt: skip
    told = problems(fork)
    pinned = [line for line in told if "submissions/mine.toml of origin/main does not pin" in line]
    assert bool(pinned) is not is_merged


def test_what_was_reviewed_is_a_value_that_can_be_passed_in(fork, run, tmp_path) -> None:
    run()
    add(fork, tmp_path / "results")
    assert problems(fork) == []
    request = PullRequest(fork, "origin/main", is_maintainers=True, reviewed=ReviewedSet())
    assert any("unreviewed" in line for line in request.problems())


def test_a_site_marks_what_is_unreviewed_and_believes_what_was_published(
    fork, run, tmp_path
) -> None:
    run()
    add(fork, tmp_path / "results")
    none = tmp_path / "none"
    (local,) = gather(tmp_path / "results", none, KNOWN, ReviewedSet()).rows
    assert (local.ranked, local.unranked_reason) == (False, "unreviewed")
    assert local.metric("image_auroc", None).mean is not None
    branch = protected_branch("origin/main", root=fork)
    assert gather(tmp_path / "results", none, KNOWN, branch).rows[0].ranked
    assert gather(none, fork / RECORDS, KNOWN, ReviewedSet()).rows[0].ranked


# -- a contributor's commits --------------------------------------------------------------------


def of_contributor(repository: Path) -> list[str]:
    return PullRequest(repository, "origin/main").problems()


def test_what_a_contributors_commits_touch_on_the_way_counts_too(fork) -> None:
    """Merged as they are, they would be commits that the protected branch goes back to."""
    evil = write_folder(fork, "evil", "Evil")
    commit(fork)
    shutil.rmtree(evil)
    submit(fork / "submissions", "newcomer", content="sha256:" + "6" * 64)
    commit(fork)
    told = of_contributor(fork)
    assert [line.partition(":")[0] for line in told] == [
        "baselines/evil/entry.toml", "baselines/evil/model.py",
    ]  # fmt: skip
    assert all("a commit changes this on the way (squash them)" in line for line in told)


def test_a_branch_that_took_in_its_base_has_no_problem_by_that(fork, branch) -> None:
    submit(fork / "submissions", "newcomer", content="sha256:" + "6" * 64)
    commit(fork)
    git(fork, "checkout", "--quiet", "-b", "meanwhile", "origin/main")
    (fork / "baselines/padim/model.py").write_text("# a newer one\n")
    commit(fork)
    git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(fork, "checkout", "--quiet", "mine")
    git(fork, "merge", "--quiet", "--no-edit", "meanwhile")
    assert of_contributor(fork) == []


def test_proofs_say_in_a_line_each_from_where_rows_follow(fork, run, tmp_path, capsys) -> None:
    run()
    run(entry="padim", params={"k": 5}, scores=1)
    add(fork, tmp_path / "results")
    capsys.readouterr()
    assert check(fork) == 0
    told = capsys.readouterr().out
    at = git(fork, "rev-parse", "origin/main")[:12]
    assert (
        "1 records: identity, method hash and settings derived from baselines/patchcore at"
        f" {at}\n" in told
    )
    assert f"1 records: own settings: its settings are no preset of baselines/padim at {at}" in told
    assert json.loads((fork / ROW).read_text())["ranked"] is True
