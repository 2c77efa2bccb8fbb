"""Attack 4: all that reaches an entry besides the pixels says nothing about the label.

The stream is the real one (packs, order, ids, frames); the entry is a function that notes
everything but the pixels. A classifier learns from one whole run and is scored on another.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from harness.benchmarks import Pack, demo_pack, find_packs, open_pack
from harness.contract.frames import HelloFrame, ImageFrame, MapFrame, ReadyFrame
from harness.contract.pipe import FrameReader, FrameWriter
from harness.engines.base import Launch, Limits, Program
from harness.session.conversation import Hello, PredictSession
from harness.session.order import questions_of, sample_of, shuffled
from tests.function_engine import run_function

BENCHMARKS = ("brain", "camelyon16")


def overheard(pack: Pack) -> tuple[np.ndarray, np.ndarray]:
    """Features [images, features] of one run's test images, and their labels."""
    seen: list[list[float]] = []

    def entry(stdin, stdout, stderr) -> None:
        reader, writer = FrameReader(stdin), FrameWriter(stdout)
        assert isinstance(reader.read(), HelloFrame)
        writer.end_banner()
        writer.write(ReadyFrame(maps=False))
        while (frame := reader.read()) is not None:
            assert isinstance(frame, ImageFrame)
            pixels = reader.read_image(frame)
            shape = (*pixels.shape, 1)[:3]
            characters = [float(ord(character)) for character in frame.id[:8]]
            depth = float(np.gcd.reduce(np.unique(pixels)))  # 8-bit images made of fewer bits
            seen.append([len(seen), len(frame.line()), *shape, depth, *characters])
            writer.write(MapFrame(frame.id, 0.0, None, None))

    limits = Limits(start_seconds=30, image_seconds=30, predict_seconds=500)
    launch = Launch(Program("ears", "folder:ears"), "predict", limits=limits)
    hello = Hello(pack.name, 0, "cpu", maps_wanted=False, params={})
    labels = []
    with run_function(entry, limits=limits) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        for answer in session.ask(questions_of(pack, shuffled(pack.split("test")))):
            labels.append(sample_of(answer).is_anomalous)
        session.finish()
    return np.array(seen), np.array(labels)


def chance(labels: np.ndarray) -> float:
    """Four standard deviations of the AUROC of a guess."""
    anomalous = int(labels.sum())
    normal = len(labels) - anomalous
    return 4 * float(np.sqrt((normal + anomalous + 1) / (12 * normal * anomalous)))


def assert_nothing_is_told(pack: Pack) -> None:
    features, labels = overheard(pack)
    others, their_labels = overheard(pack)
    for column in range(features.shape[1]):
        found = roc_auc_score(their_labels, others[:, column])
        assert abs(found - 0.5) <= chance(their_labels), f"feature {column}: {found}"
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(features, labels)
    found = roc_auc_score(their_labels, forest.predict_proba(others)[:, 1])
    assert abs(found - 0.5) <= chance(their_labels), found


def test_4_a_classifier_on_everything_but_the_pixels_guesses(tmp_path: Path) -> None:
    assert_nothing_is_told(demo_pack(tmp_path))
    assert_nothing_is_told(demo_pack(tmp_path, seed="x", name="sealed", visibility="hidden"))


@pytest.mark.packs
@pytest.mark.parametrize("name", BENCHMARKS)
def test_4_and_on_real_images_too(packs_folder: Path, tmp_path: Path, name: str) -> None:
    found = find_packs(packs_folder)
    assert_nothing_is_told(open_pack(found[name], tmp_path, benchmark=name))


def test_4_ids_and_order_are_new_in_every_run(tmp_path: Path) -> None:
    pack = demo_pack(tmp_path)
    began = time.time()
    runs = [overheard(pack) for _ in range(3)]
    assert time.time() - began < 60
    for (one, labels), (other, other_labels) in pairwise(runs):
        assert not np.array_equal(one[:, 6:], other[:, 6:])
        assert not np.array_equal(labels, other_labels)


def test_4_the_classifier_would_find_a_shape_that_tells(tmp_path: Path) -> None:
    features, labels = overheard(demo_pack(tmp_path))
    features[:, 2] += labels
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(features, labels)
    assert roc_auc_score(labels, forest.predict_proba(features)[:, 1]) > 0.9
