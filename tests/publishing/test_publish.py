"""The public board: what is put there may be seen, and a pull request adds nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import publish
from harness.board import curves
from harness.board.comparison import comparison_bytes, comparison_path, read_comparisons
from harness.board.reviews import marked, review
from harness.common.errors import UsageError
from harness.entries.reviewed import NOTHING_REVIEWED
from harness.publishing.site_build import build_site
from harness.records.store import Store, read_record
from tests.paths import ENTRIES
from tests.publishing.pull_requests import RECORDS, add, commit, git, problems, rewrite
from tests.record_factory import KNOWN, NO_CGROUPS, comparison
from tests.reviewed_sets import all_reviewed
from tests.run_factory import finished

HIDDEN = {"visibility": "hidden", "track": "sealed"}


def test_an_open_run_is_published_unchanged_with_its_curves_and_passes_the_check(
    fork, run, tmp_path, capsys
):
    path = run()
    assert add(fork, tmp_path / "results") == 0
    target = fork / RECORDS / "brain/patchcore"
    assert (target / "seed-0.json").read_bytes() == path.read_bytes()
    assert (target / "seed-0.curves.json").is_file()
    assert {each.name for each in target.iterdir()} == {"seed-0.json", "seed-0.curves.json"}
    assert problems(fork) == []  # not committed yet
    commit(fork)
    assert problems(fork) == []
    capsys.readouterr()
    arguments = ["check", "--base", "origin/main", "--repository", str(fork)]
    assert publish.main([*arguments, "--maintainer"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "changed: 1 curves, 1 records"
    assert told[1].startswith("1 records: schema, hashes and run keys agree")
    assert told[2].startswith(
        "1 records: identity, method hash and settings derived from baselines/p"
    )
    assert told[3:] == ["new: patchcore on brain", "2 changed files, 0 problems"]
    assert add(fork, tmp_path / "results") == 0
    assert "published before" in capsys.readouterr().out
    index = build_site(tmp_path / "none", tmp_path / "site", published=fork / RECORDS, known=KNOWN)
    assert "PatchCore" in index.read_text()


def test_a_hidden_run_is_published_in_its_public_form_with_bare_ranks(fork, run, tmp_path):
    for entry in ("padim", "patchcore"):
        private = run(entry=entry, **HIDDEN)
    results = Store(tmp_path / "results")
    compared = comparison(results.records(), grids=(None,))
    results.write(comparison_path(results.root, "brain"), comparison_bytes(compared))
    assert add(fork, results.root) == 0
    published = Store(fork / RECORDS)
    record = published.records()[1]
    assert record.public is not None
    assert record != read_record(private)
    names = {path.name for path in published.root.rglob("*.*")} - {"README.md"}
    assert names == {"seed-0.json", "brain.json"}
    assert problems(fork) == []
    found = read_comparisons(published.root)["brain"]
    assert found.is_current(published.records())
    assert b"0.9" not in comparison_path(published.root, "brain").read_bytes()
    assert add(fork, results.root) == 0  # the salt is kept: the same bytes
    assert Store(fork / RECORDS).records()[1] == record


def test_a_hidden_record_in_full_is_refused(fork, run):
    path = run(**HIDDEN)
    target = fork / RECORDS / "brain/patchcore/seed-0.json"
    target.parent.mkdir(parents=True)
    shutil.copyfile(path, target)
    (told,) = problems(fork)
    assert "not in its public form" in told


def read_no_file_that_it_tells_of(data: dict) -> None:
    data["weights"] = []
    data["entry"]["metadata"]["backbones"] = ["resnet18"]


UNPINNED = {"name": "mine", "file": "mine.pth", "sha256": "sha256:" + "0" * 64}


def change(name: str, value: object) -> Callable[[dict], None]:
    def made(data: dict) -> None:
        *parents, last = name.split(".")
        part = data
        for parent in parents:
            part = part[int(parent) if parent.isdigit() else parent]
        part[last] = value

    return made


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change("metrics.0.value", 1.5), "not from 0 to 1"),
        (change("metrics.0.id", "image_wow"), "none of the harness's"),
        (change("entry.params.k", 9), "its run key is not that of its own parts"),
        (change("entry.checkpoint_rule", None), "all parts of its run key"),
        (change("entry.name", "other"), "it is of brain/other/seed-0"),
        (change("source.commit", None), "not made from a commit"),
        (change("source.commit", "0" * 40), "is not in origin/main"),
        (change("source.commit", "main"), "is not in origin/main"),  # no commit id at all
        (change("source.lock", "sha256:" + "0" * 64), "lock file"),
        (change("source.metrics", "7"), "METRICS_VERSION '7'"),
        (change("track", "sealed"), "its track is sealed"),
        (change("machine.isolation", "none"), "its run key"),
        (change("entry.kind", "image"), "not built from a folder"),
        (change("entry.preset", "demo"), "whether it may take a rank is wrong"),
        (change("weights", [UNPINNED]), "its run key is not that of its own parts"),
        (read_no_file_that_it_tells_of, "reasons against it: unpinned weights"),
        (change("ranked", False), "whether it may take a rank is wrong"),
        (change("evidence", None), "names no evidence"),
        (change("outcome.status", "gpu_lost"), "which is no result"),
        (change("entry.metadata.pinned", "sha256:" + "0" * 64), "does not pin what it ran"),
    ],
)
def test_a_record_that_the_harness_could_not_have_written_is_found(
    change, told, fork, run, tmp_path
):
    run()
    add(fork, tmp_path / "results")
    rewrite(fork / RECORDS / "brain/patchcore/seed-0.json", change)
    assert told in "\n".join(problems(fork))


def test_only_a_run_of_an_older_harness_may_have_measured_nothing(fork, run, tmp_path):
    measuring = fork / "harness/engines/measuring.py"
    measuring.parent.mkdir()
    measuring.write_text("FIRST = {}\n")
    commit(fork)
    git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")
    today = git(fork, "rev-parse", "HEAD")
    for seed, measured in enumerate((None, NO_CGROUPS)):
        level = "same user" if measured else "container"
        run(seed, source__commit=today, isolation=level, machine__measured=measured)
    assert add(fork, tmp_path / "results") == 0
    told = [each for each in problems(fork) if "holds no measurement" in each]
    assert len(told) == 1
    assert "seed-0" in told[0]


def test_a_changed_record_with_its_old_hash_is_found(fork, run, tmp_path):
    run()
    add(fork, tmp_path / "results")
    path = fork / RECORDS / "brain/patchcore/seed-0.json"
    rewrite(path, change("metrics.0.value", 0.99), is_sealed=False)
    assert any("hash does not fit" in told for told in problems(fork))


def test_no_other_row_is_touched(published, run, tmp_path):
    run(seed=1, scores=1, folder="new", entry="padim", title="PaDiM")
    assert add(published, tmp_path / "new") == 0
    assert problems(published) == []
    row = published / RECORDS / "brain/patchcore"
    rewrite(row / "seed-0.json", change("metrics.0.value", 0.1))
    (row / "seed-0.curves.json").unlink()
    told = problems(published)
    assert len(told) == 2
    assert "seed-0.json: it was published before and is changed" in told[1]
    assert "seed-0.curves.json: it was published before and is removed" in told[0]


def test_a_row_is_replaced_only_where_the_maintainer_says_so(published, run, tmp_path, capsys):
    run(scores=5, folder="new", params={"k": 9})
    assert add(published, tmp_path / "new") == 5
    assert "--replace" in capsys.readouterr().err
    assert add(published, tmp_path / "new", "--replace") == 0
    commit(published)
    assert len(problems(published)) == 2
    assert problems(published, "patchcore") == []
    arguments = ["--base", "origin/main", "--repository", str(published), "--maintainer"]
    assert publish.main(["check", *arguments]) == 5
    assert publish.main(["check", *arguments, "--replaces", "patchcore"]) == 0


def test_the_same_program_under_a_second_name_is_found(published, run, tmp_path):
    run(folder="new", entry="renamed", of="patchcore", times__started="2026-05-05T00:00:00Z")
    add(published, tmp_path / "new")
    (told,) = problems(published)
    assert told == "renamed: the same program is on the board already, as patchcore"


def test_stray_files_links_and_huge_files_are_found(fork, tmp_path):
    folder = fork / RECORDS
    (folder / "brain/x").mkdir(parents=True)
    (folder / "brain/x/seed-0.evidence.npz").write_bytes(b"x")
    (folder / "brain/x/notes.txt").write_text("x")
    (folder / "README.md").write_text("changed")
    (folder / "brain/x/seed-1.json").symlink_to("/etc/passwd")
    with (folder / "brain/x/seed-2.json").open("wb") as file:
        os.truncate(file.fileno(), 33 * 1024**2)
    (folder / "brain/x/seed-3.curves.json").write_text("{}")
    told = problems(fork)
    assert len(told) == 6
    assert sum("no file that the harness publishes" in each for each in told) == 3
    assert sum("no regular file" in each for each in told) == 2
    assert sum("no record beside it" in each for each in told) == 1


def test_curves_and_comparisons_of_other_records_are_found(fork, run, tmp_path):
    run()
    run(seed=1, scores=1)
    add(fork, tmp_path / "results")
    folder = fork / RECORDS / "brain/patchcore"
    shutil.copyfile(folder / "seed-0.curves.json", folder / "seed-1.curves.json")
    (told,) = problems(fork)
    assert "seed-1.curves.json: it is not made from the evidence" in told
    shutil.rmtree(folder)
    add(fork, tmp_path / "results")
    store = Store(fork / RECORDS)
    stale = comparison(store.records()[:1])
    store.write(comparison_path(store.root, "brain"), comparison_bytes(stale))
    (told,) = problems(fork)
    assert told.startswith(f"{RECORDS}/comparisons/brain.json: it does not speak of exactly")


def test_a_run_that_must_not_be_published_is_refused_with_every_reason(fork, run, tmp_path, capsys):
    path = run(source__commit=None, ranked=False, unranked_reason="x")
    place = ["--records", str(tmp_path / "p"), "--repository", str(fork)]
    assert publish.main(["add", str(path), *place], KNOWN) == 5
    told = capsys.readouterr().err
    assert "not made from a commit" in told
    assert "take a rank" in told
    assert not (tmp_path / "p").exists()


def test_a_base_that_is_not_there_is_one_clear_error(fork):
    with pytest.raises(UsageError, match="cannot compare"):
        problems(fork.parent)
    with pytest.raises(UsageError, match="branch"):
        publish.main(["check"])


def test_what_a_run_of_today_leaves_can_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check knows what the harness writes: a real run on the demo pack has no problem."""
    from harness import evaluate
    from harness.publishing.publication import record_problems

    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    entry = ENTRIES / "honest"
    options = ["--engine", "process", "--results", str(tmp_path / "r"), "--no-site"]
    assert evaluate.main([str(entry), "--benchmark", "demo", *options]) == 0
    (record,) = Store(tmp_path / "r").records()
    clean = record.source.model_copy(update={"commit": "0" * 40})
    made = record.model_copy(update={"source": clean})
    found = review(made, all_reviewed([made]))
    assert record_problems(marked(made, found), found, KNOWN) == []
    (told,) = record_problems(made, review(made, NOTHING_REVIEWED), KNOWN)
    assert told.startswith("it is trained here, and unreviewed")
    assert curves.refresh(Store(tmp_path / "r")) == 1
    assert finished(record).run_key == record.run_key
