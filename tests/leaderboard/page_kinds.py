"""The kinds of page that a site has, and one page of each: found by looking, so that none is forgotten.

A kind is a folder and what follows `--` in a name: `entries/*`, `entries/*--few-shot`, `index.html`.
"""

from __future__ import annotations

import re
from pathlib import Path

PER_FOLDER = re.compile(r"--([a-z][a-z-]*)$")
"""What follows the name of an entry or benchmark: its page in a regime."""

BESIDE = {
    "compare.html#two": ("compare.html", "m=heron,otter&b=brain"),
    "compare.html#four": ("compare.html", "m=heron,otter,lichen,canary&b=brain"),
    "index.html#dice": ("index.html", "view=dice"),
}
"""What a script draws only at an address: page and what follows `#`, by kind."""
SAYING = {
    "entries/*, failed runs": ("entries", "Runs without a result"),
    "benchmarks/*, hidden": ("benchmarks", "This pack is <a href"),
}
"""Pages that have what others of their folder lack: folder and what such a page says, by kind."""


def kind_of(page: Path) -> str:
    """The kind of a page, from its path below the site's root."""
    if page.parent == Path():
        return re.sub(r"\d+", "N", page.name)
    suffix = PER_FOLDER.search(page.stem)
    folder = "/".join([page.parts[0], *("*" for _ in page.parts[1:-1])])
    return f"{folder}/*" + (f"--{suffix[1]}" if suffix else "")


def one_of_each(site: Path) -> dict[str, tuple[Path, str]]:
    """The largest page of every kind with its address, by kind: it has the most to go wrong.

    Args:
        site: folder of a built site.

    Returns:
        Path and what follows `#` in its address (empty for none), by kind.
    """
    pages: dict[str, list[Path]] = {}
    for path in sorted(site.rglob("*.html")):
        pages.setdefault(kind_of(path.relative_to(site)), []).append(path)
    largest = {
        kind: (max(paths, key=lambda path: path.stat().st_size), "")
        for kind, paths in pages.items()
    }
    for kind, (folder, text) in SAYING.items():
        saying = [
            path for path in sorted((site / folder).glob("*.html")) if text in path.read_text()
        ]
        if saying:
            largest[kind] = (saying[0], "")
    return largest | {
        kind: (site / name, address)
        for kind, (name, address) in BESIDE.items()
        if (site / name).is_file()
    }
