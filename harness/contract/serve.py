"""`serve`: turns a class into an entry. All that an author has to call.

Traps. The model is imported after standard output was moved aside, so pass it as
"module:Class" if its imports print. The process leaves by `os._exit`: interpreters
that tear down torch can crash after the last answer, and the exit code counts.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import multiprocessing
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol

import numpy as np

from .frames import (
    MAP_DTYPES,
    CheckpointFrame,
    Description,
    DoneFrame,
    HelloFrame,
    ImageFrame,
    MapFrame,
    ProgressFrame,
    ReadyFrame,
    Verdict,
)
from .lines import BadFrame
from .pipe import FrameReader, FrameWriter, take_pipe

# `dtype.name` is worked out in Python at each call, and this is between an image and its answer.
_DTYPE_NAMES = {(dtype.kind, dtype.itemsize): name for name, dtype in MAP_DTYPES.items()}

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_OUT_OF_GPU_MEMORY = 77
EXIT_NOT_APPLICABLE = 78
EXIT_TERMINATED = 128 + signal.SIGTERM

# In the model folder of a training: its own state, which a resumed training goes on from.
STATE_FOLDER = ".training"
# There for the moment of a save.
FRESH_FOLDER, OLD_FOLDER = ".saving", ".replaced"


class NotApplicable(Exception):
    """Raised by a model that cannot do what it is asked for: too few images for a single step, say.

    Before the first image of a session it ends the run as `not_applicable`, which is no failure;
    after it, as `crashed`: what an entry has seen of an image must not decide whether it counts.
    """


class Model(Protocol):
    """What an author writes; `fit` and `save` only where the method trains here.

    The constructor takes `device` ("cpu" or "cuda:0"), `seed`, `params` (the
    hyper-parameters) and `weights` (folder of pretrained backbones, or None).
    """

    def __init__(
        self, *, device: str, seed: int, params: dict[str, Any], weights: Path | None
    ) -> None: ...

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; called before the first image, by entries that train."""
        ...

    def predict(self, image: np.ndarray) -> tuple[np.ndarray | None, float | None]:
        """Answer one image.

        Args:
            image: uint8 [H,W] or [H,W,3].
        Returns:
            Anomaly map, finite float32 or float16 [H,W], or None; image score, finite, or
            None for the map's maximum. Higher = more anomalous, one of them at least.
        """
        ...

    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Learn from the PNG images in the folder `train`, which are all normal."""
        ...

    def save(self, folder: Path) -> None:
        """Write plain files into `folder`, for `load`."""
        ...


def serve(
    model: type[Any] | str,
    *,
    name: str,
    maps: bool = True,
    trains: bool = False,
    verb: str | None = None,
) -> NoReturn:
    """Run one session of an entry over standard input and output, then end the process.

    Exit codes: 0 done, 1 the model raised (traceback on standard error), 2 unknown verb,
    77 out of GPU memory, 78 `NotApplicable`, 143 after SIGTERM.

    Args:
        model: the author's class (see `Model`), or "module:Class", imported when it is needed.
        name: the entry's name.
        maps: whether `predict` returns anomaly maps.
        trains: whether the class has `fit` and `save`.
        verb: `describe`, `predict` or `train`; by default the first argument of the command.
    """
    verbs = ("predict", "train") if trains else ("predict",)
    verb = verb or (sys.argv[1] if len(sys.argv) > 1 else "")
    if verb == "describe":
        sys.stdout.write(Description(name=name, maps=maps, verbs=verbs).line().decode())
        sys.stdout.flush()
        sys.exit(0)
    if verb not in verbs:
        sys.stderr.write(
            f"error: unknown verb {verb!r}\nfix: one of describe, {', '.join(verbs)}\n"
        )
        sys.exit(EXIT_USAGE)
    signal.signal(signal.SIGTERM, _leave_on_signal)
    reader, writer = take_pipe()
    try:
        hello = _read_hello(reader, verb)
        _converse(model, hello, reader, writer, maps=maps, trains=trains)
    except Exception as error:  # noqa: BLE001 - whatever an author's code raises belongs in the log
        traceback.print_exc()
        _leave(_exit_code_of(error))
    _leave(0)


def _exit_code_of(error: Exception) -> int:
    if isinstance(error, NotApplicable):
        return EXIT_NOT_APPLICABLE
    return EXIT_OUT_OF_GPU_MEMORY if _is_out_of_gpu_memory(error) else EXIT_FAILED


class Checkpoint:
    """What `fit` calls to report and to have its state judged."""

    def __init__(self, answering: _Answering, folder: Path) -> None:
        self._answering = answering
        self._folder = folder
        _mend(folder)
        # A training that was interrupted may have saved a model: it goes on from its state.
        self._has_kept = any(item.name != STATE_FOLDER for item in folder.iterdir())

    @property
    def state_folder(self) -> Path:
        """A folder for the training's own state; made where it is missing.

        After a kill, the same training started again finds here what it last wrote, and the
        model that was last saved. Write files whole (beside, then rename), and before a
        checkpoint. The folder is removed when the training is done.
        """
        folder = self._folder / STATE_FOLDER
        folder.mkdir(exist_ok=True)
        return folder

    def progress(self, step: int, steps: int, loss: float | None = None) -> None:
        """Report that `step` of `steps` are done; a loss of NaN or infinity is sent as null."""
        number = None if loss is None else float(loss)
        if number is not None and not math.isfinite(number):
            number = None
        self._answering.writer.write(ProgressFrame(step=int(step), steps=int(steps), loss=number))

    def __call__(self, step: int) -> Verdict:
        """Answer the validation images that the harness sends and return its verdict.

        The images go through the model's own `predict`: switch to evaluation before the
        call and back after it. The model has been saved then; the harness holds the best.
        """
        self._answering.writer.write(CheckpointFrame(step=int(step)))
        while True:
            frame = self._answering.reader.read()
            if isinstance(frame, Verdict):
                break
            if not isinstance(frame, ImageFrame):
                raise BadFrame("an image or a verdict was expected")
            self._answering.answer(frame)
        if frame.keep:
            self._save()
        return frame

    def close(self) -> None:
        """Save the last state where there was no checkpoint; the training's own state goes."""
        if not self._has_kept:
            self._save()
        shutil.rmtree(self._folder / STATE_FOLDER, ignore_errors=True)

    def _save(self) -> None:
        """Save beside the old model, then swap: a kill leaves a whole model or none."""
        fresh, old = self._folder / FRESH_FOLDER, self._folder / OLD_FOLDER
        fresh.mkdir()
        self._answering.model.save(fresh)
        _sync(fresh)
        old.mkdir()
        for item in self._folder.iterdir():
            if item not in (fresh, old) and item.name != STATE_FOLDER:
                item.rename(old / item.name)
        for item in fresh.iterdir():
            item.rename(self._folder / item.name)
        fresh.rmdir()
        shutil.rmtree(old)
        self._has_kept = True


