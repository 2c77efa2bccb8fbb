"""A suite's record taken apart: one record for each member, so that it can stand beside runs on that pack alone."""

from __future__ import annotations

from harness.records.record import MetricValue, Record
from harness.records.releases import claimed_name

MEAN = "mean"
"""`MetricValue.member` of the mean over all members."""


def member_records(record: Record) -> list[Record]:
    """The record as one for each member: on its pack, with its metrics; of one pack, itself alone.

    Run key, times and outcome are the whole run's. Such a record is shown and compared, and never
    written: its hash stays that of the stored file.
    """
    if not record.is_of_suite:
        return [record]
    return [
        record.model_copy(
            update={
                "pack": pack,
                "members": (),
                "metrics": metrics_of(record, claimed_name(pack.benchmark)),
            }
        )
        for pack in record.members
    ]


def mean_record(record: Record) -> Record:
    """The record with the means over its members alone, as if they were of one pack."""
    return record.model_copy(update={"members": (), "metrics": metrics_of(record, MEAN)})


def metrics_of(record: Record, member: str | None) -> list[MetricValue]:
    """The metrics of one member of a suite, as they stand in a record of that pack alone.

    Args:
        record: of a suite's run.
        member: its name, `MEAN` for the mean over the members, None for what is pooled.
    """
    return [
        metric.model_copy(update={"member": None})
        for metric in record.metrics
        if metric.member == member
    ]
