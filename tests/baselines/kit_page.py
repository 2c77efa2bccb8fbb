"""docs/kit.md: every public name of the kit with its signature, as it stands in the code.

python tests/baselines/kit_page.py --write     (make kit-page)
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
KIT = REPOSITORY / "baselines/kit"
PAGE = REPOSITORY / "docs/kit.md"
HEAD = """# The kit, by signature

What the baselines share, for methods of your own: `from baselines.kit import images`. A submitted
folder may import it too. Tensors are `(B, C, H, W)`; each docstring says shapes, dtypes, ranges and
errors. The contract's own class is in [harness/contract/README.md](../harness/contract/README.md);
how the parts fit together is best read in [baselines/padim/model.py](../baselines/padim/model.py) (one
pass) and [baselines/stfpm/model.py](../baselines/stfpm/model.py) (trained in epochs).

This page is made from the code by `make kit-page`; a test holds it to it.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for path in sorted(KIT.glob("*.py")):
        tree = ast.parse(path.read_text())
        lines = list(_signatures(tree))
        if lines:
            told = (ast.get_docstring(tree) or "").splitlines()[0]
            parts.append(
                f"## `{path.name}`\n\n{told}\n\n```python\n" + "\n".join(lines) + "\n```\n"
            )
    return "\n".join(parts)


def _signatures(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield _function(node)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = ", ".join(map(ast.unparse, node.bases))
            yield f"class {node.name}({bases}):" if bases else f"class {node.name}:"
            yield f"    # {_first_line(node)}"
            for part in node.body:
                if isinstance(part, ast.AnnAssign) and not _is_private(ast.unparse(part.target)):
                    yield f"    {ast.unparse(part)}"
                is_made = isinstance(part, ast.FunctionDef) and part.name in (
                    "__init__",
                    "__call__",
                )
                if isinstance(part, ast.FunctionDef) and (is_made or not _is_private(part.name)):
                    yield "    " + _function(part).replace("\n", "\n    ")


def _function(node: ast.FunctionDef) -> str:
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    marks = "".join(
        f"@{ast.unparse(each)}\n"
        for each in node.decorator_list
        if ast.unparse(each) in ("classmethod", "staticmethod", "property", "contextmanager")
    )
    told = f"  # {_first_line(node)}" if _first_line(node) else ""
    return f"{marks}def {node.name}({ast.unparse(node.args)}){returned}{told}"


def _first_line(node: ast.FunctionDef | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _is_private(name: str) -> bool:
    return name.startswith("_")


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())
