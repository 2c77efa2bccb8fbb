"""A campaign: its runs, what the results folder knows of each, what is left.

Nothing is started here. What a record says decides: a run under its own key is finished or
failed; a record of the same name under another key is another run's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import StoreConflict, UsageError
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.benchmarks import Pack
    from harness.campaigns.costs import Costs, Estimate
    from harness.campaigns.grounds import CampaignGrounds
    from harness.campaigns.offer import Offer, OffersRuns
    from harness.engines.base import Limits
    from harness.entries.campaign_grid import Campaign, Cell, EntryVariant
    from harness.entries.entry import Entry
    from harness.records.record import Record
    from harness.records.regime import Regime
    from harness.records.store import RunName, Store
    from harness.running.request import Request


LOGS = ".campaigns"  # below the results folder
UNKNOWN_IMAGE = "image:unknown"


class RunState(StrEnum):
    """What the results folder says of a run before anything is done."""

    TO_DO = "to do"
    FINISHED = "finished"
    FAILED = "failed"
    ANOTHER = "taken by another run"


@dataclass(frozen=True)
class Planned:
    """One run of the grid."""

    cell: Cell
    """Which."""
    state: RunState
    """Whether it has a record."""
    status: str
    """Status of that record; empty without one."""
    estimate: Estimate
    """What it will take."""


@dataclass(frozen=True)
class CampaignPlan:
    """A campaign and where it runs."""

    campaign: Campaign
    variants: tuple[EntryVariant, ...]
    runs: tuple[Planned, ...]
    """All runs, in order."""
    store: Store
    places: Mapping[str, tuple[str, ...]]
    """By benchmark or suite, the options of `harness.evaluate` that name its images."""
    slots: tuple[str, ...]
    """Where runs go, one at a time on each."""
    engine: str
    """Name of the engine."""
    expected: Callable[[Cell], dict[str, object]] = field(default=lambda _: {})
    """What decides the result of a run (`key_parts_of`), asked for where another machine does it."""
    isolation: str = ""
    """As `Offer.isolation`."""

    @property
    def logs(self) -> Path:
        """The folder of the runs' logs; a name that begins with a dot is no benchmark."""
        return self.store.root / LOGS / self.campaign.name

    def to_do(self, *, retry_failed: bool, replace: bool) -> list[Planned]:
        """The runs that are left."""
        wanted = {RunState.TO_DO}
        wanted |= {RunState.FAILED} if retry_failed else set()
        wanted |= {RunState.ANOTHER} if replace else set()
        return [planned for planned in self.runs if planned.state in wanted]

    def check_conflicts(self, *, replace: bool) -> None:
        """Say before anything is run which names are taken by records of other runs.

        Raises:
            StoreConflict: some are, and `replace` is false.
        """
        taken = [str(p.cell) for p in self.runs if p.state is RunState.ANOTHER]
        if taken and not replace:
            more = f" and {len(taken) - 3} more" if len(taken) > 3 else ""
            raise StoreConflict(
                f"records of {', '.join(taken[:3])}{more} exist and are of other runs"
                " (other code, settings, images or harness)",
                where=str(self.store.root),
                fix="give another folder with --results DIR, or move them to history with --replace",
            )


def plan_campaign(
    options: argparse.Namespace, host: OffersRuns, reporter: cli.Reporter
) -> CampaignPlan:
    """Open the grid and everything in it, and look up what is done; starts nothing.

    Raises:
        HarnessError: the campaign, an entry, a pack, the engine or a device is not usable.
    """
    from harness.benchmarks import check_cache, default_cache
    from harness.benchmarks.known import known_releases
    from harness.campaigns.costs import Costs
    from harness.campaigns.grounds import check_entries, open_campaign_grounds
    from harness.common.paths import BASELINES
    from harness.entries import campaign_grid as grid
    from harness.entries.opening import open_entry
    from harness.entries.weights import default_weights_folder
    from harness.records.releases import under_known_names
    from harness.records.store import Store
    from harness.running.presets import check_presets

    campaign = _campaign(options)
    given = cli.assignments(options.limit, "--limit")
    options.limit = [f"{name}={value}" for name, value in (campaign.limits | given).items()]
    limits = cli.read_limits(options.limit)
    named = {
        source: open_entry(source, known_folders=BASELINES) for source in grid.sources(campaign)
    }
    entries = {s: e for s, e in named.items() if not grid.is_left_out(campaign, e.name)}
    if not entries:
        raise UsageError("every entry is left out", where="leave_out")
    variants = grid.variants(campaign, {source: entry.name for source, entry in entries.items()})
    if options.action in ("run", "resume"):
        Store(options.results).check_writable()
    offer = host.offer(limits)
    cache = default_cache()
    check_cache(cache)
    check_entries(campaign, entries)
    grounds = open_campaign_grounds(campaign, options, cache, reporter)
    seen = [ground.seen for ground in grounds.grounds.values()]
    check_presets(list(entries.values()), seen, campaign.preset, reporter)
    store = Store(options.results)
    shown = under_known_names(store.records(), known_releases())
    records = {store.name_of(record): record for record in shown}
    weights = options.weights or default_weights_folder()
    look_up = _LookUp(entries, grounds, offer, limits, campaign.preset, records, weights)
    costs = Costs(records.values(), offer.device)
    cells = grounds.cells(campaign, variants, entries)
    runs = tuple(look_up.planned(cell, costs) for cell in cells)
    if options.action in ("run", "resume"):
        firsts = {(cell.variant.name, cell.place): cell for cell in reversed(cells)}
        host.check([look_up.request(cell) for cell in firsts.values()])
    return CampaignPlan(
        campaign,
        tuple(variants),
        runs,
        store,
        grounds.places,
        offer.slots,
        offer.engine.name,
        look_up.key_parts,
        offer.isolation,
    )


