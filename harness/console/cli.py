"""What all verbs share on the command line: errors, exit codes, progress, common options.

Results go to standard output, everything else to standard error. Exit codes: 0 ok,
1 bug (with its traceback), 2 usage, 3 entry invalid, 4 entry failed, 5 environment,
128 + n ended by signal n: 129 the terminal was closed, 130 Ctrl-C, 143 terminated, 141 the
reader of the output left.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from harness.common.errors import EnvironmentFault, HarnessError, UsageError
from harness.common.foreign_text import hanging, in_lines, one_line
from harness.common.near_misses import did_you_mean
from harness.common.room_to_write import DISK_FULL
from harness.console import ends
from harness.engines.base import Limits

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# The most of a limit, by its type: what a wait on a descriptor (31 bits of milliseconds), and
# an engine's 63 bits of bytes, still carry.
MOST: dict[type, float] = {float: 2_000_000.0, int: 2**40}
# A line of progress at most this often where the output is not a terminal.
QUIET_SECONDS = 10.0


class Reporter:
    """Tells what happens, on standard error: bars on a terminal, one line per event elsewhere."""

    def __init__(self) -> None:
        self._spoke: dict[str, float] = {}  # label -> instant of its last line
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None

    def show_engine_messages(self) -> None:
        """Pass on what engines log: the first build of an image takes minutes."""
        logger = logging.getLogger("harness.engines")
        logger.setLevel(logging.INFO)
        logger.handlers = [_Events(self)]

    def event(self, text: str) -> None:
        """One line about something that happened; more lines of it hang below the first."""
        shown = hanging(text)
        if self._bars is not None:
            with ends.terminal_may_be_gone():
                self._bars.console.print(shown, markup=False, emoji=False, highlight=False)
        else:
            ends.write_line(shown, sys.stderr)

    def progress(self, label: str, done: int, total: int | None) -> None:
        """How far `label` is; may be called as often as one likes."""
        label = one_line(label)
        if ends.is_terminal(sys.stderr):
            with ends.terminal_may_be_gone():
                self._draw(label, done, total)
            return
        now = time.monotonic()
        if now - self._spoke.setdefault(label, now) >= QUIET_SECONDS:
            self._spoke[label] = now
            ends.write_line(f"  {label}: {done}" + (f"/{total}" if total else ""), sys.stderr)

    def close(self) -> None:
        """Take the bars away; what follows is printed plainly."""
        if self._bars is not None:
            with ends.terminal_may_be_gone():
                self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def _draw(self, label: str, done: int, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        if self._bars is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total)
        self._bars.update(self._tasks[label], completed=done, total=total)
        if total is not None and done >= total:
            self._bars.remove_task(self._tasks.pop(label))


@contextlib.contextmanager
def reporting() -> Iterator[Reporter]:
    """A reporter that passes on what engines say; its bars are gone at the end, whatever happens."""
    reporter = Reporter()
    reporter.show_engine_messages()
    try:
        yield reporter
    finally:
        reporter.close()


class _Events(logging.Handler):
    """Log records as a reporter's events."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record."""
        self._reporter.event(f"  {record.getMessage()}")


def run_verb(main: Callable[[Sequence[str] | None], int]) -> int:
    """Run a verb's `main` and turn what it raises into a message and an exit code.

    A bug keeps its traceback (exit code 1); so does nothing else.
    """
    sys.excepthook = _show_bug
    ends.make_outputs_legible()
    try:
        with ends.ended_by_signals():
            code = _code_of(main)
            if sys.stdout is not None:
                with ends.terminal_may_be_gone():
                    sys.stdout.flush()
            return code
    except HarnessError as error:
        _tell_last(render_error(error))
        return error.exit_code
    except KeyboardInterrupt as end:
        _tell_last("interrupted: no half record was left; the same command goes on")
        return end.exit_code if isinstance(end, ends.EndedBySignal) else ends.EXIT_INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError) and ends.has_reader_left():
            return ends.EXIT_READER_LEFT  # head, less: no news
        if error.errno not in DISK_FULL:
            raise
        full = _disk_full(error)
        _tell_last(render_error(full))
        return full.exit_code
    finally:
        ends.close_outputs()


def _code_of(main: Callable[[Sequence[str] | None], int]) -> int:
    """What `main` returns; the parser's own end, after `--help`, is one like others."""
    try:
        return main(None)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        return end.code or 0


def _tell_last(text: str) -> None:
    """Why this verb ends; where that can be told to nobody it ends all the same."""
    with contextlib.suppress(OSError):
        ends.write_line(text, sys.stderr)


def _disk_full(error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        "the disk is full",
        where=str(error.filename or ""),
        fix="free some space (python -m harness.clean), or name folders on another disk:"
        " --results DIR, BMAD_CACHE, BMAD_MODELS",
    )


def say(text: object, *, to: TextIO | None = None) -> None:
    """Print a result, or a part of one: its lines are ours, all else that cannot be seen is spelled.

    Args:
        text: what to print.
        to: standard output, where nothing else is said.
    """
    ends.write_line(in_lines(text), to or sys.stdout)


