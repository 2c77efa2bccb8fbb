"""The command line as a user meets it: what every verb shares, tried on every verb."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.__main__ import verbs
from harness.common.errors import UsageError
from harness.console import cli
from harness.console.ends import EXIT_READER_LEFT
from tests.paths import ENTRIES, REPOSITORY

VERBS = sorted(verbs())


def call(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, **options,
    )  # fmt: skip


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser of a verb, or of each verb below it."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for each in action.choices.values():
            yield from leaves(each)


# -- verbs and options --------------------------------------------------------------------------


def test_the_harness_lists_its_verbs_each_in_a_line() -> None:
    done = call("harness")
    assert done.returncode == 0
    told = [line for line in done.stdout.splitlines() if line.startswith("python -m harness.")]
    assert [line.split()[2].removeprefix("harness.") for line in told[:-1]] == VERBS
    assert {path.stem for path in (REPOSITORY / "harness").glob("[a-z]*.py")} == set(VERBS)
    assert all(len(line) < 120 and line.split(maxsplit=3)[3] for line in told)
    assert json.loads(call("harness", "--json").stdout) == verbs()


@pytest.mark.parametrize(
    "typed", [("harness", "evalute"), ("harness.evalute",), ("harness.evalute", "x", "--seed", "1")]
)
def test_a_mistyped_verb_is_answered_by_the_one_that_was_meant(typed: tuple[str, ...]) -> None:
    done = call(*typed)
    assert done.returncode == 2
    assert "there is no verb 'evalute'" in done.stderr
    assert "did you mean python -m harness.evaluate?" in done.stderr
    assert "Traceback" not in done.stderr
    assert "No module named" not in done.stderr


def test_a_verb_can_be_named_after_the_harness() -> None:
    assert call("harness", "list", "--help").stdout == call("harness.list", "--help").stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_json_and_recognises_a_mistyped_option(verb: str) -> None:
    parser = importlib.import_module(f"harness.{verb}").build_parser()
    for leaf in leaves(parser):
        assert "--json" in leaf._option_string_actions, leaf.prog
        for option in leaf._option_string_actions:
            if not option.startswith("--"):
                continue
            mistyped = option[:-2] + option[-1] + option[-2]
            if mistyped in leaf._option_string_actions:
                continue
            with pytest.raises(UsageError) as refused:
                leaf.parse_args([mistyped])
            assert option in refused.value.fix.partition("?")[0], (mistyped, refused.value.fix)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("harness.queue", "lst"), "did you mean list?"),
        (("harness.bundle", "exprt"), "did you mean export?"),
        (("harness.campaign", "rnu"), "did you mean run?"),
        (("harness.evaluate", "x", "--engine=dokcer"), "did you mean docker?"),
        (("harness.evaluate", "--sed", "3", "x"), "did you mean --seed"),
        (("harness.evaluate", "x", "--limit", "pid=3"), "did you mean pids?"),
        (("harness.evaluate", "baselines/padmi"), "did you mean baselines/padim?"),
        (("harness.evaluate", "padmi"), "did you mean baselines/padim?"),
        (("harness.evaluate", "baselines/padim", "--preset", "offical"), "did you mean official?"),
        (("harness.evaluate", "baselines/padim", "--set", "bachbone=x"), "did you mean backbone?"),
        (("harness.evaluate", "baselines/padim", "--benchmark", "demos"), "did you mean demo?"),
        (("harness.prepare", "brian", "--raw", "x", "--out", "y"), "did you mean brain?"),
    ],
)
def test_what_was_meant_is_told(
    arguments: tuple[str, ...], told: str, made: Path, tmp_path: Path
) -> None:
    assert made.is_dir()  # its cache holds the demo pack
    verb, *others = arguments
    own = ["--results", str(tmp_path)] if verb.endswith("evaluate") else []
    if own and "--engine=dokcer" not in others:
        own += ["--engine", "process"]
    with pytest.raises(UsageError) as refused:
        importlib.import_module(verb).main([*others, *own])
    assert told in str(refused.value)


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_leaves_is_no_news_to_any_verb(verb: str) -> None:
    # One byte is read of a pipe whose reader is gone before the rest is written.
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"harness.{verb}", "--help"],
            stdout=writing, stderr=subprocess.PIPE, cwd=REPOSITORY, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (EXIT_READER_LEFT, b"")


def test_lists_load_nothing_that_takes_seconds() -> None:
    code = (
        "import json, sys\nfrom harness import list as listing\n"
        "assert listing.main(['baselines']) == 0\nprint(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    heavy = {"torch", "pandas", "scipy", "numba", "sklearn", "docker", "ray", "skimage", "nibabel"}
    assert not heavy & loaded


# -- results ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the results of two runs of one entry, made with its own cache."""
    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMAD_CACHE", str(home / "cache"))
        patch.setenv("BMAD_MODELS", str(home / "models"))
        evaluate = importlib.import_module("harness.evaluate")
        for name in ("honest", "score_only"):
            arguments = [str(ENTRIES / name), "--engine", "process", "--no-site"]
            assert evaluate.main([*arguments, "--results", str(home / "results")]) == 0
        yield home


