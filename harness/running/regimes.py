"""What the options of a call say of the regime, and which regime each entry runs in."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.benchmarks import Pack
from harness.benchmarks.regime_pack import in_regime, shares
from harness.benchmarks.suites import Suite, find_suite
from harness.common.errors import UsageError
from harness.console import data_options
from harness.console.cli import Reporter
from harness.entries.entry import Entry, Settings
from harness.records.regime import SHOTS, Delivery, Regime, RegimeName

TRAIN_ALL, TRAIN_NONE, TRAIN_SHOTS = "all", "none", "shots:"


@dataclass(frozen=True)
class AskedRegime:
    """What a call asks for, whatever its entries can do."""

    suite: Suite | None = None
    """Train one model for its members."""
    shots: int | None = None
    """Train on so many images."""
    is_declared_untrained: bool = False
    """An image that only predicts is taken by its word: it has seen no image of the benchmark."""
    delivery: Delivery = "native"
    """How images are delivered."""


def read_regime(options: argparse.Namespace) -> AskedRegime:
    """The options `--suite`, `--train` and `--delivery`.

    Raises:
        UsageError: one of them is not usable, or they contradict each other.
    """
    shots, is_untrained = _read_train(options.train)
    if options.suite is None:
        return AskedRegime(None, shots, is_untrained, options.delivery or "native")
    if shots is not None:
        raise UsageError(
            "few-shot is of one benchmark, and a suite of several",
            where="--train, --suite",
            fix="give one of the two",
        )
    if options.benchmarks:
        raise UsageError("a suite names its benchmarks itself", where="--benchmark, --suite")
    if options.delivery == "native":
        raise UsageError(
            "the images of a suite have one size: another gives the member away",
            where="--delivery native, --suite",
            fix="leave --delivery out",
        )
    return AskedRegime(find_suite(options.suite), None, is_untrained, "256")


def _read_train(text: str) -> tuple[int | None, bool]:
    if text in (TRAIN_ALL, TRAIN_NONE):
        return None, text == TRAIN_NONE
    number = text.removeprefix(TRAIN_SHOTS)
    if text == number or number not in map(str, SHOTS):
        raise UsageError(
            f"{text!r} is no training material",
            where="--train",
            fix=f"{TRAIN_ALL}, {TRAIN_SHOTS}K with a K of {', '.join(map(str, SHOTS))},"
            f" or {TRAIN_NONE}",
        )
    return int(number), False


def regime_of(entry: Entry, asked: AskedRegime | None = None) -> Regime:
    """The regime in which an entry runs, before anything is drawn for it.

    An entry that does not train learns nothing here. A folder without `train`, whose every file
    can be read, is zero-shot; an image is so by its own word alone (`--train none`), and stands
    with the one-class entries else. Trivial rows and the canary have no regime.

    Raises:
        UsageError: an entry that trains is said to have learnt nothing.
    """
    asked = asked or AskedRegime()
    suite = asked.suite.name if asked.suite else None
    name: RegimeName | None = "one-class"
    shots, is_declared = None, False
    if entry.table.trains:
        if asked.is_declared_untrained:
            raise UsageError(f"{entry.name} trains", where=f"--train {TRAIN_NONE}")
        shots = asked.shots
        name = "unified" if suite else "few-shot" if shots else "one-class"
    elif entry.table.family == "trivial":  # the canary is of it
        name = None
    elif entry.kind == "folder":
        name = "zero-shot"
    elif asked.is_declared_untrained or suite or asked.shots:
        # What an image knows of one benchmark it would have to have learnt elsewhere.
        name, is_declared = "zero-shot", True
    return Regime(
        name=name, suite=suite, shots=shots, delivery=asked.delivery, is_declared=is_declared
    )


@dataclass(frozen=True)
class Ground:
    """What one run of every entry is on: a pack, or the members of a suite."""

    packs: tuple[Pack, ...]
    """The packs on disk."""
    seen: Pack
    """The pack itself, or the suite as runs see it."""

    @classmethod
    def of_suite(cls, packs: Sequence[Pack], suite: Suite) -> Ground:
        """The members of a suite as one."""
        unified = Regime(name="unified", suite=suite.name, delivery="256")
        seen, _ = in_regime(packs, unified, 0, suite)
        return cls(tuple(packs), seen)

    def for_run(self, regime: Regime, seed: int, reporter: Reporter) -> tuple[Pack, Regime]:
        """What one run sees, and its regime with what was drawn for it.

        Raises:
            UsageError: fewer training images than shots.
        """
        if regime.suite is not None:
            return self.seen, regime
        seen, regime = in_regime(self.packs, regime, seed)
        if regime.of_unknown_patient:
            reporter.event(
                f"{seen.name}, seed {seed}: nothing tells the patient of"
                f" {regime.of_unknown_patient} of the {regime.shots} drawn images: two may be of one"
            )
        return seen, regime


def open_grounds(
    options: argparse.Namespace, asked: AskedRegime, cache: Path, reporter: Reporter
) -> list[Ground]:
    """Every pack that the options name, or the one suite; of this the shares are told.

    Raises:
        DataMissing, PackInvalid: a pack is not there, or has problems.
        UsageError: an unknown benchmark.
    """
    if asked.suite is None:
        packs = data_options.open_packs(options, cache, reporter)
        return [Ground((pack,), pack) for pack in packs]
    members = data_options.open_members(options, asked.suite.members, cache, reporter)
    ground = Ground.of_suite(members, asked.suite)
    told = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares(ground.seen).items())
    count = len(ground.seen.split("train"))
    reporter.event(f"{ground.seen.name}: {count} training images: {told}")
    return [ground]


def places_of(grounds: Sequence[Ground], options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """By the name of what is run on, the options that name it alone to another verb."""
    if options.suite is None:
        return data_options.places([ground.seen for ground in grounds], options)
    (ground,) = grounds
    call = ["--suite", options.suite]
    call += ["--data-root", str(options.data_root)] if options.data_root else []
    call += ["--pack", *map(str, options.packs)] if options.packs else []
    call += ["--accept", *sorted(set(options.accepted))] if options.accepted else []
    return {ground.seen.name: tuple(call)}


def settings_of(
    entry: Entry,
    ground: Ground,
    asked: AskedRegime,
    preset: str | None,
    overrides: Mapping[str, str],
) -> Settings:
    """What an entry is sent on a pack or a suite; errors as in `Entry.settings`."""
    return entry.settings(
        ground.seen.settings_name,
        preset=preset,
        overrides=overrides,
        regime=regime_of(entry, asked),
        members=members_of(ground.seen),
    )


def members_of(pack: Pack) -> list[str]:
    """By whose settings the members of a suite are judged; of one pack there are none."""
    return [member.settings_name for member in pack.members] if len(pack.members) > 1 else []


def tell_idle(entries: Sequence[Entry], asked: AskedRegime, reporter: Reporter) -> None:
    """Which entries have nothing to train, where the call asks for a regime of training."""
    idle = [entry for entry in entries if not entry.table.trains]
    if idle and (asked.shots or asked.suite):
        told = ", ".join(f"{entry.name} ({regime_of(entry, asked).shown})" for entry in idle)
        reporter.event(f"nothing to train here: {told}")
