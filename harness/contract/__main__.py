"""`python -m harness.contract FOLDER VERB`: runs an entry's folder by its entry.toml.

`describe` reads entry.toml alone; the model is imported only once its output can no
longer reach the pipe.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from .serve import EXIT_USAGE, serve


def main(arguments: list[str]) -> NoReturn:
    """Serve the entry in the folder `arguments[0]` for the verb `arguments[1]`."""
    if len(arguments) != 2:
        _refuse("two arguments were expected: FOLDER VERB", "VERB is describe, predict or train")
    folder, verb = Path(arguments[0]).resolve(), arguments[1]
    entry = _read_entry(folder / "entry.toml")
    file, _, class_name = entry["model"].partition(":")
    sys.path.insert(0, str(folder))
    serve(
        f"{Path(file).stem}:{class_name}",
        name=entry["name"],
        maps=entry.get("maps", True),
        trains=entry.get("trains", False),
        verb=verb,
    )


def _read_entry(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        _refuse(f"entry.toml cannot be read: {error}", "write one, see harness/contract/README.md")
    entry = document.get("entry", {})
    if not isinstance(entry.get("name"), str) or ".py:" not in str(entry.get("model")):
        _refuse(
            f"{path} lacks the entry's name or model",
            '[entry] needs name = "…" and model = "model.py:Class"',
        )
    return dict(entry)


def _refuse(what: str, fix: str) -> NoReturn:
    sys.stderr.write(f"error: {what}\nfix: {fix}\n")
    sys.exit(EXIT_USAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
