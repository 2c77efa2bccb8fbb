"""How a verb ends, and what its outputs can say: signals, a reader that left, a poor encoding.

SIGHUP (the terminal was closed), SIGINT and SIGTERM end a verb alike: what is running is undone by
the context managers that it passes, and the exit code is 128 + the signal's number. A signal that
was ignored when the verb began stays ignored, which is what `nohup` and a shell's `&` ask for.
Trap: Python holds SIGPIPE back, so a reader that left (`| head`) is an exception here.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import signal
import sys
import unicodedata
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

ENDING_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXITS_BY_SIGNAL = tuple(128 + number for number in ENDING_SIGNALS)
EXIT_READER_LEFT = 128 + signal.SIGPIPE  # what a shell shows for `yes | head`
LEGIBLE = "bmad-legible"
# The signs that messages and tables use, for an output that lacks them.
PLAIN_SIGNS = {
    "±": "+/-", "×": "x", "·": "-", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->",
    "←": "<-", "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "«": '"', "»": '"', "“": '"', "”": '"',
    "‘": "'", "’": "'", "•": "*", "Δ": "delta ", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip


class EndedBySignal(KeyboardInterrupt):
    """A signal asks this process to end.

    Args:
        number: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn each signal that ends into `EndedBySignal`, once; what is ignored already stays so.

    A closed terminal may send several: after the first, SIGHUP and SIGTERM say nothing new, and
    only a second Ctrl-C hurries what is being undone.
    """
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def end(number: int, _frame: FrameType | None) -> None:
        for each in heard:
            if each != signal.SIGINT:
                # Not SIG_IGN, which programs started from now on would inherit.
                signal.signal(each, _overhear)
        raise EndedBySignal(number)

    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number] or signal.SIG_DFL)


def _overhear(_number: int, _frame: FrameType | None) -> None:
    pass


def make_outputs_legible() -> None:
    """From now on a character that an output's encoding lacks is replaced, and never an error."""
    codecs.register_error(LEGIBLE, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=LEGIBLE)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(in_ascii, error.object[error.start : error.end])), error.end


def in_ascii(character: str) -> str:
    """A character in ASCII: a sign that means the same, the bare letter, or its number spelled."""
    if character in PLAIN_SIGNS:
        return PLAIN_SIGNS[character]
    if "\u2500" <= character <= "\u257f":  # box drawings: a table's lines, a bar of progress
        name = unicodedata.name(character)
        sides = [side for side in ("HORIZONTAL", "VERTICAL") if side in name]
        return {"HORIZONTAL": "-", "VERTICAL": "|"}[sides[0]] if len(sides) == 1 else "+"
    bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return bare or character.encode("ascii", "backslashreplace").decode()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether an output is a terminal; one that the caller closed is none."""
    return stream is not None and stream.isatty()


@contextlib.contextmanager
def terminal_may_be_gone() -> Iterator[None]:
    """Where the terminal was closed nobody reads what is written, and work or clean-up goes on."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:  # what a terminal answers that was closed
            raise


def write_line(text: str, stream: TextIO | None) -> None:
    """Write a line at once, or, where the terminal is gone, not at all.

    Raises:
        BrokenPipeError: the reader left.
        OSError: the disk behind the output is full.
    """
    with terminal_may_be_gone():
        print(text, file=stream, flush=True)


def has_reader_left() -> bool:
    """Whether standard output or standard error is a pipe that nobody reads any more."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none at all
            poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def close_outputs() -> None:
    """Write out what is left; an output that takes no more is let go without a word."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            # The interpreter flushes once more at its end, and would complain there.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
