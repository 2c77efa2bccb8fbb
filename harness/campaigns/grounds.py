"""What a campaign's runs are on: every pack and suite opened once, and the runs of each regime on them.

    grounds = open_campaign_grounds(campaign, options, cache, reporter)
    cells = grounds.cells(campaign, variants, entries)

Traps: an entry that trains nothing is zero-shot whatever the campaign asks for, so that its runs of
several regimes are one run, and stand once; of an image nobody can say without its engine whether
it trains.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.benchmarks import Pack
from harness.benchmarks.regime_pack import in_regime
from harness.benchmarks.suites import find_suite
from harness.common.errors import UsageError
from harness.console import data_options
from harness.console.cli import Reporter
from harness.entries.campaign_grid import Campaign, Cell, EntryVariant
from harness.entries.entry import Entry
from harness.records.regime import Regime
from harness.running.regimes import AskedRegime, Ground, regime_of

ONE_CLASS = "one-class"


@dataclass(frozen=True)
class CampaignGrounds:
    """Everything that the runs of a campaign are on."""

    asked: tuple[tuple[AskedRegime, tuple[str, ...]], ...]
    """Each regime that is asked for, with the names of the packs, or of the suite, that it is on."""
    grounds: Mapping[str, Ground]
    """By the name of a pack, or of a suite."""
    places: Mapping[str, tuple[str, ...]]
    """By the same, the options of `harness.evaluate` that name its images."""
    _seen: dict[tuple[str, Regime, int], tuple[Pack, Regime]] = field(
        default_factory=dict, repr=False
    )

    def cells(
        self,
        campaign: Campaign,
        variants: Sequence[EntryVariant],
        entries: Mapping[str, Entry],
    ) -> list[Cell]:
        """All runs, each once: seed by seed, regime by regime, benchmark by benchmark.

        Args:
            campaign: gives the seeds.
            variants: what runs.
            entries: by what names it on the command line.
        """
        cells = (
            Cell(variant, name, seed, regime_of(entries[variant.source], asked))
            for seed in campaign.seeds
            for asked, names in self.asked
            for name in names
            for variant in variants
        )
        return list({str(cell): cell for cell in cells}.values())

    def seen(self, cell: Cell) -> tuple[Pack, Regime]:
        """What a run sees, and its regime with what is drawn for it; drawn once for all entries.

        Raises:
            UsageError: fewer training images than shots.
        """
        key = (cell.benchmark, cell.regime, cell.seed)
        if key not in self._seen:
            ground = self.grounds[cell.benchmark]
            self._seen[key] = (
                (ground.seen, cell.regime)
                if cell.regime.suite is not None
                else in_regime(ground.packs, cell.regime, cell.seed)
            )
        return self._seen[key]


def open_campaign_grounds(
    campaign: Campaign, options: argparse.Namespace, cache: Path, reporter: Reporter
) -> CampaignGrounds:
    """Open every pack that the campaign and the options name, and the members of its suites.

    Raises:
        DataMissing, PackInvalid: a pack is not there, or has problems.
        UsageError: an unknown benchmark or suite.
    """
    options = argparse.Namespace(**vars(options))
    options.benchmarks = list(options.benchmarks or campaign.benchmarks)
    asked = list(asked_of(campaign))
    packs: list[Pack] = []
    if any(each.suite is None for each, _ in asked):
        packs = data_options.open_packs(options, cache, reporter)
    grounds = {pack.name: Ground((pack,), pack) for pack in packs}
    places = data_options.places(packs, options) if packs else {}
    plain = tuple(grounds)
    named = []
    for each, text in asked:
        if each.suite is None:
            named.append((each, plain))
            continue
        members = _open_members(each.suite.members, packs, options, cache, reporter)
        ground = Ground.of_suite(members, each.suite)
        grounds[ground.seen.name] = ground
        ways = [places[pack.name] for pack in members if pack.name in places]
        places[ground.seen.name] = _suite_call(text, ways, options)
        named.append((each, (ground.seen.name,)))
    return CampaignGrounds(tuple(named), grounds, places)


def asked_of(campaign: Campaign) -> Iterator[tuple[AskedRegime, str]]:
    """The campaign's regimes, and for each suite what names it."""
    for name in campaign.regimes:
        if name == "few-shot":
            yield from ((AskedRegime(shots=count), "") for count in campaign.shots)
        elif name == "unified":
            for text in campaign.suites:
                yield AskedRegime(find_suite(text), delivery="256"), text
        else:
            yield AskedRegime(delivery="native" if name == ONE_CLASS else "256"), ""


def _open_members(
    names: Sequence[str], packs: Sequence[Pack], options: argparse.Namespace, cache: Path,
    reporter: Reporter,
) -> list[Pack]:  # fmt: skip
    """The members of a suite in its order; those that are open already are not opened again."""
    found = {pack.card.name: pack for pack in packs}
    missing = [name for name in names if name not in found]
    if missing:
        own = [] if packs else options.packs
        rest = argparse.Namespace(**{**vars(options), "benchmarks": [], "packs": own})
        opened = data_options.open_members(rest, missing, cache, reporter)
        found |= {pack.card.name: pack for pack in opened}
    return [found[name] for name in names]


def _suite_call(
    text: str, ways: Sequence[Sequence[str]], options: argparse.Namespace
) -> tuple[str, ...]:
    """The options that name a suite and its members.

    Args:
        text: what names the suite.
        ways: the options that name each member which is open by itself.
        options: the campaign's.
    """
    folders = [way[1] for way in ways if way[0] == "--pack"]
    folders += [] if ways else map(str, options.packs)
    call = ["--suite", text, *(["--pack", *folders] if folders else [])]
    call += ["--data-root", str(options.data_root)] if options.data_root else []
    return (*call, *(["--accept", *sorted(set(options.accepted))] if options.accepted else []))


def check_entries(campaign: Campaign, entries: Mapping[str, Entry]) -> None:
    """Raise `UsageError` for an image in a campaign of other regimes than one-class."""
    images = [entry.name for entry in entries.values() if entry.kind != "folder"]
    others = [name for name in campaign.regimes if name != ONE_CLASS]
    if images and others:
        raise UsageError(
            f"{images[0]} is an image, and whether it trains only its engine can say",
            where=f"regimes: {', '.join(others)}",
            fix="leave it out, or evaluate it by itself (python -m harness.evaluate)",
        )
