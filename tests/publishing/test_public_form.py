"""What leaves the machine of a hidden run: nothing that an entry could have written a label into."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from harness.board.public_rows import published, step_of, to_step
from harness.board.rows import SeedValue, summarise
from harness.common.statuses import Status
from harness.metrics import RunScores
from harness.metrics.curves import curves_of
from harness.publishing.public_form import commitment, public_form, public_problems
from harness.publishing.site_build import build_site
from harness.publishing.verification import run_key_problems
from harness.records.energy import EnergyGap
from harness.records.record import Record, content_hash
from harness.records.store import Store, read_record
from tests.metrics.oracles import Case, scored
from tests.record_factory import KNOWN
from tests.run_factory import finished, random_scores, save_run, scores_of

SALT = "5a17" * 16
HIDDEN = {"visibility": "hidden", "track": "sealed", "benchmark": "harbour"}
# Every field of a record, and what becomes of it. A new field must be decided on here.
KEPT = {
    "schema_version", "run_key", "seed", "track", "ranked", "unranked_reason", "limits", "entry", "pack",
    "machine", "weights", "source", "rescored", "audit", "outcome.status", "metrics.id", "metrics.grid", "metrics.n",
    "members", "metrics.member", "regime",  # of a few-shot regime not the names of its images
}  # fmt: skip
ROUNDED = {
    "metrics.value", "times.started", "times.total", "times.train", "times.start_up", "times.predict",
    "cost.peak_ram_mib", "cost.peak_gpu_mib",
    "energy",  # its counts alone: the counter, and why it tells nothing, are the machine's
}  # fmt: skip
LEFT_OUT = {
    "training", "model", "maps", "warnings", "evidence", "answers", "times.latency", "outcome.detail",
    "outcome.cause", "outcome.log", "marks", "engine_facts",
    "metrics.low",
    "metrics.high",
}  # fmt: skip
OF_THE_FORM = {"public", "record_hash", "metrics.step", "metrics.reason", "outcome.answered"}
PARTS = {"times", "cost", "outcome", "metrics"}


def test_every_field_of_a_record_was_decided_on():
    fields = set()
    for name, field in Record.model_fields.items():
        part = field.annotation
        if name in PARTS:
            kind = (
                part if isinstance(part, type) and issubclass(part, BaseModel) else part.__args__[0]
            )
            fields |= {f"{name}.{each}" for each in kind.model_fields}
        else:
            fields.add(name)
    assert fields == KEPT | ROUNDED | LEFT_OUT | OF_THE_FORM


@pytest.fixture
def hidden(make_record):
    return make_record(
        **HIDDEN,
        interval=0.0312,
        detail="at image 7",
        warnings=["the maps hold only 3 levels"],
        training={
            "steps": 48879,
            "checkpoints": [{"step": 57005, "metric": "image_auroc", "value": 0.5, "kept": True}],
            "kept": 57005,
            "stop_reason": "finished",
            "curve": [{"step": 1, "loss": 0.123456}],
            "model": content_hash("model"),
        },
        model={"hash": content_hash("m"), "origin": "trained", "trained_under": content_hash("k")},
        evidence=content_hash("evidence"),
        answers=content_hash("answers"),
        audit={
            "verdict": "adapts to the test set",
            "images": 32,
            "tolerance": None,
            "detail": "17 of 32 answers differ",
            "seconds": 12.345,
        },
        median_seconds=0.0312345,
        energy=[
            {
                "of": "gpu", "source": "a counter", "covers": "a GPU", "is_shared": True,
                "total": {"joules": 98765.4}, "train": {"joules": 87654.3},
                "predict": {"reason": EnergyGap.WENT_BACK}, "per_image": {"joules": 3.14159},
            }
        ],
    )  # fmt: skip


def test_a_hidden_run_tells_rounded_aggregates_and_nothing_that_the_entry_chose(hidden):
    public = public_form(hidden, SALT)
    assert public.is_intact()
    assert public_problems(public) == []
    data = public.as_json_object()
    for name in LEFT_OUT - {"metrics.low", "metrics.high"}:
        part = data
        for step in name.split("."):
            part = part[step]
        assert not part, name
    text = json.dumps(data)
    for secret in ("48879", "57005", "0.123456", "levels", "image 7", "0.91649", "0.0312345", SALT,
                   content_hash("model"), content_hash("evidence"), content_hash("answers"), "17 of", "12.345", "98765", "87654", "3.14", hidden.record_hash):  # fmt: skip
        assert secret not in text, secret
    auroc = public.metric("image_auroc", None)
    assert (auroc.value, auroc.step, auroc.low, auroc.high) == (0.92, 0.01, None, None)
    assert public.seconds_per_image == 0.031
    (energy,) = public.energy
    told = {name: span.joules for name, span in energy.spans().items()}
    assert told == {"total": 99000, "train": 88000, "predict": None, "per_image": 3.1}
    assert (energy.source, energy.predict.reason) == ("a counter", EnergyGap.WENT_BACK)
    assert public.run_key == hidden.run_key


def test_the_form_of_an_open_run_is_the_record(make_record):
    record = make_record()
    assert public_form(record) is record


def test_a_failed_hidden_run_tells_its_status_alone(make_record):
    record = make_record(**HIDDEN, status=Status.CRASHED, detail="exit code 42 at image 17")
    public = public_form(record, SALT)
    assert public.outcome.status is Status.CRASHED
    assert (public.outcome.detail, public.outcome.answered) == ("", None)
    assert public_problems(public) == []


def test_the_commitment_binds_to_record_and_evidence_and_needs_the_salt(hidden, make_record):
    other = make_record(**HIDDEN, evidence=content_hash("other"))
    made = [commitment(hidden, SALT), commitment(other, SALT), commitment(hidden, SALT[::-1])]
    assert len(set(made)) == 3
    with pytest.raises(ValueError, match="salt"):
        public_form(hidden)


def test_the_salt_is_made_once_for_a_record_and_is_its_owners_alone(tmp_path, hidden, make_record):
    store = Store(tmp_path)
    name = store.name_of(hidden)
    store.save(name, hidden)
    salt = store.salt(name, hidden)
    assert len(bytes.fromhex(salt)) == 32
    assert store.salt(name, hidden) == salt
    assert store.salt_path(name).stat().st_mode & 0o777 == 0o600
    later = make_record(**HIDDEN, median_seconds=1.0)
    assert store.salt(name, later) != salt


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"steps": 1, "stop_reason": "finished"}},
        {"model": {"hash": content_hash("m"), "origin": "trained", "trained_under": None}},
        {"warnings": ["x"]},
        {"evidence": content_hash("x")},
        {"answers": content_hash("x")},
        {"maps": {"dtype": "float16", "levels": 3, "largest_bin": None}},
    ],
)
def test_a_form_that_tells_more_is_found(hidden, change):
    public = public_form(hidden, SALT)
    changed = Record.model_validate(public.as_json_object() | change)
    assert len(public_problems(changed)) == 1
    assert public_problems(hidden) == ["it is of a hidden pack and not in its public form"]


@pytest.mark.parametrize("span", ["total", "train", "per_image"])
def test_an_energy_that_is_not_rounded_is_found(hidden, span):
    data = public_form(hidden, SALT).as_json_object()
    data["energy"][0][span]["joules"] = 87654.3
    (problem,) = public_problems(Record.model_validate(data))
    assert "more than two digits" in problem


def test_numbers_that_are_not_rounded_are_found(hidden):
    data = public_form(hidden, SALT).as_json_object()
    data["metrics"][0]["value"] = 0.9165
    data["times"]["total"] = 4001.0
    data["times"]["started"] = "2026-01-02T03:04:05Z"
    assert len(public_problems(Record.model_validate(data))) == 3


def test_the_site_reads_public_forms_as_it_reads_records(tmp_path):
    private, records = tmp_path / "private", tmp_path / "public"
    for seed in (0, 1):
        path = save_run(private, random_scores(seed=seed), **HIDDEN, seed=seed)
        public = public_form(read_record(path), SALT)
        Store(records).save(Store(records).name_of(public), public)
    rows = published(summarise(Store(records).records()))
    (exact,) = published(summarise(Store(private).records()))
    (row,) = rows
    assert row.visibility == "hidden"
    for metric, whole in zip(row.metrics, exact.metrics, strict=True):
        assert metric.seeds == ()
        assert metric.step == whole.step
        if metric.mean is not None:
            assert abs(metric.mean - whole.mean) <= metric.step * 1.000001
    index = build_site(tmp_path / "none", tmp_path / "site", published=records, known=KNOWN)
    assert "harbour" in index.read_text()


def published_files(folder: Path, scores, **changes) -> dict[str, bytes]:
    """Every file that is published of a run: its public form and the site; commitments blanked."""
    record = save_run(folder / "private", scores, **HIDDEN, **changes)
    public = public_form(read_record(record), SALT)
    bare = public.model_copy(
        update={"public": public.public.model_copy(update={"commitment": "sha256:" + "0" * 64})}
    ).sealed()
    store = Store(folder / "records")
    store.save(store.name_of(bare), bare)
    index = build_site(folder / "none", folder / "site", published=folder / "records", known=KNOWN)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for root in (folder / "records", index.parent)
        for path in root.rglob("*")
        if path.is_file()
    }


def one_level_per_image(labels: Sequence[bool]) -> list[Case]:
    """What an entry of attack 23 answers: its maps and scores name the image by their level."""
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    return [
        Case(
            mask if label else ~mask & mask, np.full((8, 8), level, np.float16), score=float(level)
        )
        for level, label in enumerate(labels)
    ]


def test_one_level_per_image_tells_no_labelling_from_another_of_equal_aggregates(tmp_path):
    """Attack 23: private evidence holds every label; nothing that is published does."""
    rng = np.random.default_rng(23)
    groups: dict[str, list] = {}
    for _ in range(60):
        labels = rng.permutation([False] * 10 + [True] * 10)
        scores = scored(one_level_per_image(labels), intervals=True)
        path = save_run(tmp_path / "try", scores, **HIDDEN)
        told = public_form(read_record(path), SALT).model_dump_json(include={"metrics"})
        groups.setdefault(told, []).append((labels, scores))
        if len(groups[told]) == 2:
            break
    (first, one), (second, other) = groups[told]
    assert (first != second).any()
    assert one.metrics != other.metrics  # the exact record would tell them apart
    assert {curve.kind for curve in curves_of(one.evidence)}  # and so would a curve
    published = [
        published_files(tmp_path / name, scores) for name, scores in (("a", one), ("b", other))
    ]
    assert published[0] == published[1]


def is_away_from_an_edge(scores: RunScores) -> bool:
    """Every value is nearer to the middle of its rounding interval than to an end of it."""
    steps = [
        (metric.value, step_of([SeedValue(0, None, metric.low, metric.high, 0, None)]))
        for metric in scores.metrics
        if metric.value is not None
    ]
    return all(abs(value - to_step(value, step)) < step / 4 for value, step in steps)


def test_two_entries_that_differ_in_one_image_get_the_same_published_numbers(tmp_path):
    """Attack 3, away from a rounding edge: what the image's label is cannot be read off."""
    labels = np.arange(200) % 2 == 0
    for seed in range(100):
        answers = np.random.default_rng(seed).normal(labels * 1.5)
        run = scores_of(answers, labels)
        if is_away_from_an_edge(run):
            break
    answers[17] += 0.5
    changed = scores_of(answers, labels)
    assert run.metrics != changed.metrics
    assert published_files(tmp_path / "a", run) == published_files(tmp_path / "b", changed)


def test_a_model_that_the_call_gave_stays_named_because_the_run_key_holds_it(tmp_path, make_record):
    given = {"hash": content_hash("m"), "origin": "given", "trained_under": None, "remark": "x"}
    record = finished(make_record(**HIDDEN, model=given))
    public = public_form(record, SALT)
    assert public.model == record.model
    assert public_problems(public) == []
    assert run_key_problems(public) == []
    bare = public.model_copy(update={"model": None})
    assert run_key_problems(bare) == ["its run key is not that of its own parts"]
