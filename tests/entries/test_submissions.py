"""Submission files: what they may hold, what they pin, and that nothing stands twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.common.errors import DataMissing, EntryInvalid, UsageError
from harness.common.paths import REPOSITORY
from harness.engines.base import Program
from harness.entries import submissions
from harness.entries.entry import SubmissionTable
from harness.entries.identity import method_hash, submitted_folder_hash
from harness.entries.opening import open_entry
from harness.entries.submissions import (
    find_recorded_twin,
    find_twin,
    marks,
    missing_fields,
    submission_text,
    title_problem,
    write_new,
)
from harness.publishing.submission_check import check_files
from harness.records.supervision import Supervision
from tests.publishing.pull_requests import git

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
WHO = {"team": "Team", "authors": ("A. Author",), "paper": "none", "code": "none",
       "licence": "MIT", "submitted": "2026-01-31"}  # fmt: skip


def table(name: str = "mine", **fields: object) -> SubmissionTable:
    pinned = {} if {"archive", "folder"} & set(fields) else {"image": f"r.example/{name}@{DIGEST}"}
    return SubmissionTable.model_validate(
        {"name": name, "title": "Mine", **pinned, **WHO, **fields}
    )


def submit(parent: Path, name: str = "mine", **fields: object) -> Path:
    path = parent / f"{name}.toml"
    # A folder says itself what it had learned from.
    declared = None if "folder" in fields else Supervision()
    write_new(path, submission_text(table(name, **fields), supervision=declared))
    return path


def source_folder(parent: Path, name: str) -> Path:
    """A folder that does the same under any name."""
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "entry.toml").write_text(
        f'[entry]\nname = "{name}"\ntitle = "{name.upper()}"\n[params]\nradius = 3\n[supervision]\n'
    )
    (folder / "model.py").write_text("class Model: ...\n")
    return folder


def test_what_it_had_learned_from_is_read_back_whole_and_a_folders_stands_with_it(tmp_path):
    declared = Supervision(
        shots_normal="all",
        shots_abnormal=4,
        foreign_labels=("MVTec AD:test", 'a "set":train'),
        contamination={"default": "none", "rsna": "images"},
    )
    path = tmp_path / "mine.toml"
    write_new(path, submission_text(table(content=OTHER), {"pids": 600}, declared))
    assert open_entry(str(path)).supervision == declared
    assert missing_fields(open_entry(str(path))) == []
    path.unlink()
    write_new(path, submission_text(table(content=OTHER)))
    assert missing_fields(open_entry(str(path))) == ["the table [supervision] is missing"]
    folder = source_folder(tmp_path, "own")
    text = (folder / "entry.toml").read_text()
    submit(tmp_path, "own", folder="own", folder_hash=submitted_folder_hash(folder))
    assert open_entry(str(tmp_path / "own.toml")).supervision == Supervision()
    with (tmp_path / "own.toml").open("a") as file:
        file.write("[supervision]\nshots_normal = 0\n")
    with pytest.raises(EntryInvalid, match="a folder says itself"):
        open_entry(str(tmp_path / "own.toml"))
    (folder / "entry.toml").write_text(text.replace("[supervision]", "[supervision]\nshots = 1"))
    with pytest.raises(EntryInvalid, match=r"shots: Extra inputs"):
        open_entry(str(folder))


def test_what_is_written_is_read_back_whole(tmp_path):
    odd = 'quotes "and" back\\slashes, ünïcode, # no comment'
    written = table(description=odd, content=OTHER, pretraining="ImageNet", family="flow")
    write_new(tmp_path / "mine.toml", submission_text(written))
    entry = open_entry(str(tmp_path / "mine.toml"))
    assert entry.table == written
    assert entry.kind == "submission"
    assert entry.source == f"r.example/mine@{DIGEST}"
    assert entry.metadata["team"] == "Team"


def test_a_file_is_never_overwritten_and_nothing_half_written_is_left(tmp_path):
    path = submit(tmp_path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not overwritten"):
        submit(tmp_path, licence="other")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "r.example/mine:latest"}, "can be moved"),
        ({"image": "not an image"}, "by digest"),
        ({"image": None}, "one of image, archive and folder"),
        ({"archive": "x.tar", "image": f"a@{DIGEST}"}, "one of image, archive and folder"),
        ({"archive": "x.tar"}, "not pinned"),
        ({"archive": "../x.tar", "archive_hash": DIGEST}, "name of a .tar"),
        ({"archive": "/etc/passwd", "archive_hash": DIGEST}, "name of a .tar"),
        ({"folder": "../other", "folder_hash": DIGEST}, "must be the entry's name"),
        ({"title": "<script>"}, "tag"),
        ({"paper": "javascript:alert(1)"}, "http"),
    ],
)
def test_a_file_that_pins_nothing_or_hides_something_is_refused(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(submission_text(table(**change)))
    with pytest.raises(EntryInvalid, match=message):
        open_entry(str(path))


def test_a_folder_is_trained_here_only_as_it_was_reviewed(tmp_path):
    folder = source_folder(tmp_path, "mine")
    path = submit(tmp_path, folder="mine", folder_hash=submitted_folder_hash(folder))
    entry = open_entry(str(path))
    assert entry.kind == "folder"
    assert entry.table.team == "Team"
    assert entry.table.title == "Mine"
    (folder / "model.py").write_text("class Model: 'changed'\n")
    with pytest.raises(EntryInvalid, match="not the one that was submitted"):
        open_entry(str(path))


def test_the_same_image_under_two_names_is_found_with_the_first(tmp_path):
    submit(tmp_path, "late", submitted="2026-02-01", content=OTHER)
    submit(tmp_path, "early", submitted="2026-01-01", content=OTHER, image=f"elsewhere/e@{OTHER}")
    submit(tmp_path, "third", submitted="2026-03-01", content="sha256:" + "3" * 64)
    entries, invalid = submissions.open_all(tmp_path)
    assert [entry.name for entry in entries] == ["early", "late", "third"]
    assert not invalid
    early, late, third = entries
    assert find_twin("late", marks(late), entries).name == "early"  # by content
    assert find_twin("third", marks(third), entries).name == "late"  # by digest
    assert find_twin("early", marks(early), [early]) is None


def test_the_same_folder_under_another_name_and_title_is_the_same_source(tmp_path):
    first, second = (source_folder(tmp_path, name) for name in ("first", "second"))
    assert submitted_folder_hash(first) != submitted_folder_hash(second)
    assert method_hash(first) == method_hash(second)
    text = (second / "entry.toml").read_text()
    (second / "entry.toml").write_text(text.replace("radius = 3", "radius = 4"))
    assert method_hash(first) != method_hash(second)


def test_a_copied_baseline_is_found(tmp_path):
    copy = tmp_path / "my-padim"
    copy.mkdir()
    for path in (REPOSITORY / "baselines/padim").iterdir():
        if path.is_file():
            text = path.read_text().replace('name = "padim"', 'name = "my-padim"')
            (copy / path.name).write_text(text)
    entry = open_entry(str(copy))
    assert find_twin("my-padim", marks(entry), submissions.baselines()).name == "padim"


def test_a_record_of_the_same_program_is_found(make_record):
    records = [make_record(entry="first", entry__identity=f"image:{DIGEST}")]
    program = Program("second", f"image:{DIGEST}")
    assert find_recorded_twin("second", program, records).name == "first"
    assert find_recorded_twin("first", program, records) is None
    assert find_recorded_twin("second", Program("second", f"image:{OTHER}"), records) is None


def test_broken_files_are_kept_apart_with_their_reason(tmp_path):
    submit(tmp_path)
    (tmp_path / "broken.toml").write_text("[entry")
    entries, invalid = submissions.open_all(tmp_path)
    assert [entry.name for entry in entries] == ["mine"]
    ((path, error),) = invalid.items()
    assert path.name == "broken.toml"
    assert "TOML" in str(error)


def test_an_archive_lies_beside_its_file_or_where_the_variable_says(tmp_path, monkeypatch):
    wanted = table(archive="mine.tar", archive_hash=DIGEST)
    with pytest.raises(DataMissing, match="not on this machine") as caught:
        submissions.find_archive(wanted, tmp_path / "mine.toml")
    assert caught.value.exit_code == 5  # it was handed over: not its author's fault
    assert "BMAD_ARCHIVES" in caught.value.fix
    store = tmp_path / "archives"
    store.mkdir()
    (store / "mine.tar").write_bytes(b"x")
    monkeypatch.setenv("BMAD_ARCHIVES", str(store))
    assert submissions.find_archive(wanted, tmp_path / "mine.toml") == store / "mine.tar"
    kept = store / f"mine-{'1' * 12}.tar"  # a newer archive took its name
    kept.write_bytes(b"y")
    assert submissions.find_archive(wanted, tmp_path / "mine.toml") == kept


def test_an_earlier_version_is_nobody_elses_to_hand_in(tmp_path):
    submit(tmp_path, "first", content=OTHER, earlier=(DIGEST,))
    submit(tmp_path, "second", image=None, archive="x.tar", archive_hash=OTHER, content=DIGEST)
    (first, second), _ = submissions.open_all(tmp_path)
    assert find_twin(second.name, marks(second), [first]).name == "first"


def test_a_folder_that_an_author_made_among_the_baselines_may_be_submitted(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "REPOSITORY", tmp_path)
    monkeypatch.setattr(submissions, "BASELINES", tmp_path / "baselines")
    git(tmp_path, "init", "--quiet")
    source_folder(tmp_path / "baselines", "ours")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "ours")
    source_folder(tmp_path / "baselines", "mine")
    assert submissions.name_problem("mine", []) is None
    assert submissions.name_problem("ours", []) == "ours is the name of a baseline"
    assert "can be taken for ours" in submissions.name_problem("0urs", [])


def test_only_what_is_committed_is_the_projects_own(monkeypatch):
    from harness.common.paths import BASELINES

    names = submissions.committed_folders(BASELINES)
    assert names is not None
    assert {"padim", "kit", "template"} <= names
    monkeypatch.setattr(submissions, "committed_folders", lambda _: frozenset({"padim"}))
    assert [entry.name for entry in submissions.baselines()] == ["padim"]
    monkeypatch.setattr(submissions, "committed_folders", lambda _: None)  # no git: all of them
    assert len(submissions.baselines()) > 10


def test_a_linked_folder_and_a_huge_file_are_refused(tmp_path):
    folder = source_folder(tmp_path / "elsewhere", "mine")
    (tmp_path / "mine").symlink_to(folder)
    path = submit(tmp_path, folder="mine", folder_hash=submitted_folder_hash(folder))
    with pytest.raises(EntryInvalid, match="is a link"):
        open_entry(str(path))
    (tmp_path / "huge.toml").write_text("#" * (1024**2 + 1))
    with pytest.raises(EntryInvalid, match="larger than"):
        open_entry(str(tmp_path / "huge.toml"))


FOLDER_TEXTS = {
    "paper": ('paper = "javascript:alert(1)"', "paper must be an http"),
    "description": (r'description = "a\u202eb"', "description holds control"),
    "formula": ('external_data = "=1+1"', "external_data begins with"),
    "deviation": (r"""[[deviations]]
