"""The call of `harness.evaluate` that does one run of a campaign, on whatever machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from harness.campaigns.plan import CampaignPlan
    from harness.entries.campaign_grid import Cell


@dataclass(frozen=True)
class Command:
    """One run as `harness.evaluate` is asked for it; plain values, so that it can be sent."""

    source: str
    """What names the entry."""
    name: str
    """Its name on the board."""
    place: tuple[str, ...]
    """The options that name the images (`CampaignGrounds.places`)."""
    regime: tuple[str, ...]
    """The options that say what it may learn from; a suite is named with its images."""
    seed: int
    """Seed of the run."""
    device: str
    """Device of the run."""
    engine: str
    """Name of the engine."""
    results: str
    """Results folder."""
    preset: str | None
    """Preset; None = the entry's default."""
    overrides: tuple[tuple[str, str], ...]
    """Changed hyper-parameters."""
    limits: tuple[str, ...]
    """Changed limits, as `--limit` takes them."""
    weights: str | None
    """Folder of pretrained backbones; None = the machine's own."""
    audit: bool | None
    """Whether to audit; None = by the entry."""
    replace: bool
    """Move a record of another run to history."""
    keep_maps: bool
    """Keep the anomaly maps beside the record."""

    def arguments(self) -> list[str]:
        """The argument vector of `harness.evaluate`."""
        told = [
            self.source, "--as", self.name, *self.place, *self.regime, "--seed", str(self.seed),
            "--device", self.device, "--engine", self.engine, "--results", self.results,
            "--no-site", "--json",
        ]  # fmt: skip
        told += ["--preset", self.preset] if self.preset else []
        for name, value in self.overrides:
            told += ["--set", f"{name}={value}"]
        for text in self.limits:
            told += ["--limit", text]
        told += ["--weights", self.weights] if self.weights else []
        told += [] if self.audit is None else ["--audit" if self.audit else "--no-audit"]
        told += ["--replace"] if self.replace else []
        return told + (["--keep-maps"] if self.keep_maps else [])


def command_of(cell: Cell, device: str, plan: CampaignPlan, options: argparse.Namespace) -> Command:
    """The call for one cell of a plan on this machine."""
    return Command(
        source=cell.variant.source,
        name=cell.variant.name,
        place=tuple(plan.places[cell.benchmark]),
        regime=tuple(cell.regime.options),
        seed=cell.seed,
        device=device,
        engine=plan.engine,
        results=str(plan.store.root),
        preset=plan.campaign.preset,
        overrides=cell.variant.overrides,
        limits=tuple(options.limit),
        weights=str(options.weights) if options.weights else None,
        audit=options.audit,
        replace=options.replace,
        keep_maps=options.keep_maps,
    )