def _sync(folder: Path) -> None:
    """Have everything in a folder on the disk: a power cut leaves no model that is half there."""
    for parent, _, names in os.walk(folder):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            if path.is_file() or path.is_dir():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)


def _mend(folder: Path) -> None:
    """Undo a save that a kill cut short: the older model is whole again."""
    fresh, old = folder / FRESH_FOLDER, folder / OLD_FOLDER
    if fresh.is_dir() and old.is_dir():  # in the middle of the swap
        for item in old.iterdir():
            target = folder / item.name
            if target.is_dir():
                shutil.rmtree(target)
            item.replace(target)
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)


class _Answering:
    """A model at one end of the pipe: turns each image into one answer."""

    def __init__(
        self, model: Model, reader: FrameReader, writer: FrameWriter, *, has_maps: bool
    ) -> None:
        self.model = model
        self.reader = reader
        self.writer = writer
        self._has_maps = has_maps

    def answer(self, frame: ImageFrame) -> None:
        """Read one image, predict, write the answer."""
        image = self.reader.read_image(frame)
        anomaly_map, score = _as_pair(self.model.predict(image))
        self.writer.write(*_as_frame(frame.id, anomaly_map, score, has_maps=self._has_maps))


def _read_hello(reader: FrameReader, verb: str) -> HelloFrame:
    hello = reader.read()
    if not isinstance(hello, HelloFrame) or hello.verb != verb:
        raise BadFrame(f"a hello frame for the verb {verb} was expected")
    return hello


