"""Whether an entry keeps the contract: a full run, on the demo pack or another, and all looked at on the way."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import EntryFailed, EntryInvalid, UsageError
from harness.common.foreign_text import all_quoted, one_line
from harness.console import cli, data_options

if TYPE_CHECKING:
    import argparse

    from harness.engines.base import Engine, Limits, Program
    from harness.entries.entry import Entry
    from harness.records.record import AuditPart, Record
    from harness.running.regimes import AskedRegime, Ground

# What an archive may unpack to as well (harness/engines/docker/images.py).
MAX_IMAGE_BYTES = 64 * 1024**3


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What."""
    passed: bool
    """Whether it is as the contract asks."""
    detail: str
    """What was seen."""


@dataclass
class CheckReport:
    """What `check_entry` says of an entry."""

    entry: str
    """Name of the entry."""
    conforms: bool = True
    """Whether every check passed."""
    status: str | None = None
    """Status of its run."""
    engine: str = ""
    """Engine that ran it."""
    limits: dict[str, float | int] = field(default_factory=dict)
    """Limits that it was described and run under, by name."""
    checks: list[Check] = field(default_factory=list)
    """All checks, in order."""
    metrics: dict[str, float | None] = field(default_factory=dict)
    """What it reached; on the demo pack only a sign of life."""
    warnings: list[str] = field(default_factory=list)
    """Remarks that do not fail the check."""
    seconds_per_image: float | None = None
    """Median, by the host's clock."""
    log: str = ""
    """Everything that the entry wrote to standard error; on a hidden pack why it is not shown."""

    def add(self, name: str, detail: str, *, passed: bool = True) -> None:
        """Note one check."""
        self.checks.append(Check(name, passed, detail))
        self.conforms = self.conforms and passed

    @property
    def exit_code(self) -> int:
        """0 it conforms, 3 it cannot be run, 4 its run failed."""
        if self.conforms:
            return 0
        return EntryInvalid.exit_code if self.status is None else EntryFailed.exit_code

    def show_log(self, reporter: cli.Reporter) -> None:
        """Everything that the entry said, where the pack's images are no secret."""
        if self.log:
            reporter.event(f"--- log of {self.entry} ---")
            for line in all_quoted(self.log):
                reporter.event(line)
            reporter.event("--- end of log ---")


def check_entry(options: argparse.Namespace, reporter: cli.Reporter) -> CheckReport:
    """All checks in order; the first that makes the rest pointless ends them.

    Raises:
        UsageError, EnvironmentFault: the check itself cannot be made.
    """
    from harness.benchmarks import check_cache, default_cache
    from harness.common.paths import BASELINES
    from harness.engines import choose_engine, how_to_isolate
    from harness.entries.opening import open_entry, say_what_was_meant
    from harness.entries.program import prepare_program
    from harness.running.plan import check_seeds, refuse_leaks
    from harness.running.regimes import read_regime

    check_seeds([options.seed])
    cli.read_limits(options.limit)
    engine = choose_engine(options.engine)
    engine.check()
    entry = open_entry(options.entry, known_folders=BASELINES)
    say_what_was_meant([options.entry], [entry], reporter)
    if engine.at_most == "none" and entry.kind != "folder":
        raise UsageError(
            f"{entry.name} is an image and needs an engine that isolates",
            where=f"engine {engine.name}",
            fix=how_to_isolate(),
        )
    cache = default_cache()
    check_cache(cache)
    asked = read_regime(options)
    ground = _open_ground(options, asked, reporter)
    refuse_leaks([entry], list(ground.packs), engine)
    verdict = CheckReport(entry.name, engine=engine.describe())
    reporter.event(
        f"checking {entry.name} on {_named(ground.seen.name)} · {options.device} · {engine.describe()}"
    )
    try:
        program = prepare_program(entry, engine)
    except EntryInvalid as error:
        verdict.add("image", str(error), passed=False)
        return verdict
    return check_program(
        verdict,
        entry,
        program,
        engine=engine,
        options=options,
        reporter=reporter,
        ground=ground,
        asked=asked,
    )


def _open_ground(options: argparse.Namespace, asked: AskedRegime, reporter: cli.Reporter) -> Ground:
    """The one pack that the options name, the demo pack where they name none, or the one suite."""
    from harness.benchmarks import default_cache
    from harness.running.regimes import Ground, open_grounds

    if asked.suite is None:
        pack = data_options.open_one(options, default_cache(), reporter)
        return Ground((pack,), pack)
    (ground,) = open_grounds(options, asked, default_cache(), reporter)
    return ground


