"""What a campaign says: its plan, how it ended, and its exit code. Counts add up to the total."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.campaigns.plan import RunState
from harness.common.errors import EntryFailed
from harness.common.foreign_text import one_line
from harness.console import cli
from harness.console.tables import as_text, cell

if TYPE_CHECKING:
    import argparse

    from harness.campaigns.faults import Ended
    from harness.campaigns.plan import CampaignPlan, Planned


def plan_text(plan: CampaignPlan) -> str:
    """The grid, a table for each regime: how many runs of each entry are done, and what the rest takes."""
    regimes: dict[str, list[Planned]] = {}
    for planned in plan.runs:
        regime = planned.cell.regime
        # Suites stand side by side, as benchmarks do.
        shown = "unified" if regime.name == "unified" else regime.shown
        regimes.setdefault(shown, []).append(planned)
    title = plan.campaign.title or plan.campaign.name
    lines: list[str] = []
    for shown, runs in regimes.items():
        told = f"{title}: {shown}" if len(regimes) > 1 else title
        lines += _grid(told, runs)
    states = Counter(planned.state for planned in plan.runs)
    left = [planned for planned in plan.runs if planned.state is RunState.TO_DO]
    counts = ", ".join(f"{states[state]} {state}" for state in RunState if states[state])
    where = f"{len(plan.slots)} at a time on {', '.join(sorted(set(plan.slots)))} ({plan.engine})"
    lines += [
        f"{len(plan.runs)} runs: {counts}",
        f"left: {expected(left, len(plan.slots))}, {where}",
        *([f"isolation: {plan.isolation}"] if plan.isolation else []),
        *_bases(left),
    ]
    return "\n".join(lines)


def _grid(title: str, runs: Sequence[Planned]) -> list[str]:
    """The runs of one regime: a line for each entry, a column for each benchmark or suite."""
    from rich import box
    from rich.table import Table

    places = list(dict.fromkeys(planned.cell.place for planned in runs))
    table = Table(title=cell(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("entry", no_wrap=True)
    for name in (*places, "left", "takes"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in dict.fromkeys(planned.cell.variant.name for planned in runs):
        own = [planned for planned in runs if planned.cell.variant.name == name]
        left = [planned for planned in own if planned.state is RunState.TO_DO]
        cells = [_progress([p for p in own if p.cell.place == b]) for b in places]
        table.add_row(cell(name), *cells, str(len(left)), expected(left, 1) if left else "")
    return [line.rstrip() for line in as_text(table, least_width=200).splitlines()]


def _bases(left: Sequence[Planned]) -> list[str]:
    """On what the times rest, where some do not come from records of the same runs."""
    from harness.campaigns.costs import UNKNOWN

    bases = Counter(p.estimate.basis for p in left if p.estimate.basis != UNKNOWN.basis)
    if not any("table" in basis or "FLOPs" in basis for basis in bases):
        return []
    return [f"times: {', '.join(f'{count} {basis}' for basis, count in bases.items())}"]


def _progress(runs: Sequence[Planned]) -> str:
    """`3/5`, and how many failed."""
    states = Counter(planned.state for planned in runs)
    failed = f" ({states[RunState.FAILED]} failed)" if states[RunState.FAILED] else ""
    return f"{states[RunState.FINISHED]}/{len(runs)}{failed}"


def expected(left: Sequence[Planned], slots: int) -> str:
    """What so many runs take, as far as earlier records and the shipped table tell."""
    from harness.campaigns.costs import total

    seconds, unknown = total({str(planned.cell): planned.estimate for planned in left})
    if unknown == len(left):
        return "time unknown: no earlier record" if left else "nothing left"
    more = f" and {unknown} runs of unknown length" if unknown else ""
    return f"about {duration(seconds / max(1, slots))}{more}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def as_json(plan: CampaignPlan) -> str:
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


def show(plan: CampaignPlan, done: Sequence[Ended], options: argparse.Namespace) -> None:
    """The results, the settings that validation chose, and counts that add up; rebuilds the site."""
    from harness.benchmarks.known import known_releases
    from harness.board.reviews import with_reviews
    from harness.board.rows import summarise
    from harness.board.setting_choice import choices
    from harness.board.terminal_tables import result_tables
    from harness.campaigns.outcome import reproduction
    from harness.entries.reviewed import protected_branch
    from harness.publishing.site_build import build_site_if_possible
    from harness.records.releases import under_known_names

    names = {planned.cell.variant.name for planned in plan.runs}
    places = {planned.cell.place for planned in plan.runs}
    shown = under_known_names(plan.store.records(), known_releases())
    records = with_reviews(
        (record for record in shown if record.entry.name in names and record.place in places),
        protected_branch(),
    )
    if options.json:
        cli.say(as_json(plan))
    else:
        cli.say(result_tables(records))
        for choice in choices(plan.variants, records):
            cli.say(
                f"chosen by validation: {choice.benchmark}/{choice.chosen}"
                f" ({choice.value:.4f}, best of {choice.of})"
            )
        if plan.campaign.compares_with_paper:
            found = reproduction(summarise(records))
            cli.say(
                f"the paper's Table 2: {found.reproduced} of {found.measured} measured cells lie"
                f" within both spreads; {found.reported - found.measured} of {found.reported}"
                " are not measured, or not ranked"
            )
        cli.say(totals_text(plan, done))
    if not options.no_site and records:
        index = build_site_if_possible(plan.store.root, cli.Reporter())
        where = f"records: {plan.store.root}" + (f"\nsite:    {index}" if index else "")
        cli.say(where, to=sys.stderr if options.json else sys.stdout)


def totals_text(plan: CampaignPlan, done: Sequence[Ended]) -> str:
    """How every run of the grid ended; the parts add up to the total."""
    from harness.campaigns.faults import MEANINGS, End

    tried = {str(ended.cell): ended for ended in done}
    before = Counter(p.state for p in plan.runs if str(p.cell) not in tried)
    ends = Counter(ended.end for ended in done)
    parts = [f"{count:6}  {state} before" for state, count in before.items() if state != "to do"]
    parts += [f"{ends[end]:6}  {end}: {MEANINGS[end]}" for end in End if ends[end]]
    if before[RunState.TO_DO]:
        parts.append(f"{before[RunState.TO_DO]:6}  to do")
    lines = [f"{len(plan.runs)} runs of campaign {plan.campaign.name}:", *sorted(parts)]
    lines += [
        f"        {ended.cell}: {one_line(ended.detail, 1000)} (log: {ended.log})"
        for ended in done
        if ended.end in (End.REFUSED, End.NOT_DONE, End.BUG)
    ]
    return "\n".join(lines)


def exit_code(plan: CampaignPlan, done: Sequence[Ended]) -> int:
    """0 all finished; 4 some failed by their entries' fault; 5 some are not done; 1 a bug."""
    from harness.campaigns.faults import End

    ends = {ended.end for ended in done}
    if End.BUG in ends:
        return 1
    if End.NOT_DONE in ends:
        return 5
    is_failed = any(p.state is RunState.FAILED for p in plan.runs) and not done
    return EntryFailed.exit_code if is_failed or ends & {End.FAILED, End.REFUSED} else 0
