"""`serve` as a real process: pipes, signals, exit codes, saving."""

from __future__ import annotations

import ast
import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness import contract
from harness.contract.frames import (
    CheckpointFrame,
    DoneFrame,
    HelloFrame,
    ImageFrame,
    MapFrame,
    ProgressFrame,
    ReadyFrame,
    Verdict,
)
from harness.contract.pipe import FrameReader, FrameWriter

CONTRACT = Path(contract.__file__).parent
ROOT = CONTRACT.parents[1]
IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 4)
INIT = "    def __init__(self, device, seed, params, weights): pass\n"


class Entry:
    """The harness's role, played frame by frame."""

    def __init__(self, folder: Path, verb: str) -> None:
        self.verb = verb
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.contract", str(folder), verb],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.reader = FrameReader(self.process.stdout)
        self.writer = FrameWriter(self.process.stdin)

    def hello(self, *, maps_wanted=True, params=None, **paths) -> None:
        self.writer.write(
            HelloFrame(
                verb=self.verb,
                benchmark="demo",
                seed=7,
                device="cpu",
                maps_wanted=maps_wanted,
                paths={name: str(path) for name, path in paths.items()},
                params=params or {},
                limits={},
            )
        )

    def start(self, **options) -> ReadyFrame:
        self.hello(**options)
        assert self.process.stdout.readline() == b"\n"
        return self.reader.read()

    def ask(self, image=IMAGE, identifier="a") -> tuple[MapFrame, bytes]:
        self.writer.write(ImageFrame(identifier, image.shape), image)
        frame = self.reader.read()
        return frame, self.process.stdout.read(frame.nbytes)

    def end(self) -> tuple[int, str]:
        """Exit code and log after the end of input."""
        self.process.stdin.close()
        log = self.process.stderr.read().decode()
        rest = self.process.stdout.read()
        code = self.process.wait(10)
        assert rest == b""
        return code, log


@pytest.fixture
def serve_source(tmp_path):
    """`serve_source(source, verb)`: starts an entry made of this source."""
    started = []

    def start(source, verb="predict", *, maps=True, trains=False):
        folder = tmp_path / "entry"
        folder.mkdir(exist_ok=True)
        (folder / "model.py").write_text(source)
        (folder / "entry.toml").write_text(
            f'[entry]\nname = "made"\nmodel = "model.py:Model"\n'
            f"maps = {str(maps).lower()}\ntrains = {str(trains).lower()}\n"
        )
        started.append(Entry(folder, verb))
        return started[-1]

    yield start
    for entry in started:
        entry.process.kill()
        entry.process.wait()
        for file in (entry.process.stdin, entry.process.stdout, entry.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                file.close()


# What the author's class gets and gives


def test_the_class_gets_what_hello_says(serve_source, tmp_path):
    entry = serve_source(
        "class Model:\n"
        "    def __init__(self, device, seed, params, weights):\n"
        "        print(repr((device, seed, params, weights)))\n"
        "    def predict(self, image): return None, 0.0\n",
        maps=False,
    )
    assert entry.start(params={"k": [1, 2]}, weights="/w") == ReadyFrame(maps=False)
    code, log = entry.end()
    assert code == 0
    assert "('cpu', 7, {'k': [1, 2]}, PosixPath('/w'))" in log


def test_the_image_is_the_models_own_and_its_map_may_be_any_view(serve_source):
    entry = serve_source(
        "import numpy as np\n"
        "class Model:\n" + INIT + "    def predict(self, image):\n"
        "        image += 1\n"
        "        return np.asfortranarray(image[::-1, ::-1].astype('f4')), np.float32(0.1)\n"
    )
    entry.start()
    frame, data = entry.ask()
    np.testing.assert_array_equal(
        np.frombuffer(data, "<f4").reshape(3, 4), IMAGE[::-1, ::-1].astype("f4") + 1
    )
    assert frame == MapFrame("a", float(np.float32(0.1)), (3, 4), "float32")
    assert entry.end()[0] == 0


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("np.zeros(image.shape), 0.0", "return anomaly_map.astype(np.float32)"),
        ("None, None", "neither an anomaly map nor a score"),
        ("None", "predict returned NoneType, where two things are expected"),
        ("np.zeros((2, 3), np.float32)", "returned ndarray of shape [2, 3]"),
        ("(None, 1.0, 2.0)", "returned a tuple of 3"),
    ],
)
def test_a_wrong_return_value_is_explained_in_the_log(serve_source, returned, words):
    entry = serve_source(
        "import numpy as np\nclass Model:\n" + INIT
        + f"    def predict(self, image): return {returned}\n"
    )  # fmt: skip
    entry.start()
    entry.writer.write(ImageFrame("a", IMAGE.shape), IMAGE)
    code, log = entry.end()
    assert code == 1
    assert words in log


def test_a_map_that_nobody_wants_becomes_its_maximum(serve_source):
    entry = serve_source(
        "class Model:\n" + INIT + "    def predict(self, image): return image.astype('f4'), None\n"
    )
    assert entry.start(maps_wanted=False) == ReadyFrame(maps=True)
    assert entry.ask() == (MapFrame("a", 11.0, None, None), b"")
    assert entry.end()[0] == 0


