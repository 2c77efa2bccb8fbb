"""What harness and contract add to the time that an entry computes.

The entry's score is the seconds that it spent in `predict`: a busy machine that wakes it late, or
computes slowly, is then not taken for the pipe. Whole sessions, the maps scored on both grids.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from harness.contract import Verdict
from harness.engines.base import Engine, Launch
from harness.entries.identity import folder_identity
from harness.entries.opening import open_folder
from harness.metrics import GroundTruth, RunScorer, TruthImage
from harness.session.conversation import Hello, PredictSession, Question, train_session
from tests.benchmarks.pipe.copies import RAW
from tests.benchmarks.pipe.starting import ROOT, Size, engine_of, started

SLEEPING = Path(__file__).resolve().parent / "sleeping"
SLEEP_SECONDS = 0.03
WARM_UP = 3
TRAINING_IMAGES = 16

# Beside a baseline's own model: the same, but its score is the time that it took.
TIMED = """
import time

from model import {name}


class Timed({name}):
    def predict(self, image):
        began = time.perf_counter()
        anomaly_map, _ = super().predict(image)
        return anomaly_map, time.perf_counter() - began
"""


def sleeping(engine_name: str, side: tuple[int, int], images: int) -> dict[str, object]:
    """With an entry that sleeps 30 ms an image, and what a raw copy with the same sleep adds."""
    engine = engine_of(engine_name)
    row = _measure(engine, SLEEPING, {"seconds": SLEEP_SECONDS}, side, images)
    raw = RAW[engine_name](engine).begin(Size("demo", side), SLEEP_SECONDS)
    raw_ms = 1000 * statistics.mean(raw.seconds(images))
    raw.close()
    added = {"raw_added": round(raw_ms / float(str(row["inside_ms"])) - 1, 4)}
    return {"entry": "sleeping 30 ms"} | row | added


def baseline(engine_name: str, name: str, side: tuple[int, int], images: int) -> dict[str, object]:
    """With a baseline that was trained on a few images of noise, its demo preset at full size."""
    engine = engine_of(engine_name, has_torch=True)
    with _timed(name) as folder, tempfile.TemporaryDirectory() as model:
        settings = open_folder(folder).settings("demo")
        params = dict(settings.params) | {"image_size": min(side)}
        _train(engine, folder, params, side, Path(model))
        return {"entry": name} | _measure(engine, folder, params, side, images, Path(model))


@contextmanager
def _timed(name: str) -> Iterator[Path]:
    """A copy of a baseline's folder whose score is its own time."""
    with tempfile.TemporaryDirectory() as parent:
        folder = shutil.copytree(ROOT / "baselines" / name, Path(parent) / name)
        toml = (folder / "entry.toml").read_text()
        model = open_folder(folder).table.model
        (folder / "timed.py").write_text(TIMED.format(name=model.partition(":")[2]))
        (folder / "entry.toml").write_text(toml.replace(model, "timed.py:Timed"))
        yield folder


def _train(
    engine: Engine, folder: Path, params: dict[str, object], side: tuple[int, int], model: Path
) -> None:
    program = engine.prepare_folder(folder, folder.name, folder_identity(folder))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as images:
        for number in range(TRAINING_IMAGES):
            pixels = rng.integers(0, 256, side, dtype=np.uint8)
            Image.fromarray(pixels).save(Path(images) / f"{number}.png")
        for path in (Path(images), model):
            path.chmod(0o755)
        launch = Launch(program, "train", train=Path(images), model=model)
        hello = Hello("demo", 0, "cpu", maps_wanted=True, params=params)
        with engine.start(launch) as running:
            train_session(running, launch, hello, lambda _step, _ask: Verdict(True, False))


def _measure(
    engine: Engine,
    folder: Path,
    params: dict[str, object],
    side: tuple[int, int],
    images: int,
    model: Path | None = None,
) -> dict[str, object]:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, side, dtype=np.uint8) for _ in range(8)]
    running, launch, hello = started(engine, folder, Size("demo", side), params, model)
    with running, tempfile.TemporaryDirectory() as spool:
        session = PredictSession(running, launch, hello)
        session.start()
        for _ in session.ask(Question(pictures[0], None) for _ in range(WARM_UP)):
            pass
        scorer = RunScorer(_truth(side, images), None, spool=Path(spool), maps=True)
        latencies, inside = [], 0.0
        began = time.perf_counter()
        questions = (Question(pictures[n % len(pictures)], f"{n:05}") for n in range(images))
        for answer in session.ask(questions):
            scorer.add("test", str(answer.token), answer.score, answer.anomaly_map)
            latencies.append(answer.latency_seconds)
            inside += answer.score
        seconds = time.perf_counter() - began
        session.finish()
    return {
        "engine": engine.name,
        "size": "x".join(map(str, side)),
        "images": images,
        "inside_ms": round(1000 * inside / images, 3),
        "latency_ms": round(1000 * statistics.mean(latencies), 3),
        "per_image_ms": round(1000 * seconds / images, 3),
        "added": round(seconds / inside - 1, 4),
    }


def _truth(side: tuple[int, int], images: int) -> GroundTruth:
    """Every second image has one lesion."""
    blank, lesion = np.zeros(side, np.bool_), np.zeros(side, np.bool_)
    lesion[: side[0] // 6, : side[1] // 6] = True
    grey = np.zeros(side, np.uint8)
    return GroundTruth.compile(
        [
            TruthImage(
                f"{n:05}", n % 2 == 0, f"{n:05}", None, lambda: grey,
                (lambda: lesion) if n % 2 == 0 else (lambda: blank),
            )
            for n in range(images)
        ],
        has_masks=True,
    )  # fmt: skip
