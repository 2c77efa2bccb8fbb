"""What one call of `harness.evaluate` does: everything opened and checked before, then run by run.

plan = make_plan(options, reporter)      nothing is started that can be known to be wrong
for record in run_all(plan): ...         what is finished is not run again
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import InfrastructureFault, UsageError
from harness.common.foreign_text import one_line
from harness.console import cli
from harness.running.presets import base_of, check_presets

if TYPE_CHECKING:
    import argparse

    from harness.benchmarks import Pack
    from harness.engines.base import Engine, Limits, Program
    from harness.entries.entry import Entry
    from harness.entries.reviewed import Reviewed
    from harness.records.record import Record
    from harness.records.store import RunName, Store
    from harness.running.regimes import AskedRegime, Ground
    from harness.running.request import Request, RunPlace
    from harness.trained.given_model import GivenModel
    from harness.trained.model_store import ModelStore


@dataclass(frozen=True)
class RunPlan:
    """Everything one call of `evaluate` is going to do."""

    requests: tuple[Request, ...]
    place: RunPlace
    replace: bool
    data: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the name of a pack, the options that name it to another verb."""


def plan_runs(options: argparse.Namespace, reporter: cli.Reporter) -> RunPlan:
    """Open everything that can be wrong before anything is started.

    Raises:
        HarnessError: an option, entry, pack, engine or device is not usable.
    """
    from harness.benchmarks import check_cache, default_cache
    from harness.common.paths import BASELINES
    from harness.engines import choose_engine
    from harness.entries.opening import open_entry, say_what_was_meant
    from harness.entries.reviewed import protected_branch
    from harness.entries.weights import default_weights_folder
    from harness.records.store import Store
    from harness.running.regimes import open_grounds, places_of, read_regime
    from harness.running.request import RunPlace
    from harness.running.run import sweep_work_folders
    from harness.trained.model_store import ModelStore, default_models

    cli.read_limits(options.limit)
    overrides = cli.assignments(options.overrides, "--set")
    entries = [open_entry(text, known_folders=BASELINES) for text in options.entries]
    say_what_was_meant(options.entries, entries, reporter)
    entries = _named(entries, options.name)
    models = ModelStore(default_models())
    given = _given_model(options, entries, models)
    options.seeds = options.seeds or [given.seed or 0 if given else 0]
    check_seeds(options.seeds)
    store = Store(options.results)
    if not options.dry_run:
        store.check_writable()
    engine = choose_engine(options.engine)
    engine.check()
    cache = default_cache()
    check_cache(cache)
    asked = read_regime(options)
    grounds = open_grounds(options, asked, cache, reporter)
    packs = [pack for ground in grounds for pack in ground.packs]
    refuse_leaks(entries, packs, engine)
    check_presets(entries, [ground.seen for ground in grounds], options.preset, reporter)
    reporter.event(
        f"evaluating {_listing([entry.name for entry in entries])}"
        f" on {_listing([ground.seen.name for ground in grounds])}"
        f" · {options.device} · {engine.describe()}"
        + (" · NOT ISOLATED: run only code that you trust" if engine.at_most == "none" else "")
    )
    _tell_unreviewable(entries, reporter)
    sweep_work_folders(cache)
    if any(entry.table.trains for entry in entries) and given is None and not options.no_keep_model:
        models.check()
        models.sweep()
    store.sweep()
    engine.remove_leftovers()
    place = RunPlace(
        engine,
        store,
        cache,
        options.weights or default_weights_folder(),
        reporter,
        keep_maps=options.keep_maps,
        models=models,
        keep_model=not options.no_keep_model,
        retrain=options.retrain,
        reviewed=protected_branch(options.reviewed_branch),
    )
    requests = tuple(
        _requests(entries, grounds, asked, options, place, overrides=overrides, given=given)
    )
    _tell_unreviewed(requests, place)
    return RunPlan(requests, place, options.replace, places_of(grounds, options))


