"""The whole way from raw folders to a pack: survey, index, split, counts, pictures, pack.

Everything that is wrong is listed at once, before hours are spent: files that are missing,
doubled or damaged, labels and orientations that are not the benchmark's, counts that differ where
`--strict-counts` holds them to be an error. `--keep-going` leaves such cases out and writes down
which.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.benchmarks.card import CARD_NAME, StatedCard, read_stated_card, stated_by_spec
from harness.benchmarks.prepare.expected import CountsCompared, compare_counts
from harness.benchmarks.prepare.manifest import ManifestRow, Source
from harness.benchmarks.prepare.packing import (
    Making,
    finish,
    partial_folder,
    without_shared,
)
from harness.benchmarks.prepare.recipe import (
    Assigned,
    Case,
    Item,
    Options,
    Placed,
    Recipe,
    Unusable,
)
from harness.benchmarks.prepare.running import in_parallel
from harness.benchmarks.prepare.writing import Work, WrittenJob, do_job, recipe_of, writing_jobs
from harness.benchmarks.problems import Problem, listed
from harness.benchmarks.specs import BENCHMARKS
from harness.common.errors import EnvironmentFault, RawDataInvalid, UsageError
from harness.common.progress import Progress
from harness.common.room_to_write import DISK_FULL


@dataclass(frozen=True)
class PackRequest:
    """One pack to be made."""

    benchmark: str
    """Name of the recipe."""
    options: Options
    """What is asked for."""
    out: Path
    """Folder in which the pack's own folder is made."""
    name: str | None = None
    """Name of the pack; None gives it the benchmark's, with what differs appended."""
    workers: int = 1
    """Processes."""
    limit_cases: int | None = None
    """So many cases only."""
    is_strict: bool = False
    """Counts that differ are an error."""
    is_keeping_on: bool = False
    """Cases that cannot be used are left out."""
    is_dry: bool = False
    """Nothing is written."""


@dataclass(frozen=True)
class PreparedPack:
    """What came of it."""

    name: str
    """Name of the pack."""
    folder: Path
    """Where it lies, or would lie."""
    card: StatedCard | None
    """Its card; None after a dry run."""
    comparisons: tuple[CountsCompared, ...]
    """Numbers beside what they should be."""
    skipped: tuple[Problem, ...]
    """What was left out."""


@dataclass(frozen=True)
class _Plan:
    """What is known before a picture is made."""

    works: tuple[Work, ...]
    comparisons: tuple[CountsCompared, ...]
    remarks: tuple[str, ...]
    skipped: tuple[Problem, ...]


def prepare(request: PackRequest, on_progress: Progress) -> PreparedPack:
    """Make one pack.

    Raises:
        DataMissing: a raw folder is not there.
        RawDataInvalid: with everything that is wrong with the download.
        UsageError: a pack of the name is there already.
        EnvironmentFault: the disk is full, or a worker was killed.
    """
    recipe = recipe_of(request.benchmark)
    name = request.name or prepared_name(request, recipe)
    target = request.out / name
    if target.exists():
        raise UsageError(
            "there is something of that name already",
            where=str(target),
            fix="remove it, or give another --out or --name",
        )
    plan = _plan(request, recipe, on_progress)
    if request.is_dry:
        return PreparedPack(name, target, None, plan.comparisons, plan.skipped)
    try:
        return _make(request, recipe, name, plan, on_progress)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise EnvironmentFault(
            "the disk is full",
            where=str(request.out),
            fix="free some space and run the command again: it goes on where it stopped",
        ) from error


def prepared_name(request: PackRequest, recipe: Recipe) -> str:
    """The benchmark's name, and what makes this another set of images than the benchmark's."""
    if request.options.name:
        return request.options.name
    name = request.benchmark + recipe.about(request.options).suffix
    if request.options.variant != "paper":
        name += f"-{request.options.variant}"
    return name + ("-limited" if request.limit_cases else "")


