"""The results folder: one record per run, written whole or not at all.

    results/<benchmark>/<entry>/seed-<n>.json            the record
    results/<benchmark or suite>@<regime>/…              the same, of another regime than one-class
    results/<benchmark>/<entry>/seed-<n>.evidence.npz    histograms and private scores
    results/<benchmark>/<entry>/seed-<n>.log             the entry's log (open packs only)
    results/<benchmark>/<entry>/seed-<n>.maps.zip        anomaly maps (--keep-maps)
    results/<benchmark>/<entry>/seed-<n>.gallery/        pictures, where the pack may show its images
    results/<benchmark>/<entry>/seed-<n>.curves.json     curves for the site, made from the evidence
    results/<benchmark>/<entry>/seed-<n>.salt.json       secret of a hidden run's public form
    results/history/<benchmark>/<entry>/seed-<n>.<hash>/ what `--replace` moved aside

A run exists if and only if its record does: the evidence is written first, the record
last, each to a temporary file that is synced and then renamed. A lock file per run
keeps two harnesses from doing the same run at once; the operating system drops the
lock when its holder dies.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.common.errors import DataMissing, StoreConflict, StoreUnusable
from harness.common.json_text import (
    MAX_JSON_BYTES,
    BadJson,
    bounded_bytes,
    parse_as,
    parse_json,
    read_json,
)
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.removal import remove_tree, remove_tree_if_possible
from harness.common.room_to_write import (
    DISK_FULL,
    access_problem,
    free_mebibytes,
    writing_problem,
)
from harness.records.record import Record, is_intact

RECORD_FILE = re.compile(r"seed-\d+\.json")
HISTORY = "history"
LOCKS = ".locks"
TEMPORARY_PREFIX = ".writing-"
SALT_BYTES = 32


@dataclass(frozen=True)
class RunName:
    """The place of a run in the store."""

    benchmark: str
    """Of the benchmark, or suite, and its regime (`Record.place`)."""
    entry: str
    seed: int

    def __str__(self) -> str:
        return f"{self.benchmark}/{self.entry}/seed-{self.seed}"


@dataclass(frozen=True)
class Store:
    """Reads and writes the records of one results folder."""

    root: Path
    """The results folder; made when the first record is written."""

    @classmethod
    def around(cls, record_path: Path) -> Store:
        """The results folder that a record lies in."""
        return cls(record_path.resolve().parent.parent.parent)

    def record_path(self, name: RunName) -> Path:
        """Where the record of this run lies or would lie."""
        return self.root / name.benchmark / name.entry / f"seed-{name.seed}.json"

    def name_of(self, record: Record) -> RunName:
        """The place of a record."""
        return RunName(record.place, record.entry.name, record.seed)

    def evidence_path(self, name: RunName) -> Path:
        """Where the evidence of this run lies or would lie."""
        return self.record_path(name).with_suffix(".evidence.npz")

    def log_path(self, name: RunName) -> Path:
        """Where the entry's log lies or would lie."""
        return self.record_path(name).with_suffix(".log")

    def maps_path(self, name: RunName) -> Path:
        """Where the kept maps of this run lie or would lie."""
        return self.record_path(name).with_suffix(".maps.zip")

    def gallery_path(self, name: RunName) -> Path:
        """The folder where the pictures of this run lie or would lie."""
        return self.record_path(name).with_suffix(".gallery")

    def curves_path(self, name: RunName) -> Path:
        """Where the curves of this run lie or would lie."""
        return self.record_path(name).with_suffix(".curves.json")

    def salt_path(self, name: RunName) -> Path:
        """Where the secret of this run's public form lies or would lie."""
        return self.record_path(name).with_suffix(".salt.json")

    def salt(self, name: RunName, record: Record) -> str:
        """The secret of a hidden run's public form, made on first use; it belongs to this record.

        Raises:
            StoreUnusable: it cannot be read or written.
        """
        path = self.salt_path(name)
        with writing_problems(self.root):
            if path.is_file():
                kept = _read_salt(path)
                if kept.get("record") == record.record_hash:
                    return str(kept["salt"])
            salt = secrets.token_hex(SALT_BYTES)
            fresh = {"record": record.record_hash, "salt": salt}
            with replacing(path, mode=0o600) as temporary:
                temporary.write_text(json.dumps(fresh) + "\n", encoding="utf-8")
        return salt

    def find(self, name: RunName) -> Record | None:
        """The record of this run, or None.

        Raises:
            StoreUnusable: the file is not an intact record.
        """
        path = self.record_path(name)
        return read_record(path) if path.is_file() else None

    def records(self) -> list[Record]:
        """All records, sorted by benchmark, entry and seed.

        Raises:
            StoreUnusable: a file is not an intact record.
        """
        found = [read_record(path) for path in self.record_paths()]
        return sorted(found, key=lambda r: (r.place, r.entry.name, r.seed))

    def history(self) -> list[Record]:
        """Records that were moved aside, sorted by path; what cannot be read any more is left out."""
        found = []
        for path in sorted((self.root / HISTORY).glob("*/*/*/seed-*.json")):
            if RECORD_FILE.fullmatch(path.name):
                with contextlib.suppress(StoreUnusable):  # of an older schema, perhaps
                    found.append(read_record(path))
        return found

    def record_paths(self) -> list[Path]:
        """Files of all records, sorted by path."""
        return sorted(
            path
            for path in self.root.glob("*/*/seed-*.json")
            if path.parts[len(self.root.parts)] not in (HISTORY, LOCKS)
            and RECORD_FILE.fullmatch(path.name)
        )

    def check_conflict(
        self,
        name: RunName,
        key: str,
        *,
        replace: bool,
        difference: str,
        metrics: str | None = None,
    ) -> None:
        """Refuse a run whose name is taken by a record of another key, or of other metrics.

        Args:
            name: place of the new run.
            key: run key of the new run.
            replace: move the old record to history instead of refusing.
            difference: what differs between the two, in words.
            metrics: version of the metric definitions, where a finished record must be of it.
        Raises:
            StoreConflict: the name is taken and `replace` is false.
        """
        existing = self.find(name)
        if existing is None:
            return
        is_outdated = existing.is_ok and metrics not in (None, existing.metrics_version)
        if existing.run_key == key and not is_outdated:
            return
        if not replace:
            raise StoreConflict(
                f"a record of {name} exists and is of another run: {difference}",
                where=str(self.record_path(name)),
                fix="keep both with --as NAME, or move the old one to history with --replace"
                if existing.run_key != key
                else "bring it to these definitions without a run: python -m harness.score --renew"
                f" {self.record_path(name)}; or run it again with --replace",
            )
        self.retire(name, existing)

    def _history_of(self, name: RunName, record: Record) -> Path:
        mark = (record.record_hash or record.run_key).removeprefix("sha256:")[:12]
        return self.root / HISTORY / name.benchmark / name.entry / f"seed-{name.seed}.{mark}"

    def renew(self, path: Path, old: Record, new: Record) -> None:
        """Put a record in the place of an older one of the same run, which goes to history alone.

        Raises:
            StoreUnusable: the folder cannot be written.
        """
        name = self.name_of(old)
        self.write(self._history_of(name, old) / path.name, path.read_bytes())
        self.write(path, (new.sealed().model_dump_json(indent=1) + "\n").encode())

    def retire(self, name: RunName, record: Record) -> Path:
        """Move a record and what lies beside it to history; returns the new folder."""
        target = self._history_of(name, record)
        with writing_problems(self.root):
            target.mkdir(parents=True, exist_ok=True)
            # The record goes first: without it the rest is no run, so a kill in between leaves none.
            for path in (
                self.record_path(name),
                self.evidence_path(name),
                self.log_path(name),
                self.maps_path(name),
                self.curves_path(name),
                self.salt_path(name),
                self.gallery_path(name),
            ):
                if path.exists():
                    path.replace(target / path.name)
        return target

    def save(
        self,
        name: RunName,
        record: Record,
        *,
        write_evidence: Callable[[Path], object] | None = None,
        write_gallery: Callable[[Path], object] | None = None,
        write_maps: Callable[[Path], object] | None = None,
        log: bytes | None = None,
    ) -> Record:
        """Write a run: evidence, pictures and log first, then the record, each atomically.

        Args:
            name: place of the run.
            record: the record, not sealed yet.
            write_evidence: writes the evidence file to the path it is given.
            write_gallery: writes the pictures into the empty folder it is given.
            write_maps: writes the kept maps to the path it is given.
            log: the entry's log, where it may be kept.
        Returns:
            The sealed record as written.
        Raises:
            StoreUnusable: the folder cannot be written; no record is left.
        """
        folder = self.record_path(name).parent
        with writing_problems(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            # What an earlier, failed or killed, run left beside its name is not this run's.
            self.maps_path(name).unlink(missing_ok=True)
            self.log_path(name).unlink(missing_ok=True)
            if write_evidence is not None:
                with replacing(self.evidence_path(name)) as path:
                    write_evidence(path)
                    digest = file_hash(path)
                record = record.model_copy(update={"evidence": digest})
            if write_maps is not None:
                with replacing(self.maps_path(name)) as path:
                    write_maps(path)
            if write_gallery is not None:
                _replace_folder(self.gallery_path(name), write_gallery)
            if log is not None:
                with replacing(self.log_path(name)) as path:
                    path.write_bytes(log)
            sealed = record.sealed()
            with replacing(self.record_path(name)) as path:
                path.write_text(sealed.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return sealed

    def write(self, path: Path, content: bytes) -> None:
        """Write a file below the results folder whole or not at all.

        Raises:
            StoreUnusable: the folder cannot be written.
        """
        with writing_problems(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)

    def check_writable(self, names: Iterable[RunName] = ()) -> None:
        """See that records can be written, before work of hours ends here; leaves nothing.

        Args:
            names: the runs that are to come.
        Raises:
            StoreUnusable: it is no folder, may not be written, or has no room.
        """
        problem = writing_problem(self.root)
        folders = dict.fromkeys(self.record_path(name).parent for name in names)
        places = map(access_problem, folders)
        if problem := problem or next(filter(None, places), None):
            raise StoreUnusable(
                f"the results folder cannot be written: {problem}",
                where=str(self.root),
                fix="free some space or mend its permissions, or give another folder with --results DIR",
            )

    @contextlib.contextmanager
    def lock(self, name: RunName) -> Iterator[None]:
        """Hold this run against other harnesses on the same folder.

        Raises:
            StoreConflict: another living process holds it.
        """
        path = self._lock_path(name)
        with writing_problems(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk refuses must not be tried once more at the close.
            handle = path.open("ab", buffering=0)
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreConflict(
                    f"another process is doing {name} at this moment",
                    where=str(self.root),
                    fix="wait for it, or give this call another folder with --results DIR",
                ) from error
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            with writing_problems(self.root):
                handle.truncate(0)
                handle.write(now.encode())
            yield

    def running_since(self, name: RunName) -> str | None:
        """When a process that still lives took the lock of this run (ISO 8601); None: nobody has it."""
        path = self._lock_path(name)
        try:
            with path.open("r+") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return handle.read() or "now"
        except OSError:
            return None
        return None

    def _lock_path(self, name: RunName) -> Path:
        return self.root / LOCKS / (str(name).replace("/", ".") + ".lock")

    def sweep(self) -> int:
        """Remove temporary files of writers that are gone; returns how many."""
        stale = [
            path
            for path in self.root.rglob(f"{TEMPORARY_PREFIX}*")
            if is_owner_gone(path.name.removeprefix(TEMPORARY_PREFIX).partition("-")[0])
        ]
        for path in stale:
            remove_tree_if_possible(path)
        return len(stale)


def _read_salt(path: Path) -> dict[str, str]:
    try:
        kept = read_json(path)
    except BadJson as error:
        kept = error
    if not isinstance(kept, dict) or not {"record", "salt"} <= set(kept):
        raise StoreUnusable(
            "the file does not hold the secret of a public form",
            where=str(path),
            fix="restore it from a copy; without it what was published cannot be proven",
        )
    return kept


def read_record(path: Path) -> Record:
    """Read and verify one record.

    Raises:
        StoreUnusable: not readable, not of this schema, or its hash does not fit.
    """
    try:
        content = bounded_bytes(path, MAX_JSON_BYTES, BadJson)
        record = parse_as(Record.model_validate_json, content)
    except OSError as error:
        raise StoreUnusable(
            f"the record cannot be read: {error.strerror}", where=str(path)
        ) from error
    except BadJson as error:
        raise StoreUnusable(
            f"the file is not a record of this schema: {error}",
            where=str(path),
            fix="move the file out of the results folder, or use the harness version that wrote it",
        ) from error
    # The file's own fields are hashed: a later schema may give the record more, with defaults.
    if not is_intact(parse_json(content)):
        raise StoreUnusable(
            "the record was changed after it was written: its hash does not fit",
            where=str(path),
            fix="restore it from a copy, or remove it and run the entry again",
        )
    return record


def evidence_of(record_path: Path, record: Record) -> Path:
    """The evidence file beside a record, its hash checked.

    Raises:
        DataMissing: it is not there.
        StoreUnusable: its hash is not the one in the record.
    """
    path = record_path.with_suffix(".evidence.npz")
    if not path.is_file():
        raise DataMissing("the evidence of the run is not beside its record", where=str(path))
    if file_hash(path) != record.evidence:
        raise StoreUnusable(
            "the evidence was changed after it was written: its hash is not the record's",
            where=str(path),
            fix="restore it from a copy, or run the entry again",
        )
    return path


def _replace_folder(target: Path, write: Callable[[Path], object]) -> None:
    """Fill a fresh folder and put it in the target's place; an older one is removed."""
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{TEMPORARY_PREFIX}{owner_mark()}-"))
    try:
        write(fresh)
        fresh.chmod(0o755)
        if target.exists():
            remove_tree(target)
        fresh.replace(target)
    finally:
        remove_tree_if_possible(fresh)


@contextlib.contextmanager
def replacing(target: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """A temporary path that takes the target's place when the block ends well."""
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f"{TEMPORARY_PREFIX}{owner_mark()}-", suffix=target.suffix
    )
    os.close(handle)
    path = Path(name)
    try:
        yield path
        path.chmod(mode)
        _sync(path)
        path.replace(target)
        _sync(target.parent)
    finally:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing_problems(root: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one clear error."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise StoreUnusable(
                f"the disk is full ({free_mebibytes(root)} MiB free); nothing half-written was left",
                where=str(root),
                fix="free some space, or give another folder with --results DIR",
            ) from error
        raise StoreUnusable(
            f"the results folder cannot be written: {error.strerror}",
            where=str(error.filename or root),
            fix="check its permissions, or give another folder with --results DIR",
        ) from error


def file_hash(path: Path) -> str:
    """`sha256:…` of a file's bytes."""
    with path.open("rb") as handle:
        return "sha256:" + hashlib.file_digest(handle, "sha256").hexdigest()
