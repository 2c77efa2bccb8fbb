"""A maintainer's change is known by a signature of the base's keys, over exactly what it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import publish
from harness.common.errors import UsageError
from harness.publishing.signing import generate_key
from tests.publishing.pull_requests import RECORDS, add, commit, git

KEYS = "leaderboard/keys"


@pytest.fixture
def signed(fork: Path, run: Callable[..., Path], tmp_path: Path) -> Path:
    """A fork with a record, of a base that holds the key of `me`."""
    generate_key(tmp_path / "me.key", fork / KEYS / "me.pem")
    commit(fork)
    git(fork, "update-ref", "refs/remotes/origin/main", "HEAD")
    run()
    assert add(fork, tmp_path / "results") == 0
    commit(fork)
    return fork


def call(verb: str, fork: Path, *more: str) -> int:
    return publish.main([verb, "--base", "origin/main", "--repository", str(fork), *more])


def sign(fork: Path, tmp_path: Path, key: str = "me.key") -> str:
    file = tmp_path / "change.sig"
    assert call("sign", fork, "--key", str(tmp_path / key), "--out", str(file)) == 0
    return str(file)


def test_a_change_that_a_key_of_the_base_signed_is_a_maintainers(
    signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", signed) == 5
    assert "it comes from a maintainer" in capsys.readouterr().out
    assert call("check", signed, "--signature", sign(signed, tmp_path)) == 0
    told = capsys.readouterr().out
    assert "signed by me, whose key is in origin/main" in told
    assert "0 problems" in told


def test_a_signature_proves_who_and_not_that_it_is_right(
    signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (signed / RECORDS / "brain/patchcore/notes.txt").write_text("x")
    assert call("check", signed, "--signature", sign(signed, tmp_path)) == 5
    assert "notes.txt: it is no file that the harness publishes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fork: (fork / "harness/new.py").write_text("x"),
        lambda fork: (fork / RECORDS / "brain/patchcore/seed-0.json").write_text("{}"),
        lambda fork: (fork / RECORDS / "brain/patchcore/seed-0.curves.json").unlink(),
        lambda fork: git(fork, "update-ref", "refs/remotes/origin/main", "HEAD~2"),
    ],
    ids=["added", "changed", "removed", "another base"],
)
def test_no_file_can_change_after_it_was_signed(signed: Path, tmp_path: Path, spoil) -> None:
    file = sign(signed, tmp_path)
    key = git(signed, "show", f"origin/main:{KEYS}/me.pem") + "\n"
    spoil(signed)
    if not (signed / KEYS / "me.pem").is_file():
        (signed / KEYS / "me.pem").write_text(key)
    with pytest.raises(UsageError, match=r"did not sign this change|no key of the base"):
        call("check", signed, "--signature", file)


def test_a_key_that_comes_with_the_change_counts_for_nothing(signed: Path, tmp_path: Path) -> None:
    generate_key(tmp_path / "thief.key", signed / KEYS / "thief.pem")
    commit(signed)
    with pytest.raises(UsageError, match="no key of the base has the id"):
        call("check", signed, "--signature", sign(signed, tmp_path, "thief.key"))


@pytest.mark.parametrize("content", ["", "x", "ed25519:00 zz", "\xff", "ed25519:0 " + "00" * 64])
def test_a_file_that_is_no_signature_is_one_clear_error(
    signed: Path, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "broken.sig"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError):
        call("check", signed, "--signature", str(file))


def test_a_signature_is_never_a_part_of_what_it_signs(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a part of what it signs"):
        call("sign", signed, "--key", str(tmp_path / "me.key"), "--out", str(signed / "x.sig"))
    (signed / "link").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="cannot be signed"):
        sign(signed, tmp_path)
    with pytest.raises(UsageError, match="needs a key"):
        call("sign", signed)