def test_a_model_may_say_that_as_it_is_set_it_has_no_maps(serve_source):
    init = "    def __init__(self, device, seed, params, weights): self.maps = params['maps']\n"
    for has_maps in (False, True):
        entry = serve_source(
            "class Model:\n"
            + init
            + "    def predict(self, image): return image.astype('f4') if self.maps else None, 2.0\n"
        )
        assert entry.start(params={"maps": has_maps}) == ReadyFrame(maps=has_maps)
        frame, payload = entry.ask()
        assert frame.shape == ((3, 4) if has_maps else None)
        assert (frame.score, bool(payload)) == (2.0, has_maps)
        assert entry.end()[0] == 0


# Ends


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("import", "raise RuntimeError('broken')\n"),
        ("class", "class Wrong: pass\n"),
        (
            "init",
            "class Model:\n    def __init__(self, **all): raise RuntimeError('broken')\n",
        ),
    ],
)
def test_a_model_that_cannot_start_exits_1_with_its_traceback(serve_source, place, source):
    entry = serve_source(source)
    entry.hello()
    code, log = entry.end()
    assert code == 1
    assert "Traceback" in log
    assert "Error" in log


def test_an_input_that_ends_inside_an_image_is_an_error_and_not_a_success(serve_source):
    entry = serve_source("class Model:\n" + INIT + "    def predict(self, image): pass\n")
    entry.start()
    entry.process.stdin.write(ImageFrame("a", IMAGE.shape).line() + b"half")
    code, log = entry.end()
    assert code == 1
    assert "ended inside an image" in log


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["train"]])
def test_an_unknown_verb_exits_2_and_names_the_valid_ones(repository, arguments):
    folder = repository / "tests" / "sample_entries" / "honest"
    command = [sys.executable, "-m", "harness.contract", str(folder), *arguments]
    ended = subprocess.run(command, capture_output=True, check=False, cwd=repository)
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert b"describe" in ended.stderr
    assert b"fix: " in ended.stderr


@pytest.mark.parametrize(
    "moment", ["waiting for input", "in predict", "with a forked child on the pipe"]
)
def test_sigterm_ends_it_at_once_and_quietly(serve_source, moment):
    entry = serve_source(
        "import multiprocessing, time\n"
        "class Model:\n" + INIT + "    def predict(self, image):\n"
        "        if image[0, 0]:\n"
        "            multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,)).start()\n"
        "            print('started', flush=True)\n"
        "        time.sleep(60)\n"
    )
    entry.start()
    if moment != "waiting for input":
        image = IMAGE + (moment == "with a forked child on the pipe")
        entry.writer.write(ImageFrame("a", image.shape), image.astype(np.uint8))
        if image[0, 0]:
            assert entry.process.stderr.readline() == b"started\n"
        else:
            time.sleep(0.2)
    began = time.monotonic()
    entry.process.send_signal(signal.SIGTERM)
    assert entry.process.stdout.read() == b""  # to its end: the child holds the pipe no more
    assert entry.process.wait(5) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 3
    assert b"Traceback" not in entry.process.stderr.read()


def test_sigterm_in_the_middle_of_a_write_ends_it_the_same(serve_source):
    """The write's buffer is locked then: flushing it once more raises."""
    entry = serve_source(
        "import io, os, signal, sys, time\n"
        "class Raw(io.RawIOBase):\n"
        "    def writable(self):\n"
        "        return True\n"
        "    def write(self, data):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        return len(data)\n"
        "class Model:\n" + INIT + "    def predict(self, image):\n"
        "        sys.stdout = io.TextIOWrapper(io.BufferedWriter(Raw()))\n"
        "        print('x', flush=True)\n"
        "        time.sleep(60)\n"
    )
    entry.start()
    entry.writer.write(ImageFrame("a", IMAGE.shape), IMAGE.astype(np.uint8))
    assert entry.process.stdout.read() == b""
    assert entry.process.wait(5) == 128 + signal.SIGTERM


def test_a_thread_or_a_program_that_the_model_left_running_delays_nothing(serve_source):
    entry = serve_source(
        "import subprocess, threading, time\n"
        "class Model:\n"
        "    def __init__(self, device, seed, params, weights):\n"
        "        threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "        subprocess.Popen(['sleep', '3'], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)\n"
        "    def predict(self, image): return None, 0.0\n",
        maps=False,
    )
    entry.start()
    entry.ask()
    began = time.monotonic()
    assert entry.end() == (0, "")
    assert time.monotonic() - began < 2


# Training


TRAINER = """
class Model:
    def __init__(self, device, seed, params, weights):
        self.state, self.fails_at = 0, params.get("fails_at")
    def fit(self, train, checkpoint):
        for step in (1, 2, 3):
            self.state = step
            checkpoint.progress(step, 3, float("nan") if step == 1 else 0.5)
            verdict = checkpoint(step)
            print(verdict, flush=True)
            if verdict.stop:
                break
    def save(self, folder):
        (folder / "half").write_text(str(self.state))
        if self.state == self.fails_at:
            raise OSError("disk full")
        (folder / "other").write_text(str(self.state))
    def predict(self, image):
        return None, float(self.state)
"""


