"""The folder of the site: replaced file by file, and never somebody else's."""

from __future__ import annotations

import json
import os

import pytest

from harness.common.errors import StoreUnusable
from leaderboard.publishing import MANIFEST, publish


def test_files_of_the_last_build_that_are_gone_are_removed(tmp_path):
    publish({"a.html": b"1", "entries/old/x.html": b"2"}, tmp_path)
    publish({"a.html": b"3"}, tmp_path)
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"a.html", MANIFEST}
    assert (tmp_path / "a.html").read_bytes() == b"3"
    assert not (tmp_path / "entries").exists()


def test_files_that_others_put_there_stay(tmp_path):
    publish({"a.html": b"1"}, tmp_path)
    (tmp_path / "CNAME").write_text("board.example")
    publish({"a.html": b"2"}, tmp_path)
    assert (tmp_path / "CNAME").read_text() == "board.example"


def test_a_folder_that_is_no_site_is_refused_and_untouched(tmp_path):
    (tmp_path / "index.html").write_text("my thesis")
    with pytest.raises(StoreUnusable, match="not a site"):
        publish({"index.html": b"1"}, tmp_path)
    assert (tmp_path / "index.html").read_text() == "my thesis"


def test_a_manifest_cannot_name_files_outside(tmp_path):
    out = tmp_path / "site"
    victim = tmp_path / "victim"
    victim.write_text("keep")
    publish({"a.html": b"1"}, out)
    (out / MANIFEST).write_text(json.dumps({"files": {"../victim": "", str(victim): ""}}))
    publish({"a.html": b"2"}, out)
    assert victim.read_text() == "keep"


def test_a_build_that_was_killed_is_mended_by_the_next(tmp_path, monkeypatch):
    publish({"a.html": b"1", "b.html": b"1"}, tmp_path)
    real = os.fdopen
    calls = []

    def fails_late(handle, *rest):
        calls.append(handle)
        if len(calls) == 3:
            os.close(handle)
            raise KeyboardInterrupt
        return real(handle, *rest)

    monkeypatch.setattr(os, "fdopen", fails_late)
    with pytest.raises(KeyboardInterrupt):
        publish({"a.html": b"2", "c.html": b"2"}, tmp_path)
    monkeypatch.undo()
    publish({"a.html": b"3"}, tmp_path)
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"a.html", MANIFEST}


def test_unchanged_files_are_left_alone(tmp_path):
    publish({"a.html": b"1"}, tmp_path)
    os.utime(tmp_path / "a.html", (1, 1))
    publish({"a.html": b"1"}, tmp_path)
    assert (tmp_path / "a.html").stat().st_mtime == 1


def test_a_path_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable):
        publish({"a.html": b"1"}, tmp_path / "file" / "site")
