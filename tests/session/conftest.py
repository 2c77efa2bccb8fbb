"""Ways to have a conversation: with a function (the double) or with an entry's folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from harness.common.statuses import Cause, RunEnded, Status
from harness.contract.frames import HelloFrame, ImageFrame, MapFrame, ReadyFrame
from harness.contract.pipe import FrameReader, FrameWriter
from harness.engines.base import EngineFacts, Launch, Limits, Program, Running
from harness.engines.process import ProcessEngine
from harness.session.conversation import Answer, Hello, PredictSession, Question
from tests.function_engine import EntryFunction, run_function

ENTRIES = Path(__file__).parents[1] / "sample_entries"
HELLO = Hello(benchmark="demo", seed=0, device="cpu", maps_wanted=True, params={})
# Short, because tests wait for them; long enough for an interpreter on a busy machine.
LIMITS = Limits(
    start_seconds=20, image_seconds=10, predict_seconds=60, train_seconds=60, stop_seconds=5
)


def make_images(count: int = 3, shape: tuple[int, ...] = (4, 6)) -> list[np.ndarray]:
    """Images that differ from each other."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


@dataclass
class Outcome:
    """How a conversation went."""

    status: Status = Status.OK
    detail: str = ""
    told: str = ""
    """The detail as it is told of an open pack."""
    cause: Cause | None = None
    answers: list[Answer] = field(default_factory=list)
    seconds: float = 0.0
    log: bytes = b""


def play_session(
    running: Running,
    limits: Limits = LIMITS,
    hello: Hello = HELLO,
    images: list[np.ndarray] | None = None,
) -> Outcome:
    """A whole predict session; its end as an `Outcome`, whatever it is."""
    outcome = Outcome()
    launch = Launch(Program("test", "folder:test"), "predict", limits=limits)
    began = time.monotonic()
    with running:
        try:
            session = PredictSession(running, launch, hello)
            session.start()
            images = make_images() if images is None else images
            questions = [Question(image, number) for number, image in enumerate(images)]
            for answer in session.ask(questions):
                outcome.answers.append(answer)
            session.finish()
        except RunEnded as ended:
            outcome.status, outcome.detail = ended.status, ended.detail
            outcome.told, outcome.cause = ended.told("open"), ended.cause
            kept = ended.told("hidden")
        else:
            kept = ""
        assert kept == outcome.detail, "a hidden pack is told nothing that the entry chose"
        outcome.seconds = time.monotonic() - began
    outcome.log = running.log
    return outcome


class Script:
    """An honest entry, step by step, for tests that break one step of it."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self.stdout = stdout
        self.reader = FrameReader(stdin)
        self.writer = FrameWriter(stdout)

    def ready(self, maps: bool = True) -> HelloFrame:
        """Read hello and answer ready."""
        hello = self.reader.read()
        assert isinstance(hello, HelloFrame)
        self.writer.end_banner()
        self.writer.write(ReadyFrame(maps=maps))
        return hello

    def next_image(self) -> tuple[ImageFrame, np.ndarray] | None:
        """The next image, None at the end of input."""
        frame = self.reader.read()
        if frame is None:
            return None
        assert isinstance(frame, ImageFrame)
        return frame, self.reader.read_image(frame)

    def answer(self, identifier: str, anomaly_map: np.ndarray | None, score: float | None) -> None:
        """One answer as it should be for this map."""
        shape = None if anomaly_map is None else anomaly_map.shape
        dtype = None if anomaly_map is None else anomaly_map.dtype.name
        self.writer.write(MapFrame(identifier, score, shape, dtype), anomaly_map)

    def raw(self, data: bytes) -> None:
        """Any bytes at all."""
        self.stdout.write(data)
        self.stdout.flush()

    def serve(self) -> None:
        """Answer honestly until the input ends: the mean grey value, everywhere."""
        while (question := self.next_image()) is not None:
            frame, image = question
            mean = float(image.mean())
            self.answer(frame.id, np.full(frame.shape[:2], mean, dtype=np.float32), mean)


def honest(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
    """An entry without fault."""
    script = Script(stdin, stdout)
    script.ready()
    script.serve()


@dataclass(frozen=True)
class Behaviour:
    """How a predict session with one of tests/sample_entries ends, asked about three images."""

    entry: str
    status: Status
    answered: int
    limits: dict[str, float] = field(default_factory=dict)


BEHAVIOURS = (
    Behaviour("honest", Status.OK, 3),
    Behaviour("map_only", Status.OK, 3),
    Behaviour("score_only", Status.OK, 3),
    Behaviour("stdout_print", Status.OK, 3),
    Behaviour("crashing", Status.CRASHED, 0),
    Behaviour("hanging_start", Status.START_TIMEOUT, 0, {"start_seconds": 1.0}),
    Behaviour("hanging_image", Status.IMAGE_TIMEOUT, 0, {"image_seconds": 0.5}),
    Behaviour("look_ahead", Status.IMAGE_TIMEOUT, 0, {"image_seconds": 0.5}),
    Behaviour("never_reads", Status.IMAGE_TIMEOUT, 0, {"image_seconds": 0.5}),
    Behaviour("ignores_term", Status.IMAGE_TIMEOUT, 0, {"image_seconds": 0.5, "stop_seconds": 0.5}),
    Behaviour("out_of_gpu_memory", Status.OUT_OF_GPU_MEMORY, 0),
    Behaviour("bad_frame", Status.BAD_FRAME, 0),
    Behaviour("wrong_shape", Status.WRONG_SHAPE, 0),
    Behaviour("nan", Status.NON_FINITE, 0),
    Behaviour("early_exit", Status.MISSING_ANSWER, 2),
    Behaviour("stderr_flood", Status.LOG_FLOOD, 0, {"log_bytes": 1 << 20}),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `behaviour` runs once for each."""
    if "behaviour" in metafunc.fixturenames:
        metafunc.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.entry)


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def images() -> Callable[..., list[np.ndarray]]:
    return make_images


