"""What is kept of an interrupted training, and what is never trusted of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from harness.common import removal
from harness.common.removal import remove_tree
from harness.common.statuses import RunEnded
from harness.engines.base import Limits
from harness.records.energy import Counted, EnergyGap
from harness.records.record import CheckpointPart
from harness.trained import interrupted_training, model_folder
from harness.trained.training_curve import MOST_PROGRESS_POINTS, TrainingCurve

KEY = "sha256:" + "a" * 64


def interrupt(cache: Path, *, has_state: bool = True) -> None:
    """A training with one kept checkpoint, cut short."""
    with interrupted_training.hold(cache, KEY, "demo/x/seed-0") as training:
        training.curve.add(1, 0.5)
        training.checkpoints.append(CheckpointPart(step=1, metric="m", value=0.5, kept=True))
        (training.written / "model").write_text("kept")
        if has_state:
            (training.written / ".training").mkdir()
            (training.written / ".training" / "state").write_text("1")
        training.save()


def test_what_was_kept_comes_back_in_a_folder_of_another_name(tmp_path: Path) -> None:
    interrupt(tmp_path)
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        assert training.resumed == 1
        assert training.written.name == "part-2"
        assert (training.written / "model").read_text() == "kept"
        assert [c.step for c in training.checkpoints] == [1]
        assert training.curve.points == [(1, 0.5)]
        assert training.spent_seconds > 0
        assert not (training.home / "part-1").exists()


def test_the_energy_of_all_parts_is_added_and_a_part_that_was_not_counted_leaves_none(
    tmp_path: Path,
) -> None:
    def go_on(joules: float | None) -> dict:
        with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
            (training.written / ".training").mkdir(exist_ok=True)
            (training.written / ".training" / "state").write_text("1")
            if joules is not None:
                training.count_energy = lambda: {"gpu": Counted(joules=joules)}
            training.save()
            return training.energy

    assert go_on(50) == {"gpu": Counted(joules=50)}
    assert go_on(25) == {"gpu": Counted(joules=75)}
    assert go_on(None) == {"gpu": Counted(joules=75)}
    (state,) = (tmp_path / "unfinished").glob("a*/state.jsonl")
    lines = map(json.loads, state.read_text().splitlines())
    older = [{name: told for name, told in line.items() if name != "energy"} for line in lines]
    state.write_text("".join(json.dumps(line) + "\n" for line in older))
    assert go_on(25) == {"gpu": Counted(reason=EnergyGap.NOT_COUNTED)}


def test_a_finished_training_keeps_its_energy_whatever_is_counted_later(tmp_path: Path) -> None:
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        training.count_energy = lambda: {"gpu": Counted(joules=50)}
        training.finish("finished")
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        assert training.energy == {"gpu": Counted(joules=50)}
        training.save()
        assert training.energy == {"gpu": Counted(joules=50)}


def test_without_a_state_of_its_own_a_training_starts_again(tmp_path: Path) -> None:
    interrupt(tmp_path, has_state=False)
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        assert training.resumed == 0
        assert training.checkpoints == []
        assert list(training.written.iterdir()) == []


def test_a_kill_in_the_middle_of_taking_it_up_again_loses_nothing(tmp_path: Path) -> None:
    interrupt(tmp_path)
    (home,) = (tmp_path / "unfinished").glob("a*")
    (home / "part-1").rename(home / "part-2")  # renamed, and the state not written
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        assert training.resumed == 1
        assert (training.written / "model").read_text() == "kept"


@pytest.mark.parametrize("what", ["state.jsonl", "part-1/.training", "part-1"])
def test_a_link_or_a_broken_state_is_never_gone_on_from(tmp_path: Path, what: str) -> None:
    interrupt(tmp_path)
    (home,) = (tmp_path / "unfinished").glob("a*")
    elsewhere = tmp_path / "elsewhere"
    (home / what).rename(elsewhere)
    if what == "state.jsonl":
        (home / what).write_text("{}")
    else:
        (home / what).symlink_to(elsewhere)
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        assert training.resumed == 0
        assert list(training.written.iterdir()) == []
    assert elsewhere.exists()


def test_a_line_that_a_power_cut_has_torn_does_not_count(tmp_path: Path) -> None:
    interrupt(tmp_path)
    (state,) = (tmp_path / "unfinished").glob("a*/state.jsonl")
    with state.open("a") as file:
        file.write('{"name":"demo/x/seed-0","resumed":7')
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        assert training.resumed == 1
        assert [c.step for c in training.checkpoints] == [1]


def test_the_lines_together_are_the_training_whatever_happened_between_them(tmp_path: Path) -> None:
    """Growing, cutting back, thinning: what a later part reads is what this one has."""
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        (training.written / ".training").mkdir()
        (training.written / ".training" / "state").write_text("1")
        for step in range(3 * MOST_PROGRESS_POINTS):
            training.curve.add(step, 1 / (step + 1))
            if step % 1000 == 999:
                judged = CheckpointPart(step=step, metric="m", value=None, kept=True)
                training.checkpoints.append(judged)
                training.save()
            if step in (3500, 9500):
                training.curve.rewind(step - 700)
                del training.checkpoints[-1]
        training.save()
        before = training.curve.points, training.curve.seen, list(training.checkpoints)
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        assert (training.curve.points, training.curve.seen, training.checkpoints) == before


def test_thousands_of_checkpoints_are_each_written_once(tmp_path: Path) -> None:
    """Counted by the kernel: 226 MB, when each checkpoint wrote all that came before it."""
    before = written_by_us()
    with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
        for step in range(2_000):
            training.curve.add(step, 1 / (step + 1))
            training.save()
            judged = CheckpointPart(step=step, metric="pixel_auroc", value=0.5, kept=True)
            training.checkpoints.append(judged)
            training.save()
        size = (training.home / "state.jsonl").stat().st_size
    assert size < 2_000 * 1024
    assert written_by_us() - before < size + 1_000_000


def written_by_us() -> int:
    """Bytes that this process has handed to write calls."""
    (line,) = (
        line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar")
    )
    return int(line.split()[1])


def test_what_cannot_be_removed_is_put_aside_and_stops_no_later_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(tmp_path, has_state=False)
    interrupt(tmp_path, has_state=True)
    (state,) = (tmp_path / "unfinished").glob("a*/state.jsonl")
    state.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(removal._Removal, "_look", lambda *_: False)
        with interrupted_training.hold(tmp_path, KEY, "demo/x/seed-0") as training:
            assert training.resumed == 0
    assert list((tmp_path / "unfinished").glob(".aside-*"))
    interrupted_training.remove_leftovers(tmp_path)
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == [".locks"]


def test_a_folder_that_locks_us_out_is_removed_all_the_same(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    left = tmp_path / "left"
    (left / "a" / "b").mkdir(parents=True)
    (left / "a" / "b" / "file").write_text("")
    (left / "link").symlink_to(outside)
    (left / "a").chmod(0)
    outside.chmod(0o500)
    remove_tree(left)
    assert not left.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_the_trainings_own_state_is_counted_and_never_copied(tmp_path: Path) -> None:
    written, kept = tmp_path / "written", tmp_path / "kept"
    (written / ".training").mkdir(parents=True)
    kept.mkdir()
    (written / "model").write_bytes(b"m")
    (written / ".training" / "state").write_bytes(b"s" * 5000)
    model_folder.copy(written, kept, Limits())
    assert [path.name for path in kept.iterdir()] == ["model"]
    with pytest.raises(RunEnded, match="more than 4000 bytes"):
        model_folder.copy(written, tmp_path / "again", Limits(model_bytes=4000))


def test_a_curve_goes_on_where_the_training_does() -> None:
    curve, whole = TrainingCurve(), TrainingCurve()
    for step in range(1, 9):
        curve.add(step, 1 / step)
    curve.rewind(5)
    assert (curve.last_step, curve.seen) == (5, 5)
    for step in range(6, 11):
        curve.add(step, 1 / step)
    for step in range(1, 11):
        whole.add(step, 1 / step)
    assert curve == whole


def test_a_long_curve_stays_even_when_it_is_rewound() -> None:
    curve = TrainingCurve()
    for step in range(3 * MOST_PROGRESS_POINTS):
        curve.add(step, None)
    curve.rewind(MOST_PROGRESS_POINTS)
    for step in range(MOST_PROGRESS_POINTS + 1, 3 * MOST_PROGRESS_POINTS):
        curve.add(step, None)
    steps = [point.step for point in curve.points]
    assert len(steps) <= MOST_PROGRESS_POINTS + 1
    assert {later - earlier for earlier, later in itertools.pairwise(steps)} <= {1, 2, 3, 4}
