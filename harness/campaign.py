"""`python -m harness.campaign plan|run|status|resume`: a whole grid of runs by one command.

Everything that a campaign knows lies in the results folder: a run that has a record is not
done again, so a campaign that was killed is resumed by the same command, and several may
work on one folder in turn. Faults of entries are records and stop nothing; faults of the
machine are tried again.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from harness import cli
from harness.errors import StoreConflict, UsageError

if TYPE_CHECKING:
    import argparse

    from harness.benchmarks import Pack
    from harness.campaigns.costs import Costs, Estimate
    from harness.campaigns.grid import Campaign, Cell, Variant
    from harness.campaigns.runner import Done
    from harness.engines.base import Engine, Limits
    from harness.entries import Entry
    from harness.records import Record
    from harness.requests import Request
    from harness.store import RunName, Store

EXAMPLES = """
  python -m harness.campaign plan table2 --data-root /data/bmad --device cuda
      the paper's fifteen methods x six benchmarks x five seeds: what is left, and what it takes
  python -m harness.campaign run table2 --data-root /data/bmad --device cuda
      one run at a time on every idle GPU; Ctrl-C at will, and `resume` goes on
  python -m harness.campaign run --entries 'baselines/*' --leave-out template 'trivial-*' \\
      --benchmark demo --seed 0 1 --engine process
  python -m harness.campaign status table2 --data-root /data/bmad
  python -m harness.campaign run my-grid.toml --data-root /data/bmad
"""
# Below the results folder; a name that begins with a dot is no benchmark.
LOGS = ".campaigns"
ACTIONS = ("plan", "run", "status", "resume")


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    from harness.evaluate import add_data_options

    parser = cli.Parser(
        "campaign",
        "Plan, run, resume or look at a grid of runs: entries x benchmarks x seeds x settings.\n"
        "A finished run is never repeated; an entry's fault stops nothing; faults of this\n"
        "machine are tried again.",
        EXAMPLES,
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument(
        "campaign", nargs="?", help="a campaign that ships (table2), or a TOML file"
    )
    group = parser.add_argument_group("the grid (changes what the campaign says)")
    group.add_argument("--entries", nargs="+", metavar="ENTRY", help="paths may hold wildcards")
    group.add_argument("--leave-out", nargs="+", metavar="NAME", help="names of entries")
    group.add_argument("--seed", dest="seeds", type=int, nargs="+", metavar="N")
    group.add_argument("--preset", help="preset of every entry")
    add_data_options(parser)
    cli.add_engine_options(parser)
    group = parser.add_argument_group("how it goes")
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    group.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time on the CPU (default: by the cores)"
    )
    group.add_argument("--retry-failed", action="store_true", help="run entries' faults again")
    group.add_argument(
        "--replace", action="store_true", help="move records of other runs to history"
    )
    group.add_argument("--no-site", action="store_true", help="do not rebuild the site at the end")
    group.add_argument("--json", action="store_true", help="print the state of every run as JSON")
    parser.set_defaults(overrides=[])
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Do what is asked; returns the exit code (0, or 4 or 5 when runs are missing)."""
    options = build_parser().parse_args(argv)
    reporter = cli.Reporter()
    try:
        plan = make_plan(options, reporter)
        if options.action in ("plan", "status"):
            print(as_json(plan) if options.json else plan_text(plan))
            return 0
        plan.check_conflicts(replace=options.replace)
        done = run(plan, options, reporter)
    finally:
        reporter.close()
    show(plan, done, options)
    return exit_code(plan, done)


class State(StrEnum):
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
    state: State
    """Whether it has a record."""
    status: str
    """Status of that record; empty without one."""
    estimate: Estimate
    """What it will take."""


@dataclass(frozen=True)
class Plan:
    """A campaign on this machine."""

    campaign: Campaign
    variants: tuple[Variant, ...]
    runs: tuple[Planned, ...]
    """All runs, in order."""
    store: Store
    places: Mapping[str, tuple[str, ...]]
    """By benchmark, the options of `harness.evaluate` that name its images."""
    slots: tuple[str, ...]
    """Devices, one run at a time on each."""
    engine: str
    """Name of the engine."""

    def to_do(self, *, retry_failed: bool, replace: bool) -> list[Planned]:
        """The runs that are left."""
        wanted = {State.TO_DO}
        wanted |= {State.FAILED} if retry_failed else set()
        wanted |= {State.ANOTHER} if replace else set()
        return [planned for planned in self.runs if planned.state in wanted]

    def check_conflicts(self, *, replace: bool) -> None:
        """Say before anything is run which names are taken by records of other runs.

        Raises:
            StoreConflict: some are, and `replace` is false.
        """
        taken = [str(p.cell) for p in self.runs if p.state is State.ANOTHER]
        if taken and not replace:
            more = f" and {len(taken) - 3} more" if len(taken) > 3 else ""
            raise StoreConflict(
                f"records of {', '.join(taken[:3])}{more} exist and are of other runs"
                " (other code, settings, images or harness)",
                where=str(self.store.root),
                fix="give another folder with --results DIR, or move them to history with --replace",
            )