def _plan(request: PackRequest, recipe: Recipe, on_progress: Progress) -> _Plan:
    options = request.options
    survey = recipe.survey(options)
    cases, problems = list(survey.cases), list(survey.problems)
    if request.limit_cases is not None:
        # Who asks for a few cases has perhaps downloaded no more.
        cases = _some(cases, request.limit_cases)
        problems = [problem for problem in problems if problem.kind not in ("missing", "archives")]
    items, unusable = _indexed(cases, request, on_progress)
    problems += unusable
    assigned = recipe.assign(items, options)
    problems += assigned.problems
    if not cases:
        problems.append(Problem("empty", "no case can be used"))
    if problems and (not request.is_keeping_on or not items):
        raise _invalid(request, problems)
    comparisons = tuple(
        compare_counts(request.benchmark, options, recipe.totals(items), assigned.placed)
    )
    if request.is_strict and (different := [one for one in comparisons if one.is_different]):
        raise _invalid(request, [Problem("count", one.sentence) for one in different])
    return _Plan(
        works=tuple(_works(cases, assigned)),
        comparisons=comparisons,
        remarks=(*survey.remarks, *assigned.remarks),
        skipped=tuple(problems),
    )


def _some(cases: Sequence[Case], limit: int) -> list[Case]:
    """The first cases of every stratum in turn."""
    strata: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        strata[case.stratum].append(case)
    chosen: list[Case] = []
    for turn in range(max(map(len, strata.values()), default=0)):
        chosen += [members[turn] for _, members in sorted(strata.items()) if turn < len(members)]
    return sorted(chosen[:limit], key=lambda case: case.key)


@dataclass(frozen=True)
class _ToIndex:
    benchmark: str
    case: Case
    options: Options


def _index(job: _ToIndex) -> tuple[tuple[Item, ...], tuple[Problem, ...]]:
    try:
        return recipe_of(job.benchmark).index(job.case, job.options), ()
    except Unusable as error:
        return (), error.problems


def _indexed(
    cases: Sequence[Case], request: PackRequest, on_progress: Progress
) -> tuple[list[Item], list[Problem]]:
    """Images of all cases, sorted by key; only cases whose names do not tell are opened."""
    options = request.options.for_workers()
    items = [item for case in cases for item in case.items or ()]
    closed = [case for case in cases if case.items is None]
    jobs = (_ToIndex(request.benchmark, case, options) for case in closed)
    problems: list[Problem] = []
    label = f"reading the labels of {request.benchmark}"
    for done, (found, wrong) in enumerate(in_parallel(_index, jobs, request.workers), start=1):
        items += found
        problems += wrong
        on_progress(label, done, len(closed))
    return sorted(items, key=lambda item: item.key), problems


def _works(cases: Iterable[Case], assigned: Assigned) -> Iterable[Work]:
    placed: dict[str, list[Placed]] = defaultdict(list)
    for place in assigned.placed:
        placed[place.item.case].append(place)
    return (Work(case, tuple(placed[case.key])) for case in cases if placed[case.key])


def _make(
    request: PackRequest, recipe: Recipe, name: str, plan: _Plan, on_progress: Progress
) -> PreparedPack:
    target = request.out / name
    folder = partial_folder(target)
    folder.mkdir(parents=True, exist_ok=True)
    done = _pictures(request, plan, folder, on_progress)
    if done.problems and not request.is_keeping_on:
        raise _invalid(request, done.problems)
    rows, dropped = without_shared(done.rows, request.options.variant)
    skipped = (*plan.skipped, *done.problems)
    version = recipe.VERSION
    making = Making(request.benchmark, version, request.options, plan.comparisons, skipped, dropped)
    card = finish(
        folder,
        rows,
        done.sources,
        _card(request, recipe, name, plan, skipped=skipped, dropped=dropped),
        making,
        group_unit=recipe.GROUP_UNIT,
    )
    folder.rename(target)
    return PreparedPack(name, target, card, plan.comparisons, skipped)


