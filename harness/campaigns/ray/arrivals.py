"""Puts a run that another machine did into the results folder: checked, whole, or not at all.

What came lies in a folder beside; it is believed only as far as its own hashes and the
campaign's plan of the run go. The caller holds the run's lock.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from harness.campaigns.ray.node_check import differences_in_words
from harness.common.errors import InfrastructureFault, StoreConflict
from harness.common.owner import owner_mark
from harness.common.removal import remove_tree_if_possible
from harness.common.statuses import Status
from harness.metrics import METRICS_VERSION
from harness.records.record import Record
from harness.records.run_key import RunKey
from harness.records.store import (
    TEMPORARY_PREFIX,
    RunName,
    Store,
    evidence_of,
    writing_problems,
)


class Arrival:
    """The files of one run as they come; made by `arriving`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, piece: bytes) -> None:
        """Append to a file.

        Args:
            name: path below the results folder, as it was on the other machine.
            piece: its next bytes.
        Raises:
            InfrastructureFault: the path leads elsewhere.
            StoreUnusable: the disk is full.
        """
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise InfrastructureFault(Status.HOST_ERROR, f"a node sent a file called {name!r}.")
        with writing_problems(self.root):
            path = self.root.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.write(piece)

    def store(
        self,
        store: Store,
        name: RunName,
        *,
        expected: Mapping[str, object],
        before: Record | None,
        replace: bool,
    ) -> Record:
        """Move the run into the results folder.

        Args:
            store: the campaign's results folder.
            name: the run.
            expected: what decides its result, as the campaign knows it.
            before: the record that this one may take the place of, as the caller found it.
            replace: move a record of another run to history.
        Raises:
            InfrastructureFault: what came is not that run, or not whole.
            StoreConflict: another run has the name.
            StoreUnusable: a file is damaged, or the folder cannot be written.
        """
        came = Store(self.root)
        record = came.find(name)
        if record is None:
            raise InfrastructureFault(Status.HOST_ERROR, "The node sent no record of the run.")
        if other := differences_of(record, expected):
            raise InfrastructureFault(
                Status.HOST_ERROR, f"The record that came is of another run: {'; '.join(other)}."
            )
        evidence = evidence_of(came.record_path(name), record) if record.evidence else None
        if store.find(name) != before:
            raise StoreConflict(
                f"another process has just finished {name}",
                where=str(store.root),
                fix="run the same command again: it goes on from there",
            )
        key, difference = RunKey.of_record(record), ""
        if before and key:
            metrics = (before.metrics_version, record.metrics_version)
            difference = key.difference(before, metrics=metrics)
        store.check_conflict(
            name, record.run_key, replace=replace, difference=difference, metrics=METRICS_VERSION
        )
        log, maps, gallery = came.log_path(name), came.maps_path(name), came.gallery_path(name)
        return store.save(
            name,
            record,
            write_evidence=evidence.replace if evidence else None,
            write_gallery=partial(_fill, gallery) if gallery.is_dir() else None,
            write_maps=maps.replace if maps.is_file() else None,
            log=log.read_bytes() if log.is_file() else None,
        )


def differences_of(record: Record, expected: Mapping[str, object]) -> list[str]:
    """In what a record is of another run than a campaign expects, or of other metric definitions.

    Args:
        record: any.
        expected: what decides the run's result (`harness.campaigns.plan.key_parts_of`).
    """
    wanted = {**expected, "metrics": METRICS_VERSION}
    wanted.pop("pinned", None)  # of an image; what it is, its engine has said: `identity`
    parts = _parts(record)
    return differences_in_words({key: parts.get(key) for key in wanted}, wanted)


def _parts(record: Record) -> dict[str, object]:
    key = RunKey.of_record(record)
    return (key.parts if key else {}) | {"metrics": record.metrics_version}


def _fill(gallery: Path, target: Path) -> None:
    shutil.copytree(gallery, target, dirs_exist_ok=True)


@contextmanager
def arriving(folder: Path) -> Iterator[Arrival]:
    """A fresh folder for one run, on the disk of the results; gone at the end."""
    with writing_problems(folder):
        folder.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(dir=folder, prefix=f"{TEMPORARY_PREFIX}{owner_mark()}-"))
    try:
        yield Arrival(root)
    finally:
        remove_tree_if_possible(root)
