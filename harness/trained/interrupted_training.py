"""A training that outlives its harness: the folder it writes into, and what the host knows of it.

    <cache>/unfinished/<run key>/part-<n>/      the entry's model folder; it holds `.training`
    <cache>/unfinished/<run key>/state.jsonl    verdicts, curve, seconds: out of the entry's reach
    <cache>/unfinished/<run key>/held-<n>       the best state yet, and another: out of it, too
    <cache>/unfinished/.locks/<run key>.lock    held while the training is somebody's

A kill, Ctrl-C, a power cut or the infrastructure's fault leaves both there, and the next run of
the same key goes on from them; the entry's own fault removes them. Traps: a program that
outlived its harness for a moment must not write into the folder of the next part, so each part
gives the folder another name; what an entry left there is looked at by descriptor alone; an
entry may make thousands of checkpoints, so each adds a line and none writes the others again; no
entry finds the best state there, only the one that it saved last: else it would learn which is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from harness.common.errors import EnvironmentFault, StoreConflict
from harness.common.json_text import BadJson, parse_as
from harness.common.removal import remove_tree, remove_tree_if_possible
from harness.engines.base import Limits
from harness.records.energy import Spent, added
from harness.records.parts import Part
from harness.records.record import CheckpointPart, CurvePoint, TrainingPart
from harness.records.store import replacing
from harness.trained import model_folder
from harness.trained.held_states import HeldStates
from harness.trained.training_curve import ProgressPoint, TrainingCurve

UNFINISHED_FOLDER = "unfinished"
ASIDE = ".aside-"  # before the name of what could not be removed; `clean --unfinished` tries again
TRAINING_LOCKS = ".locks"
CURVE_POINTS = 500  # of a training curve in the record: more than a screen can show
SAVE_SECONDS = 30.0  # between two writes of the state while nothing is judged


class _State(Part):
    """A line of state.jsonl: what changed since the line before it; the first says all."""

    name: str
    """The run, in words."""
    earlier_checkpoints: int
    """How many of the lines before still count."""
    earlier_points: int
    """The same, of the curve."""
    resumed: int
    """How often the training went on."""
    seconds: float
    """Time of all parts up to the last write."""
    energy: Spent = Field(default_factory=dict)
    """Energy of all parts up to the last write."""
    checkpoints: list[CheckpointPart]
    """Judged since then, in order."""
    most_checkpoints: int
    """How many are judged at most, all parts together; as the first part had it."""
    verdicts: int
    """How many were judged, those included that were forgotten."""
    is_told_to_stop: bool
    """Whether a verdict has said stop."""
    held: tuple[int | None, int | None]
    """Numbers of the checkpoints whose states the host holds."""
    points: list[CurvePoint]
    """Of the curve, since then."""
    last_step: int | None
    """Of the curve."""
    stride: int
    """Of the curve."""
    seen: int
    """Of the curve."""
    stop_reason: str | None
    """Set when the entry has said that it is done: only the copy of its model was missing."""


@dataclass
class _Written:
    """How much of a list stands in the file.

    The list grows, is cut, or is thinned: so what was written is still its beginning where the
    last written object is in its place.
    """

    count: int = 0
    last: object = None

    def still_true(self, now: Sequence[object]) -> int:
        """How many of the written ones the list still begins with: all, or none."""
        is_true = self.count <= len(now) and (not self.count or now[self.count - 1] is self.last)
        return self.count if is_true else 0

    def note(self, now: Sequence[object]) -> None:
        """All of it has been written."""
        self.count, self.last = len(now), now[-1] if now else None


@dataclass
class UnfinishedTraining:
    """One training under its lock; made by `hold`."""

    home: Path
    """Its folder in the cache."""
    name: str
    """The run, in words."""
    part: int = 1
    """Number of this part, from 1."""
    resumed: int = 0
    """How often the training went on, this part included."""
    spent_seconds: float = 0.0
    """What earlier parts took."""
    spent_energy: Spent = field(default_factory=dict)
    """The energy of earlier parts."""
    count_energy: Callable[[], Spent] = dict
    """Gives the energy of this part up to now; set where the part begins."""
    checkpoints: list[CheckpointPart] = field(default_factory=list)
    """Every judged checkpoint, in order; the judge adds to it."""
    most_checkpoints: int = Limits.checkpoints
    """How many are judged at most, all parts together: fixed before the first part."""
    verdicts: int = 0
    """How many were judged, those included that a resumed training did again."""
    is_told_to_stop: bool = False
    """Whether a verdict has said stop: no later one says anything else."""
    held: HeldStates = field(init=False)
    """The best state yet, out of the entry's reach."""
    curve: TrainingCurve = field(default_factory=TrainingCurve)
    """Progress of all parts."""
    stop_reason: str | None = None
    """Why it ended; None while it has not."""
    _began: float = field(default_factory=time.monotonic)
    _saved: float = 0.0
    _written_checkpoints: _Written = field(default_factory=_Written)
    _written_points: _Written = field(default_factory=_Written)

    def __post_init__(self) -> None:
        self.held = HeldStates(self.home)

    @property
    def written(self) -> Path:
        """The folder that the entry writes its model and its state into."""
        return self.home / f"part-{self.part}"

    @property
    def seconds(self) -> float:
        """Time of all parts, this one up to now."""
        running = time.monotonic() - self._began if self.stop_reason is None else 0.0
        return self.spent_seconds + running

    @property
    def energy(self) -> Spent:
        """Energy of all parts, this one up to now."""
        now = self.count_energy()
        if not now:
            return self.spent_energy
        return added(self.spent_energy, now) if self.resumed else now

    def save(self) -> None:
        """Write down what a later part needs and what is not written yet, whole or not at all."""
        is_whole = self._saved == 0.0  # the first of this part, or one failed before
        if is_whole:
            self._written_checkpoints, self._written_points = _Written(), _Written()
        self._saved = 0.0
        checkpoints = self._written_checkpoints.still_true(self.checkpoints)
        points = self._written_points.still_true(self.curve.points)
        state = _State(
            name=self.name,
            earlier_checkpoints=checkpoints,
            earlier_points=points,
            resumed=self.resumed,
            seconds=self.seconds,
            energy=self.energy,
            checkpoints=self.checkpoints[checkpoints:],
            most_checkpoints=self.most_checkpoints,
            verdicts=self.verdicts,
            is_told_to_stop=self.is_told_to_stop,
            held=(self.held.numbers[0], self.held.numbers[1]),
            points=[CurvePoint(step=step, loss=loss) for step, loss in self.curve.points[points:]],
            last_step=self.curve.last_step,
            stride=self.curve.stride,
            seen=self.curve.seen,
            stop_reason=self.stop_reason,
        )
        line = state.model_dump_json() + "\n"
        if is_whole:
            with replacing(_state_path(self.home)) as path:
                path.write_text(line)
        else:
            _append(_state_path(self.home), line)
        self._written_checkpoints.note(self.checkpoints)
        self._written_points.note(self.curve.points)
        self._saved = time.monotonic()

    def save_now_and_then(self) -> None:
        """The same, where the last time is a while ago: progress comes as often as it likes."""
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def best(self, before: int | None = None) -> int | None:
        """Number of the best checkpoint, from 1, of all or of those before one; None: there is none."""
        numbered = enumerate(self.checkpoints[: None if before is None else before - 1], start=1)
        return max((number for number, checkpoint in numbered if checkpoint.kept), default=None)

    def go_back_to(self, step: int) -> None:
        """Forget the checkpoints after a step: a resumed training does them again."""
        while self.checkpoints and self.checkpoints[-1].step > step:
            self.checkpoints.pop()

    def expect_state(self) -> None:
        """Before a verdict: make room for the state that the entry saves after it.

        Raises:
            RunEnded: `bad_frame` where the training went on past its best state.
        """
        number = len(self.checkpoints)
        best = self.best(before=number)
        if self.checkpoints[-1].kept and best not in self.held.numbers:  # it is the best itself
            best = None
        self.held.make_room(number, best)

    def hold_state(self, limits: Limits) -> None:
        """After the verdict, once the entry has saved: take its state, the best or not.

        Raises:
            RunEnded: `bad_model` for what is no model.
        """
        self.held.take(self.written, limits)
        self.save()

    def hold_what_was_saved(self, limits: Limits) -> None:
        """Take the last judged state, where an earlier part was cut short before it could be.

        The program of that part is gone, but may have gone on for a while, past this state: then
        it has saved it. Where it has not, it goes on from this very state, and saves it again.

        Raises:
            RunEnded: as `hold_state` does.
        """
        if self.checkpoints and len(self.checkpoints) not in self.held.numbers:
            self.expect_state()
            self.hold_state(limits)

    def fetch_model(self, destination: Path, limits: Limits) -> None:
        """The model that the training ends with: the best state, or the last without a checkpoint.

        Args:
            destination: an existing, empty folder of the host.
        Raises:
            RunEnded: by the entry's fault, or the host's.
        """
        best = self.best()
        if best is None:
            model_folder.copy(self.written, destination, limits)
        else:
            self.held.put_back(best, destination)

    def finish(self, stop_reason: str) -> None:
        """The entry is done: a later run finds its model here and trains no more."""
        self.spent_seconds, self.spent_energy = self.seconds, self.energy
        self.count_energy = dict
        self.stop_reason = stop_reason
        self.save()

    def part_of_record(self, *, with_curve: bool) -> TrainingPart:
        """What the record keeps of the training."""
        kept = [checkpoint.step for checkpoint in self.checkpoints if checkpoint.kept]
        points = self.curve.points if with_curve else []
        stride = max(1, -(-len(points) // CURVE_POINTS))
        return TrainingPart(
            steps=self.curve.last_step,
            checkpoints=list(self.checkpoints),
            most_checkpoints=self.most_checkpoints,
            kept=kept[-1] if kept else None,
            stop_reason=self.stop_reason or "not finished",
            resumed=self.resumed,
            curve=[CurvePoint(step=step, loss=loss) for step, loss in points[::stride]],
        )

    def remove(self) -> None:
        """Nothing of it is needed any more."""
        _remove(self.home)


@contextlib.contextmanager
def hold(
    cache: Path, key: str, name: str, *, most_checkpoints: int = Limits.checkpoints
) -> Iterator[UnfinishedTraining]:
    """The training of this run key, for this process alone: the one under way, or a fresh one.

    What cannot be gone on from is removed on the way out.

    Args:
        cache: the harness's cache folder, or another one to keep the training in.
        key: run key of the training, `sha256:…`.
        name: the run, in words.
        most_checkpoints: how many are judged at most, of a fresh one; another goes on with its own.
    Raises:
        StoreConflict: another process is at this very training.
    """
    root = cache / UNFINISHED_FOLDER
    home = root / key.removeprefix("sha256:")
    with _lock(root, home.name, name):
        training = _resumed(home, name)
        if training is None:
            _remove(home)
            training = UnfinishedTraining(home, name, most_checkpoints=most_checkpoints)
            training.written.mkdir(parents=True)
            training.save()
        try:
            yield training
        finally:
            if home.is_dir() and not _can_go_on(training):
                training.remove()


@dataclass(frozen=True)
class Leftover:
    """An interrupted training that nobody holds."""

    name: str
    """The run, in words."""
    nbytes: int
    """Size of its files."""
    home: Path
    """Its folder in the cache."""


def leftovers(cache: Path) -> list[Leftover]:
    """Interrupted trainings that a later run would go on from, by name."""
    found = []
    for home in sorted((cache / UNFINISHED_FOLDER).glob("[0-9a-f]*")):
        with contextlib.suppress(StoreConflict), _lock(cache / UNFINISHED_FOLDER, home.name, ""):
            state = _read_state(home)
            nbytes = model_folder.size_of(home)
            found.append(Leftover(state.name if state else "unknown", nbytes, home))
    return sorted(found, key=lambda leftover: leftover.name)


def remove_leftovers(cache: Path) -> int:
    """Remove them; returns how many.

    Raises:
        EnvironmentFault: one cannot be removed; all others are.
    """
    count = 0
    for leftover in leftovers(cache):
        with (
            contextlib.suppress(StoreConflict),
            _lock(cache / UNFINISHED_FOLDER, leftover.home.name, ""),
        ):
            _remove(leftover.home)
            count += 1
    _remove_put_aside(cache / UNFINISHED_FOLDER)
    return count


def _resumed(home: Path, name: str) -> UnfinishedTraining | None:
    """The next part of what lies there; None where there is nothing to go on from."""
    state = _read_state(home)
    if state is None:
        return None
    points = [ProgressPoint(point.step, point.loss) for point in state.points]
    training = UnfinishedTraining(
        home,
        name,
        part=_newest_part(home),
        resumed=state.resumed,
        spent_seconds=state.seconds,
        spent_energy=state.energy,
        checkpoints=list(state.checkpoints),
        most_checkpoints=state.most_checkpoints,
        verdicts=state.verdicts,
        is_told_to_stop=state.is_told_to_stop,
        curve=TrainingCurve(points, state.last_step, state.stride, state.seen),
        stop_reason=state.stop_reason,
    )
    training.held.numbers = list(state.held)
    if not _can_go_on(training):
        return None
    if training.stop_reason is None:
        before = training.written
        training.part += 1
        training.resumed += 1
        before.rename(training.written)
        training.save()
    return training


def _newest_part(home: Path) -> int:
    numbers = [path.name.removeprefix("part-") for path in home.glob("part-*")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _can_go_on(training: UnfinishedTraining) -> bool:
    if training.written.is_symlink() or not training.written.is_dir():
        return False
    return training.stop_reason is not None or model_folder.has_training_state(training.written)


def _state_path(home: Path) -> Path:
    return home / "state.jsonl"


def _append(path: Path, line: str) -> None:
    """Add a line that is on the disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _read_state(home: Path) -> _State | None:
    """All lines in one; a last one that was cut by a power failure does not count."""
    state: _State | None = None
    try:
        with _state_path(home).open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    state = _joined(state, parse_as(_State.model_validate_json, line))
    except (OSError, BadJson):  # there is none, or another version wrote it
        return None
    return state


def _joined(before: _State | None, change: _State) -> _State:
    if before is None:
        return change
    del before.checkpoints[change.earlier_checkpoints :]
    del before.points[change.earlier_points :]
    before.checkpoints.extend(change.checkpoints)
    before.points.extend(change.points)
    return change.model_copy(update={"checkpoints": before.checkpoints, "points": before.points})


def _remove(home: Path) -> None:
    """Remove what an entry left; what resists is put aside, so that it never stops the next run."""
    if not remove_tree_if_possible(home):
        home.rename(home.with_name(f"{ASIDE}{home.name[:16]}-{secrets.token_hex(4)}"))


def _remove_put_aside(root: Path) -> None:
    for path in root.glob(f"{ASIDE}*"):
        try:
            remove_tree(path)
        except OSError as error:
            raise EnvironmentFault(
                f"what a training left cannot be removed: {error.strerror}",
                where=str(path),
                fix=f"remove the folder by hand: {path}",
            ) from error


@contextlib.contextmanager
def _lock(root: Path, mark: str, name: str) -> Iterator[None]:
    path = root / TRAINING_LOCKS / f"{mark}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreConflict(
                f"another process is at this very training at this moment: {name}",
                where=str(root),
                fix="wait for it, or give this call another cache with BMAD_CACHE=DIR",
            ) from error
        yield