what = "other"
why = "a\u001b[2J\nfix: b"
""", "deviation 1, why holds control"),
    "setting": (r"""[presets.demo]
radius = "\u00ad"
""", "[presets.demo.radius] holds what cannot be seen"),
    "name of a setting": (r"""[presets.demo]
"a\nfix: b" = 1
""", "[presets.demo] holds what cannot be seen"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDER_TEXTS)
def test_what_a_submitted_folder_says_of_itself_is_held_to_the_same_rules(tmp_path, kind):
    text, problem = FOLDER_TEXTS[kind]
    folder = source_folder(tmp_path, "mine")
    path = folder / "entry.toml"
    parts = path.read_text().partition("[params]")
    path.write_text(f"{parts[0]}{text}\n[params]\nradius = 3\n")
    submit(tmp_path, folder="mine", folder_hash=submitted_folder_hash(folder), paper="")
    with pytest.raises(EntryInvalid) as refused:
        open_entry(str(tmp_path / "mine.toml"))
    assert problem in str(refused.value)
    assert str(refused.value).isprintable()
    (told,) = check_files(tmp_path)
    assert told.startswith("mine.toml: ")
    assert problem in told
    assert told.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        '[entry]\n"na\\u001b[2J\\nfix: me" = 1\n',
        '["sec\\u001b[2J\\nfix: me"]\n',
        '[entry]\nname = "x"\n["\\u202e"]\na = \x1b\n',
        "[entry]\nx = \x1b[2J\n",
    ],
)
def test_an_error_in_a_file_quotes_it_in_visible_characters(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(EntryInvalid) as refused:
        open_entry(str(tmp_path / "mine.toml"))
    assert {each for each in str(refused.value) if not each.isprintable()} <= {"\n"}
    assert "\nfix: me" not in str(refused.value)


def test_a_record_keeps_declared_text_in_visible_characters(tmp_path):
    folder = source_folder(tmp_path, "mine")
    path = folder / "entry.toml"
    path.write_text(path.read_text().replace("[params]", 'description = "a\\u001bb"\n[params]'))
    assert open_entry(str(folder)).metadata["description"] == r"a\x1bb"


def test_a_title_that_is_read_as_anothers_is_found_and_the_same_title_is_not(
    tmp_path: Path,
) -> None:
    cyrillic = "P\u0430tchCore"
    assert title_problem(cyrillic, ["PaDiM", "PatchCore"]) == (
        "its title can be taken for 'PatchCore', and is written in other characters"
    )
    assert title_problem("Patch-Core", ["PatchCore"]) is not None
    assert title_problem("patchcore ", ["PatchCore"]) is None
    submit(tmp_path, "second", title="PatchCore", content=DIGEST)
    submit(tmp_path, "third", title=cyrillic, image=f"r.example/third@{OTHER}", content=OTHER)
    (told,) = check_files(tmp_path)
    assert told.startswith("third.toml: its title can be taken for 'PatchCore'")