def _requests(
    entries: Sequence[Entry], grounds: Sequence[Ground], asked: AskedRegime,
    options: argparse.Namespace, place: RunPlace,
    *, overrides: dict[str, str], given: GivenModel | None,
) -> Iterator[Request]:  # fmt: skip
    from harness.engines.base import Launch
    from harness.entries.asked_limits import limits_for
    from harness.entries.program import prepare_program
    from harness.entries.weights import require_for
    from harness.running.isolating import require_before
    from harness.running.regimes import regime_of, settings_of, tell_idle
    from harness.running.request import device_kind, request_of

    for entry in entries if given is not None else ():
        if not entry.table.trains:
            raise UsageError(
                f"{entry.name} does not train here: there is no model to give it", where="--model"
            )
    device_kind(options.device)  # a GPU that is not there is an error before any image is built
    read = partial(settings_of, asked=asked, preset=options.preset, overrides=overrides)
    weights = {
        (entry.name, ground.seen.name): require_for(
            entry.table, read(entry, ground).params, place.weights
        )
        for entry in entries
        for ground in grounds
    }
    described = []
    for undescribed in entries:
        program = prepare_program(undescribed, place.engine)
        limits = limits_for(undescribed.limits, options.limit)
        place.engine.check_device(options.device, is_foreign=program.is_foreign)
        require_before(
            place.engine,
            Launch(program, "predict", options.device, limits),
            [pack.card.visibility for ground in grounds for pack in ground.packs],
            is_foreign=undescribed.kind != "folder",
        )
        # A refused image is not even asked what it is; its runs end with `invalid_image`.
        is_asked = program.is_foreign and not program.refusal
        entry = _described(undescribed, program, place, limits) if is_asked else undescribed
        described.append(entry)
        for ground in grounds:
            for seed in options.seeds:
                pack, regime = ground.for_run(regime_of(entry, asked), seed, place.reporter)
                yield request_of(
                    entry,
                    program,
                    read(entry, ground),
                    pack,
                    seed=seed,
                    device=options.device,
                    limits=limits,
                    engine=place.engine,
                    is_audited=is_audited(entry, program, options.audit),
                    model=given,
                    weights=weights[entry.name, ground.seen.name],
                    regime=regime,
                )
    tell_idle(described, asked, place.reporter)


def is_audited(entry: Entry, program: Program, wanted: bool | None) -> bool:
    """Whether a run is audited: as asked for, else where a stranger's program runs.

    A baseline of the project is reviewed, and two more starts may take longer than the run.
    """
    return wanted if wanted is not None else program.is_foreign or entry.submission is not None


def _given_model(
    options: argparse.Namespace, entries: Sequence[Entry], store: ModelStore
) -> GivenModel | None:
    from harness.trained import given_model

    if options.model is None and options.stored_model is None:
        return None
    option = "--stored-model" if options.model is None else "--model"
    if options.model is not None and options.stored_model is not None:
        raise UsageError("one model is given, not two", where="--model, --stored-model")
    if options.retrain:
        raise UsageError("a model is given, or one is trained", where=f"{option}, --retrain")
    if len(entries) > 1:
        raise UsageError("a model is of one entry, and several are given", where=option)
    if options.model is not None:
        return given_model.give_folder(options.model, store)
    return given_model.open_stored(options.stored_model, store)


def _described(entry: Entry, program: Program, place: RunPlace, limits: Limits) -> Entry:
    """A folder says in entry.toml whether it trains; an image is asked."""
    from harness.session.describe import describe

    said = describe(program, place.engine, limits)
    return entry.described(maps=said.maps, trains="train" in said.verbs)


def _listing(names: Sequence[str], most: int = 4) -> str:
    """Names as a short list: the first few and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _named(entries: list[Entry], name: str | None) -> list[Entry]:
    if name is not None:
        if len(entries) > 1:
            raise UsageError("--as names one entry, and several are given", where="--as")
        entries = [entries[0].renamed(name)]
    names = [entry.name for entry in entries]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(
            f"two entries are called {sorted(twice)[0]}", fix="evaluate one of them with --as NAME"
        )
    return entries


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `UsageError` unless the seeds are different, and such as every library takes."""
    if len(set(seeds)) != len(seeds) or any(not 0 <= seed < 2**31 for seed in seeds):
        raise UsageError("seeds are different whole numbers from 0 to 2147483647", where="--seed")


def _tell_unreviewable(entries: Sequence[Entry], reporter: cli.Reporter) -> None:
    from harness.board.tracks import unreviewable_files

    for entry in entries:
        if entry.kind == "folder" and (problems := unreviewable_files(entry.folder)):
            reporter.event(f"{entry.name} cannot be on the trained-here track: {problems[0]}")


def _tell_unreviewed(requests: Sequence[Request], place: RunPlace) -> None:
    """What keeps runs from a rank, before they begin; each once, with its entries."""
    told: dict[str, list[str]] = {}
    for request in requests:
        if problem := _review_problem(request, place.reviewed):
            told.setdefault(problem, []).append(request.entry.name)
    for problem, names in told.items():
        place.reporter.event(
            f"{_listing(list(dict.fromkeys(names)))}: {problem}; trained, scored and shown as"
            " usual, and takes no rank"
        )


def _review_problem(request: Request, reviewed: Reviewed) -> str | None:
    """Why a run takes no rank for want of a review, or None."""
    from harness.board.reviews import OWN_SETTINGS, UNREVIEWED, Contents, find_reviewed, is_preset
    from harness.entries.entry import SubmissionTable
    from harness.entries.reviewed import ReviewedFolder
    from harness.running.regimes import members_of

    entry, program = request.entry, request.program
    pinned = entry.table.pinned if isinstance(entry.table, SubmissionTable) else ""
    found = find_reviewed(
        Contents(
            entry.kind, entry.name, entry.folder_name, program.source, pinned, program.image_digest
        ),
        reviewed,
    )
    if found is None and entry.kind == "folder":
        return f"{UNREVIEWED}: {reviewed.missing(entry.folder)}"
    if found is None:
        return f"{UNREVIEWED}: {reviewed.why or f'no submission of {reviewed.branch} pins it'}"
    committed = found.entry if isinstance(found, ReviewedFolder) else found
    members = members_of(request.pack)
    benchmark = base_of(request.pack)
    if is_preset(request.settings, committed, benchmark, request.regime, members):
        return None
    own = ", ".join(f"{name}={value}" for name, value in request.settings.overrides.items())
    return f"{OWN_SETTINGS}: {one_line(own)} is no preset of {reviewed.branch}"


