"""Whether a run is of reviewed contents and settings: derived anew by whoever holds the branch.

    review(record, reviewed, others)      one run: the reasons against its rank, and what was found
    with_reviews(records, reviewed)       all of them, marked by it, for rows and ranks

A run may take a rank where what ran is a folder of the protected branch, or a submission that was
merged there (`harness.entries.reviewed`), and where its settings are a committed preset of it, or
were chosen by validation in a committed campaign, all of whose runs are there to choose among.
Trap: what a record says of its own review counts for nothing: it was written where the branch may
have been another, or by somebody else.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.board.setting_choice import choices, validation_value
from harness.board.tracks import OWN_BACKBONE, UNPINNED, weights_of, weights_reasons
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import HarnessError
from harness.engines.base import image_identity
from harness.entries.campaign_grid import Campaign, EntryVariant, asks_for, is_left_out, variants
from harness.entries.entry import Entry, Kind, Settings, SubmissionTable
from harness.entries.reviewed import Reviewed, ReviewedFolder
from harness.records.record import PackPart, Record
from harness.records.regime import ONE_CLASS, Regime
from harness.records.releases import claimed_name
from harness.records.supervision import NOT_SAID, Supervision

UNREVIEWED = "unreviewed"
OWN_SETTINGS = "own settings"


@dataclass(frozen=True)
class Review:
    """What was found of one run."""

    reasons: tuple[str, ...]
    """Why it takes no rank: `unreviewed`, `own settings`; empty where nothing is against it."""
    told: str
    """Where its contents were found, or what is missing, in one sentence."""
    folder: ReviewedFolder | None = None
    """The reviewed folder that ran, where it was one."""
    declared: Supervision | None = None
    """What the reviewed entry says that it had learned from, as the branch has it today."""


@dataclass(frozen=True)
class Contents:
    """What ran, as far as a review asks."""

    kind: Kind
    """Form in which it arrived."""
    name: str
    """Its name on the board."""
    folder_name: str
    """A folder's own name."""
    source: str | None
    """Identity of the folder and of what it stands on."""
    pinned: str = ""
    """What a submission's file pins."""
    image_digest: str | None = None
    """Registry digest, where the image has one."""
    commit: str | None = None
    """Commit of the harness."""

    @classmethod
    def of_record(cls, record: Record) -> Contents:
        """As a record has them."""
        entry = record.entry
        told = str(entry.metadata.get("source") or entry.name)
        return cls(
            entry.kind, entry.name, told.rpartition("/")[2], entry.source,
            str(entry.metadata.get("pinned") or ""), entry.image_digest, record.source.commit,
        )  # fmt: skip


def find_reviewed(contents: Contents, reviewed: Reviewed) -> ReviewedFolder | Entry | None:
    """The folder, or the submission of an image, that was reviewed; None where none was."""
    if contents.kind == "folder":
        if contents.source is None:
            return None
        return reviewed.find_folder(contents.source, contents.folder_name, contents.commit)
    submission = reviewed.find_submission(contents.name) if contents.kind == "submission" else None
    if submission is None or not isinstance(submission.table, SubmissionTable):
        return None
    table = submission.table
    digest = (contents.image_digest or "").rpartition("@")[2]
    is_its_image = not table.image or not digest or table.image.endswith(digest)
    is_pinned = bool(contents.pinned) and contents.pinned == table.pinned
    return submission if is_pinned and is_its_image else None


def review(record: Record, reviewed: Reviewed, others: Iterable[Record] = ()) -> Review:
    """What is found of one run.

    Args:
        record: its record.
        reviewed: what was reviewed.
        others: all runs that are there; among them are those of its campaign.
    """
    if problem := _identity_problem(record):
        return Review(_unreviewed(record), problem)
    found = find_reviewed(Contents.of_record(record), reviewed)
    if found is None:
        what = "no commit of {} holds what it ran, with its kit, contract, Dockerfile and lock file"
        if record.entry.kind != "folder":
            what = "no submission of {} pins what it ran"
        return Review(_unreviewed(record), reviewed.why or what.format(reviewed.branch))
    if isinstance(found, ReviewedFolder):
        folder, entry, where = found, found.entry, f"{found.path} at {found.commit[:12]}"
    else:
        folder, entry, where = None, found, f"submissions/{found.name}.toml"
    if not _is_preset(record, entry) and not _is_chosen(record, folder, reviewed, others):
        told = f"its settings are no preset of {where}, and no committed campaign chose them"
        return Review((OWN_SETTINGS,), told, folder, entry.supervision)
    return Review((), where, folder, entry.supervision)


def with_reviews(records: Iterable[Record], reviewed: Reviewed) -> list[Record]:
    """The records, each marked by what is found of it, for rows and ranks.

    Their hashes stay those of the stored files: such a record is shown, and sealed anew before
    it is written.
    """
    records = list(records)
    return [marked(record, review(record, reviewed, records)) for record in records]


