"""What an author declares of his method's supervision with the options of `harness.submit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.entries.entry import Entry
    from harness.records.supervision import Supervision

FIELDS = ("shots_normal", "shots_abnormal", "foreign_labels", "contamination")
EXAMPLE = (
    "--shots-normal 0 --shots-abnormal 0 --foreign-labels none --contamination default=none"
    " ('unknown' is an answer to each)"
)


def add_supervision_options(parser: argparse.ArgumentParser) -> None:
    """The options that ask an image's author; a folder says the same in its entry.toml."""
    group = parser.add_argument_group(
        "what an image had learned from before it came (a folder: [supervision] of its entry.toml)"
    )
    count = "a number, all or unknown"
    group.add_argument("--shots-normal", metavar="N", help=f"normal images of a benchmark: {count}")
    group.add_argument("--shots-abnormal", metavar="N", help=f"abnormal ones: {count}")
    group.add_argument(
        "--foreign-labels", nargs="+", metavar="SET:SPLIT",
        help="other labelled anomaly data, such as VisA:test; or none, or unknown",
    )  # fmt: skip
    group.add_argument(
        "--contamination", nargs="+", metavar="PACK=WHAT",
        help="what of each pack the pretraining saw: none, images, labels or unknown;"
        " default=WHAT is of every pack that is not named",
    )  # fmt: skip


def declared_supervision(
    options: argparse.Namespace, entry: Entry, before: Supervision | None
) -> tuple[Supervision | None, list[str]]:
    """What the submission will declare, and all that is wrong with it.

    Args:
        options: the call's.
        entry: the entry as it was named.
        before: what the version declares that this one takes the place of.
    """
    from harness.common.errors import EntryInvalid
    from harness.entries.entry import parse
    from harness.records.supervision import Supervision

    given = {name: value for name in FIELDS if (value := getattr(options, name)) is not None}
    if entry.kind == "folder":
        problems = [f"{_option(name)} is for images: {_IN_FOLDER}" for name in given]
        if entry.supervision is None:
            problems.append(f"it declares no supervision: {_IN_FOLDER}")
        return None, problems
    told = {**(before.model_dump(mode="json") if before else {}), **_as_table(given)}
    if missing := [_option(name) for name in FIELDS if name not in told]:
        return None, [f"{', '.join(missing)} {_is(missing)} missing, for example {EXAMPLE}"]
    try:
        return parse(Supervision, told, "supervision"), []
    except EntryInvalid as error:
        return None, [f"[supervision] {error.what}"]


_IN_FOLDER = "a table [supervision] in entry.toml says it (baselines/template has one)"


def _as_table(given: dict[str, Any]) -> dict[str, Any]:
    """The options' texts as the table's values; what cannot be read is left for the table to refuse."""
    told = dict(given)
    for name in ("shots_normal", "shots_abnormal"):
        if str(told.get(name, "")).isdecimal():
            told[name] = int(told[name])
    if "foreign_labels" in told:
        texts = told["foreign_labels"]
        told["foreign_labels"] = {("none",): [], ("unknown",): "unknown"}.get(tuple(texts), texts)
    if "contamination" in told:
        told["contamination"] = cli.assignments(told["contamination"], "--contamination")
    return told


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
