"""What an entry page lists beside its numbers: who, from what it learned, pack, identity, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.board.rows import Row
from harness.records.record import PackPart, Record
from leaderboard import formats


@dataclass(frozen=True)
class Fact:
    """One line of a list of facts."""

    label: str
    """What it is."""
    text: str
    """Its value."""
    link: str | None = None
    """Address, where the value is a link that may be followed."""
    note: str = ""
    """A remark behind it."""


def declared(metadata: Mapping[str, object]) -> tuple[Fact, ...]:
    """What the entry declares of itself; links only where they are http or https."""
    labels = {
        "authors": "Authors", "paper": "Paper", "code": "Code", "licence": "Licence",
        "family": "Family", "pretraining": "Pretraining", "backbones": "Backbones",
        "external_data": "Other data", "team": "Team", "submitted": "Submitted", "withdrawn": "Withdrawn",
    }  # fmt: skip
    return tuple(
        Fact(label, formats.plain(metadata[key]), formats.safe_link(metadata[key]))
        for key, label in labels.items()
        if metadata.get(key)
    )


def supervision(row: Row) -> Fact:
    """What it had learned from before its runs."""
    told = row.supervision.told if row.supervision else "not declared"
    return Fact("Had learned from", formats.plain(told))


def deviations(metadata: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Where it differs from its paper, and why, as it declares it."""
    listed = metadata.get("deviations")
    if not isinstance(listed, (list, tuple)):
        return ()
    return tuple(
        (formats.plain(item.get("what", "")), formats.plain(item.get("why", "")))
        for item in listed
        if isinstance(item, Mapping)
    )


def run_facts(row: Row, records: Sequence[Record]) -> tuple[Fact, ...]:
    """Identity, images and harness of a row's runs.

    Args:
        row: the row.
        records: its runs that may be shown; none of a hidden pack.
    """
    facts = [Fact("Identity", formats.plain(identity)) for identity in row.identities]
    facts += [Fact("Pretrained file", formats.plain(each)) for each in row.weight_files]
    digests = dict.fromkeys(r.entry.image_digest for r in records if r.entry.image_digest)
    facts += [Fact("Image digest", formats.plain(digest)) for digest in digests]
    sifs = dict.fromkeys(r.entry.sif for r in records if r.entry.sif)
    facts += [Fact("SIF", formats.plain(sif)) for sif in sifs]
    facts += [Fact("Pack version", formats.plain(version)) for version in row.packs]
    if records:
        facts.append(Fact("Images", pack_counts(records[0].pack)))
    facts += [Fact("Harness commit", formats.plain(commit)) for commit in row.commits]
    facts += [
        Fact("Metric definitions", formats.plain(version))
        for version in dict.fromkeys(record.metrics_version for record in records)
    ]
    return tuple(facts)


def pack_counts(pack: PackPart) -> str:
    """How many images of each split a run saw, with patients and lesions where they are known."""
    text = (
        f"{pack.train:,} training (all normal), {pack.valid:,} validation,"
        f" {pack.test_normal + pack.test_anomalous:,} test"
        f" ({pack.test_normal:,} normal, {pack.test_anomalous:,} anomalous)"
    )
    if pack.patients is not None:
        text += f" of {formats.plural(pack.patients, 'patient')}"
    if pack.regions is not None:
        lost = f", {pack.regions_lost} of them lost on the paper grid" if pack.regions_lost else ""
        text += f", {formats.plural(pack.regions, 'lesion')}{lost}"
    return text


def settings(records: Sequence[Record]) -> tuple[Fact, ...]:
    """Hyper-parameters of the runs of one row; the note marks those set by hand."""
    if not records:
        return ()
    entry = records[0].entry
    return tuple(
        Fact(name, formats.plain(value), note="set by hand" if name in entry.overrides else "")
        for name, value in sorted(entry.params.items())
    )
