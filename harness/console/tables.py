"""Tables as text: what stands in a cell is shown as it is, never read as markup or by a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.common.foreign_text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

MAX_CELL = 4096  # characters: a whole path
NO_END = 1_000_000  # columns: more than any table has


def cell(value: object) -> Text:
    """A cell of foreign text."""
    from rich.text import Text

    return Text(one_line(value, MAX_CELL))


def as_text(*shown: RenderableType, least_width: int, width: int | None = None) -> str:
    """Tables and texts one below the other, without any code of a terminal.

    Args:
        shown: the tables and texts.
        least_width: columns that are used even where the terminal has fewer.
        width: columns that are used whatever the terminal has; where None is given and the output
            is no terminal, a line is as long as what stands on it, and nothing in it is broken.
    """
    import io
    import sys

    from rich.console import Console

    from harness.console.ends import is_terminal

    out = io.StringIO()
    of_terminal = max(Console().width, least_width) if is_terminal(sys.stdout) else NO_END
    columns = width or of_terminal
    console = Console(
        file=out, width=columns, highlight=False, force_terminal=False, color_system=None
    )
    for each in shown:
        console.print(each)
    return out.getvalue()
