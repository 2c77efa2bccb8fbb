"""The pipe's own share of a time, and warm-up: what is taken from what, and where nothing is."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from harness.board.echo_times import ECHO, is_echo
from harness.board.public_rows import published
from harness.board.rows import summarise
from harness.engines.energy import EnergyMeter
from harness.entries.opening import open_folder
from harness.publishing.site_build import build_site
from harness.records.store import RunName, Store
from harness.running.recording import RunProgress, _times
from harness.running.run_energy import RunEnergy
from tests.baselines.conftest import BASELINES, open_baseline
from tests.record_factory import KNOWN

TRIVIAL = {"family": "trivial"}


def echo_record(make_record, seconds: float, **changes):
    return make_record(
        entry=ECHO, title="Echo", median_seconds=seconds, metadata=TRIVIAL, **changes
    )


def seconds_less_echo(records, entry: str = "patchcore"):
    return next(row for row in summarise(records) if row.entry == entry).seconds_less_echo


def test_the_echo_entry_sends_a_map_of_the_images_size_and_knows_nothing() -> None:
    folder = BASELINES / ECHO
    table = open_folder(folder).table
    assert (table.family, table.maps, table.trains) == ("trivial", True, False)
    model = open_baseline(folder).make()
    for shape in ((30, 40, 3), (30, 40), (7, 5)):
        anomaly_map, score = model.predict(np.full(shape, 200, np.uint8))
        assert anomaly_map.shape == shape[:2]
        assert (anomaly_map.dtype, score, anomaly_map.any()) == (np.float32, 0.0, False)


def test_the_pipes_share_is_the_mean_over_seeds_of_both(make_record) -> None:
    records = [make_record(seed=seed, median_seconds=0.03 + seed / 100) for seed in (0, 1)]
    records += [echo_record(make_record, 0.001 * (seed + 1), seed=seed) for seed in (0, 1)]
    assert seconds_less_echo(records) == pytest.approx(0.035 - 0.0015)
    assert seconds_less_echo(records, ECHO) is None


def test_what_is_faster_than_the_echo_takes_nothing_and_not_less(make_record) -> None:
    records = [make_record(median_seconds=0.001), echo_record(make_record, 0.002)]
    assert seconds_less_echo(records) == 0.0


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"machine__cpu": "another"},
        {"machine__engine": "process (Python 3.11)"},
        {"machine__threads": 1},
        {"pack__version": "of other images"},
        {"benchmark": "liver"},
        {"entry__kind": "image"},
        {"maps": None},
        {"maps__dtype": "float16"},
        {"status": "crashed"},
    ],
)
def test_an_echo_from_elsewhere_or_of_no_folder_says_nothing(make_record, elsewhere) -> None:
    other = echo_record(make_record, 0.001, **elsewhere)
    assert seconds_less_echo([make_record(median_seconds=0.03), other]) is None


def test_a_seed_on_a_machine_without_echo_leaves_the_row_without(make_record) -> None:
    records = [make_record(), make_record(seed=1, machine__cpu="another")]
    assert seconds_less_echo([*records, echo_record(make_record, 0.001)]) is None


def test_a_method_that_calls_itself_echo_is_none(make_record) -> None:
    assert is_echo(echo_record(make_record, 0.001))
    assert not is_echo(make_record(entry=ECHO, metadata={"family": "flow"}))


def test_of_a_hidden_pack_two_digits_are_told(make_record) -> None:
    records = [
        make_record(median_seconds=0.031234, visibility="hidden"),
        echo_record(make_record, 0.001, visibility="hidden"),
    ]
    rows = {row.entry: row for row in published(summarise(records))}
    assert rows["patchcore"].seconds_less_echo == 0.03


def progress(*latencies: tuple[float, bool]) -> RunProgress:
    made = RunProgress(datetime.datetime.now(datetime.UTC), 0.0, RunEnergy(EnergyMeter([])))
    for seconds, is_test in latencies:
        made.note_latency(seconds, is_test=is_test)
        made.answered += is_test
    return made


@pytest.mark.parametrize(
    ("latencies", "warm_up", "counted"),
    [
        ([(9.0, False), (1.0, False), (2.0, True), (4.0, True)], 9.0, [2.0, 4.0]),
        ([(9.0, True), (2.0, True), (3.0, True)], 9.0, [2.0, 3.0]),
        ([(9.0, True)], 9.0, [9.0]),
    ],
)
def test_the_sessions_first_image_stands_apart(latencies, warm_up, counted) -> None:
    latency = _times(progress(*latencies)).latency
    assert latency is not None
    assert latency.warm_up == warm_up
    wanted = np.quantile(counted, (0.5, 0.9, 0.99))
    np.testing.assert_allclose((latency.median, latency.p90, latency.p99), wanted)


def test_without_a_test_image_there_is_no_time() -> None:
    assert _times(progress()).latency is None
    assert _times(progress((9.0, False), (1.0, False))).latency is None


def test_the_site_shows_both_times(make_record, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for record in (make_record(median_seconds=0.03), echo_record(make_record, 0.002)):
        store.save(RunName("brain", record.entry.name, record.seed), record)
    page = (build_site(store.root, known=KNOWN).parent / "benchmarks" / "brain.html").read_text()
    assert "0.028 less echo" in page
    assert page.count("less echo</small>") == 1