def say_json(value: object) -> None:
    """Print a result for machines: JSON in ASCII, so that no character of it reaches a terminal raw."""
    import json

    text = json.dumps(value, indent=1, allow_nan=False, default=str)
    say(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves as it is


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback as Python prints it; what the error's text quotes can be seen for what it is."""
    told = "".join(traceback.format_exception(kind, error, trace))
    print(in_lines(told), end="", file=sys.stderr)


def render_error(error: HarnessError) -> str:
    """`error: what (where)` and, where there is one, `fix: what to do`."""
    where = f" ({error.where})" if error.where else ""
    text = hanging(f"error: {error.what.rstrip()}{where}")
    return f"{text}\n{hanging(f'fix: {error.fix}')}" if error.fix else text


def say_either(text: object, value: object, *, is_json: bool) -> None:
    """Print a result once: as text, or with `--json` for machines."""
    if is_json:
        say_json(value)
    else:
        say(text)


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `UsageError`s and whose help keeps its examples' lines."""

    def __init__(self, verb: str, description: str, examples: str) -> None:
        super().__init__(
            prog=f"python -m harness.{verb}".rstrip("."),
            description=description,
            epilog="examples:\n" + examples.strip("\n"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._given: list[str] = []

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As the base class, which calls this for the verbs of a verb too."""
        self._given = [str(each) for each in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As every result: the base class lets no caller see that the reader has left."""
        say(message.rstrip("\n"), to=file or sys.stderr)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting; a mistyped option is recognised."""
        known = self._options()
        names = [text.partition("=")[0] for text in self._given if text.startswith("--")]
        hints = "".join(did_you_mean(name, known) for name in names if name not in known)
        raise UsageError(message, fix=f"{hints}{self.prog} --help")

    def _options(self) -> set[str]:
        """Every option of this parser and of the verbs below it."""
        known = set(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    known |= parser._options()
        return known

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(each) for each in action.choices]
            raise argparse.ArgumentError(
                action,
                f"invalid choice: {value!r}; {did_you_mean(str(value), choices)}"
                f"choose from {', '.join(choices)}",
            )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Where and under which limits an entry runs."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--engine",
        choices=("auto", "docker", "podman", "apptainer", "process"),
        default="auto",
        help="docker, podman and apptainer isolate the entry; process does not (default: the first that"
        " answers)",
    )
    group.add_argument("--device", default="cpu", help="cpu or cuda:<index or UUID> (default: cpu)")
    group.add_argument(
        "--audit",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="ask two fresh starts about 32 test images once more: does an answer hang on the images"
        " before it? (default: for images and submissions)",
    )
    group.add_argument(
        "--weights", type=Path, metavar="DIR", help="folder of pretrained backbones ($BMAD_WEIGHTS)"
    )
    group.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a limit: " + ", ".join(field.name for field in fields(Limits)),
    )


def add_setting_options(parser: argparse.ArgumentParser) -> None:
    """Hyper-parameters."""
    group = parser.add_argument_group("hyper-parameters")
    group.add_argument(
        "--preset",
        help="bmad, official, demo (default: bmad; on the demo pack: demo)",
    )
    group.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="override one hyper-parameter; may be given several times",
    )


def add_review_option(parser: argparse.ArgumentParser) -> None:
    """Which branch holds what was reviewed."""
    group = parser.add_argument_group("what may take a rank")
    group.add_argument(
        "--reviewed-branch",
        metavar="REVISION",
        help="the branch that holds what was reviewed (default: $BMAD_REVIEWED_BRANCH, else"
        " origin/main)",
    )


def assignments(texts: Sequence[str], option: str) -> dict[str, str]:
    """`name=value` texts as a dict.

    Raises:
        UsageError: a text has no `=`, or a name stands twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is not NAME=VALUE", where=option)
        if name in pairs:
            raise UsageError(f"{name} is given twice", where=option)
        pairs[name] = value
    return pairs


def read_limits(texts: Sequence[str]) -> Limits:
    """The limits with the changes of `--limit`.

    Raises:
        UsageError: an unknown name, or a value that is not a positive number.
    """
    kinds = {name: type(value) for name, value in Limits().as_dict().items()}
    changes: dict[str, float | int] = {}
    for name, text in assignments(texts, "--limit").items():
        if name not in kinds:
            raise UsageError(
                f"unknown limit {name!r}",
                where="--limit",
                fix=f"{did_you_mean(name, kinds)}limits: {', '.join(kinds)}",
            )
        try:
            value = kinds[name](text)
        except ValueError:
            value = 0
        most = MOST[kinds[name]]
        if not 0 < value <= most:
            raise UsageError(
                f"{name} must be a positive {'number' if kinds[name] is float else 'whole number'}"
                f" up to {most:.0f}, not {text!r}",
                where="--limit",
            )
        changes[name] = value
    return Limits(**changes)  # type: ignore[arg-type]
