"""Is the engine's runc one that a stranger's image can take over the host through?

Known of runc (https://github.com/opencontainers/runc/security/advisories):
- before 1.1.12, an image whose WORKDIR leads to an open descriptor starts on the host's files
  (CVE-2024-21626); WORKDIR may be a link, so its spelling alone shows nothing;
- before 1.2.8, 1.3.3 and 1.4.0-rc.3, masked files and /proc can be turned against the host
  (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).

Trap: distributions mend an old version without changing its number (Debian's 1.1.5+ds1-1+deb12u1
has the first mended), so of their builds an old number proves nothing, either way. They are told
of, and refused only where BMAD_RUNC=strict is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

VARIABLE = "BMAD_RUNC"
SAFE = "1.2.8, 1.3.3 or 1.4.0"
_Verdict = Literal["safe", "old", "unknown"]
_FINAL = 1 << 30  # sorts after every release candidate
_FIRST_SAFE = ((1, 2, 8, _FINAL), (1, 3, 3, _FINAL), (1, 4, 0, 3))
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-rc\.?(\d+))?(?![0-9])(.*)", re.DOTALL)
# A commit as runc's own builds name it: nothing, a hash, or `git describe`.
_OWN_COMMIT = re.compile(r"(v[0-9a-z.\-]+?-\d+-g)?[0-9a-f]*(-dirty)?")
_RUNC_BY_DEFAULT = {"", "runc", "io.containerd.runc.v2", "io.containerd.runtime.v1.linux", "nvidia"}


@dataclass(frozen=True)
class Runc:
    """What is known of the runc of an engine."""

    verdict: _Verdict
    """`old` where its number proves it; `unknown` where it proves nothing."""
    name: str
    """Its version, for messages."""


def runc_of(version: Mapping[str, Any], default_runtime: str) -> Runc | None:
    """The runc that starts this engine's containers.

    Args:
        version: the engine's answer to `/version`.
        default_runtime: name of the runtime that it uses unless asked for another.
    Returns:
        None where another runtime starts them (gVisor, crun).
    """
    if default_runtime not in _RUNC_BY_DEFAULT:
        return None
    parts = version.get("Components") or []
    runtimes = [part for part in parts if "oci runtime" in str(part.get("Name")).lower()]
    if any("runc" not in str(part.get("Name")).lower() for part in runtimes):
        return None
    for part in [*runtimes, *(part for part in parts if part.get("Name") == "runc")]:
        details = part.get("Details") or {}
        return judge(str(part.get("Version") or ""), str(details.get("GitCommit") or ""))
    return Runc("unknown", "of an unknown version")


def judge(version: str, commit: str = "") -> Runc:
    """What a version and the commit beside it prove."""
    text = version.removeprefix("runc version ").split("\n")[0].strip()
    found = _VERSION.fullmatch(text)
    if found is None:
        return Runc("unknown", "of an unknown version")
    major, minor, patch, candidate = (
        int(number) if number else _FINAL for number in found.groups()[:4]
    )
    number = (major, minor, patch, candidate)
    if _is_safe(number):
        return Runc("safe", text)
    is_own_build = not found[5] and _OWN_COMMIT.fullmatch(commit) is not None
    return Runc("old" if is_own_build else "unknown", text)


def _is_safe(number: tuple[int, int, int, int]) -> bool:
    """Whether a release has everything mended: each line of releases has a first one that has."""
    line = number[:2]
    if line > _FIRST_SAFE[-1][:2]:
        return True
    return any(line == first[:2] and number >= first for first in _FIRST_SAFE)


def is_strict() -> bool:
    """Whether a runc that cannot be judged is refused like an old one."""
    return os.environ.get(VARIABLE, "") == "strict"