def _campaign(options: argparse.Namespace) -> Campaign:
    """The campaign that is named, with the changes of the options."""
    from harness.entries.campaign_grid import campaign_of, read_campaign

    changes = {
        key: tuple(value)
        for key, value in (
            ("entries", options.entries), ("leave_out", options.leave_out), ("seeds", options.seeds),
            ("regimes", options.regimes), ("shots", options.shots), ("suites", options.suites),
        )
        if value
    }  # fmt: skip
    if options.preset:
        changes["preset"] = options.preset
    if options.campaign:
        told = read_campaign(options.campaign).model_dump(exclude_unset=True)
        if options.regimes:  # what the file says of others goes with them
            told = {name: value for name, value in told.items() if name not in ("shots", "suites")}
        return campaign_of({**told, **changes}, where=options.campaign)
    if not options.entries:
        raise UsageError(
            "no entry is named", fix="name a campaign (table2 ships), or give --entries ENTRY…"
        )
    return campaign_of({"name": "grid", **changes}, where="the grid")


def key_parts_of(request: Request) -> dict[str, object]:
    """What decides the result of a run; of an image, what pins it in the place of its identity."""
    parts = request.key.parts
    if request.entry.kind != "folder":
        del parts["identity"]
        parts["pinned"] = _pinned(request.entry)
    return parts


def _pinned(entry: Entry) -> str:
    """What an image must be, as far as it can be said without an engine."""
    from harness.entries.entry import SubmissionTable

    if isinstance(entry.table, SubmissionTable):
        return entry.table.pinned
    return _hash(Path(entry.source)) if entry.kind == "archive" else entry.source


@cache
def _hash(archive: Path) -> str:
    from harness.records.store import file_hash

    return file_hash(archive)


def request_for(
    entry: Entry,
    pack: Pack,
    regime: Regime,
    *,
    seed: int,
    preset: str | None,
    overrides: Mapping[str, str],
    offer: Offer,
    limits: Limits,
    weights: Path,
) -> Request:
    """A run as `harness.evaluate` would ask for it; of an image, no engine is asked what it is.

    Args:
        entry, seed, preset, overrides, limits: as `harness.evaluate` takes them.
        pack, regime: what the run sees (`CampaignGrounds.seen`).
        offer: where it would run.
        weights: folder of pretrained files; what it lacks is left open in the run's key.
    """
    from harness.engines.base import Program
    from harness.entries.identity import folder_identity
    from harness.entries.weights import weights_at_hand
    from harness.running.regimes import members_of
    from harness.running.request import request_of

    identity = UNKNOWN_IMAGE
    if entry.kind == "folder":
        identity = offer.engine.folder_identity(folder_identity(entry.folder))
    settings = entry.settings(
        pack.settings_name,
        preset=preset,
        overrides=overrides,
        regime=regime,
        members=members_of(pack),
    )
    return request_of(
        entry,
        Program(entry.name, identity),
        settings,
        pack,
        seed=seed,
        device=offer.device,
        limits=limits,
        engine=offer.engine,
        kind=offer.device,
        weights=weights_at_hand(entry.table, settings.params, weights),
        regime=regime,
    )


@dataclass(frozen=True)
class _LookUp:
    """Finds what the results folder knows of a run."""

    entries: Mapping[str, Entry]
    grounds: CampaignGrounds
    offer: Offer
    limits: Limits
    preset: str | None
    records: Mapping[RunName, Record]
    weights: Path

    def planned(self, cell: Cell, costs: Costs) -> Planned:
        """The run with its state and its cost."""
        from harness.campaigns.costs import CostedMethod, Images

        request = self.request(cell)
        pack = request.pack
        counts = {split: len(pack.split(split)) for split in ("train", "valid", "test")}
        estimate = costs.estimate(
            cell.variant.name,
            request.settings.preset,
            cell.place,
            Images(counts["train"], counts["valid"] + counts["test"], counts["valid"]),
            CostedMethod(cell.variant.entry, request.settings.params, cell.benchmark),
        )
        record = self.records.get(request.name)
        if record is None:
            return Planned(cell, RunState.TO_DO, "", estimate)
        return Planned(cell, self._state(request, record), record.outcome.status.value, estimate)

    def request(self, cell: Cell) -> Request:
        """The run as `harness.evaluate` would ask for it."""
        pack, regime = self.grounds.seen(cell)
        return request_for(
            self.entries[cell.variant.source].renamed(cell.variant.name),
            pack,
            regime,
            seed=cell.seed,
            preset=self.preset,
            overrides=dict(cell.variant.overrides),
            offer=self.offer,
            limits=self.limits,
            weights=self.weights,
        )

    def key_parts(self, cell: Cell) -> dict[str, object]:
        """What decides the result of a run."""
        return key_parts_of(self.request(cell))

    def _state(self, request: Request, record: Record) -> RunState:
        from harness.metrics import METRICS_VERSION

        if request.entry.kind == "folder":
            key = request.key
            if request.weights is None:  # not here: whoever did the run had them
                key = key.with_weights(record.weights)
            is_same = record.run_key == key.hash
        else:  # what an image is, only its engine can say; `harness.evaluate` will
            is_same = (record.pack.version, record.entry.params) == (
                request.pack.version,
                dict(request.settings.params),
            )
        # As `harness.evaluate` sees it: numbers by other definitions are another run's.
        is_outdated = record.is_ok and record.metrics_version != METRICS_VERSION
        if not is_same or is_outdated:
            return RunState.ANOTHER
        return RunState.FINISHED if record.is_settled else RunState.FAILED