def check_program(
    verdict: CheckReport,
    entry: Entry,
    program: Program,
    *,
    engine: Engine,
    options: argparse.Namespace,
    reporter: cli.Reporter,
    ground: Ground,
    asked: AskedRegime | None = None,
) -> CheckReport:
    """Everything that is looked at once the program can be started: `check_entry` and `submit` share it.

    Args:
        verdict: takes what is found.
        entry, program, engine: what is looked at, and what starts it.
        options: those that both verbs have.
        reporter: told of progress.
        ground: the pack or suite that it is run on.
        asked: the regime that it is run in; None = the usual one.
    Raises:
        UsageError, EnvironmentFault: the check itself cannot be made.
    """
    from harness.engines.base import Launch
    from harness.entries.asked_limits import limits_for
    from harness.running.isolating import isolation_told, require_isolation

    limits = limits_for(entry.limits, options.limit)
    verdict.limits = limits.as_dict()
    if program.refusal:
        verdict.add("image", program.refusal, passed=False)
        return verdict
    engine.check_device(options.device, is_foreign=program.is_foreign)
    verdict.add("image", program.identity)
    measured = require_isolation(
        engine,
        Launch(program, "predict", options.device, limits),
        [pack.card.visibility for pack in ground.packs],
        is_foreign=entry.kind != "folder",
    )
    verdict.add("isolation", isolation_told(engine, measured))
    if program.size_bytes:
        _judge_size(verdict, program)
    described = _described(verdict, entry, program, engine, limits)
    if described is not None:
        _run(
            verdict,
            entry=described,
            program=program,
            engine=engine,
            options=options,
            reporter=reporter,
            ground=ground,
            asked=asked,
        )
    return verdict


def _judge_size(verdict: CheckReport, program: Program) -> None:
    size, most = program.size_bytes / 1024**3, MAX_IMAGE_BYTES / 1024**3
    verdict.add("size", f"{size:.2f} GiB of at most {most:.0f} GiB", passed=size <= most)


def _described(
    verdict: CheckReport, entry: Entry, program: Program, engine: Engine, limits: Limits
) -> Entry | None:
    """Ask the program to describe itself; the entry with what it said, or None where it failed."""
    from harness.session.describe import describe

    try:
        said = describe(program, engine, limits)
    except EntryInvalid as error:
        verdict.add("describe", str(error), passed=False)
        return None
    verdict.add(
        "describe", f"{one_line(said.name)}, maps: {said.maps}, verbs: {', '.join(said.verbs)}"
    )
    trains = "train" in said.verbs
    declared = (entry.table.name, entry.table.maps, entry.table.trains)
    if entry.kind == "folder" and declared != (said.name, said.maps, trains):
        verdict.add(
            "entry.toml agrees",
            "entry.toml says name {}, maps {}, trains {}".format(*declared),
            passed=False,
        )
    return entry.described(maps=said.maps, trains=trains)


def _run(
    verdict: CheckReport,
    *,
    entry: Entry,
    program: Program,
    engine: Engine,
    options: argparse.Namespace,
    reporter: cli.Reporter,
    ground: Ground,
    asked: AskedRegime | None,
) -> None:
    """One run, with the limits of production."""
    from harness.benchmarks import default_cache
    from harness.entries.asked_limits import limits_for
    from harness.entries.weights import default_weights_folder, require_for
    from harness.records.store import Store
    from harness.running.plan import is_audited
    from harness.running.presets import check_presets
    from harness.running.regimes import AskedRegime, regime_of, settings_of
    from harness.running.request import RunPlace, request_of
    from harness.running.run import execute
    from harness.running.trying import NO_LOG

    cache = default_cache()
    overrides = cli.assignments(options.overrides, "--set")
    check_presets([entry], [ground.seen], options.preset, reporter)
    asked = asked or AskedRegime()
    settings = settings_of(entry, ground, asked, options.preset, overrides)
    pack, regime = ground.for_run(regime_of(entry, asked), options.seed, reporter)
    weights = options.weights or default_weights_folder()
    files = require_for(entry.table, settings.params, weights)
    with _temporary_store() as folder:
        place = RunPlace(engine, Store(folder), cache, weights, reporter, keep_log=True)
        request = request_of(
            entry,
            program,
            settings,
            pack,
            seed=options.seed,
            device=options.device,
            limits=limits_for(entry.limits, options.limit),
            engine=engine,
            is_audited=is_audited(entry, program, options.audit),
            weights=files,
            regime=regime,
        )
        record = execute(request, place)
        verdict.log = NO_LOG
        if may_leave(Artefact.LOG, pack.card.visibility):
            verdict.log = place.store.log_path(request.name).read_text("utf-8", "replace")
    _judge(verdict, record)


def _named(benchmark: str) -> str:
    return "the demo pack" if benchmark == "demo" else one_line(benchmark)


@contextlib.contextmanager
def _temporary_store() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bmad-check-") as folder:
        yield Path(folder)


def _judge(verdict: CheckReport, record: Record) -> None:
    outcome = record.outcome
    verdict.status = outcome.status.value
    asked = record.pack.test_normal + record.pack.test_anomalous
    detail = outcome.detail or f"{outcome.answered} of {asked} test images answered"
    verdict.add(f"run on {_named(record.pack.benchmark)}", detail, passed=record.is_ok)
    if not record.is_ok:
        verdict.add("remedy", f"{outcome.sentence} {outcome.remedy}", passed=False)
    latency = record.times.latency
    verdict.seconds_per_image = latency.median if latency else None
    verdict.warnings = list(record.warnings)
    if record.audit is not None:
        _judge_audit(verdict, record.audit)
    verdict.metrics = {
        metric.id: metric.value
        for metric in record.metrics
        if metric.grid in (None, "native") and metric.value is not None
    }


def _judge_audit(verdict: CheckReport, audit: AuditPart) -> None:
    """The mark that the row will bear; it is told, and forbids nothing."""
    verdict.add("audit", f"{audit.verdict}: {audit.images} images in two fresh starts")
    if audit.verdict != "passed":
        verdict.warnings.append(f"{audit.verdict}: {audit.detail}; the row will be marked so")
