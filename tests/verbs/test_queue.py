"""The queue: every submission is evaluated for the packs of today, and says where it stands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import evaluate, queue
from harness.board.rows import ranked_records, summarise, with_withdrawals
from harness.board.submission_states import Versions, changes_since, submission_jobs, team_key
from harness.common.errors import EntryInvalid, StoreConflict, UsageError
from harness.common.paths import SUBMISSIONS
from harness.common.removal import remove_tree
from harness.common.statuses import Status
from harness.console import cli
from harness.engines.base import Limits
from harness.entries.identity import submitted_folder_hash
from harness.entries.opening import open_entry
from harness.entries.submissions import submission_text, withdraw, withdrawals, write_new
from harness.publishing import submission_check
from harness.publishing.site_build import waiting as waiting_on_site
from harness.records import source
from harness.records.record import Record
from harness.records.store import RunName, Store
from harness.running import plan
from tests.common.test_removal import deep_tree
from tests.entries.test_submissions import DIGEST, source_folder, submit, table
from tests.paths import ENTRIES, REPOSITORY
from tests.record_factory import KNOWN
from tests.reviewed_sets import all_reviewed


def submit_folder(parent: Path, name: str, **fields: object) -> Path:
    """A folder of the tests' entries as a submission."""
    shutil.copytree(ENTRIES / name, parent / name)
    digest = submitted_folder_hash(parent / name)
    return submit(parent, name, folder=name, folder_hash=digest, **fields)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def call(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, dict]]]:
    """The verb itself on the demo pack; exit code and the jobs by entry."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))

    def run(verb: str, *more: str) -> tuple[int, dict[str, dict]]:
        capsys.readouterr()
        options = ["--submissions", str(tmp_path / "s"), "--results", str(tmp_path / "r")]
        options += ["--engine", "process", "--no-site", "--json", *more]
        code = queue.main([verb, *options])
        return code, {job["entry"]: job for job in json.loads(capsys.readouterr().out)}

    return run


def test_what_waits_is_run_what_fails_holds_up_no_other_and_nothing_is_run_twice(call, tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    submit_folder(folder, "crashing", submitted="2026-01-01")
    submit_folder(folder, "honest", submitted="2026-01-02")
    submit_folder(folder, "score_only", submitted="2026-01-03", withdrawn="a mistake")
    (folder / "broken.toml").write_text("[entry")
    code, jobs = call("list")
    assert code == 0
    assert {name: job["state"] for name, job in jobs.items()} == {
        "crashing": "waiting", "honest": "waiting", "score_only": "withdrawn",
    }  # fmt: skip
    assert jobs["honest"]["why"] == "never run on this pack"
    assert (jobs["honest"]["since"], jobs["honest"]["until"]) == ("2026-01-02", "2026-01-16")
    assert jobs["score_only"]["why"] == "a mistake"

    assert call("run", "--dry-run")[0] == 0
    assert not (tmp_path / "r").exists()

    code, jobs = call("run")
    assert code == 4
    assert {name: job["state"] for name, job in jobs.items()} == {
        "crashing": "failed", "honest": "finished", "score_only": "withdrawn",
    }  # fmt: skip
    assert jobs["crashing"]["why"].startswith("crashed: ")
    store = Store(tmp_path / "r")
    before = {path: path.read_bytes() for path in store.record_paths()}
    assert len(before) == 2
    code, _ = call("run")
    assert code == 0
    assert {path: path.read_bytes() for path in store.record_paths()} == before
    assert call("run", "--retry-failed")[0] == 4


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("harness.__version__", "the harness changed from"),
        ("harness.metrics.METRICS_VERSION", "the metric definitions changed from"),
    ],
)
def test_a_new_version_is_a_reason_to_run_again_and_the_old_record_goes_to_history(
    where, reason, call, tmp_path, monkeypatch
):
    folder = tmp_path / "s"
    folder.mkdir()
    submit_folder(folder, "score_only")
    assert call("run")[0] == 0
    monkeypatch.setattr(where, "9.9")
    _, jobs = call("list")
    assert jobs["score_only"]["state"] == "waiting"
    assert reason in jobs["score_only"]["why"]
    path = folder / "score_only.toml"
    options = ["--results", str(tmp_path / "r"), "--engine", "process", "--benchmark", "demo"]
    with pytest.raises(StoreConflict, match=r"9\.9"):
        evaluate.main([str(path), *options, "--no-site"])
    # What a record says of its maker was noted when this process began.
    monkeypatch.setattr("harness.running.recording.source", source.source.__wrapped__)
    if "metrics" in where:
        monkeypatch.setattr("harness.running.recording.METRICS_VERSION", "9.9")
    code, jobs = call("run")
    assert code == 0
    assert jobs["score_only"]["state"] == "finished"
    assert len(list((tmp_path / "r" / "history").rglob("seed-0.json"))) == 1


def pack(name: str = "brain", version: str = "v1") -> SimpleNamespace:
    card = SimpleNamespace(name=name)
    return SimpleNamespace(name=name, version=version, patients="none", base=None, card=card)


def image_entries(folder: Path, names: list[str], **fields: object) -> list:
    paths = [
        submit(folder, name, submitted=f"2026-01-{day:02}", **fields)
        for day, name in enumerate(names, start=1)
    ]
    return [open_entry(str(path)) for path in paths]


def record_of(make_record: Callable[..., Record], entry, **changes: object) -> Record:
    told = {
        "pack__version": "v1",
        "pack__patients_digest": "none",
        "params": {},
        "metadata": entry.metadata,
    }
    made = make_record(entry=entry.name, **(told | changes))
    part = made.entry.model_copy(update={"params": {}})
    return made.model_copy(update={"entry": part}).sealed()


def test_every_reason_for_a_new_run_is_told(tmp_path, make_record):
    (entry,) = image_entries(tmp_path, ["mine"])
    record = record_of(make_record, entry)
    versions = Versions("0.1.0", 1, "1")
    assert changes_since(record, entry, pack(), versions) == []
    told = changes_since(record, entry, pack(version="v2"), Versions("0.2.0", 2, "2"))
    assert [text.split(" changed")[0] for text in told] == [
        "the pack", "the contract", "the metric definitions", "the harness",
    ]  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    write_new(other / "mine.toml", submission_text(table(image=f"r.example/mine@{DIGEST[:-1]}0")))
    (told,) = changes_since(record, open_entry(str(other / "mine.toml")), pack(), versions)
    assert told.startswith("the submission changed")


def test_a_team_has_a_bounded_number_of_scored_submissions_on_each_benchmark(tmp_path, make_record):
    entries = image_entries(tmp_path, ["a", "b", "c", "d"], team="Team")
    entries += image_entries(tmp_path, ["e"], team="Others")
    store = Store(tmp_path / "r")
    made = record_of(make_record, entries[0], source__version="0.0.9")
    store.save(store.name_of(made), made)
    jobs = submission_jobs(
        entries, [pack("brain"), pack("liver")], [0, 1], store=store, published=[], limits=Limits(),
        most_scored=2,
    )  # fmt: skip
    held = {(job.entry, job.benchmark, job.seed) for job in jobs if job.state == "held"}
    # a is scored already and may be run anew; b takes the place that is left, with both seeds
    assert held == {(n, "brain", s) for n in "cd" for s in (0, 1)} | {
        (n, "liver", s) for n in "cd" for s in (0, 1)
    }
    (told,) = {job.why for job in jobs if job.state == "held"}
    assert told == "Team has 2 of 2 scored submissions here"


def test_a_corrected_version_takes_one_more_of_the_teams_places(tmp_path, make_record):
    """Else versions of one submission could read labels off their numbers without an end."""
    store = Store(tmp_path / "r")

    def version(digit: str) -> None:
        (tmp_path / "mine.toml").unlink(missing_ok=True)
        submit(tmp_path, content="sha256:" + digit * 64)

    def state(most: int) -> str:
        entry = open_entry(str(tmp_path / "mine.toml"))
        (job,) = submission_jobs(
            [entry],
            [pack()],
            [0],
            store=store,
            published=[],
            limits=Limits(),
            most_scored=most,
            releases=KNOWN,
        )
        return job.state

    for digit in "123":
        version(digit)
        record = record_of(make_record, open_entry(str(tmp_path / "mine.toml")))
        if (before := store.find(RunName("brain", "mine", 0))) is not None:
            store.retire(RunName("brain", "mine", 0), before)
        store.save(RunName("brain", "mine", 0), record)
    assert [r.entry.metadata["pinned"][-1] for r in store.history()] in (["1", "2"], ["2", "1"])
    version("4")
    assert state(most=3) == "held"
    assert state(most=4) == "waiting"
    version("3")  # the same again, whatever the reason: no more than before
    assert state(most=3) != "held"
    (tmp_path / "r/history/brain/mine/seed-0.000000000000").mkdir()
    (tmp_path / "r/history/brain/mine/seed-0.000000000000/seed-0.json").write_text("{}")
    assert len(store.history()) == 2


def test_a_published_record_counts_like_ones_own(tmp_path, make_record):
    (entry,) = image_entries(tmp_path, ["mine"])
    from harness.board.submission_states import current_versions

    now = current_versions()
    published = record_of(
        make_record, entry, source__version=now.harness, source__contract=now.contract,
        source__metrics=now.metrics,
    )  # fmt: skip
    (job,) = submission_jobs(
        [entry],
        [pack()],
        [0],
        store=Store(tmp_path / "r"),
        published=[published],
        limits=Limits(),
        releases=KNOWN,
    )
    assert job.state == "finished"


def test_a_run_in_progress_says_since_when_and_until_when(tmp_path):
    (entry,) = image_entries(tmp_path, ["mine"])
    store = Store(tmp_path / "r")
    name = RunName("brain", "mine", 0)

    def state() -> tuple[str, str]:
        (job,) = submission_jobs([entry], [pack()], [0], store=store, published=[], limits=Limits())
        return job.state, job.until

    assert state() == ("waiting", "2026-01-15")
    with store.lock(name):
        assert state()[0] == "running"
        assert state()[1] > store.running_since(name)
        with pytest.raises(StoreConflict), store.lock(name):
            pass
    assert state()[0] == "waiting"


def test_an_archive_that_is_not_here_is_said_so_and_is_no_fault_of_its_author(
    call, tmp_path, capsys
):
    (tmp_path / "s").mkdir()
    path = submit(tmp_path / "s", archive="mine.tar", archive_hash=DIGEST, content=DIGEST)
    code, jobs = call("list")
    assert code == 0
    assert jobs["mine"]["state"] == "held"
    assert (
        "the archive mine.tar of the submission mine is not on this machine" in jobs["mine"]["why"]
    )
    assert "never run" in jobs["mine"]["why"]
    options = ["--submissions", str(path.parent), "--results", str(tmp_path / "r")]
    assert queue.main(["run", "--engine", "process", "--no-site", *options]) == 5
    told = capsys.readouterr()
    assert "BMAD_ARCHIVES" in told.err
    assert "invalid" not in told.err
    assert not (tmp_path / "r").exists()
    withdraw(path, "a mistake")  # what nobody waits for, nobody misses
    assert call("run")[0] == 0


def test_the_queue_runs_with_the_limits_that_a_submission_asks_for(call, tmp_path):
    (tmp_path / "s").mkdir()
    path = submit_folder(tmp_path / "s", "crashing")
    assert call("run")[0] == 4
    assert call("run")[0] == 0  # failed by its own fault: not tried again
    text = path.read_text()
    path.write_text(text + "\n[limits]\nimage_seconds = 60.0\n")
    assert call("list")[1]["crashing"]["state"] == "waiting"
    assert "image_seconds changed from 120.0 to 60.0" in call("list")[1]["crashing"]["why"]
    assert call("run")[0] == 4
    (record,) = Store(tmp_path / "r").records()
    assert record.limits["image_seconds"] == 60.0
    assert call("list")[1]["crashing"]["state"] == "failed"
    assert call("list", "--limit", "image_seconds=90")[1]["crashing"]["state"] == "failed"


def test_the_lock_of_a_killed_harness_is_gone_with_it(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from harness.records.store import *\n"
        "with Store(Path(sys.argv[1])).lock(RunName('brain', 'mine', 0)):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        cwd=REPOSITORY, env=os.environ,
    )  # fmt: skip
    name, store = RunName("brain", "mine", 0), Store(tmp_path)
    assert holder.stdout.readline() == "held\n"
    assert store.running_since(name)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert store.running_since(name) is None


def test_withdrawing_keeps_the_file_as_it_was_and_the_rows_with_the_reason(tmp_path, make_record):
    (entry,) = image_entries(tmp_path, ["mine"])
    path = tmp_path / "mine.toml"
    before = path.read_text()
    record = record_of(make_record, entry)
    assert summarise([record])[0].ranked
    withdraw(path, 'its authors found "an error"')
    assert (
        path.read_text().replace('withdrawn = "its authors found \\"an error\\""\n', "") == before
    )
    reasons = withdrawals(tmp_path)
    assert reasons == {"mine": 'its authors found "an error"'}
    (marked,) = with_withdrawals([record], reasons)
    assert marked.record_hash == record.record_hash
    (row,) = summarise([marked])
    assert row.unranked_reason == 'withdrawn: its authors found "an error"'
    assert row.metrics[0].mean is not None
    assert ranked_records([marked]) == {}
    assert waiting_on_site(tmp_path, set()) == ()
    with pytest.raises(EntryInvalid, match="withdrawn before"):
        withdraw(path, "again")
    with pytest.raises(EntryInvalid, match="tag"):
        withdraw(path, "<script>")


def test_withdrawing_needs_a_name_and_a_reason(tmp_path, capsys):
    image_entries(tmp_path, ["mine"])
    place = ["--submissions", str(tmp_path)]
    for arguments in (["withdraw", "mine"], ["withdraw", "--reason", "x"], ["list", "mine"]):
        with pytest.raises(UsageError):
            queue.main([*arguments, *place])
    with pytest.raises(EntryInvalid, match="no submission"):
        queue.main(["withdraw", "other", "--reason", "x", *place])
    assert queue.main(["withdraw", "mine", "--reason", "x", *place]) == 0
    assert "unranked, with the reason" in capsys.readouterr().out


def test_the_check_finds_copies_missing_fields_strays_and_what_cannot_be_reviewed(tmp_path, capsys):
    content = "sha256:" + "3" * 64
    submit(tmp_path, "early", submitted="2026-01-01", content=content)
    assert submission_check.check_files(tmp_path) == []
    submit(tmp_path, "late", submitted="2026-01-02", content=content)
    submit(tmp_path, "bare", image=f"r.example/bare@sha256:{'4' * 64}", authors=[], team="")
    (tmp_path / "stray.bin").write_bytes(b"x")
    (tmp_path / "broken.toml").write_text("[entry")
    folder = source_folder(tmp_path, "source")
    (folder / "table.bin").write_bytes(bytes(10))
    digest = submitted_folder_hash(folder)
    submit(tmp_path, "source", folder="source", folder_hash=digest)
    assert queue.main(["check", "--submissions", str(tmp_path)]) == 3
    told = capsys.readouterr().out
    for expected in (
        "late.toml: its image content is on the board already, as early",
        "bare.toml: team is missing",
        "bare.toml: authors is missing",
        "bare.toml: content is missing",
        "stray.bin: it belongs to no submission",
        "broken.toml: the file is not valid TOML",
        "source.toml: table.bin is not a text file",
        "5 submissions, 7 problems",
    ):
        assert expected in told, expected


def test_the_projects_own_submissions_are_valid():
    assert submission_check.check_files(SUBMISSIONS) == []


def test_the_site_shows_how_many_scored_submissions_each_team_has(tmp_path, make_record):
    from harness.publishing.site_build import build_site

    store = Store(tmp_path / "r")
    for name, team in (("a", "The <Team>"), ("b", "the <team>"), ("c", "Others"), ("d", None)):
        made = make_record(entry=name, metadata={"team": team} if team else {})
        store.save(store.name_of(made), made)
    failed = make_record(entry="e", status=Status.CRASHED, metadata={"team": "Others"})
    store.save(store.name_of(failed), failed)
    index = build_site(store.root, tmp_path / "site", published=tmp_path / "none", known=KNOWN)
    page = (index.parent / "status.html").read_text()
    counts = page[page.index('id="teams"') :]
    rows = re.findall(r"<tr><th[^>]*>(.*?)</th>.*?>(\d+)</td><td[^>]*>(\d+)</td></tr>", counts)
    assert rows == [("Others", "1", "5"), ("the &lt;team&gt;", "2", "5")]


def test_what_was_published_under_another_name_is_a_copy(tmp_path, make_record, monkeypatch):
    content = "sha256:" + "3" * 64
    store = Store(tmp_path / "published")
    made = make_record(entry="first", metadata={"pinned": content})
    store.save(store.name_of(made), made)
    monkeypatch.setattr("harness.common.paths.PUBLISHED_RECORDS", store.root)
    folder = tmp_path / "s"
    folder.mkdir()
    submit(folder, "second", content=content)
    (told,) = submission_check.check_files(folder)
    assert told == "second.toml: its image content is on the board already, as first"


def test_a_submission_never_takes_the_name_or_the_rows_of_another_entry(
    tmp_path, make_record, monkeypatch
):
    folder, published = tmp_path / "s", Store(tmp_path / "published")
    folder.mkdir()
    other = make_record(entry="patchcore-r18")
    published.save(published.name_of(other), other)
    monkeypatch.setattr("harness.common.paths.PUBLISHED_RECORDS", published.root)
    for number, name in enumerate(("padim", "patchcore-r18")):
        digest = f"sha256:{number}" + "a" * 63
        submit(folder, name, content=digest, image=f"r.example/{name}@{digest}")
    assert submission_check.check_files(folder) == [
        "padim.toml: padim is the name of a baseline",
        "patchcore-r18.toml: patchcore-r18 is the name of an entry on the board that is no submission",
    ]
    for digit, name, day in (("b", "patchc0re", 30), ("c", "mine-1", 29), ("d", "mine-l", 30)):
        digest = f"sha256:{digit * 64}"
        image = f"r.example/{name}@{digest}"
        submit(folder, name, content=digest, image=image, submitted=f"2026-01-{day}")
    told = submission_check.check_files(folder)
    assert "patchc0re.toml: patchc0re can be taken for patchcore, which came first" in told
    assert "mine-l.toml: mine-l can be taken for mine-1, which came first" in told
    assert len(told) == 4
    entries = [open_entry(str(folder / "patchcore-r18.toml"))]
    (job,) = submission_jobs(
        entries,
        [pack()],
        [0],
        store=published,
        published=[],
        limits=Limits(),
        is_retrying=True,
        releases=KNOWN,
    )
    assert job.state == "held"  # its row is not replaced, whatever has changed


def test_one_team_has_one_bound_however_it_is_spelled():
    spellings = ["The Team", "the  team ", "ＴＨＥ ＴＥＡＭ", "THE TEAM", "The.Team", "Тhe Tеam"]
    assert len({team_key(each) for each in spellings}) == 1
    assert team_key("A. Author") == team_key("A.Author")
    assert team_key("The Team") != team_key("The Teams")


def test_the_pages_keep_the_rows_of_what_was_withdrawn_with_the_reason(
    tmp_path, make_record, monkeypatch
):
    from harness.publishing.site_build import build_site

    folder, store = tmp_path / "s", Store(tmp_path / "r")
    folder.mkdir()
    (entry,) = image_entries(folder, ["mine"])
    made = record_of(make_record, entry, title="Mine")
    store.save(store.name_of(made), made)
    monkeypatch.setattr("harness.publishing.site_build.SUBMISSIONS", folder)

    def built(name: str) -> Path:
        return build_site(
            store.root,
            tmp_path / name,
            published=tmp_path / "none",
            known=KNOWN,
            reviewed=all_reviewed([made]),
        ).parent

    assert "withdrawn" not in (built("before") / "entries/mine.html").read_text()
    withdraw(folder / "mine.toml", "its authors found an error")
    site = built("after")
    assert "its authors found an error" in (site / "entries/mine.html").read_text()
    assert "withdrawn: its authors found an error" in (site / "index.html").read_text()
    assert "91.65" in (site / "index.html").read_text()  # the numbers stay
    copies = list((site / "data/records").rglob("*.json"))
    assert [path.read_bytes() for path in copies] == [
        store.record_path(store.name_of(made)).read_bytes()
    ]


HOSTILE_FILES = {
    "nested": "[entry]\nx = " + "[" * 5_000 + "]" * 5_000,
    "digits": "[entry]\nname = 'digits'\n[params]\nn = " + "9" * 5_000,
    "many-bits": "[entry]\nname = 'many-bits'\n[params]\nn = " + "9" * 400,
    "infinite": "[entry]\nname = 'infinite'\n[params]\nn = 1e400",
    "tables": "[" + ".".join("a" * 3_000) + "]\n",
    "year": "[entry]\nname = 'year'\nwhen = 0000-00-00",
}


def test_no_file_ends_the_queue_or_the_check(call, tmp_path, capsys):
    folder = tmp_path / "s"
    folder.mkdir()
    for name, text in HOSTILE_FILES.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "not-text.toml").write_bytes(b"\xff\xfe\0")
    submit_folder(folder, "honest", submitted="9999-12-31")
    code, jobs = call("run")
    assert (code, jobs["honest"]["state"]) == (0, "finished")
    assert withdrawals(folder) == {}
    assert queue.main(["check", "--submissions", str(folder)]) == 3
    out, err = capsys.readouterr()
    for name in (*HOSTILE_FILES, "not-text"):
        assert len([line for line in out.splitlines() if line.startswith(f"{name}.toml: ")]) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("depth", [1_500, 3_000])  # past Python's stack, past the longest path
def test_a_submission_whose_folders_have_no_end_is_told_and_holds_up_no_other(
    depth, call, tmp_path
):
    folder = tmp_path / "s"
    folder.mkdir()
    submit_folder(folder, "honest")
    submit_folder(folder, "crashing")
    deep_tree(folder / "crashing", depth, "x")
    try:
        code, jobs = call("list")
        assert (code, list(jobs)) == (0, ["honest"])
        problems = submission_check.check_files(folder)
        assert len([text for text in problems if text.startswith("crashing.toml: ")]) == 1
    finally:
        remove_tree(folder)


class Panic(BaseException):
    """As a compiled library panics: no `Exception`."""


@pytest.mark.parametrize(
    "problem",
    [RecursionError("deep"), ValueError("1e400"), MemoryError(), Panic("no"), SystemExit(3)],
)
def test_a_bug_in_one_submission_is_told_and_the_next_one_has_its_turn(
    problem, call, tmp_path, monkeypatch
):
    folder = tmp_path / "s"
    folder.mkdir()
    submit_folder(folder, "crashing", submitted="2026-01-01")
    submit_folder(folder, "honest", submitted="2026-01-02")
    planned = plan.plan_runs

    def plan_runs(options, reporter):
        if "crashing" in str(options.entries):
            raise problem
        return planned(options, reporter)

    told = []
    monkeypatch.setattr(plan, "plan_runs", plan_runs)
    monkeypatch.setattr(cli.Reporter, "event", lambda _, text: told.append(text))
    code, jobs = call("run")
    err = "\n".join(told)
    assert code == 1
    assert (jobs["crashing"]["state"], jobs["honest"]["state"]) == ("waiting", "finished")
    assert "Traceback" in err
    assert f"a bug ended this one ({type(problem).__name__}); the queue goes on" in err