def make_plan(options: argparse.Namespace, reporter: cli.Reporter) -> Plan:
    """Open the grid and everything in it, and look up what is done; starts nothing.

    Raises:
        HarnessError: the campaign, an entry, a pack, the engine or a device is not usable.
    """
    from harness.benchmarks import check_cache, default_cache
    from harness.campaigns import grid, slots
    from harness.campaigns.costs import Costs
    from harness.engines import choose_engine
    from harness.entries import open_entry
    from harness.evaluate import open_packs
    from harness.provenance import REPOSITORY
    from harness.requests import device_kind
    from harness.store import Store
    from harness.weights import default_folder

    campaign = _campaign(options)
    limits = cli.read_limits(options.limit)
    named = {
        source: open_entry(source, known_folders=REPOSITORY / "baselines")
        for source in grid.sources(campaign)
    }
    entries = {s: e for s, e in named.items() if not grid.is_left_out(campaign, e.name)}
    if not entries:
        raise UsageError("every entry is left out", where="leave_out")
    variants = grid.variants(campaign, {source: entry.name for source, entry in entries.items()})
    engine = choose_engine(options.engine)
    engine.check()
    cache = default_cache()
    check_cache(cache)
    options.benchmarks = list(options.benchmarks or campaign.benchmarks)
    opened = open_packs(options, cache, reporter)
    packs = {pack.name: pack for pack in opened}
    devices = slots.slots(options.device, options.jobs, limits.threads)
    store = Store(options.results)
    records = {store.name_of(record): record for record in store.records()}
    look_up = _LookUp(entries, packs, engine, limits, campaign.preset, records, devices[0])
    costs = Costs(records.values(), device_kind(devices[0]))
    runs = tuple(
        look_up.planned(cell, costs) for cell in grid.cells(variants, list(packs), campaign.seeds)
    )
    if options.action in ("run", "resume"):
        look_up.check_weights(options.weights or default_folder())
    places = _places([pack.name for pack in opened], options)
    return Plan(campaign, tuple(variants), runs, store, places, tuple(devices), engine.name)