def _converse(
    model: type[Any] | str,
    hello: HelloFrame,
    reader: FrameReader,
    writer: FrameWriter,
    *,
    maps: bool,
    trains: bool,
) -> None:
    made = _make(model, hello)
    maps = maps and bool(getattr(made, "maps", True))
    answering = _Answering(made, reader, writer, has_maps=maps and hello.maps_wanted)
    if hello.verb == "predict" and trains and "model" in hello.paths:
        made.load(Path(hello.paths["model"]))
    writer.end_banner()
    writer.write(ReadyFrame(maps=maps))
    if hello.verb == "train":
        checkpoint = Checkpoint(answering, Path(hello.paths["model"]))
        made.fit(Path(hello.paths["train"]), checkpoint)
        checkpoint.close()
        writer.write(DoneFrame())
    while (frame := reader.read()) is not None:
        if hello.verb != "predict" or not isinstance(frame, ImageFrame):
            raise BadFrame("an image or the end of input was expected")
        answering.answer(frame)


def _make(model: type[Any] | str, hello: HelloFrame) -> Model:
    if isinstance(model, str):
        module, _, name = model.partition(":")
        model = getattr(importlib.import_module(module), name)
    weights = hello.paths.get("weights")
    made: Model = model(  # type: ignore[operator]
        device=hello.device,
        seed=hello.seed,
        params=dict(hello.params),
        weights=Path(weights) if weights is not None else None,
    )
    return made


def _as_pair(answer: object) -> tuple[object, object]:
    """What `predict` returned, as its two parts.

    A map alone would be taken apart by its rows, and be two of them where it has two.
    """
    if isinstance(answer, tuple | list):
        if len(answer) == 2:
            return answer[0], answer[1]
        what = f"a {type(answer).__name__} of {len(answer)}"
    else:
        shape = getattr(answer, "shape", None)
        what = type(answer).__name__ + ("" if shape is None else f" of shape {list(shape)}")
    raise TypeError(
        f"predict returned {what}, where two things are expected: return anomaly_map, score"
        " (None for the score takes the map's maximum; a method without maps returns None, score)"
    )


def _as_frame(
    identifier: str, anomaly_map: object, score: object, *, has_maps: bool
) -> tuple[MapFrame, np.ndarray | None]:
    """The frame and the bytes for what `predict` returned; the host judges its values."""
    number = None if score is None else float(score)  # type: ignore[arg-type]
    if anomaly_map is None or not has_maps:
        if number is None:
            if anomaly_map is None:
                raise TypeError("predict returned neither an anomaly map nor a score")
            number = float(np.max(anomaly_map))  # type: ignore[call-overload]
        return MapFrame(id=identifier, score=number, shape=None, dtype=None), None
    array = np.asarray(anomaly_map)
    name = _DTYPE_NAMES.get((array.dtype.kind, array.dtype.itemsize))
    if name is None:
        raise TypeError(
            f"an anomaly map is float32 or float16, predict returned {array.dtype.name}: "
            "return anomaly_map.astype(np.float32)"
        )
    payload = np.ascontiguousarray(array, dtype=MAP_DTYPES[name])
    return MapFrame(id=identifier, score=number, shape=array.shape, dtype=name), payload


def _is_out_of_gpu_memory(error: BaseException) -> bool:
    """Whether it, or what caused it, is torch's or CuPy's error; known by the name alone."""
    seen: BaseException | None = error
    for _ in range(20):  # a chain of causes may be a ring
        if seen is None:
            return False
        if any(base.__name__ == "OutOfMemoryError" for base in type(seen).__mro__):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _leave_on_signal(_number: int, _frame: FrameType | None) -> None:
    _leave(EXIT_TERMINATED)


def _leave(code: int) -> NoReturn:
    # Data loaders' workers would notice the end only seconds later, and hold the pipe till then.
    for child in multiprocessing.active_children():
        child.kill()
    for stream in (sys.stdout, sys.stderr):
        # A signal may have come in the middle of a write, which no other may interrupt.
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            stream.flush()
    os._exit(code)
