"""The harness of the leaderboard: runs entries, scores them, keeps the records."""

import os as _os
import sys as _sys
from importlib.machinery import PathFinder as _PathFinder

__version__ = "0.1.0"


def _answer_mistyped_verb() -> None:
    """`python -m harness.evalute` is answered with a hint, not with Python's «No module named»."""
    # While Python still looks for the module of `-m`, the arguments begin with the option itself.
    given = _sys.orig_argv
    if _sys.argv[:1] != ["-m"] or "-m" not in given:
        return
    module = given[given.index("-m") + 1]
    name = module.removeprefix("harness.")
    if module.count(".") == 1 and _PathFinder.find_spec(module, __path__) is None:
        _os.execv(_sys.executable, [_sys.executable, "-m", "harness", name])  # noqa: S606 - ourselves


_answer_mistyped_verb()