def marked(record: Record, found: Review) -> Record:
    """The record with what was found in the place of what it says of itself: rank, supervision, and
    its pretrained files: the table that lists them grows.

    A declaration that was put right since holds for the runs that were there.
    """
    stored = [reason for reason in (record.unranked_reason or "").split(", ") if reason]
    derived = (UNREVIEWED, OWN_SETTINGS, UNPINNED, OWN_BACKBONE)
    kept = [reason for reason in stored if reason not in derived]
    reasons = [*kept, *weights_reasons(weights_of(record)), *found.reasons]
    ranked = not reasons and (record.ranked or bool(stored))
    told: dict[str, object] = {"ranked": ranked, "unranked_reason": ", ".join(reasons) or None}
    if found.declared not in (None, record.entry.supervision or NOT_SAID):
        told["entry"] = record.entry.model_copy(update={"supervision": found.declared})
    is_so = all(getattr(record, name) == value for name, value in told.items())
    return record if is_so else record.model_copy(update=told)


def _unreviewed(record: Record) -> tuple[str, ...]:
    return (UNREVIEWED, OWN_SETTINGS) if record.entry.overrides else (UNREVIEWED,)


def _identity_problem(record: Record) -> str | None:
    """Why a folder's identity does not follow from the record's own parts."""
    entry = record.entry
    if entry.kind != "folder":
        return None
    if entry.source is None:
        return "it does not say of which sources it was made, so its identity cannot be derived"
    follows = image_identity(entry.source, entry.built_on) if entry.built_on else entry.source
    return None if follows == entry.identity else "its identity is not that of its sources"


# -- settings -----------------------------------------------------------------------------------


def is_preset(
    settings: Settings,
    entry: Entry,
    benchmark: str,
    regime: Regime = ONE_CLASS,
    members: Sequence[str] = (),
) -> bool:
    """Whether settings are what an entry's own file gives under some preset.

    Args:
        settings: what a run is sent.
        entry: as it was reviewed.
        benchmark, regime, members: whose settings apply, as `Entry.settings` takes them.
    """
    try:
        own = entry.settings(benchmark, preset=settings.preset, regime=regime, members=members)
    except HarnessError:
        return False
    return (dict(own.params), own.rule) == (dict(settings.params), settings.rule)


def _is_preset(record: Record, entry: Entry) -> bool:
    return _has_settings(record, entry, record.entry.preset, {})


def _has_settings(
    record: Record, entry: Entry, preset: str | None, overrides: dict[str, str]
) -> bool:
    members = [_settings_name(pack) for pack in record.members]
    try:
        own = entry.settings(
            _settings_name(record.pack),
            preset=preset,
            overrides=overrides,
            regime=record.regime or ONE_CLASS,
            members=members,
        )
    except HarnessError:
        return False
    rule = record.entry.checkpoint_rule
    is_its_rule = rule is None or rule == own.rule
    return is_its_rule and dict(own.params) == record.entry.params


def _settings_name(pack: PackPart) -> str:
    """A pack takes the settings of the benchmark that it is, or is another cut of."""
    return pack.base or claimed_name(pack.benchmark)


def _is_chosen(
    record: Record, folder: ReviewedFolder | None, reviewed: Reviewed, others: Iterable[Record]
) -> bool:
    """Whether a committed campaign chose these settings by validation: its runs say so anew.

    Never on a hidden pack: of its validation nothing is published that says so to anybody else.
    """
    can_be_seen = may_leave(Artefact.EXACT_RECORD, record.pack.visibility)
    if folder is None or not record.entry.overrides or not can_be_seen:
        return False
    others = list(others)
    return any(
        _is_choice(record, folder.entry, campaign, tried, others)
        for campaign in reviewed.campaigns()
        if asks_for(campaign, record.regime or ONE_CLASS)
        and (tried := _tried(campaign, folder, record.pack.benchmark))
    )


def _tried(campaign: Campaign, folder: ReviewedFolder, benchmark: str) -> list[EntryVariant]:
    """The settings that a campaign tries of a folder on a benchmark; none where it does not."""
    name = folder.entry.name
    takes_part = any(fnmatch.fnmatchcase(folder.path, pattern) for pattern in campaign.entries)
    if not takes_part or is_left_out(campaign, name):
        return []
    if campaign.benchmarks and benchmark not in (*campaign.benchmarks, *campaign.suites):
        return []
    own = tuple(
        grid
        for grid in campaign.settings
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in grid.entries)
    )
    found = variants(campaign.model_copy(update={"settings": own}), {folder.path: name})
    return found if len(found) > 1 else []


def _is_choice(
    record: Record, entry: Entry, campaign: Campaign, tried: Sequence[EntryVariant],
    others: Sequence[Record],
) -> bool:  # fmt: skip
    """All runs of the campaign are there, and among them validation chose this one's settings."""
    runs = [list(_runs_of(variant, record, entry, campaign.preset, others)) for variant in tried]
    seeds = set(campaign.seeds)
    if any({run.seed for run in of_variant} != seeds for of_variant in runs):
        return False
    if not any(record.run_key == run.run_key for of_variant in runs for run in of_variant):
        return False
    (choice,) = choices(tried, [run for of_variant in runs for run in of_variant])
    return choice.chosen == record.entry.name


def _runs_of(
    variant: EntryVariant, like: Record, entry: Entry, preset: str | None, others: Sequence[Record]
) -> Iterator[Record]:
    """The judged runs of one setting, of the same sources on the same images."""
    for other in others:
        is_alike = (other.entry.source, other.pack.version, other.place) == (
            like.entry.source, like.pack.version, like.place,
        )  # fmt: skip
        if (
            other.entry.name == variant.name
            and is_alike
            and validation_value(other) is not None
            and _has_settings(other, entry, preset, dict(variant.overrides))
        ):
            yield other