def _places(names: Sequence[str], options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """By benchmark, the options that name its images; packs of one's own stand last."""
    root = ("--data-root", str(options.data_root)) if options.data_root else ()
    named = len(names) - len(options.packs)
    places = {name: ("--benchmark", name, *root) for name in names[:named]}
    own = zip(names[named:], options.packs, strict=True)
    return places | {name: ("--pack", str(folder)) for name, folder in own}


def _campaign(options: argparse.Namespace) -> Campaign:
    """The campaign that is named, with the changes of the options."""
    from harness.campaigns.grid import Campaign, read_campaign

    changes = {
        key: tuple(value)
        for key, value in (
            ("entries", options.entries), ("leave_out", options.leave_out), ("seeds", options.seeds),
        )
        if value
    }  # fmt: skip
    if options.preset:
        changes["preset"] = options.preset
    if options.campaign:
        return read_campaign(options.campaign).model_copy(update=changes)
    if not options.entries:
        raise UsageError(
            "no entry is named", fix="name a campaign (table2 ships), or give --entries ENTRY…"
        )
    return Campaign(name="grid", **changes)


@dataclass(frozen=True)
class _LookUp:
    """Finds what the results folder knows of a run."""

    entries: Mapping[str, Entry]
    packs: Mapping[str, Pack]
    engine: Engine
    limits: Limits
    preset: str | None
    records: Mapping[RunName, Record]
    device: str

    def planned(self, cell: Cell, costs: Costs) -> Planned:
        """The run with its state and its cost."""
        from harness.campaigns.costs import Images

        request = self.request(cell)
        pack = request.pack
        counts = {split: len(pack.split(split)) for split in ("train", "valid", "test")}
        estimate = costs.estimate(
            cell.variant.name,
            request.settings.preset,
            pack.name,
            Images(counts["train"], counts["valid"] + counts["test"]),
        )
        record = self.records.get(request.name)
        if record is None:
            return Planned(cell, State.TO_DO, "", estimate)
        return Planned(cell, self._state(request, record), record.outcome.status.value, estimate)

    def request(self, cell: Cell) -> Request:
        """The run as `harness.evaluate` would ask for it."""
        from harness import provenance
        from harness.engines.base import Program
        from harness.requests import Request

        entry, pack = self.entries[cell.variant.source], self.packs[cell.benchmark]
        is_folder = entry.kind == "folder"
        identity = provenance.folder_identity(entry.folder) if is_folder else "image:unknown"
        return Request(
            entry.renamed(cell.variant.name),
            Program(entry.name, identity),
            entry.settings(
                pack.card.base or pack.name,
                preset=self.preset,
                overrides=dict(cell.variant.overrides),
            ),
            pack,
            cell.seed,
            self.device,
            self.limits,
        )

    def check_weights(self, folder: Path) -> None:
        """Raise `WeightsMissing` for the first entry whose pretrained files are not there."""
        from harness.campaigns.grid import Cell, Variant
        from harness.weights import require_for

        for source, entry in self.entries.items():
            for name in self.packs:
                cell = Cell(Variant(source, entry.name), name, 0)
                require_for(entry.table.backbones, self.request(cell).settings.params, folder)

    def _state(self, request: Request, record: Record) -> State:
        from harness.requests import request_key

        if request.entry.kind == "folder":
            is_same = record.run_key == request_key(request, self.engine)
        else:  # what an image is, only its engine can say; `harness.evaluate` will
            is_same = (record.pack.version, record.entry.params) == (
                request.pack.version,
                dict(request.settings.params),
            )
        if not is_same:
            return State.ANOTHER
        return State.FINISHED if record.is_ok else State.FAILED


def run(plan: Plan, options: argparse.Namespace, reporter: cli.Reporter) -> list[Done]:
    """Do what is left; returns what was tried, in the order in which it ended."""
    from harness.campaigns.runner import End, Runner
    from harness.campaigns.slots import is_free

    left = plan.to_do(retry_failed=options.retry_failed, replace=options.replace)
    logs = plan.store.root / LOGS / plan.campaign.name
    reporter.event(
        f"campaign {plan.campaign.name}: {len(left)} of {len(plan.runs)} runs to do"
        f" · {len(plan.slots)} at a time on {', '.join(sorted(set(plan.slots)))} · {plan.engine}"
        f" · {expected(left, len(plan.slots))}"
    )
    runner = Runner(
        lambda cell, device: command(cell, device, plan, options),
        plan.slots,
        logs,
        is_free=is_free,
    )
    done: list[Done] = []
    for ended in runner.run([planned.cell for planned in left]):
        done.append(ended)
        tries = f", {ended.tries} tries" if ended.tries > 1 else ""
        said = _recorded(plan, ended) if ended.end is End.FAILED else ended.detail
        detail = f": {said}" if said else ""
        reporter.event(
            f"[{len(done)}/{len(left)}] {ended.cell}: {ended.end} in {ended.seconds:.0f} s"
            f"{tries}{detail}"
        )
        reporter.progress("runs", len(done), len(left))
    return done


def _recorded(plan: Plan, ended: Done) -> str:
    """Status and detail of the record that a failed run left."""
    from harness.store import RunName

    cell = ended.cell
    record = plan.store.find(RunName(cell.benchmark, cell.variant.name, cell.seed))
    if record is None:
        return ended.detail
    detail = f", {record.outcome.detail}" if record.outcome.detail else ""
    return f"{record.outcome.status.value}{detail}"


def command(cell: Cell, device: str, plan: Plan, options: argparse.Namespace) -> list[str]:
    """The arguments of `harness.evaluate` for one run."""
    arguments = [
        cell.variant.source, "--as", cell.variant.name, *plan.places[cell.benchmark], "--seed",
        str(cell.seed), "--device", device, "--engine", plan.engine,
        "--results", str(plan.store.root), "--no-site", "--json",
    ]  # fmt: skip
    if plan.campaign.preset:
        arguments += ["--preset", plan.campaign.preset]
    for name, value in cell.variant.overrides:
        arguments += ["--set", f"{name}={value}"]
    for text in options.limit:
        arguments += ["--limit", text]
    if options.weights:
        arguments += ["--weights", str(options.weights)]
    if options.replace:
        arguments.append("--replace")
    return arguments


# Texts


def plan_text(plan: Plan) -> str:
    """The grid as a table: how many runs of each entry are done, and what the rest takes."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    benchmarks = list(dict.fromkeys(planned.cell.benchmark for planned in plan.runs))
    table = Table(title=plan.campaign.title or plan.campaign.name, title_justify="left",
                  box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    table.add_column("entry", no_wrap=True)
    for name in (*benchmarks, "left", "takes"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in dict.fromkeys(planned.cell.variant.name for planned in plan.runs):
        own = [planned for planned in plan.runs if planned.cell.variant.name == name]
        left = [planned for planned in own if planned.state is State.TO_DO]
        cells = [_progress([p for p in own if p.cell.benchmark == b]) for b in benchmarks]
        table.add_row(name, *cells, str(len(left)), expected(left, 1) if left else "")
    out = io.StringIO()
    Console(file=out, width=max(Console().width, 200), highlight=False).print(table)
    states = Counter(planned.state for planned in plan.runs)
    left = [planned for planned in plan.runs if planned.state is State.TO_DO]
    counts = ", ".join(f"{states[state]} {state}" for state in State if states[state])
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    where = f"{len(plan.slots)} at a time on {', '.join(sorted(set(plan.slots)))} ({plan.engine})"
    lines += [
        f"{len(plan.runs)} runs: {counts}",
        f"left: {expected(left, len(plan.slots))}, {where}",
    ]
    return "\n".join(lines)


def _progress(runs: Sequence[Planned]) -> str:
    """`3/5`, and how many failed."""
    states = Counter(planned.state for planned in runs)
    failed = f" ({states[State.FAILED]} failed)" if states[State.FAILED] else ""
    return f"{states[State.FINISHED]}/{len(runs)}{failed}"


def expected(left: Sequence[Planned], slots: int) -> str:
    """What so many runs take, as far as earlier records tell."""
    from harness.campaigns.costs import total

    seconds, unknown = total({str(planned.cell): planned.estimate for planned in left})
    if unknown == len(left):
        return "time unknown: no earlier record" if left else "nothing left"
    more = f" and {unknown} runs of unknown length" if unknown else ""
    return f"about {duration(seconds / slots)}{more}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def as_json(plan: Plan) -> str:
    """The state of every run as a JSON array."""
    import json

    return json.dumps(
        [
            {
                "run": str(planned.cell),
                "overrides": dict(planned.cell.variant.overrides),
                "state": planned.state,
                "status": planned.status or None,
                "seconds": planned.estimate.seconds,
                "basis": planned.estimate.basis,
            }
            for planned in plan.runs
        ],
        indent=1,
        allow_nan=False,
    )


def show(plan: Plan, done: Sequence[Done], options: argparse.Namespace) -> None:
    """The results, the settings that validation chose, and counts that add up; rebuilds the site."""
    from harness.campaigns.outcome import choices, reproduction
    from harness.site import build_site
    from harness.statistics import summarise
    from harness.tables import result_tables

    names = {planned.cell.variant.name for planned in plan.runs}
    benchmarks = {planned.cell.benchmark for planned in plan.runs}
    records = [
        record
        for record in plan.store.records()
        if record.entry.name in names and record.pack.benchmark in benchmarks
    ]
    if options.json:
        print(as_json(plan))
    else:
        print(result_tables(records))
        for choice in choices(plan.variants, records):
            print(
                f"chosen by validation: {choice.benchmark}/{choice.chosen}"
                f" ({choice.value:.4f}, best of {choice.of})"
            )
        if plan.campaign.compares_with_paper:
            found = reproduction(summarise(records))
            print(
                f"the paper's Table 2: {found.reproduced} of {found.measured} measured cells lie"
                f" within both spreads; {found.reported - found.measured} of {found.reported}"
                " are not measured, or not ranked"
            )
        print(totals_text(plan, done))
    if not options.no_site and records:
        where = f"records: {plan.store.root}\nsite:    {build_site(plan.store.root)}"
        print(where, file=sys.stderr if options.json else sys.stdout)


def totals_text(plan: Plan, done: Sequence[Done]) -> str:
    """How every run of the grid ended; the parts add up to the total."""
    from harness.campaigns.runner import MEANINGS, End

    tried = {str(ended.cell): ended for ended in done}
    before = Counter(p.state for p in plan.runs if str(p.cell) not in tried)
    ends = Counter(ended.end for ended in done)
    parts = [f"{count:6}  {state} before" for state, count in before.items() if state != "to do"]
    parts += [f"{ends[end]:6}  {end}: {MEANINGS[end]}" for end in End if ends[end]]
    if before[State.TO_DO]:
        parts.append(f"{before[State.TO_DO]:6}  to do")
    lines = [f"{len(plan.runs)} runs of campaign {plan.campaign.name}:", *sorted(parts)]
    lines += [
        f"        {ended.cell}: {ended.detail} (log: {ended.log})"
        for ended in done
        if ended.end in (End.REFUSED, End.NOT_DONE, End.BUG)
    ]
    return "\n".join(lines)


def exit_code(plan: Plan, done: Sequence[Done]) -> int:
    """0 all finished; 4 some failed by their entries' fault; 5 some are not done; 1 a bug."""
    from harness.campaigns.runner import End

    ends = {ended.end for ended in done}
    if End.BUG in ends:
        return 1
    if End.NOT_DONE in ends:
        return 5
    is_failed = any(p.state is State.FAILED for p in plan.runs) and not done
    return 4 if is_failed or ends & {End.FAILED, End.REFUSED} else 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