CALLS: dict[str, list[str]] = {
    "bundle": ["key", "{out}/key.pem", "--name", "ada", "--keys", "{out}"],
    "campaign": [
        "status", "--entries", "{honest}", "--benchmark", "demo", "--engine", "process",
        "--results", "{results}",
    ],
    "canary": ["--benchmark", "demo", "--out", "{out}/canary-x"],
    "check": ["{honest}", "--engine", "process"],
    "clean": ["--results", "{results}"],
    "compare": ["--unranked", "--results", "{results}"],
    "evaluate": ["{honest}", "--engine", "process", "--results", "{results}", "--dry-run"],
    "list": ["runs", "--results", "{results}"],
    "models": ["list", "--models", "{out}/models"],
    "pack": ["verify", "demo", "--results", "{out}"],
    "prepare": ["folder", "--raw", "{raw}", "--out", "{out}", "--name", "ours", "--dry-run"],
    "queue": ["check", "--submissions", "{out}"],
    "score": ["--results", "{results}"],
    "site": ["--results", "{results}", "--records", "{out}", "--out", "{out}/site"],
    "weights": ["path", "--weights", "{out}"],
}  # fmt: skip
# Needs a signed bundle, a registry, a git branch, or writes files: their own tests hold their JSON.
ELSEWHERE = {"export", "publish", "rerun", "start", "submit", "verify"}


def test_every_verb_is_tried_here_or_elsewhere() -> None:
    assert set(VERBS) <= set(CALLS) | ELSEWHERE


@pytest.mark.parametrize("verb", CALLS)
def test_a_result_is_json_where_it_is_asked_for_and_text_otherwise(
    verb: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main: Callable[[list[str]], int] = importlib.import_module(f"harness.{verb}").main
    # At no terminal a check is JSON anyway: its text is read below.
    for number, more in enumerate((["--json"],) if verb == "check" else ([], ["--json"])):
        out = tmp_path / str(number)
        out.mkdir()
        places = {"out": out, "results": made / "results", "honest": ENTRIES / "honest"}
        raw = tmp_path / f"raw-{number}"
        if verb == "prepare":
            places["raw"] = _folder_of_images(raw)
        capsys.readouterr()
        assert main([text.format(**places) for text in CALLS[verb]] + more) == 0
        told = capsys.readouterr().out
        assert told.strip()
        if more:
            json.loads(told)
        else:
            with pytest.raises(ValueError, match=r"Expecting|Extra data"):
                json.loads(told)


def _folder_of_images(folder: Path) -> Path:
    from PIL import Image

    for kind in ("normal", "abnormal"):
        (folder / kind).mkdir(parents=True)
        for number in range(12):
            image = Image.new("L", (32, 32), 40 + number)
            image.save(folder / kind / f"{kind}-{number:02}.png")
    return folder


def test_a_verdict_at_a_terminal_is_to_be_read(made: Path) -> None:
    """Through a pseudo-terminal; a pipe gets the JSON that programs were promised."""
    told = io.BytesIO()
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(REPOSITORY)
        command = [sys.executable, "-m", "harness.check", str(ENTRIES / "wrong_shape")]
        os.execv(sys.executable, [*command, "--engine", "process"])
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # what Linux answers where the last writer has ended
            break
        if not data:
            break
        told.write(data)
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 4
    text = told.getvalue().decode()
    assert "FAILED run on the demo pack" in text
    assert "wrong_shape does NOT keep the contract" in text
    assert '"checks"' not in text


@pytest.mark.parametrize("what", ["baselines", "statuses"])
def test_no_name_is_broken_in_a_table_that_goes_into_a_pipe(what: str) -> None:
    narrow = {**os.environ, "COLUMNS": "40"}
    rows = json.loads(call("harness.list", what, "--json").stdout)
    table = call("harness.list", what, env=narrow).stdout.splitlines()
    for row in rows:
        cells = [str(value) for value in row.values()]
        assert any(all(cell in line for cell in cells) for line in table), cells


def test_say_either_prints_one_of_the_two(capsys: pytest.CaptureFixture[str]) -> None:
    cli.say_either("text", [1], is_json=False)
    cli.say_either("text", [1], is_json=True)
    assert capsys.readouterr().out == "text\n[\n 1\n]\n"
