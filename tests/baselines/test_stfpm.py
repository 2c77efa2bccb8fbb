"""STFPM's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from baselines.kit import images
from baselines.kit.anomalib_parts import load_part

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image


@pytest.fixture(scope="module")
def stfpm() -> Baseline:
    return open_baseline(BASELINES / "stfpm")


def pyramids() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    shapes = [(3, 8, 8, 6), (3, 16, 4, 3)]
    first, second = ([torch.randn(shape, generator=draw) for shape in shapes] for _ in range(2))
    return first, second


def test_the_distance_is_one_minus_the_cosine(stfpm: Baseline) -> None:
    (first, _), (second, _) = pyramids()
    expected = 1 - functional.cosine_similarity(first, second)[:, None]
    np.testing.assert_allclose(module_of(stfpm).distances(first, second), expected, atol=1e-6)


def test_the_summed_loss_is_anomalibs(stfpm: Baseline) -> None:
    teacher, student = pyramids()
    theirs = load_part("models/image/stfpm/loss.py").STFPMLoss()
    expected = theirs(dict(enumerate(teacher)), dict(enumerate(student)))
    assert float(stfpm.make()._loss(teacher, student)) == pytest.approx(float(expected), rel=1e-6)


def test_the_mean_loss_is_the_authors(stfpm: Baseline) -> None:
    teacher, student = pyramids()
    expected = 0.0
    for theirs, ours in zip(teacher, student, strict=True):
        first, second = (
            part.double().numpy() / np.linalg.norm(part.double(), axis=1, keepdims=True)
            for part in (theirs, ours)
        )
        expected += ((first - second) ** 2).sum(axis=1).mean()
    loss = stfpm.make(loss="mean")._loss(teacher, student)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_does_not_exist_is_named(stfpm: Baseline) -> None:
    with pytest.raises(ValueError, match="loss is 'median'; it can be sum or mean"):
        stfpm.make(loss="median")


def test_a_random_teacher_is_not_its_student(stfpm: Baseline) -> None:
    model = stfpm.make()
    teacher, student = (net.state_dict() for net in (model.teacher, model.student))
    assert teacher.keys() == student.keys()
    assert not torch.equal(teacher["stages.stem.0.weight"], student["stages.stem.0.weight"])


def test_only_the_student_learns(stfpm: Baseline, training_folder: Path) -> None:
    model = stfpm.make()
    teacher = [value.clone() for value in model.teacher.state_dict().values()]
    student = [value.clone() for value in model.student.parameters()]
    model.fit(training_folder, Listener(model))
    after = model.teacher.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(teacher, after, strict=True))
    learned = model.student.parameters()
    assert not any(torch.equal(old, new) for old, new in zip(student, learned, strict=True))


@pytest.mark.parametrize("map_size", [0, 16])
def test_the_map_is_the_product_of_the_scales(stfpm: Baseline, map_size: int) -> None:
    model = stfpm.make(map_size=map_size)
    image = slice_image(3, 64, 64)
    anomaly_map, score = model.predict(image)
    normalised = images.normalise(images.from_array(image, 64), "imagenet")
    side = map_size or 64
    product = np.ones((side, side))
    with torch.inference_mode():
        for theirs, ours in zip(model.teacher(normalised), model.student(normalised), strict=True):
            distance = 1 - functional.cosine_similarity(theirs.double(), ours.double())
            scale = functional.interpolate(distance[:, None], (side, side), mode="bilinear")
            product *= scale[0, 0].numpy()
    full = functional.interpolate(torch.from_numpy(product)[None, None], (64, 64), mode="bilinear")
    np.testing.assert_allclose(anomaly_map, full[0, 0], rtol=1e-3)
    assert score == anomaly_map.max()


def test_the_map_is_anomalibs(stfpm: Baseline) -> None:
    model = stfpm.make()
    image = slice_image(3, 64, 64)
    anomaly_map, score = model.predict(image)
    generator = load_part("models/image/stfpm/anomaly_map.py").AnomalyMapGenerator()
    with torch.inference_mode():
        teacher, student = model._both(images.from_array(image, 64))
        expected = generator(
            teacher_features=dict(enumerate(teacher)),
            student_features=dict(enumerate(student)),
            image_size=(64, 64),
        )[0, 0].numpy()
    np.testing.assert_allclose(anomaly_map, expected, atol=2e-6 * expected.max())
    assert score == pytest.approx(expected.max(), rel=1e-6)


def test_the_wide_backbone_is_a_choice(stfpm: Baseline) -> None:
    model = stfpm.make(backbone="wide_resnet50_2", layers=["layer1", "layer2", "layer3"])
    with torch.inference_mode():
        teacher, student = model._both(torch.zeros(1, 1, 64, 64, dtype=torch.uint8))
    assert [layer.shape[1] for layer in teacher] == [256, 512, 1024]
    assert [layer.shape for layer in teacher] == [layer.shape for layer in student]
