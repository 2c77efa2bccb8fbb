"""What an entry learns of a hidden image beside its pixels: nothing.

The frames of real sessions are recorded on the entry's side of the pipe, for a sealed copy of each
of the six packs. A classifier gets everything of them but the pixels, learns labels from some
sessions and is judged on others. A pack that leaks on purpose shows that it would find something.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from harness.benchmarks import Pack, Sample, open_pack
from harness.benchmarks import pack as pack_module
from harness.engines.base import Launch, Program
from harness.session.conversation import Hello, PredictSession
from harness.session.order import questions_of, sample_of, shuffled
from tests.function_engine import FunctionEngine

from . import raw_fixtures as fixtures
from .conftest import ALL, Ready

OBSERVATIONS = 240
# Order and ids are random by design: an interval of 95 % would fail one test in twenty, this one
# in 16,000.
DEVIATIONS = 4.0


@dataclass(frozen=True)
class Seen:
    """One image as it came through the pipe, without its pixels."""

    position: int
    header: dict[str, object]
    header_bytes: int
    pixel_bytes: int


@dataclass(frozen=True)
class Session:
    """What was seen, and the labels that were not."""

    seen: tuple[Seen, ...]
    labels: tuple[bool, ...]


def record(samples: list[Sample], pack: Pack) -> Session:
    """One session over these images in the harness's own order."""
    seen: list[Seen] = []

    def entry(stdin: BinaryIO, stdout: BinaryIO, _: BinaryIO) -> None:
        stdin.readline()
        stdout.write(b'{"type":"ready","contract":1,"maps":false}\n')
        stdout.flush()
        while line := stdin.readline():
            header = json.loads(line)
            pixels = stdin.read(header["nbytes"])
            seen.append(Seen(len(seen), header, len(line), len(pixels)))
            answer = {"type": "map", "id": header["id"], "score": 0.0, "shape": None}
            stdout.write(json.dumps(answer).encode() + b"\n")
            stdout.flush()

    launch = Launch(Program("recorder", "folder:recorder"), "predict")
    hello = Hello(pack.name, seed=0, device="cpu", maps_wanted=pack.has_masks, params={})
    with FunctionEngine(entry).start(launch) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        asked = questions_of(pack, shuffled(samples))
        labels = tuple(sample_of(answer).is_anomalous for answer in session.ask(asked))
        session.finish()
    return Session(tuple(seen), labels)


def features(seen: Seen, images: int) -> Iterator[float]:
    """Everything but the pixels, as numbers."""
    header = seen.header
    yield seen.position / images
    yield seen.position % 2
    yield seen.header_bytes
    yield seen.pixel_bytes
    yield seen.header_bytes + seen.pixel_bytes
    shape = header["shape"]
    assert isinstance(shape, list)
    yield from (*shape, *[0] * (3 - len(shape)))
    yield from (ord(letter) for letter in str(header["id"])[:16].ljust(16))
    yield len(str(header["id"]))
    yield len(str(header["dtype"]))
    yield len(header)


def interval(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The AUROC with `DEVIATIONS` of its bootstrap over images to either side."""
    random = np.random.Generator(np.random.PCG64(0))
    found = []
    for _ in range(300):
        drawn = random.integers(0, len(labels), len(labels))
        if 0 < labels[drawn].sum() < len(labels):
            found.append(roc_auc_score(labels[drawn], scores[drawn]))
    reach = DEVIATIONS * float(np.std(found))
    auroc = float(roc_auc_score(labels, scores))
    return auroc - reach, auroc + reach


def attack(pack: Pack) -> tuple[float, float]:
    """The interval of what the classifier reaches on sessions that it has not seen.

    Images of all splits, so that small fixtures give both classes enough of them.
    """
    normal = [sample for sample in pack.samples if not sample.is_anomalous]
    abnormal = [sample for sample in pack.samples if sample.is_anomalous]
    size = min(len(normal), len(abnormal), 12)
    samples = [*normal[:size], *abnormal[:size]]
    sessions = [record(samples, pack) for _ in range(-(-OBSERVATIONS // len(samples)))]
    rows = [
        np.array([[*features(seen, len(samples))] for seen in session.seen]) for session in sessions
    ]
    labels = [np.array(session.labels) for session in sessions]
    half = len(sessions) // 2
    forest = RandomForestClassifier(40, random_state=0, n_jobs=1)
    forest.fit(np.concatenate(rows[:half]), np.concatenate(labels[:half]))
    scores = forest.predict_proba(np.concatenate(rows[half:]))[:, 1]
    return interval(np.concatenate(labels[half:]), scores)


@pytest.fixture
def decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same image goes through the pipe dozens of times; its file is read once."""
    monkeypatch.setattr(pack_module, "read_image", cache(pack_module.read_image))


@pytest.mark.usefixtures("decoded_once")
@pytest.mark.parametrize("name", ALL)
def test_nothing_but_pixels_tells_a_hidden_label(name: str, ready: Ready, tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    shutil.copytree(ready(name).folder, folder)
    card = (folder / "pack.toml").read_text()
    card = card.replace('visibility = "open"', 'visibility = "hidden"')
    card = card.replace("images_may_be_shown = true", "images_may_be_shown = false")
    # Some of these small packs have a patient in two splits, which no sealed pack may have.
    card = 'patients = "independent"\n' + card
    (folder / "groups.csv").unlink(missing_ok=True)
    (folder / "pack.toml").write_text(card)
    pack = open_pack(folder, tmp_path / "cache")
    assert pack.card.visibility == "hidden"
    low, high = attack(pack)
    assert low <= 0.5 <= high


@pytest.mark.usefixtures("decoded_once")
def test_the_same_classifier_finds_a_leak_where_there_is_one(tmp_path: Path) -> None:
    for number in range(12):
        for place, width in (("train/good", 32), ("test/good", 32), ("test/Ungood", 33)):
            pixels = fixtures.random(f"{place}{number}").integers(0, 256, (32, width), np.uint8)
            fixtures.save(tmp_path / "leaky" / place / f"{number}.png", pixels)
    low, _ = attack(open_pack(tmp_path / "leaky", tmp_path / "cache"))
    assert low > 0.95


def test_every_session_has_new_ids_and_another_order(ready: Ready, tmp_path: Path) -> None:
    pack = open_pack(ready("resc").folder, tmp_path / "cache")
    samples = list(pack.split("test"))
    sessions = [record(samples, pack) for _ in range(2)]
    ids = [{seen.header["id"] for seen in session.seen} for session in sessions]
    assert not ids[0] & ids[1]
    assert len(ids[0]) == len(samples)
    headers = {tuple(sorted(seen.header)) for session in sessions for seen in session.seen}
    assert headers == {("dtype", "id", "nbytes", "shape", "type")}
    assert len({seen.header_bytes for session in sessions for seen in session.seen}) == 1