def refuse_leaks(entries: Sequence[Entry], packs: Sequence[Pack], engine: Engine) -> None:
    """Images that must not leak, and strangers' programs, need an isolating engine."""
    from harness.engines import how_to_isolate

    if engine.at_most != "none":
        return
    hidden = [
        pack.name for pack in packs if not may_leave(Artefact.UNISOLATED_RUN, pack.card.visibility)
    ]
    foreign = [entry.name for entry in entries if entry.kind != "folder"]
    if hidden or foreign:
        what = f"the hidden pack {hidden[0]}" if hidden else f"{foreign[0]}, which is an image,"
        raise UsageError(
            f"{what} needs an engine that isolates",
            where=f"engine {engine.name}",
            fix=how_to_isolate(),
        )


def run_all(plan: RunPlan) -> Iterator[Record]:
    """Do every run that has no finished record yet, in order; yields all records.

    Raises:
        StoreConflict: a name is taken by another run; said before anything is run.
        InfrastructureFault: a run could not be done, twice.
    """
    from harness.running.trying import check_call, reason

    place = plan.place
    _check_conflicts(plan)
    for request in plan.requests:
        name, existing = _existing(request, place.store)
        if place.retrain and existing is not None and request.trains:
            place.store.retire(name, existing)
            existing = None
        if (
            existing is not None
            and existing.run_key == request.key.hash
            and _is_finished(existing, request)
        ):
            place.reporter.event(f"{name}: finished before, not run again")
            yield existing
            continue
        if existing is not None and name != request.name:
            place.store.retire(name, existing)
            existing = None
        place.reporter.event(f"{request.name}: running")
        record = _run_twice_at_most(request, place, existing)
        place.reporter.event(f"{request.name}: {_ending(record)}")
        if not record.is_ok:
            data = plan.data.get(request.pack.name, ())
            place.reporter.event(reason(record, place.store.root, check_call(request, place, data)))
        yield record


def _existing(request: Request, store: Store) -> tuple[RunName, Record | None]:
    """The record of a run and its place: that of the day when its pack was listed in no release,
    where that is where it lies.
    """
    for name in dict.fromkeys((request.name, request.earlier_name)):
        if (record := store.find(name)) is not None:
            return name, record
    return request.name, None


def _is_finished(record: Record, request: Request) -> bool:
    """Whether a record is whole: it ended well, by the metrics of today, and was audited if asked.

    What a method cannot do it can't do the second time.
    """
    from harness.metrics import METRICS_VERSION

    if not record.is_ok:
        return record.is_settled
    is_audited = record.audit is not None or not request.is_audited
    return is_audited and record.metrics_version == METRICS_VERSION


def _check_conflicts(plan: RunPlan) -> None:
    from harness.metrics import METRICS_VERSION

    place = plan.place
    place.store.check_writable(request.name for request in plan.requests)
    for request in plan.requests:
        name, existing = _existing(request, place.store)
        if existing is None:
            continue
        difference = request.key.difference(
            existing, metrics=(existing.metrics_version, METRICS_VERSION)
        )
        place.store.check_conflict(
            name,
            request.key.hash,
            replace=plan.replace,
            difference=difference,
            metrics=METRICS_VERSION,
        )


def _run_twice_at_most(request: Request, place: RunPlace, existing: Record | None) -> Record:
    """The infrastructure's faults say nothing about the entry: what can pass is tried once more."""
    from harness.running.run import execute

    try:
        return execute(request, place, before=existing)
    except InfrastructureFault as fault:
        if not fault.can_pass:
            raise
        place.reporter.event(f"{request.name}: {fault.what} Trying once more.")
    return execute(request, place, before=existing)


def _ending(record: Record) -> str:
    status = record.outcome.status
    seconds = f"{record.times.total:.1f} s"
    if record.is_ok:
        return f"ok in {seconds}"
    detail = f": {record.outcome.detail}" if record.outcome.detail else ""
    return f"{status}{detail} ({seconds})"


@dataclass(frozen=True)
class EngineCall:
    """One session that a run would start."""

    run: str
    """The run's place in the store."""
    verb: str
    """What the entry is asked to do."""
    call: str
    """The engine's call, as text."""


def dry_run(plan: RunPlan) -> list[EngineCall]:
    """The exact engine calls of every session; nothing is started."""
    from harness.running.request import launches

    return [
        EngineCall(str(request.name), launch.verb, plan.place.engine.plan(launch))
        for request in plan.requests
        for launch in launches(request, plan.place)
    ]
