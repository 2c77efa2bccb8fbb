"""Fetching pretrained files from a server that misbehaves in every way that was thought of."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from baselines.kit import backbones, weight_files
from baselines.kit.weight_files import WEIGHT_FILES, WeightFile
from harness import weights as verb
from harness.common.errors import UsageError, WeightsMissing
from harness.entries import weights, weights_fetching
from harness.entries.entry import EntryTable

CONTENT = bytes(range(256)) * 4096  # 1 MiB
FILE = WeightFile("toynet", "toynet.pth", hashlib.sha256(CONTENT).hexdigest()[:8], 1)
SEVERAL = EntryTable(name="several", title="S", backbones=("resnet18", "wide_resnet50_2"))


@dataclass
class Server:
    """What the server holds, how it behaves, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    knows_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)
    """Bytes sent before the connection ends, one item per request; whole answers afterwards."""
    failures: list[int] = field(default_factory=list)
    """Status codes of the first requests."""
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.failures:
                return self.send_error(state.failures.pop(0))
            if not self.path.endswith(FILE.file_name):
                return self.send_error(404)
            start = int(re.findall(r"\d+", asked)[0]) if asked and state.knows_ranges else 0
            if start >= len(state.content):
                return self.send_error(416)
            body = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.breaks_after.pop(0)] if state.breaks_after else body)
            return None

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        state.url = f"http://127.0.0.1:{running.server_port}/models/"
        yield state
        running.shutdown()


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small file in the table, no pauses, no proxy between us and the server."""
    monkeypatch.setitem(WEIGHT_FILES, FILE.name, FILE)
    monkeypatch.setattr(weights_fetching, "FIRST_PAUSE_SECONDS", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(server: Server, folder: Path) -> int:
    return verb.main(
        ["fetch", "toynet", "--weights", str(folder), "--source", server.url.rstrip("/")]
    )


def test_a_file_is_fetched_checked_and_named(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(server, tmp_path / "new") == 0
    assert (tmp_path / "new" / FILE.file_name).read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE.file_name]
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "new" / FILE.file_name)
    assert hashlib.sha256(CONTENT).hexdigest() in told.err


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / FILE.file_name).write_bytes(CONTENT)
    assert fetch(server, tmp_path) == 0
    assert server.ranges == []


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{FILE.file_name}.part").write_bytes(CONTENT[:1000])
    server.breaks_after = [5000]
    assert fetch(server, tmp_path) == 0
    assert server.ranges == ["bytes=1000-", "bytes=6000-"]
    assert (tmp_path / FILE.file_name).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_whole_file_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{FILE.file_name}.part").write_bytes(b"something else")
    server.knows_ranges = False
    assert fetch(server, tmp_path) == 0
    assert (tmp_path / FILE.file_name).read_bytes() == CONTENT


def test_a_complete_part_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{FILE.file_name}.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path) == 0
    assert len(server.ranges) == 1


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{FILE.file_name}.part").write_bytes(CONTENT + b"x")
    assert fetch(server, tmp_path) == 0
    assert (tmp_path / FILE.file_name).read_bytes() == CONTENT


def test_a_passing_server_error_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.failures = [503, 502]
    assert fetch(server, tmp_path) == 0
    assert len(server.ranges) == 3


def test_a_missing_file_is_one_error_with_the_ways_on(server: Server, tmp_path: Path) -> None:
    server.failures = [404]
    with pytest.raises(WeightsMissing, match="404") as caught:
        fetch(server, tmp_path)
    assert "--source" in caught.value.fix
    assert len(server.ranges) == 1


def test_another_file_under_the_same_name_is_removed(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    with pytest.raises(WeightsMissing, match="SHA-256"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_in_the_folder_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / FILE.file_name).write_bytes(b"another recipe")
    assert fetch(server, tmp_path) == 0
    assert (tmp_path / FILE.file_name).read_bytes() == CONTENT


def test_a_full_disk_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 10

    monkeypatch.setattr(weights_fetching.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(WeightsMissing, match="MiB are needed"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("source", ["file:///etc/", "ftp://example.org/"])
def test_only_http_sources_are_read(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an http address"):
        verb.main(["fetch", "toynet", "--weights", str(tmp_path), "--source", source])


def test_verify_is_content_with_files_that_were_never_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE.file_name).write_bytes(CONTENT)
    assert verb.main(["verify", "--weights", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(WEIGHT_FILES)
    assert sum("is not there" in line for line in lines) == len(WEIGHT_FILES) - 1
    assert any(hashlib.sha256(CONTENT).hexdigest() in line for line in lines)


def test_verify_fails_for_a_wrong_file_and_for_a_missing_one_that_was_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb.main(["verify", "toynet", "--weights", str(tmp_path)]) == 5
    (tmp_path / FILE.file_name).write_bytes(b"wrong")
    assert verb.main(["verify", "--weights", str(tmp_path)]) == 5
    assert "not " + FILE.sha256 in capsys.readouterr().out


def test_the_folder_is_the_option_then_the_environment_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    verb.main(["path"])
    monkeypatch.setenv("BMAD_WEIGHTS", str(tmp_path / "mine"))
    verb.main(["path"])
    verb.main(["path", "toynet", "--weights", str(tmp_path / "here")])
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "cache" / "weights"),
        str(tmp_path / "mine"),
        str(tmp_path / "here" / FILE.file_name),
    ]


def table(*backbones: str, **more: object) -> EntryTable:
    return EntryTable.model_validate(
        {"name": "one", "title": "One", "backbones": backbones, **more}
    )


def test_missing_weights_are_one_error_that_names_the_command(tmp_path: Path) -> None:
    (tmp_path / WEIGHT_FILES["vgg16"].file_name).write_bytes(b"wrong")
    with pytest.raises(WeightsMissing) as caught:
        weights.require_for(table("resnet18", "vgg16"), {}, tmp_path)
    assert "resnet18-f37072fd.pth is not there" in caught.value.what
    assert "vgg16-397923af.pth has SHA-256" in caught.value.what
    assert f"weights fetch resnet18 vgg16 --weights {tmp_path}" in caught.value.fix
    assert "--set weights=random" in caught.value.fix
    assert caught.value.exit_code == 5


def test_weights_that_are_there_are_given_with_their_full_hash(tmp_path: Path) -> None:
    path = tmp_path / FILE.file_name
    path.write_bytes(CONTENT)
    (found,) = weights.require_for(table("toynet"), {}, tmp_path)
    assert (found.name, found.file) == ("toynet", FILE.file_name)
    assert found.sha256 == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    path.write_bytes(CONTENT + b"x")  # what was hashed before counts no more
    with pytest.raises(WeightsMissing, match="has SHA-256"):
        weights.require_for(table("toynet"), {}, tmp_path)
    with pytest.raises(WeightsMissing, match="is not there"):
        weights.require_for(table("toynet"), {}, None)


def test_an_unknown_backbone_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="resnet19") as caught:
        weights.require_for(table("resnet19"), {}, None)
    assert "wide_resnet50_2" in caught.value.fix


def needed(entry: EntryTable, folder: Path | None = None, **params: object) -> list[str]:
    return [file.name for file in weights.needed_by(entry, params, folder).files]


def test_an_entry_needs_only_the_files_that_its_parameters_name(tmp_path: Path) -> None:
    assert needed(SEVERAL, weights="random", backbone="resnet18") == []
    assert needed(SEVERAL, weights="imagenet", backbone="resnet18") == ["resnet18"]
    assert needed(SEVERAL, weights="imagenet") == ["resnet18", "wide_resnet50_2"]
    assert needed(SEVERAL, weights="imagenet", backbone="vgg16") == ["vgg16"]
    assert needed(table("resnet18"), backbone="vgg16") == ["resnet18"]  # it has no choice
    assert weights.require_for(table(), {}, None) == ()
    assert weights.require_for(SEVERAL, {"weights": "random"}, tmp_path) == ()


def test_a_file_that_is_no_backbone_is_needed_where_the_entry_says_so() -> None:
    entry = table("resnet18", "toynet", needed_where={"toynet": {"penalty": "imagenet"}})
    assert needed(entry, weights="imagenet", penalty="none") == ["resnet18"]
    assert needed(entry, weights="imagenet", penalty="imagenet") == ["resnet18", "toynet"]
    assert needed(entry, weights="random", penalty="imagenet") == ["toynet"]


def test_the_files_of_entries_are_those_of_their_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def paths(*arguments: str) -> list[str]:
        assert verb.main(["path", "--weights", str(tmp_path), *arguments]) == 0
        return [Path(line).name.partition("-")[0] for line in capsys.readouterr().out.splitlines()]

    assert paths("--for", "patchcore", "padim") == ["wide_resnet50_2", "resnet18"]
    assert paths("--preset", "official", "--for", "padim") == ["wide_resnet50_2"]
    assert paths("--preset", "demo", "--for", "padim") == []
    assert paths("--set", "backbone=resnet18", "--for", "patchcore", "ganomaly") == ["resnet18"]
    for wrong in (["--preset", "demo"], ["resnet18", "--for", "padim"]):
        with pytest.raises(UsageError):
            paths(*wrong)
    with pytest.raises(UsageError, match="no entry has a parameter 'backbome'"):
        paths("--set", "backbome=resnet18", "--for", "patchcore")


def test_the_list_says_what_is_there_and_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE.file_name).write_bytes(b"unread")
    unknown = WeightFile("nodigest", "no.pth", "", 3, "https://e.org/no.pth", is_tried=False)
    monkeypatch.setitem(WEIGHT_FILES, "nodigest", unknown)
    assert verb.main(["list", "--weights", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"toynet +there, 1 MiB\n", told)
    assert re.search(
        r"nodigest +not there, 3 MiB, its publisher states no digest: no rank, address not tried\n"
        r" +no.pth +https://e.org/no.pth\n", told
    )  # fmt: skip
    assert verb.main(["list", "nodigest", "--json", "--weights", str(tmp_path)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["is_there"], found["is_pinned"], found["is_address_tried"]) == (False,) * 3


def test_a_digest_is_pinned_by_the_committed_table_alone() -> None:
    whole = hashlib.sha256(CONTENT).hexdigest()
    assert weights.is_pinned("toynet", f"sha256:{whole}")
    assert not weights.is_pinned("toynet", f"sha256:{whole[::-1]}")
    assert not weights.is_pinned("mine", f"sha256:{whole}")


def test_the_table_agrees_with_torchvision() -> None:
    models = pytest.importorskip("torchvision.models")
    for name in backbones.TORCHVISIONS:
        file = WEIGHT_FILES[name]
        published = models.get_model_weights(name).IMAGENET1K_V1
        assert file.url == published.url
        assert file.sha256[:8] in file.file_name
        assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", file.sha256)
        assert round(published.meta["_file_size"]) == file.mebibytes


def test_hashing_tells_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    seen: list[int] = []
    assert weight_files.sha256_of(path, seen.append) == hashlib.sha256(CONTENT).hexdigest()
    assert sum(seen) == len(CONTENT)
