"""Writes the signed bundle of one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.disclosure import Artefact, may_leave

if TYPE_CHECKING:
    from harness.publishing.signing import Signer


def export_run(path: Path, signer: Signer, out: Path) -> Path | None:
    """The bundle of one run, or None where it must not be published (infrastructure faults)."""
    from harness.publishing.public_form import public_form
    from harness.publishing.signed_bundle import EVIDENCE, RECORD, SUFFIX, seal
    from harness.records.store import Store, evidence_of, read_record

    record = read_record(path)
    if not record.is_publishable:
        return None
    store = Store.around(path)
    name = store.name_of(record)
    parts = {RECORD: path.read_bytes()}
    if not may_leave(Artefact.EXACT_RECORD, record.pack.visibility):
        if record.public is None:
            record = public_form(record, store.salt(name, record))
        parts = {RECORD: (record.model_dump_json(indent=1) + "\n").encode()}
    elif record.is_ok and may_leave(Artefact.EVIDENCE, record.pack.visibility):
        parts[EVIDENCE] = evidence_of(path, record).read_bytes()
    target = out / f"{str(name).replace('/', '.')}{SUFFIX}"
    Store(out).write(target, seal(str(name), parts, signer))
    return target
