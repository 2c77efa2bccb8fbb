"""The check of a pull request: the whole change, held against the branch that it goes to.

A contributor adds submissions of his own, `submissions/<own>.toml` and `submissions/<own>/`, and
nothing else. All other files come from maintainers; whose change it is, the caller says (CI, as
the base configures it), never anything in the change. What a maintainer changes of the published
records is derived again as far as it can be: that proves that the files agree with each other
and with the branch, and not that a number was measured.

Trap: a pull request may change the code that checks it. Run the check of the branch that it
goes to, on the tree that it brings (docs/maintaining.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from harness.benchmarks.known import known_releases
from harness.board.comparison import COMPARISONS_FOLDER, read_comparison, read_comparisons
from harness.board.reviews import Review, review
from harness.board.rows import ranked_records, with_withdrawals
from harness.board.sibling_files import SIBLINGS_FOLDER, read_siblings
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import HarnessError, UsageError
from harness.common.foreign_text import one_line
from harness.common.toml_text import BadToml, parse_toml
from harness.entries.reviewed import Reviewed, protected_branch
from harness.entries.submissions import withdrawals
from harness.publishing.comparison_check import comparison_problems
from harness.publishing.pack_check import name_problems
from harness.publishing.picture_check import card_problems, curve_problems, picture_problems
from harness.publishing.publication import DIRTY, record_problems
from harness.publishing.sibling_check import sibling_problems
from harness.publishing.signed_change import change_message
from harness.publishing.submission_check import check_files
from harness.records.record import Record, SourcePart, content_hash
from harness.records.releases import KnownReleases, claimed_name, under_known_names
from harness.records.store import RunName, Store, read_record

RECORDS = PurePosixPath("leaderboard/records")
SUBMISSIONS = PurePosixPath("submissions")
KEYS = PurePosixPath("leaderboard/keys")
KNOWN = PurePosixPath("harness/benchmarks/known.toml")
TABLES = {
    KNOWN: "the known releases, by which rows are named and ranked",
    PurePosixPath(
        "baselines/kit/weight_files.py"
    ): "the pretrained files, by which rows are ranked",
}
MAX_FILE_BYTES = 32 * 1024**2
_MEASURES = "harness/engines/measuring.py"  # of older harnesses alone nothing was measured
STAYS = ("team", "submitted", "withdrawn")
"""What of a submission its author cannot change: who is counted, who came first, what was judged.
(To withdraw what was not withdrawn is the author's to do.)"""
PINS = ("image", "content", "archive_hash", "folder_hash")
"""What says that an update brings another program."""
_REGULAR = ("100644", "100755", "000000")  # modes of git; the last: there is no file
_SAFE = r"[a-z0-9][a-z0-9._-]{0,63}"
_PACK = rf"{_SAFE}(~[0-9a-f]{{6}})?"
_PLACE = rf"{_PACK}(@[a-z0-9-]{{1,40}})?"
_RUN = re.compile(rf"(?P<benchmark>{_PLACE})/(?P<entry>{_SAFE})/seed-(?P<seed>\d{{1,10}})")
_CARD = re.compile(rf"(?P<benchmark>{_PACK})/datacard\.json")
_COMPARISON = re.compile(rf"comparisons/(?P<benchmark>{_SAFE}(@[a-z0-9-]{{1,40}})?)\.json")
_SIBLINGS = re.compile(rf"comparisons/siblings/(?P<benchmark>{_PLACE})/(?P<entry>{_SAFE})\.json")
_OWN = re.compile(rf"{SUBMISSIONS}/(?P<name>{_SAFE})(\.toml|/.+)")


@dataclass(frozen=True)
class Change:
    """One file that a pull request adds, changes or removes."""

    kind: Literal["added", "changed", "removed"]
    """What becomes of it."""
    path: str
    """Relative to the repository's root, with forward slashes."""
    is_regular: bool = True
    """Whether it is an ordinary file: no link, and no repository within this one."""

    @property
    def published(self) -> str | None:
        """Its path below the folder of published records, or None where it lies elsewhere."""
        path = PurePosixPath(self.path)
        return path.relative_to(RECORDS).as_posix() if path.is_relative_to(RECORDS) else None


@dataclass(frozen=True)
class PullRequest:
    """A checkout, compared with the branch that it is to be merged into."""

    repository: Path
    """Root of the checkout."""
    base: str
    """Revision of that branch."""
    is_maintainers: bool = False
    """Whether a maintainer asks for it, as the caller knows and the change cannot say."""
    owned: frozenset[str] = frozenset()
    """Submissions of the base that are its author's, as the caller knows."""
    replaced: frozenset[str] = frozenset()
    """Entries whose published rows it may change: said by the maintainer who calls the check."""
    reviewed: Reviewed | None = None
    """What was reviewed; None is what that branch holds, as its repository knows it."""

    @property
    def records(self) -> Store:
        """Its folder of published records."""
        return Store(self.repository / RECORDS)

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """All that it does to the repository, uncommitted files included, by path."""
        told = self._git("diff", "--raw", "--no-renames", "--no-abbrev", "-z", self._fork)
        fields = told.split("\0")
        kinds: Mapping[str, Literal["added", "changed", "removed"]] = {
            "A": "added", "D": "removed",
        }  # fmt: skip
        found = {}
        for told, path in zip(fields[:-1:2], fields[1::2], strict=True):
            _, mode, _, _, kind = told.split(" ")
            found[path] = Change(kinds.get(kind[:1], "changed"), path, mode in _REGULAR)
        for path in self._git("ls-files", "-z", "--others", "--exclude-standard").split("\0")[:-1]:
            found[path] = Change("added", path, not (self.repository / path).is_symlink())
        return tuple(found[path] for path in sorted(found))

    @property
    def message(self) -> bytes:
        """What a maintainer signs of it (`harness.publishing.signed_change`).

        Raises:
            UsageError: a file of it is none that can be signed.
        """
        paths = (change.path for change in self.changes)
        return change_message(self.repository, self._fork, paths)

    @cached_property
    def _fork(self) -> str:
        return self._git("merge-base", self.base, "HEAD").strip()

    @cached_property
    def _reviewed(self) -> Reviewed:
        return self.reviewed or protected_branch(self.base, root=self.repository)

    def _review(self, record: Record) -> Review:
        return review(record, self._reviewed, self._records)

    @cached_property
    def _records(self) -> list[Record]:
        """All that can be read; what is wrong with the others is told of each file."""
        found = []
        for path in self.records.record_paths():
            with contextlib.suppress(HarnessError, OSError):
                if not path.is_symlink() and path.stat().st_size <= MAX_FILE_BYTES:
                    found.append(read_record(path))
        return found

    def problems(self) -> list[str]:
        """Why it may not be merged, each with its file; empty where it may.

        Raises:
            UsageError: git cannot tell.
        """
        if not self.is_maintainers:
            problems = [
                f"{change.path}: {problem}"
                for change in self.changes
                if (problem := self._not_a_contributors(change))
            ]
            of_itself = [*problems, *self._of_updates()]
            return of_itself or [*self._of_its_commits(), *self._of_submissions()]
        problems = []
        for change in self.changes:
            if change.published is not None:
                problems += [f"{change.path}: {each}" for each in self._of_file(change)]
        if not problems:  # the folder as a whole is looked at when each of its files is one
            problems += self._of_folder()
        return problems + self._of_submissions()

    def proofs(self) -> list[str]:
        """What the check has shown of a change without problems, and what it has only seen."""
        kinds = Counter(self._kind_of(change) for change in self.changes)
        told = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
        lines = [f"changed: {', '.join(told) or 'nothing'}"]
        records = [c for c in self.changes if c.kind != "removed" and self._kind_of(c) == "records"]
        if records:
            lines.append(
                f"{len(records)} records: schema, hashes and run keys agree with themselves, and"
                f" version, lock file and metric definitions with their commit in {self.base}"
            )
            lines += self._derived(records)
        lines += [f"new: {each}" for each in self._new_rows()]
        lines += [
            f"{change.kind}: {table} ({change.path})"
            for change in self.changes
            if (table := TABLES.get(PurePosixPath(change.path)))
        ]
        lines += [
            f"{change.kind}: the key {change.path}: who holds it signs for the board"
            for change in self.changes
            if PurePosixPath(change.path).is_relative_to(KEYS)
        ]
        return lines

    def _kind_of(self, change: Change) -> str:
        if change.published is None:
            own = _OWN.fullmatch(change.path)
            return "files of submissions" if own else "other files, which nothing here judges"
        _, kind = _classify(change.published)
        names = {"record": "records", "card": "data cards", "gallery": "pictures"}
        names |= {"comparison": "comparisons", "siblings": "differences to one-class siblings"}
        return names.get(kind, kind)

    def _derived(self, changes: list[Change]) -> Iterator[str]:
        """From which reviewed folders and submissions the records that it brings follow."""
        found: dict[str, int] = {}
        for change in changes:
            seen = self._review(read_record(self.repository / change.path))
            of = "identity, method hash and settings derived from" if seen.folder else "pinned by"
            told = seen.told if not seen.reasons else f"{', '.join(seen.reasons)}: {seen.told}"
            line = f"{of} {told}" if not seen.reasons else told
            found[line] = found.get(line, 0) + 1
        yield from (f"{count} records: {line}" for line, count in sorted(found.items()))

    # -- a contributor --------------------------------------------------------------------------

    def _of_its_commits(self) -> Iterator[str]:
        """What its commits touch on the way: merged as they are, they stand in the history too."""
        options = ("-c", "--name-only", "--no-renames", "--format=", "-z")
        told = self._git("log", *options, f"{self._fork}..HEAD")
        seen = {change.path for change in self.changes}
        for path in sorted({name.strip("\n") for name in told.split("\0")} - seen - {""}):
            if problem := self._not_a_contributors(Change("changed", path)):
                yield f"{path}: a commit changes this on the way (squash them): {problem}"

    def _not_a_contributors(self, change: Change) -> str | None:
        """Why this is no change that a contributor may make."""
        own = _OWN.fullmatch(change.path)
        if own is None:
            return "it comes from a maintainer; a contributor adds submissions alone"
        name = own["name"].removesuffix(".toml") if "/" not in own[2] else own["name"]
        if name not in self.owned and self._is_in_base(name):
            return f"the submission {name} is there already, and is not known as this author's"
        if not change.is_regular:
            return "it is no regular file"
        return None

    def _of_updates(self) -> Iterator[str]:
        """What an author may not change in a submission of his own that was merged before."""
        for change in self.changes:
            own = _OWN.fullmatch(change.path)
            if own is None or change.kind != "changed" or own[2] != ".toml":
                continue
            files = (
                self._file_at(self.base, change.path),
                (self.repository / change.path).read_bytes(),
            )
            before, now = map(_table_of, files)
            declared = [_table_of(file, "supervision") for file in files]
            if declared[0] != declared[1] and all(before.get(pin) == now.get(pin) for pin in PINS):
                yield (
                    f"{change.path}: [supervision] was changed, and what the file pins is the same: only"
                    " a maintainer may say anew what it had learned from"
                )
            for name in STAYS:
                is_lifted = name == "withdrawn" and not before.get(name)
                if before.get(name) != now.get(name) and not is_lifted:
                    told, new = (one_line(repr(table.get(name))) for table in (before, now))
                    yield (
                        f"{change.path}: {name} was {told} and is {new}: an update leaves it as it is"
                        " (a maintainer may change it)"
                    )

    def _is_in_base(self, name: str) -> bool:
        told = self._git("ls-tree", "--name-only", self.base, f"{SUBMISSIONS}/")
        names = {PurePosixPath(line).name.casefold() for line in told.splitlines()}
        return bool({name.casefold(), f"{name.casefold()}.toml"} & names)

    def _of_submissions(self) -> list[str]:
        """The submission files as a whole; what stands in the base came first, whatever is said."""
        told = self._git("ls-tree", "--name-only", self.base, f"{SUBMISSIONS}/")
        first = {PurePosixPath(line).stem for line in told.splitlines() if line.endswith(".toml")}
        problems = check_files(self.repository / SUBMISSIONS, first=frozenset(first))
        return [f"{SUBMISSIONS}/{problem}" for problem in problems]

    # -- a maintainer ---------------------------------------------------------------------------

    def _of_file(self, change: Change) -> list[str]:
        match, kind = _classify(change.published or "")
        if match is None:
            return ["it is no file that the harness publishes"]
        is_of_a_row = kind in ("record", "curves", "gallery")
        if is_of_a_row and change.kind != "added" and match["entry"] not in self.replaced:
            return [f"it was published before and is {change.kind}; only new rows may be added"]
        if change.kind == "removed":
            return []
        path = self.repository / change.path
        is_file = change.is_regular and path.is_file() and not path.is_symlink()
        if not is_file or path.stat().st_size > MAX_FILE_BYTES:
            return [f"it is no regular file of at most {MAX_FILE_BYTES} bytes"]
        try:
            return list(self._of_content(kind, match, path))
        except HarnessError as error:
            return [error.what]

    def _of_content(self, kind: str, match: re.Match[str], path: Path) -> Iterator[str]:
        if kind == "comparison":
            read_comparison(path)
        elif kind == "siblings":
            read_siblings(path)
        elif kind == "record":
            record = read_record(path)
            yield from self._of_record(record, match)
        elif kind in ("curves", "gallery"):
            yield from self._of_picture(kind, match, path)
        elif kind == "card":
            yield from _card_problems(path, match["benchmark"], self.known)

    def _of_record(self, record: Record, match: re.Match[str]) -> Iterator[str]:
        told = (record.place, record.entry.name, str(record.seed))
        if told != (match["benchmark"], match["entry"], match["seed"]):
            yield f"it is of {'/'.join(told[:2])}/seed-{record.seed}"
        found = self._review(record)
        yield from record_problems(record, found, self.known)
        yield from self._source_problems(record)
        submission = self._reviewed.find_submission(record.entry.name)
        if record.entry.kind == "submission" or "pinned" in record.entry.metadata:
            pinned = getattr(submission and submission.table, "pinned", "")
            if not pinned or record.entry.metadata.get("pinned") != pinned:
                file = f"submissions/{record.entry.name}.toml"
                yield f"{file} of {self.base} does not pin what it ran"
        committed = (submission, found.folder and found.folder.entry)
        titles = [entry.shown_title for entry in committed if entry]
        if titles and record.entry.title not in titles:
            yield f"its title is not {titles[0]!r}, as its entry is called in {self.base}"

    def _source_problems(self, record: Record) -> Iterator[str]:
        """The harnesses that made it are states of the branch that it goes to."""
        for source in (record.source, record.rescored):
            if source is not None:
                yield from self._harness_problems(source)
        if record.machine.measured is None and self._file_at(record.source.commit or "", _MEASURES):
            yield "its harness measures what stands around an entry, and it holds no measurement"

    def _harness_problems(self, source: SourcePart) -> Iterator[str]:
        commit = source.commit or ""
        if not commit or commit.endswith(DIRTY):  # the record's own check tells of it
            return
        if not re.fullmatch(r"[0-9a-f]{40}", commit) or not self._is_ancestor(commit):
            yield f"the commit {commit[:12]} of its harness is not in {self.base}"
            return
        lock = hashlib.sha256(self._file_at(commit, "requirements.lock")).hexdigest()
        if source.lock != f"sha256:{lock}":
            yield "its lock file is not that of its commit"
        for name, file, told in (
            ("__version__", "harness/__init__.py", source.version),
            ("METRICS_VERSION", "harness/metrics/table.py", source.metrics),
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
            made = curves.read_curves(self.records.root, [record]).get(record.run_key)
            if made is None:
                yield "it is not made from the evidence that its record names, or may not be shown"
            else:
                yield from curve_problems(made, record)
        else:
            found = gallery.read_galleries(self.records.root, [record]).get(record.run_key)
            if found is None:
                yield "its gallery is not that of its record, or may not be shown"
            elif path.name == gallery.CARD:
                yield from card_problems(found.card, record, path.parent)
            else:
                yield from picture_problems(path, found.card)

    def _of_folder(self) -> Iterator[str]:
        """What only all records together tell."""
        records = self._records
        changed = {c.published for c in self.changes if c.published and c.kind != "removed"}
        placed = [(self._place(record), record) for record in records]
        names: dict[str, str] = {}
        # What stands in the base came first, whatever a new file says of its own time.
        for place, record in sorted(placed, key=lambda p: (p[0] in changed, p[1].times.started)):
            # One folder under other parameters is another method (`--set … --as NAME`).
            folder = self._review(record).folder
            what = folder.method if folder else record.entry.identity
            program = content_hash([what, record.entry.params])
            first = names.setdefault(program, record.entry.name)
            if first != record.entry.name and place in changed:
                yield f"{record.entry.name}: the same program is on the board already, as {first}"
        yield from self._joins_published_rows(changed)
        yield from self._declares_otherwise(changed)
        reasons = withdrawals(self.repository / SUBMISSIONS)
        ranked = ranked_records(with_withdrawals(under_known_names(records, self.known), reasons))
        for benchmark, comparison in read_comparisons(self.records.root).items():
            if f"comparisons/{benchmark}.json" in changed:
                yield from (
                    f"{RECORDS}/comparisons/{benchmark}.json: {problem}"
                    for problem in comparison_problems(comparison, ranked.get(benchmark, ()))
                )
        shown = with_withdrawals(under_known_names(records, self.known), reasons)
        yield from self._of_siblings(changed, shown)

    def _of_siblings(self, changed: set[str], records: Sequence[Record]) -> Iterator[str]:
        """Of the differences to one-class siblings that it brings."""
        folder = self.records.root / COMPARISONS_FOLDER / SIBLINGS_FOLDER
        for path in sorted(folder.glob("*/*.json")):
            place, entry = path.parent.name, path.stem
            if path.relative_to(self.records.root).as_posix() in changed:
                yield from (
                    f"{path.relative_to(self.repository)}: {problem}"
                    for problem in sibling_problems(read_siblings(path), place, entry, records)
                )

    def _declares_otherwise(self, changed: set[str]) -> Iterator[str]:
        """Seeds of one row declare one supervision: those that stay are published anew as well."""
        rows: dict[tuple[str, str], list[Record]] = {}
        for record in self._records:
            rows.setdefault((record.place, record.entry.name), []).append(record)
        for (benchmark, entry), records in sorted(rows.items()):
            is_changed = any(self._place(record) in changed for record in records)
            if is_changed and any(
                record.entry.supervision != records[0].entry.supervision for record in records
            ):
                yield (
                    f"{entry} on {benchmark}: its seeds declare different supervision; publish all of"
                    " them anew (python -m harness.publish --replace)"
                )

    def _place(self, record: Record) -> str:
        path = self.records.record_path(self.records.name_of(record))
        return path.relative_to(self.records.root).as_posix()

    def _joins_published_rows(self, changed: set[str]) -> Iterator[str]:
        """A new seed moves the mean of a row that stands: the maintainer says so."""
        in_base = self._rows_of_base()
        for path in sorted(changed):
            match = re.fullmatch(_RUN.pattern + r"\.json", path)
            row = (match["benchmark"], match["entry"]) if match else None
            if row in in_base and row is not None and row[1] not in self.replaced:
                yield (
                    f"{RECORDS}/{path}: it joins the published row of {row[1]} on {row[0]}"
                    " and moves its mean (a maintainer says so with --replaces)"
                )

    def _rows_of_base(self) -> set[tuple[str, str]]:
        """Benchmark and entry of every row that stands in the base."""
        told = self._git("ls-tree", "-r", "--name-only", self.base, f"{RECORDS}/")
        places = (PurePosixPath(line).relative_to(RECORDS).as_posix() for line in told.splitlines())
        matches = (re.fullmatch(_RUN.pattern + r"\.json", place) for place in places)
        return {(match["benchmark"], match["entry"]) for match in matches if match}

    def _new_rows(self) -> Iterator[str]:
        """Rows that the base does not have, and whether their entry is on the board elsewhere."""
        in_base = self._rows_of_base()
        known = {entry for _, entry in in_base}
        rows = {
            (match["benchmark"], match["entry"])
            for change in self.changes
            if change.kind == "added"
            and (match := re.fullmatch(_RUN.pattern + r"\.json", change.published or ""))
        }
        for benchmark, entry in sorted(rows - in_base):
            yield f"{entry} on {benchmark}" + (", an entry of the base" if entry in known else "")

    @cached_property
    def known(self) -> KnownReleases:
        """The known releases of the base: what a pull request adds to them counts once merged."""
        text = self._file_at(self.base, str(KNOWN)).decode("utf-8", "replace")
        return known_releases(text, where=f"{self.base}:{KNOWN}")

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
                ["git", "-C", self._root, *arguments],
                capture_output=True,
                check=True,
                encoding="utf-8",
                errors="surrogateescape",
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


def _classify(path: str) -> tuple[re.Match[str] | None, str]:
    """What a file is by its place: record, curves, gallery, card, comparison or siblings."""
    forms = (
        ("record", re.compile(_RUN.pattern + r"\.json")),
        ("curves", re.compile(_RUN.pattern + r"\.curves\.json")),
        ("gallery", re.compile(_RUN.pattern + r"\.gallery/[a-z0-9._-]{1,80}")),
        ("card", _CARD),
        ("comparison", _COMPARISON),
        ("siblings", _SIBLINGS),
    )
    for kind, form in forms:
        match = form.fullmatch(path)
        is_beside = kind in ("comparison", "siblings")
        if match is not None and (is_beside or match["benchmark"] != "comparisons"):
            return match, kind
    return None, ""


def _table_of(file: bytes, name: str = "entry") -> Mapping[str, object]:
    """A table of a submission file; empty where it is none, which the check of files tells."""
    try:
        table = parse_toml(file.decode()).get(name, {})
    except (UnicodeDecodeError, BadToml):
        return {}
    return table if isinstance(table, dict) else {}


def _card_problems(path: Path, benchmark: str, known: KnownReleases) -> Iterator[str]:
    from harness.board.data_card_files import read_card

    card = read_card(path)
    if not may_leave(Artefact.DATA_CARD, card.visibility) or card.name != benchmark:
        yield "it is of another pack, or of a hidden one"
    claimed = claimed_name(card.name) if known.is_claim(card.name) else None
    yield from name_problems(
        card.name, base=claimed, version=card.version, digest=card.digest, known=known
    )
