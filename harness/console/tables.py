"""Tables as text: what stands in a cell is shown as it is, never read as markup or by a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.common.foreign_text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

MAX_CELL = 4096  # characters: a whole path


def cell(value: object) -> Text:
    """A cell of foreign text."""
    from rich.text import Text

    return Text(one_line(value, MAX_CELL))


def as_text(*shown: RenderableType, least_width: int, width: int | None = None) -> str:
    """Tables and texts one below the other, without any code of a terminal.

    Args:
        shown: the tables and texts.
        least_width: columns that are used even where the terminal has fewer.
        width: columns that are used whatever the terminal has.
    """
    import io

    from rich.console import Console

    out = io.StringIO()
    columns = width or max(Console().width, least_width)
    console = Console(
        file=out, width=columns, highlight=False, force_terminal=False, color_system=None
    )
    for each in shown:
        console.print(each)
    return out.getvalue()