@pytest.fixture
def converse() -> Callable[..., Outcome]:
    """`converse(running, limits, hello, images)`: a whole session with what was started."""
    return play_session


@pytest.fixture
def hello() -> Hello:
    return HELLO


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def play() -> Callable[..., Outcome]:
    """`play(function, images=…, hello=…, **limits)`: a session with a function as the entry."""

    def play_function(
        function: EntryFunction = honest,
        *,
        images: list[np.ndarray] | None = None,
        hello: Hello = HELLO,
        exit_code: int | None = None,
        is_out_of_memory: bool = False,
        facts: EngineFacts | None = None,
        **changes: Any,
    ) -> Outcome:
        limits = replace(LIMITS, **changes)
        running = run_function(
            function,
            limits=limits,
            exit_code=exit_code,
            is_out_of_memory=is_out_of_memory,
            facts=facts,
        )
        return play_session(running, limits, hello, images)

    return play_function


@pytest.fixture
def play_answers(play: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """`play_answers(write)`: `write(script, frame, image)` answers every image in its own way."""

    def play_with(
        write: Callable[[Script, ImageFrame, np.ndarray], None],
        *,
        maps: bool = True,
        **options: Any,
    ) -> Outcome:
        def program(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
            script = Script(stdin, stdout)
            script.ready(maps)
            while (question := script.next_image()) is not None:
                write(script, *question)

        return play(program, **options)

    return play_with


@pytest.fixture
def start_folder(tmp_path: Path) -> Callable[..., Running]:
    """`start_folder(name_or_path, verb, **limits)`: an entry's folder as a real process."""

    def start(
        entry: str | Path,
        verb: Any = "predict",
        *,
        model: Path | None = None,
        train: Path | None = None,
        **changes: Any,
    ) -> Running:
        engine = ProcessEngine()
        folder = ENTRIES / entry  # an absolute path stays itself
        program = engine.prepare_folder(folder, folder.name, "test")
        limits = replace(LIMITS, **changes)
        return engine.start(Launch(program, verb, limits=limits, model=model, train=train))

    return start


@pytest.fixture
def play_folder(start_folder: Callable[..., Running]) -> Callable[..., Outcome]:
    """`play_folder(name, **limits)`: a predict session with an entry's folder."""

    def play(
        entry: str | Path,
        *,
        images: list[np.ndarray] | None = None,
        hello: Hello = HELLO,
        **changes: Any,
    ) -> Outcome:
        running = start_folder(entry, **changes)
        return play_session(running, replace(LIMITS, **changes), hello, images)

    return play


@pytest.fixture
def play_command() -> Callable[..., Outcome]:
    """`play_command([program, argument…])`: a predict session with any program."""

    def play(command: list[str], *, hello: Hello = HELLO, **options: Any) -> Outcome:
        program = Program("command", "folder:test", command=tuple(command))
        running = ProcessEngine().start(Launch(program, "predict", limits=LIMITS))
        return play_session(running, LIMITS, hello, **options)

    return play


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[[str], Path]:
    """`model_folder(source)`: an entry's folder around the source of a class `Model`."""

    def make(source: str, *, maps: bool = True, trains: bool = False) -> Path:
        folder = tmp_path / "entry"
        folder.mkdir()
        (folder / "model.py").write_text(source)
        (folder / "entry.toml").write_text(
            f'[entry]\nname = "made"\nmodel = "model.py:Model"\n'
            f"maps = {str(maps).lower()}\ntrains = {str(trains).lower()}\n"
        )
        return folder

    return make


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Whatever an entry does, the session leaves no decoding thread behind."""
    import threading

    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert not left, left


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
