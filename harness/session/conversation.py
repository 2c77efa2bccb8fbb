"""One conversation with one started entry: the harness's side of the contract.

    with engine.start(launch) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        for answer in session.ask(questions): ...
        session.finish()

Whatever the entry does wrong raises `RunEnded` with one typed status. Trap: an answer is
timed by the arrival of its last byte, not by when we came to read it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.common.statuses import RunEnded, Status
from harness.contract.frames import (
    MAP_DTYPES,
    AnyFrame,
    CheckpointFrame,
    Description,
    DoneFrame,
    HelloFrame,
    MapFrame,
    ProgressFrame,
    ReadyFrame,
    Verdict,
    parse_frame,
)
from harness.contract.lines import MAX_LINE_BYTES, BadFrame, came
from harness.engines.base import DeadlinePassed, Launch, Limits, OutputFlood, Running
from harness.session.one_image import Ahead, Answer, Asked, PreparedImage, Question, Received
from harness.session.pipe import EntryPipe
from harness.session.time_limits import Deadline, TimeLimits
from harness.trained.training_curve import ProgressPoint, TrainingCurve

__all__ = [
    "Answer",
    "Description",
    "Hello",
    "PredictSession",
    "ProgressPoint",
    "Question",
    "Ready",
    "TrainReport",
    "Verdict",
    "read_description",
    "train_session",
]


# Linux wakes the reader of a pipe on its writer's CPU, since a writer mostly waits for the answer.
# We go on working, and the entry would wait for a millisecond until it is moved; so we wait first.
LET_GO_SECONDS = 1e-4


@dataclass(frozen=True)
class Hello:
    """What a session tells the entry, beside its folders and limits."""

    benchmark: str
    """Name of the benchmark."""
    seed: int
    """Seed of the run."""
    device: str
    """The device as the entry sees it: `cpu` or `cuda:0`."""
    maps_wanted: bool
    """Whether anomaly maps are asked for."""
    params: Mapping[str, Any]
    """Hyper-parameters: JSON types, finite."""
    tmp_mib: int | None = None
    """Size of /tmp as it was measured, told in the place of the limit; None: it was not."""


@dataclass(frozen=True)
class Ready:
    """The entry is ready for images."""

    maps: bool
    """Whether its answers carry maps where they are wanted."""
    start_up_seconds: float
    """From the start of the session to the arrival of `ready`."""


@dataclass(frozen=True)
class TrainReport:
    """What a train session left behind, beside the model's files."""

    steps: int | None
    """Steps done by the entry's last progress frame; None where it sent none."""
    curve: tuple[ProgressPoint, ...]
    """Progress in order, evenly thinned to a few thousand points."""
    checkpoints: int
    """Number of checkpoints that were judged."""
    start_up_seconds: float
    """From the start of the session to the arrival of `ready`."""
    seconds: float
    """The whole session."""


Ask = Callable[[Iterable[Question]], Iterator[Answer]]
"""Streams questions to the entry and yields its answers in the same order."""
CheckpointJudge = Callable[[int, Ask], Verdict]
"""Judges the entry's state at a step by what it answers."""