def _pictures(request: PackRequest, plan: _Plan, folder: Path, on_progress: Progress) -> WrittenJob:
    jobs = writing_jobs(request.benchmark, plan.works, request.options.for_workers(), folder)
    total = sum(len(work.placed) for work in plan.works)
    rows: list[ManifestRow] = []
    sources: list[Source] = []
    problems: list[Problem] = []
    for done in in_parallel(do_job, jobs, request.workers):
        rows += done.rows
        sources += done.sources
        problems += done.problems
        on_progress(f"preparing {request.benchmark}", len(rows), total)
    return WrittenJob(tuple(rows), tuple(sources), tuple(problems))


def _card(
    request: PackRequest,
    recipe: Recipe,
    name: str,
    plan: _Plan,
    *,
    skipped: Sequence[Problem],
    dropped: int,
) -> StatedCard:
    """What `pack.toml` says: the benchmark's facts, and those of this way of preparing."""
    options = request.options
    about = recipe.about(options)
    spec = BENCHMARKS.get(request.benchmark)
    notes = [*about.remarks, *plan.remarks]
    if skipped:
        shown = "" if options.is_hidden else "; ".join(one.text for one in skipped[:5])
        notes.append(f"Prepared without {len(skipped)} unusable or missing parts. {shown}".strip())
    if dropped:
        notes.append(f"{dropped} images identical to one of a later split were left out")
    if request.limit_cases is not None:
        notes.append(f"A trial of {request.limit_cases} cases, not the benchmark")
    own: dict[str, object] = {
        "name": name,
        "variant": None if spec is None else options.variant,
        "visibility": "hidden" if options.is_hidden else "open",
        "patients": "independent" if options.is_independent else None,
        "known_leaks": about.known_leaks,
        "shared_images": (),
        "remarks": tuple(dict.fromkeys(notes)),
    }
    if spec is None:
        stated = _stated_beside_images(options)
        return StatedCard.model_validate({"title": name, **stated, **own, "name_rules": ()})
    is_disjoint = about.is_disjoint or options.variant != "paper"
    own |= {
        "base": spec.name if name != spec.name else None,
        "title": spec.title if name == spec.name else f"{spec.title}, {name}",
        "modality": about.modality or spec.modality,
        "name_rules": (),  # groups.csv says whose each image is
        "shared_images": () if is_disjoint else spec.shared_images,
    }
    stated = stated_by_spec(spec).model_dump(exclude_none=True)
    return StatedCard.model_validate({**stated, **own})


def _stated_beside_images(options: Options) -> dict[str, object]:
    """What a `pack.toml` among the raw images says of licence, citation and the like."""
    card, problems = read_stated_card(list(options.raw))
    if problems:
        raise RawDataInvalid(
            str(options.raw[0]), listed(problems), fix=f"mend {CARD_NAME}, or remove it"
        )
    return card.model_dump(
        exclude_none=True,
        include={
            "title", "modality", "licence", "citation", "source", "access",
            "images_may_be_shown", "show_evidence",
        },
    )  # fmt: skip


def _invalid(request: PackRequest, problems: Sequence[Problem]) -> RawDataInvalid:
    spec = BENCHMARKS.get(request.benchmark)
    kinds = {problem.kind for problem in problems}
    ways = []
    if spec is not None and kinds & {"missing", "damaged", "empty", "shape", "size"}:
        ways.append(f"download again what is named above, from {spec.source}")
    if kinds == {"count"}:
        ways.append("without --strict-counts these numbers are reported, and the pack is made")
    else:
        ways.append("--keep-going leaves out what cannot be used, and writes down what")
    return RawDataInvalid(
        ", ".join(str(path) for path in request.options.raw), listed(problems), fix="; ".join(ways)
    )


def writable(out: Path) -> None:
    """Refuse a folder that cannot be written, before hours are spent.

    Raises:
        EnvironmentFault: it cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot be made: {error.strerror}", where=str(out)) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise EnvironmentFault("cannot be written to", where=str(out))
