"""Attack 4: all that reaches an entry besides the pixels says nothing about the label.

The stream is the real one (packs, order, ids, frames); the entry is a function that notes
everything but the pixels. A classifier learns from one whole run and is scored on another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from harness.benchmarks import Pack, Sample, demo_pack, find_packs, open_pack, stage_training
from harness.benchmarks.pixels import pixel_hash
from harness.benchmarks.regime_pack import in_regime
from harness.benchmarks.suites import Suite
from harness.contract.frames import HelloFrame, ImageFrame, MapFrame, ReadyFrame
from harness.contract.pipe import FrameReader, FrameWriter
from harness.engines.base import Launch, Limits, Program
from harness.records.regime import Regime
from harness.session.conversation import Hello, PredictSession
from harness.session.order import questions_of, sample_of, shuffled
from tests.function_engine import run_function
from tests.suite_factory import pair_pack

BENCHMARKS = ("brain", "camelyon16")
DEPTH = 5
"""Column of the features that comes from the pixels."""


def label_of(_pack: Pack, sample: Sample) -> bool:
    return sample.is_anomalous


def is_of_first_member(pack: Pack, sample: Sample) -> bool:
    return pack.origin(sample).pack is pack.members[0]


def overheard(
    pack: Pack, secret: Callable[[Pack, Sample], bool] = label_of
) -> tuple[np.ndarray, np.ndarray]:
    """Features [images, features] of one run's test images, and what nobody may know of them."""
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
            labels.append(secret(pack, sample_of(answer)))
        session.finish()
    return np.array(seen), np.array(labels)


def chance(labels: np.ndarray) -> float:
    """Four standard deviations of the AUROC of a guess."""
    anomalous = int(labels.sum())
    normal = len(labels) - anomalous
    return 4 * float(np.sqrt((normal + anomalous + 1) / (12 * normal * anomalous)))


def assert_nothing_is_told(pack: Pack, secret: Callable[[Pack, Sample], bool] = label_of) -> None:
    features, labels = overheard(pack, secret)
    others, their_labels = overheard(pack, secret)
    if secret is is_of_first_member:  # the depth is of the pixels, which may give a member away
        features, others = (np.delete(each, DEPTH, axis=1) for each in (features, others))
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


def test_4_nothing_but_the_pixels_tells_the_member_of_a_suite(tmp_path: Path) -> None:
    assert_nothing_is_told(pair_pack(tmp_path), is_of_first_member)


def test_4_nor_does_a_file_of_its_training_images(tmp_path: Path) -> None:
    seen = pair_pack(tmp_path)
    files = sorted(stage_training(seen, tmp_path).iterdir())
    stats = [path.stat() for path in files]
    assert len({(stat.st_mtime_ns, stat.st_mode, stat.st_uid) for stat in stats}) == 1
    for path in files:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (256, 256))
    hashes = {pixel_hash(seen.image(sample))[:20]: sample for sample in seen.split("train")}
    members = np.array([is_of_first_member(seen, hashes[path.stem]) for path in files])
    # Neither the order of the names nor that in which the files were made.
    for order in (np.arange(len(files)), [stat.st_ino for stat in stats]):
        assert abs(roc_auc_score(members, order) - 0.5) <= chance(members)


@pytest.mark.packs
def test_4_and_no_member_of_a_suite_of_real_images_either(
    packs_folder: Path, tmp_path: Path
) -> None:
    found = find_packs(packs_folder)
    packs = [open_pack(found[name], tmp_path, benchmark=name) for name in BENCHMARKS]
    suite = Suite("real", "", BENCHMARKS, is_shipped=False)
    unified = Regime(name="unified", suite="real", delivery="256")
    seen, _ = in_regime(packs, unified, 0, suite)
    assert_nothing_is_told(seen, is_of_first_member)


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