@pytest.fixture
def trainer(serve_source, tmp_path):
    """A started trainer and its model folder."""

    def start(**params):
        (tmp_path / "train").mkdir()
        model = tmp_path / "model"
        model.mkdir()
        entry = serve_source(TRAINER, "train", maps=False, trains=True)
        entry.start(params=params, train=tmp_path / "train", model=model)
        return entry, model

    return start


def files_of(model):
    return {path.name: path.read_text() for path in model.iterdir() if path.is_file()}


def test_a_training_reports_answers_and_saves_what_is_kept(trainer):
    entry, model = trainer()
    assert entry.reader.read() == ProgressFrame(1, 3, None)  # a NaN loss is sent as null
    assert entry.reader.read() == CheckpointFrame(1)
    assert entry.ask()[0].score == 1.0
    entry.writer.write(Verdict(keep=True, stop=False))
    assert entry.reader.read() == ProgressFrame(2, 3, 0.5)
    assert files_of(model) == {"half": "1", "other": "1"}
    assert entry.reader.read() == CheckpointFrame(2)
    assert entry.ask()[0].score == 2.0
    entry.writer.write(Verdict(keep=False, stop=True))
    assert entry.reader.read() == DoneFrame()
    code, log = entry.end()
    assert code == 0
    assert "Verdict(keep=False, stop=True)" in log
    assert files_of(model) == {"half": "1", "other": "1"}


def test_a_save_that_fails_leaves_the_older_model_whole(trainer):
    entry, model = trainer(fails_at=2)
    for step in (1, 2):
        assert isinstance(entry.reader.read(), ProgressFrame)
        assert entry.reader.read() == CheckpointFrame(step)
        entry.writer.write(Verdict(keep=True, stop=False))
    code, log = entry.end()
    assert code == 1
    assert "disk full" in log
    assert files_of(model) == {"half": "1", "other": "1"}


def test_a_training_whose_verdict_never_comes_is_an_error(trainer):
    entry, model = trainer()
    entry.reader.read()
    entry.reader.read()
    code, log = entry.end()
    assert code == 1
    assert "an image or a verdict was expected" in log
    assert files_of(model) == {}


RESUMING = """
class Model:
    def __init__(self, device, seed, params, weights):
        self.state = 0
    def fit(self, train, checkpoint):
        file = checkpoint.state_folder / "step"
        first = int(file.read_text()) if file.exists() else 1
        for step in range(first, 4):
            self.state = step
            file.write_text(str(step))
            checkpoint(step)
    def save(self, folder):
        (folder / "model").write_text(str(self.state))
    def predict(self, image):
        return None, float(self.state)
"""


def test_a_killed_training_finds_its_state_and_leaves_none_when_it_is_done(serve_source, tmp_path):
    train, model = tmp_path / "train", tmp_path / "model"
    train.mkdir()
    model.mkdir()
    entry = serve_source(RESUMING, "train", maps=False, trains=True)
    entry.start(train=train, model=model)
    assert entry.reader.read() == CheckpointFrame(1)
    entry.writer.write(Verdict(keep=True, stop=False))
    assert entry.reader.read() == CheckpointFrame(2)
    entry.process.kill()
    entry.end()
    assert files_of(model) == {"model": "1"}
    # A kill in the middle of a swap: the new model is half in, the old one half out.
    for name in (".saving", ".replaced"):
        (model / name).mkdir()
    (model / ".saving" / "other").write_text("2")
    (model / "model").rename(model / ".replaced" / "model")
    (model / "model").write_text("2")

    entry = serve_source(RESUMING, "train", maps=False, trains=True)
    entry.start(train=train, model=model)
    assert entry.reader.read() == CheckpointFrame(2)
    entry.writer.write(Verdict(keep=False, stop=False))
    assert entry.reader.read() == CheckpointFrame(3)
    entry.writer.write(Verdict(keep=False, stop=False))
    assert entry.reader.read() == DoneFrame()
    assert entry.end()[0] == 0
    assert [path.name for path in model.iterdir()] == ["model"]
    assert files_of(model) == {"model": "1"}  # kept before the kill, better than what came after


# What it costs


def test_describe_imports_neither_the_model_nor_anything_heavy(tmp_path, repository):
    (tmp_path / "model.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "entry.toml").write_text('[entry]\nname = "a"\nmodel = "model.py:Model"\n')
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "harness.contract", str(tmp_path), "describe"],
        capture_output=True,
        check=True,
        cwd=repository,
        text=True,
    )
    assert ended.stdout == '{"name":"a","contract":1,"maps":true,"verbs":["predict"]}\n'
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()
    }
    assert "numpy" in imported  # the lines are read rightly
    heavy = {"torch", "torchvision", "anomalib", "PIL", "pydantic", "pandas", "sklearn", "docker"}
    assert not imported & (heavy | {"model"})


def test_the_folder_needs_numpy_and_the_standard_library_alone():
    allowed = set(sys.stdlib_module_names) | {"numpy"}
    for path in CONTRACT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.partition(".")[0] in allowed, path