class _Conversation:
    """Start, questions and end: what predict and train have in common."""

    def __init__(self, running: Running, launch: Launch, hello: Hello, seconds: float) -> None:
        self.limits = launch.limits
        self.time_limits = TimeLimits(launch.limits, seconds)
        self.pipe = EntryPipe(running, self.time_limits)
        self.pipe.may_decline = True
        self._running = running
        self._hello = HelloFrame(
            verb=launch.verb,
            benchmark=hello.benchmark,
            seed=hello.seed,
            device=hello.device,
            maps_wanted=hello.maps_wanted,
            paths=running.paths,
            params=hello.params,
            limits=_told_limits(launch.limits, hello),
        )
        self._has_maps = False
        self._map_dtype: str | None = None
        self._asked = 0

    def start(self) -> Ready:
        """Say hello and wait for `ready`.

        Raises:
            RunEnded: by the entry's fault.
        """
        line = self._hello.line()
        deadline = self.time_limits.start()
        with self.pipe.typed("the ready frame", deadline):
            self.pipe.send(line, deadline)
            frame = parse_frame(self.pipe.receive_first_line("type", deadline))
            if not isinstance(frame, ReadyFrame):
                raise BadFrame("a ready frame was expected", _kind(frame))
        self._has_maps = frame.maps and self._hello.maps_wanted
        return Ready(frame.maps, self._running.last_arrival - self.time_limits.began)

    def ask(self, questions: Iterable[Question], what: str = "") -> Iterator[Answer]:
        """Send one image after the other, each after the answer to the one before.

        Args:
            questions: the images.
            what: what they are, for messages that count them apart from the session's others.

        An answer is handed over once the next image has been sent: what the caller does with it
        is done while the entry computes.

        Raises:
            RunEnded: by the entry's fault; every answer that was whole has been handed over.
        """
        received: Received | None = None
        sent = 0
        with Ahead(questions) as ahead:
            while (question := ahead.take()) is not None:
                sent += 1
                try:
                    asked = self._send(question, f"{what} {sent}, " if what else "")
                except RunEnded:
                    if received is not None:
                        yield received.answer()
                    raise
                ahead.prepare()
                if received is not None:
                    time.sleep(LET_GO_SECONDS)
                    yield received.answer()
                received = self._receive(asked)
        if received is not None:
            yield received.answer()

    def finish(self) -> None:
        """End the entry's input; it must exit with code 0 and add nothing.

        Raises:
            RunEnded: by the entry's fault.
        """
        self.pipe.close()

    def _send(self, question: PreparedImage, which: str) -> Asked:
        self._asked += 1
        self.pipe.may_decline = False
        where = f"{which}image {self._asked}" + (" of the session" if which else "")
        self.pipe.expect_silence(where)
        pixels = math.prod(question.size)
        self._running.expect_output(MAX_LINE_BYTES + (pixels * 4 if self._has_maps else 0))
        deadline = self.time_limits.image()
        sent = time.monotonic()
        with self.pipe.typed(where, deadline):
            self.pipe.send(question.line, deadline, question.pixels)
        return Asked(question, where, sent, deadline)

    def _receive(self, asked: Asked) -> Received:
        with self.pipe.typed(asked.where, asked.deadline):
            frame, _ = self.pipe.receive_frame(asked.deadline)
            header = self._checked_header(frame, asked.question, asked.where)
            anomaly_map = self._receive_map(header, asked.deadline)
            arrived = self._running.last_arrival
            if arrived > asked.deadline.at:  # it came while the caller was busy, and too late
                raise DeadlinePassed("the answer came after its deadline")
        return Received(asked, header, anomaly_map, arrived - asked.sent)

    def _checked_header(self, frame: AnyFrame, question: PreparedImage, where: str) -> MapFrame:
        """The answer's header, when it is the answer to this question."""
        if not isinstance(frame, MapFrame):
            raise BadFrame("a map frame was expected", _kind(frame))
        if frame.id != question.id:
            raise BadFrame(
                "the id is not the one of the image", f"{came(frame.id)}, not {question.id!r}"
            )
        if frame.shape is None:
            if self._has_maps:
                raise BadFrame("a map was wanted, and ready said that there are maps")
            return frame
        if not self._has_maps:
            raise BadFrame("a map came where none was wanted, or ready said that there is none")
        if frame.shape != question.size:
            raise RunEnded(
                Status.WRONG_SHAPE,
                f"{where}: the map is not {_sides(question.size)}, as the image is",
                of_entry=f"{_sides(frame.shape)} came, in {frame.dtype}",
            )
        if self._map_dtype is None:
            self._map_dtype = frame.dtype
        if frame.dtype != self._map_dtype:
            raise RunEnded(
                Status.WRONG_SHAPE,
                f"{where}: the map is {frame.dtype}, the maps before it were {self._map_dtype}",
            )
        return frame

    def _receive_map(self, header: MapFrame, deadline: Deadline) -> np.ndarray | None:
        if header.shape is None or header.dtype is None:
            return None
        data = self.pipe.receive_bytes(header.nbytes, deadline)
        anomaly_map = np.frombuffer(data, dtype=MAP_DTYPES[header.dtype]).reshape(header.shape)
        anomaly_map.flags.writeable = False
        return anomaly_map


class PredictSession(_Conversation):
    """Asks an entry about images: the validation split, then the test split.

    Args:
        running: the entry, started for `predict`; the caller stops it.
        launch: how it was started.
        hello: what to tell it.
    """

    def __init__(self, running: Running, launch: Launch, hello: Hello) -> None:
        super().__init__(running, launch, hello, launch.limits.predict_seconds)


