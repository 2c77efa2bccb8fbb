"""What all verbs share on the command line: errors, exit codes, progress, common options.

Results go to standard output, everything else to standard error. Exit codes: 0 ok,
1 bug (with its traceback), 2 usage, 3 entry invalid, 4 entry failed, 5 environment,
130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, TextIO

from harness.common.errors import EnvironmentFault, HarnessError, UsageError
from harness.common.foreign_text import hanging, in_lines, one_line
from harness.engines.base import Limits

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EXIT_INTERRUPTED = 130
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
            self._bars.console.print(shown, markup=False, emoji=False, highlight=False)
        else:
            print(shown, file=sys.stderr, flush=True)

    def progress(self, label: str, done: int, total: int | None) -> None:
        """How far `label` is; may be called as often as one likes."""
        label = one_line(label)
        if sys.stderr.isatty():
            self._draw(label, done, total)
            return
        now = time.monotonic()
        if now - self._spoke.setdefault(label, now) >= QUIET_SECONDS:
            self._spoke[label] = now
            print(
                f"  {label}: {done}" + (f"/{total}" if total else ""), file=sys.stderr, flush=True
            )

    def close(self) -> None:
        """Take the bars away; what follows is printed plainly."""
        if self._bars is not None:
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
    signal.signal(signal.SIGTERM, _interrupt)
    sys.excepthook = _show_bug
    try:
        return main(None)
    except HarnessError as error:
        print(render_error(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: no half record was left; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) went away: no news, and no second error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        full = EnvironmentFault(
            "the disk is full",
            where=str(error.filename or ""),
            fix="free some space (python -m harness.clean), or name folders on another disk:"
            " --results DIR, BMAD_CACHE, BMAD_MODELS",
        )
        print(render_error(full), file=sys.stderr)
        return full.exit_code


def say(text: object, *, to: TextIO | None = None) -> None:
    """Print a result, or a part of one: its lines are ours, all else that cannot be seen is spelled.

    Args:
        text: what to print.
        to: standard output, where nothing else is said.
    """
    print(in_lines(text), file=to or sys.stdout)


def say_json(value: object) -> None:
    """Print a result for machines: JSON in ASCII, so that no character of it reaches a terminal raw."""
    import json

    text = json.dumps(value, indent=1, allow_nan=False, default=str)
    say(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves as it is


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does: containers removed, no half record."""
    raise KeyboardInterrupt


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback as Python prints it; what the error's text quotes can be seen for what it is."""
    told = "".join(traceback.format_exception(kind, error, trace))
    print(in_lines(told), end="", file=sys.stderr)


def render_error(error: HarnessError) -> str:
    """`error: what (where)` and, where there is one, `fix: what to do`."""
    where = f" ({error.where})" if error.where else ""
    text = hanging(f"error: {error.what.rstrip()}{where}")
    return f"{text}\n{hanging(f'fix: {error.fix}')}" if error.fix else text


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `UsageError`s and whose help keeps its examples' lines."""

    def __init__(self, verb: str, description: str, examples: str) -> None:
        super().__init__(
            prog=f"python -m harness.{verb}",
            description=description,
            epilog="examples:\n" + examples.strip("\n"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise instead of printing the usage and exiting."""
        raise UsageError(message, fix=f"{self.prog} --help")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Where and under which limits an entry runs."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--engine",
        choices=("auto", "docker", "process"),
        default="auto",
        help="docker isolates the entry; process does not (default: docker where it answers)",
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
                f"unknown limit {name!r}", where="--limit", fix="limits: " + ", ".join(kinds)
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
