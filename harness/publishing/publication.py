"""Published records: put into their folder in the form that may be seen, and held to what the harness writes.

    leaderboard/records/<benchmark>/<entry>/seed-<n>.json            record; of a hidden pack its public form
    leaderboard/records/<benchmark>/<entry>/seed-<n>.curves.json     open packs alone
    leaderboard/records/<benchmark>/<entry>/seed-<n>.gallery/        where the pack may show its images
    leaderboard/records/<benchmark>/datacard.json                    open packs alone
    leaderboard/records/comparisons/<benchmark>.json                 of a hidden pack without its numbers

Trap: a pull request may change the code that checks it. Run the check of the branch that it
goes to, on the tree that it brings (docs/maintaining.md).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from harness.board.comparison import (
    Comparison,
    comparison_bytes,
    comparison_path,
    read_comparisons,
    without_numbers,
)
from harness.board.rows import ranked_records, with_withdrawals
from harness.common.disclosure import Artefact, is_sealed, may_leave, strictest
from harness.common.errors import HarnessError, StoreUnusable, UsageError
from harness.entries.submissions import withdrawals
from harness.publishing.public_form import public_form, public_problems
from harness.records.record import MetricValue, Record, content_hash
from harness.records.store import RunName, Store, read_record

RECORDS = PurePosixPath("leaderboard/records")
MAX_FILE_BYTES = 32 * 1024**2
DIRTY = "+dirty"
_SAFE = r"[a-z0-9][a-z0-9._-]{0,63}"
_RUN = re.compile(rf"(?P<benchmark>{_SAFE})/(?P<entry>{_SAFE})/seed-(?P<seed>\d{{1,10}})")
_CARD = re.compile(rf"(?P<benchmark>{_SAFE})/datacard\.json")
_COMPARISON = re.compile(rf"comparisons/(?P<benchmark>{_SAFE})\.json")


@dataclass(frozen=True)
class Change:
    """One file that a pull request adds, changes or removes."""

    kind: Literal["added", "changed", "removed"]
    """What becomes of it."""
    path: str
    """Relative to the folder of published records, with forward slashes."""


# -- adding -------------------------------------------------------------------------------------


def publish_run(path: Path, target: Store, *, is_replacing: bool) -> Path | None:
    """Put one run into the folder of published records; None where it stands there already.

    Args:
        path: the record in a results folder.
        target: the folder of published records.
        is_replacing: a record of the same name and another run gives way.
    Raises:
        StoreUnusable: the record or its evidence was changed, or its place is taken.
        UsageError: the run must not be published; all reasons at once.
    """
    record = read_record(path)
    source = Store.around(path)
    name = source.name_of(record)
    public = record
    is_exact = may_leave(Artefact.EXACT_RECORD, record.pack.visibility)
    if not is_exact and record.public is None:
        public = public_form(record, source.salt(name, record))
    if problems := record_problems(public):
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise UsageError(f"the run cannot be published:\n{listed}\n", where=str(path))
    existing = target.find(name)
    if existing == public:
        return None
    if existing is not None and not is_replacing:
        raise StoreUnusable(
            "another run is published under this name",
            where=str(target.record_path(name)),
            fix="publish it with --replace, and say so in the pull request",
        )
    for old in (target.curves_path(name), target.record_path(name)):
        old.unlink(missing_ok=True)
    shutil.rmtree(target.gallery_path(name), ignore_errors=True)
    if public is record:
        target.write(target.record_path(name), path.read_bytes())
        _copy_what_may_be_seen(record, name, source, target)
    else:
        target.write(target.record_path(name), (public.model_dump_json(indent=1) + "\n").encode())
    return target.record_path(name)


def _copy_what_may_be_seen(record: Record, name: RunName, source: Store, target: Store) -> None:
    """Curves and pictures of an open run."""
    from harness.board import curves, gallery

    if curves.read_curves(source.root, [record]):
        target.write(target.curves_path(name), source.curves_path(name).read_bytes())
    if gallery.read_galleries(source.root, [record]):
        for picture in sorted(source.gallery_path(name).iterdir()):
            target.write(target.gallery_path(name) / picture.name, picture.read_bytes())


def publish_comparisons(source: Store, target: Store) -> list[Path]:
    """Put those comparisons beside the records that speak of exactly the published ones."""
    private = {record.record_hash: record for record in source.records()}
    ranked = _ranked(target)
    written = []
    for benchmark, comparison in read_comparisons(source.root).items():
        names = [source.name_of(private[h]) for h in comparison.records if h in private]
        found = [record for name in names if (record := target.find(name)) is not None]
        public = replace(
            without_numbers(comparison), records=tuple(sorted(r.record_hash or "" for r in found))
        )
        path = comparison_path(target.root, benchmark)
        if len(found) == len(comparison.records) and public.is_current(ranked.get(benchmark, ())):
            target.write(path, comparison_bytes(public))
            written.append(path)
    return written


def _ranked(store: Store) -> dict[str, tuple[Record, ...]]:
    return ranked_records(with_withdrawals(store.records(), withdrawals()))


# -- one record ---------------------------------------------------------------------------------


def record_problems(record: Record) -> list[str]:
    """Why the harness cannot have written this record for publication; empty where it can.

    What is looked at needs the record alone: its own hash was checked when it was read.
    """
    from harness.publishing.verification import run_key_problems

    problems = list(run_key_problems(record))
    if record.entry.checkpoint_rule is None:
        problems.append("it does not hold all parts of its run key: it is of an older harness")
    if not record.is_publishable:
        problems.append(f"it ended as {record.outcome.status.value}, which is no result")
    if not may_leave(Artefact.EXACT_RECORD, record.pack.visibility):
        problems += public_problems(record)
    elif record.public is not None:
        problems.append("it has a public form, and its pack is open")
    elif record.is_ok and record.evidence is None:
        problems.append("it names no evidence")
    problems += _track_problems(record)
    problems += [problem for metric in record.metrics for problem in _metric_problems(metric)]
    if bool(record.metrics) != record.is_ok:
        problems.append("a run that ended well has metrics, and no other has")
    if record.source.commit is None or record.source.commit.endswith(DIRTY):
        problems.append("it was not made from a commit: the harness had changes or was outside git")
    return problems


def _track_problems(record: Record) -> Iterator[str]:
    from harness.board.tracks import is_foreign, unranked_reasons

    is_hidden = is_sealed(record.pack.visibility)
    if (record.track == "sealed") != is_hidden:
        yield f"its track is {record.track}, and its pack {record.pack.visibility}"
    if record.track == "trained-here" and record.entry.kind != "folder":
        yield "it is trained here, and not built from a folder"
    reasons = unranked_reasons(
        record.entry.params,
        preset=record.entry.preset,
        isolation=record.machine.isolation,
        benchmark=record.pack.benchmark,
        has_given_model=is_foreign(record.model) and not is_hidden,
    )
    if record.track == "trained-here" and is_foreign(record.model):
        yield "it is trained here, and its model may be another's"
    if record.ranked != (not reasons) or (record.unranked_reason or "") != ", ".join(reasons):
        yield f"whether it may take a rank is wrong; reasons against it: {', '.join(reasons) or 'none'}"
    must_be_isolated = not may_leave(Artefact.UNISOLATED_RUN, record.pack.visibility)
    if record.machine.isolation == "none" and (must_be_isolated or record.entry.kind != "folder"):
        yield "it was not isolated, and a stranger's image or a hidden pack always is"


def _metric_problems(metric: MetricValue) -> Iterator[str]:
    from harness.metrics import find_metric

    where = f"metric {metric.id} ({metric.grid or 'image'})"
    try:
        level = find_metric(metric.id).level
    except KeyError:
        yield f"{where} is none of the harness's"
        return
    if (metric.grid is None) != (level == "image"):
        yield f"{where} is given on the wrong grid"
    numbers = [number for number in (metric.low, metric.value, metric.high) if number is not None]
    if not all(0 <= number <= 1 for number in numbers):
        yield f"{where} is not from 0 to 1"


# -- a pull request -----------------------------------------------------------------------------


@dataclass(frozen=True)
class PullRequest:
    """A checkout, compared with the branch that it is to be merged into."""

    repository: Path
    """Root of the checkout."""
    base: str
    """Revision of that branch."""
    replaced: frozenset[str] = frozenset()
    """Entries whose published rows it may change: said by the maintainer who calls the check."""

    @property
    def records(self) -> Store:
        """Its folder of published records."""
        return Store(self.repository / RECORDS)

    def changes(self) -> list[Change]:
        """What it does to the published records, uncommitted files included."""
        fork = self._git("merge-base", self.base, "HEAD").strip()
        told = self._git("diff", "--name-status", "--no-renames", "-z", fork, "--", str(RECORDS))
        fields = told.split("\0")[:-1]
        kinds: Mapping[str, Literal["added", "changed", "removed"]] = {
            "A": "added", "D": "removed",
        }  # fmt: skip
        found = [
            Change(kinds.get(kind[:1], "changed"), _relative(path))
            for kind, path in zip(fields[::2], fields[1::2], strict=True)
        ]
        new = self._git("ls-files", "-z", "--others", "--exclude-standard", "--", str(RECORDS))
        found += [Change("added", _relative(path)) for path in new.split("\0")[:-1]]
        return sorted(set(found), key=lambda change: change.path)

    def problems(self) -> list[str]:
        """Everything in it that the harness could not have written; empty where it may be merged.

        Raises:
            UsageError: git cannot tell.
        """
        problems: list[str] = []
        changes = self.changes()
        for change in changes:
            problems += [f"{change.path}: {problem}" for problem in self._of_file(change)]
        if not problems:  # the folder as a whole is looked at when each of its files is one
            problems += self._of_folder({change.path for change in changes})
        return problems

    def _of_file(self, change: Change) -> list[str]:
        path = self.records.root / change.path
        match, kind = _classify(change.path)
        if match is None:
            return ["it is no file that the harness publishes"]
        is_of_a_row = kind in ("record", "curves", "gallery")
        if is_of_a_row and change.kind != "added" and match["entry"] not in self.replaced:
            return [f"it was published before and is {change.kind}; only new rows may be added"]
        if change.kind == "removed":
            return []
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return [f"it is no regular file of at most {MAX_FILE_BYTES} bytes"]
        try:
            return list(self._of_content(kind, match, path))
        except HarnessError as error:
            return [error.what]

    def _of_content(self, kind: str, match: re.Match[str], path: Path) -> Iterator[str]:
        if kind == "record":
            record = read_record(path)
            yield from self._of_record(record, match)
        elif kind in ("curves", "gallery"):
            yield from self._of_picture(kind, match, path)
        elif kind == "card":
            yield from _card_problems(path, match["benchmark"])

    def _of_record(self, record: Record, match: re.Match[str]) -> Iterator[str]:
        told = (record.pack.benchmark, record.entry.name, str(record.seed))
        if told != (match["benchmark"], match["entry"], match["seed"]):
            yield f"it is of {'/'.join(told[:2])}/seed-{record.seed}"
        yield from record_problems(record)
        yield from self._source_problems(record)
        if record.entry.kind == "submission" or "pinned" in record.entry.metadata:
            file = self.repository / "submissions" / f"{record.entry.name}.toml"
            pinned = str(record.entry.metadata.get("pinned") or "")
            if not pinned or not file.is_file() or pinned not in file.read_text("utf-8", "replace"):
                yield f"submissions/{record.entry.name}.toml does not pin what it ran"

    def _source_problems(self, record: Record) -> Iterator[str]:
        """The harness that made it is a state of the branch that it goes to."""
        commit = record.source.commit or ""
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            return
        if not self._is_ancestor(commit):
            yield f"the commit {commit[:12]} of its harness is not in {self.base}"
            return
        lock = hashlib.sha256(self._file_at(commit, "requirements.lock")).hexdigest()
        if record.source.lock != f"sha256:{lock}":
            yield "its lock file is not that of its commit"
        for name, file, told in (
            ("__version__", "harness/__init__.py", record.source.version),
            ("METRICS_VERSION", "harness/metrics/table.py", record.source.metrics),
        ):
            found = re.search(
                rf'^{name} = "(.*)"$', self._file_at(commit, file).decode(), re.MULTILINE
            )
            if found is None or found[1] != told:
                yield f"{name} {told!r} is not that of its commit"

    def _of_picture(self, kind: str, match: re.Match[str], path: Path) -> Iterator[str]:
        from harness.board import curves, gallery

        record = self.records.find(RunName(match["benchmark"], match["entry"], int(match["seed"])))
        if record is None:
            yield "there is no record beside it"
        elif kind == "curves":
            if record.run_key not in curves.read_curves(self.records.root, [record]):
                yield "it is not made from the evidence that its record names, or may not be shown"
        else:
            found = gallery.read_galleries(self.records.root, [record]).get(record.run_key)
            if found is None:
                yield "its gallery is not that of its record, or may not be shown"
            elif path.name not in {gallery.CARD, *gallery.file_names(found.card)}:
                yield "the gallery's card does not name it"

    def _of_folder(self, changed: set[str]) -> Iterator[str]:
        """What only all records together tell."""
        records = self.records.records()
        names: dict[str, str] = {}
        for record in sorted(records, key=lambda record: record.times.started):
            # One folder under other parameters is another method (`--set … --as NAME`).
            program = content_hash([record.entry.identity, record.entry.params])
            first = names.setdefault(program, record.entry.name)
            place = self.records.record_path(self.records.name_of(record))
            is_new = place.relative_to(self.records.root).as_posix() in changed
            if first != record.entry.name and is_new:
                yield f"{record.entry.name}: the same program is on the board already, as {first}"
        reasons = withdrawals(self.repository / "submissions")
        ranked = ranked_records(with_withdrawals(records, reasons))
        for benchmark, comparison in read_comparisons(self.records.root).items():
            path = f"comparisons/{benchmark}.json"
            if path in changed:
                yield from (
                    f"{path}: {problem}"
                    for problem in _comparison_problems(comparison, ranked.get(benchmark, ()))
                )

    @cached_property
    def _root(self) -> str:
        return str(self.repository.resolve())

    def _is_ancestor(self, commit: str) -> bool:
        done = subprocess.run(
            ["git", "-C", self._root, "merge-base", "--is-ancestor", commit, self.base],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def _file_at(self, commit: str, path: str) -> bytes:
        done = subprocess.run(
            ["git", "-C", self._root, "show", f"{commit}:{path}"], capture_output=True, check=False
        )
        return done.stdout

    def _git(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", self._root, *arguments], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise UsageError(
                f"git cannot compare with {self.base!r}: {said.strip()}",
                where=self._root,
                fix="name a revision that is there, for example --base origin/main; in CI, fetch the"
                " whole history",
            ) from error
        return done.stdout


def _relative(path: str) -> str:
    return PurePosixPath(path).relative_to(RECORDS).as_posix()


def _classify(path: str) -> tuple[re.Match[str] | None, str]:
    """What a file is by its place: record, curves, gallery, card or comparison."""
    forms = (
        ("record", re.compile(_RUN.pattern + r"\.json")),
        ("curves", re.compile(_RUN.pattern + r"\.curves\.json")),
        ("gallery", re.compile(_RUN.pattern + r"\.gallery/[a-z0-9._-]{1,80}")),
        ("card", _CARD),
        ("comparison", _COMPARISON),
    )
    for kind, form in forms:
        match = form.fullmatch(path)
        if match is not None and (kind == "comparison" or match["benchmark"] != "comparisons"):
            return match, kind
    return None, ""


def _card_problems(path: Path, benchmark: str) -> Iterator[str]:
    from harness.board.data_card_files import read_card

    card = read_card(path)
    if not may_leave(Artefact.DATA_CARD, card.visibility) or card.name != benchmark:
        yield "it is of another pack, or of a hidden one"


def _comparison_problems(comparison: Comparison, ranked: Sequence[Record]) -> Iterator[str]:
    if not comparison.is_current(ranked):
        yield "it does not speak of exactly the ranked records that are there"
    visibility = strictest([comparison.visibility, *(record.pack.visibility for record in ranked)])
    if without_numbers(replace(comparison, visibility=visibility)) != comparison:
        yield "it is of a hidden pack and tells numbers"