def train_session(
    running: Running,
    launch: Launch,
    hello: Hello,
    judge: CheckpointJudge,
    on_progress: Callable[[int, int | None, float | None], None] = lambda *_: None,
    *,
    on_saved: Callable[[], None] = lambda: None,
    curve: TrainingCurve | None = None,
    spent_seconds: float = 0.0,
) -> TrainReport:
    """Have an entry train, and judge its checkpoints.

    Args:
        running: the entry, started for `train`; the caller stops it.
        launch: how it was started.
        hello: what to tell it.
        judge: called at each checkpoint with the step and a function that asks questions.
        on_progress: called with step, steps and loss at each progress frame.
        on_saved: called after each verdict, when the entry's next frame says that it has saved.
        curve: takes the progress; that of an interrupted training goes on from its last step.
        spent_seconds: what earlier parts of an interrupted training took of `train_seconds`.
    Raises:
        RunEnded: by the entry's fault.
    """
    seconds = max(0.0, launch.limits.train_seconds - spent_seconds)
    curve = TrainingCurve() if curve is None else curve
    return _Training(
        running, launch, hello, judge, on_progress, on_saved=on_saved, curve=curve, seconds=seconds
    ).run()


class _Training(_Conversation):
    """The frames of one train session in order."""

    def __init__(
        self,
        running: Running,
        launch: Launch,
        hello: Hello,
        judge: CheckpointJudge,
        on_progress: Callable[[int, int | None, float | None], None],
        *,
        on_saved: Callable[[], None],
        curve: TrainingCurve,
        seconds: float,
    ) -> None:
        super().__init__(running, launch, hello, seconds)
        self._judge = judge
        self._on_progress = on_progress
        self._on_saved = on_saved
        self._is_saving = self._is_told_to_stop = False
        self._curve = curve
        self._checkpoints = 0
        self._frames = 0
        self._received = 0

    def run(self) -> TrainReport:
        """The whole session."""
        self._allow_chatter()
        ready = self.start()
        while not isinstance(frame := self._next_frame(), DoneFrame):
            self._rewind_once(frame)
            if isinstance(frame, ProgressFrame):
                self._curve.add(frame.step, frame.loss)
                self._on_progress(frame.step, frame.steps, frame.loss)
            else:
                self._judge_checkpoint(frame)
        self.finish()
        return TrainReport(
            steps=self._curve.last_step,
            curve=tuple(self._curve.points),
            checkpoints=self._checkpoints,
            start_up_seconds=ready.start_up_seconds,
            seconds=time.monotonic() - self.time_limits.began,
        )

    def _rewind_once(self, frame: ProgressFrame | CheckpointFrame) -> None:
        """A resumed training's first frame says from which step it goes on."""
        if self._frames == 1:
            is_done = isinstance(frame, CheckpointFrame)
            self._curve.rewind(frame.step if is_done else frame.step - 1)

    def _next_frame(self) -> ProgressFrame | CheckpointFrame | DoneFrame:
        limit = self.limits.train_stdout_bytes
        self._frames += 1
        with self.pipe.typed(f"training frame {self._frames}", self.time_limits.total):
            frame, nbytes = self.pipe.receive_frame(self.time_limits.total)
            self._received += nbytes
            if self._received > limit:
                raise OutputFlood
            if not isinstance(frame, ProgressFrame | CheckpointFrame | DoneFrame):
                raise BadFrame("a progress, checkpoint or done frame was expected", _kind(frame))
            if self._is_told_to_stop and isinstance(frame, CheckpointFrame):
                raise BadFrame("a checkpoint came after the verdict that said stop")
        if self._is_saving:
            self._is_saving = False
            self._on_saved()
        return frame

    def _judge_checkpoint(self, frame: CheckpointFrame) -> None:
        self._checkpoints += 1
        verdict = self._judge(frame.step, self.ask)
        where = f"the verdict on checkpoint {self._checkpoints}"
        self.pipe.expect_silence(where)
        self._allow_chatter()
        with self.pipe.typed(where, self.time_limits.total):
            self.pipe.send(verdict.line(), self.time_limits.total)
        self._is_saving, self._is_told_to_stop = verdict.keep, verdict.stop

    def _allow_chatter(self) -> None:
        """Let progress frames wait; called before the entry may write them, or some are lost."""
        self._running.expect_output(self.limits.train_stdout_bytes)


def read_description(running: Running, launch: Launch) -> Description:
    """What an entry started for `describe` says of itself.

    Raises:
        RunEnded: it does not describe itself as the contract says, or not in time.
    """
    limits = launch.limits
    pipe = EntryPipe(running, TimeLimits(limits, limits.start_seconds + limits.stop_seconds))
    where, deadline = "the description", pipe.limits.start()
    with pipe.typed(where, deadline):
        description = Description.from_line(pipe.receive_first_line("contract", deadline))
    pipe.close()
    return description


def _told_limits(limits: Limits, hello: Hello) -> dict[str, float | int]:
    """As they are asked for, and /tmp as large as it is."""
    told = limits.as_dict()
    return told if hello.tmp_mib is None else {**told, "tmp_mib": hello.tmp_mib}


def _kind(frame: AnyFrame) -> str:
    return f"a {frame.kind} frame came"


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
