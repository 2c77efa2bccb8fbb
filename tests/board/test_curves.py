"""Curves with bands: against a slow bootstrap, and never where nothing may be told."""

from __future__ import annotations

import numpy as np
import pytest

from harness.board.curves import MOST_CURVE_POINTS, curves_of_run, read_curves, refresh
from harness.metrics.intervals import resample_counts
from harness.records.record import content_hash
from harness.records.store import RunName, Store
from tests.metrics.oracles import Case, scored

PATIENTS = 24


def cases(dtype=np.float16, patients=PATIENTS, seed=0):
    """Two images of each patient, half of them with a lesion that the map marks more or less."""
    draw = np.random.default_rng(seed)
    found = []
    for n in range(2 * patients):
        mask = np.zeros((16, 20), np.bool_)
        if n % 2:
            mask[3:9, 4:11] = True
        values = draw.normal(0, 1, mask.shape) + draw.uniform(0, 2) * mask
        found.append(Case(mask=mask, anomaly_map=values.astype(dtype), group=f"p{n // 2:02}"))
    return found


@pytest.fixture
def record(make_record):
    return make_record(benchmark="brain", evidence=content_hash("evidence"))


def by_kind(curves):
    return {(curve.kind, curve.grid): curve for curve in curves.curves}


def slow_roc(scores, labels, at):
    """True-positive rate at these false-positive rates, by every distinct threshold."""
    thresholds = np.unique(scores)[::-1]
    normal, lesion = scores[~labels], scores[labels]
    if not normal.size or not lesion.size:
        return None
    x = [0.0, *((normal >= t).mean() for t in thresholds)]
    y = [0.0, *((lesion >= t).mean() for t in thresholds)]
    return np.interp(at, x, y)


def test_the_band_of_the_image_roc_is_that_of_a_slow_bootstrap_over_patients(record):
    given = cases()
    made = curves_of_run(scored(given, intervals=True).evidence, record)
    assert (made.unit, made.units) == ("patient", PATIENTS)
    curve = by_kind(made)["roc", None]
    scores = np.array([case.image_score for case in given])
    labels = np.array([case.label for case in given])
    groups = np.arange(len(given)) // 2
    rows = []
    for counts in resample_counts(PATIENTS, resamples=1000):
        chosen = np.repeat(np.arange(len(given)), counts[groups])
        row = slow_roc(scores[chosen], labels[chosen], curve.band_x)
        if row is not None:
            rows.append(row)
    low, high = np.percentile(rows, [2.5, 97.5], axis=0)
    # At a vertical step the two may interpolate on different sides of it.
    assert np.median(np.abs(np.array(curve.low) - low)) < 2e-3
    assert np.median(np.abs(np.array(curve.high) - high)) < 2e-3


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_all_kinds_are_there_thin_and_inside_their_bands(record, dtype):
    made = by_kind(curves_of_run(scored(cases(dtype), intervals=True).evidence, record))
    assert set(made) == {
        ("roc", None), ("precision_recall", None), ("roc", "native"),
        ("precision_recall", "native"), ("pro", "native"),
    }  # fmt: skip
    for kind, curve in made.items():
        assert len(curve.x) == len(curve.y) <= MOST_CURVE_POINTS
        assert list(curve.x) == sorted(curve.x)
        inside = np.interp(curve.band_x, curve.x, curve.y)
        middle = slice(3, -3)
        assert (np.array(curve.low)[middle] <= inside[middle] + 0.05).all(), kind
        assert (np.array(curve.high)[middle] >= inside[middle] - 0.05).all(), kind
        assert all(0 <= value <= 1 for value in (*curve.low, *curve.high))
    assert made["pro", "native"].x[-1] == 0.3


def test_a_single_patient_has_a_curve_and_no_band(record):
    made = curves_of_run(scored(cases(patients=1), intervals=True).evidence, record)
    assert made.curves
    assert all(curve.band_x == () for curve in made.curves)


def stored(tmp_path, record, evidence):
    store = Store(tmp_path)
    name = RunName(record.pack.benchmark, record.entry.name, record.seed)
    sealed = store.save(name, record, write_evidence=evidence.save)
    return store, name, sealed


def test_curves_are_made_once_and_read_for_the_evidence_that_they_came_from(tmp_path, make_record):
    evidence = scored(cases(), intervals=True).evidence
    store, name, sealed = stored(tmp_path, make_record(), evidence)
    assert (refresh(store), refresh(store)) == (1, 0)
    assert list(read_curves(tmp_path, [sealed])) == [sealed.run_key]
    other = sealed.model_copy(update={"evidence": content_hash("other")})
    assert read_curves(tmp_path, [other]) == {}
    store.curves_path(name).write_text("{}")
    assert read_curves(tmp_path, [sealed]) == {}
    assert refresh(store) == 1


@pytest.mark.parametrize("change", [{"visibility": "hidden", "track": "sealed"}])
def test_a_hidden_pack_has_no_curves_even_where_a_file_lies_there(tmp_path, make_record, change):
    evidence = scored(cases(), intervals=True).evidence
    store, name, sealed = stored(tmp_path, make_record(), evidence)
    refresh(store)
    content = store.curves_path(name).read_bytes()
    hidden = make_record(**change, evidence=sealed.evidence)
    assert read_curves(tmp_path, [hidden]) == {}
    store.curves_path(name).unlink()
    store.record_path(name).unlink()
    store.save(name, hidden, write_evidence=evidence.save)
    assert refresh(store) == 0
    assert content


def test_a_failed_run_and_one_without_evidence_have_none(tmp_path, make_record):
    store = Store(tmp_path)
    store.save(RunName("brain", "patchcore", 0), make_record())
    assert refresh(store) == 0
