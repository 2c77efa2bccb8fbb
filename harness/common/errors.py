"""Every error that a user of the harness can meet, in one tree.

    HarnessError                  one message: what, where, and the fix
    ├── UsageError                exit 2: an option, a name or a value is wrong
    ├── EntryInvalid              exit 3: the entry cannot be run as it is
    ├── EntryFailed               exit 4: at least one run ended by the entry's fault
    └── EnvironmentFault          exit 5: this machine lacks something
        ├── InfrastructureFault   a run ended by the infrastructure's fault; it left no record
        ├── EngineUnavailable     no container engine answers
        ├── DeviceUnavailable     a GPU was asked for, and there is none to give
        ├── ClusterUnavailable    no Ray cluster answers, or none of its nodes can do a run
        ├── DataMissing           a pack, its folder, or an archive that was handed over is not there
        ├── PackInvalid           a pack has problems; all of them are listed
        ├── RawDataInvalid        a raw download has problems; all of them are listed
        ├── WeightsMissing        a pretrained backbone file is not there, or not the right one
        ├── KeyUnusable           a key for signing or verifying is not there, or not kept well
        ├── BundleBroken          a bundle is not what was signed, or does not follow from its evidence
        ├── StoreConflict         a record of this name exists under another run key
        └── StoreUnusable         the results folder cannot be read or written

Anything else that escapes is a bug and keeps its traceback (exit 1).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.common.foreign_text import hanging, in_lines, one_line
from harness.common.statuses import Cause, Status, remedy_of

MAX_WHERE = 4096  # characters: a whole path
MAX_PROBLEM = 8192  # two of them and a sentence


class HarnessError(Exception):
    """A problem that the user can mend; whatever foreign text it holds can be seen for what it is.

    Args:
        what: one sentence, what is wrong.
        where: the file, option or entry it is about; may be empty.
        fix: what to do, ideally a command to copy.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = in_lines(what)
        self.where = one_line(where, MAX_WHERE)
        self.fix = in_lines(fix)

    def __str__(self) -> str:
        # The margin is ours: no second line of what went wrong can pass for the fix.
        told = hanging(self.what + (f" ({self.where})" if self.where else ""))
        return f"{told}\n{hanging(f'fix: {self.fix}')}" if self.fix else told

    def on_one_line(self) -> str:
        """The whole message without line breaks, for a list or a log."""
        return " ".join(str(self).split())


class UsageError(HarnessError):
    """An option, a name or a value on the command line is wrong."""

    exit_code = 2


class EntryInvalid(HarnessError):
    """The entry cannot be run as it is: its folder, file or image is not what the contract asks."""

    exit_code = 3


class EntryFailed(HarnessError):
    """A run ended by the entry's own fault; its record holds the status."""

    exit_code = 4


class EnvironmentFault(HarnessError):
    """This machine lacks something: an engine, a GPU, data, weights, disk space."""

    exit_code = 5


class InfrastructureFault(EnvironmentFault):
    """A run ended by the infrastructure's fault; nothing of it was kept.

    Args:
        status: one of the infrastructure's statuses.
        detail: what the host saw.
        cause: the way into the status, where it asks for a remedy of its own.
    """

    def __init__(self, status: Status, detail: str, cause: Cause | None = None) -> None:
        told = f"{status.entry.sentence} {cause.entry.sentence if cause else ''}".strip()
        super().__init__(f"{told} {detail}".strip(), where=status, fix=remedy_of(status, cause))
        self.status = status
        self.can_pass = cause is None or cause.entry.can_pass


class EngineUnavailable(EnvironmentFault):
    """No container engine answers where one is needed."""


class DeviceUnavailable(EnvironmentFault):
    """A GPU was asked for, and the machine or the engine has none to give."""


class ClusterUnavailable(EnvironmentFault):
    """No Ray cluster answers, it offers nothing, or none of its nodes can do a run."""


class DataMissing(EnvironmentFault):
    """A pack, the folder it should be in, or an archive that was handed over is not there."""


class PackInvalid(EnvironmentFault):
    """A pack's files have problems.

    Args:
        where: the pack's folder.
        problems: all problems found, one sentence each.
        fix: what to do about them.
    """

    def __init__(
        self,
        where: str,
        problems: Sequence[str],
        *,
        fix: str = "mend or remove the files named above, then run the command again",
    ) -> None:
        self.problems = tuple(one_line(problem, MAX_PROBLEM) for problem in problems)
        count = len(self.problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(
            f"the pack has {count} problem{'s' if count != 1 else ''}:\n{listed}\n",
            where=where,
            fix=fix,
        )


class RawDataInvalid(EnvironmentFault):
    """A raw download lacks files, or holds some that cannot be used.

    Args:
        where: the download's folders.
        problems: all problems found, one sentence each.
        fix: what to download, or which option goes on without.
    """

    def __init__(self, where: str, problems: Sequence[str], *, fix: str) -> None:
        self.problems = tuple(one_line(problem, MAX_PROBLEM) for problem in problems)
        count = len(self.problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(
            f"the download has {count} problem{'s' if count != 1 else ''}:\n{listed}\n",
            where=where,
            fix=fix,
        )


class WeightsMissing(EnvironmentFault):
    """A pretrained backbone file is missing, or its SHA-256 is not the expected one."""


class KeyUnusable(EnvironmentFault):
    """A key is missing, of another kind, or not kept as a secret is."""


class BundleBroken(EnvironmentFault):
    """A bundle is not what was signed, or its record does not follow from its evidence.

    Args:
        where: the bundle's file.
        problems: all problems found, one sentence each, each naming the part of the bundle.
    """

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.problems = tuple(one_line(problem, MAX_PROBLEM) for problem in problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(
            f"the bundle cannot be trusted:\n{listed}\n",
            where=where,
            fix="ask the maintainer who signed it for another copy",
        )


class StoreConflict(EnvironmentFault):
    """A record of this name exists and was made under another run key."""


class StoreUnusable(EnvironmentFault):
    """The results folder cannot be read or written (permissions, disk full, foreign files)."""
