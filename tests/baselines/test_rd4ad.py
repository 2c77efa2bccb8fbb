"""RD4AD's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image


@pytest.fixture(scope="module")
def rd4ad() -> Baseline:
    return open_baseline(BASELINES / "rd4ad")


def test_the_loss_is_one_minus_cosine_summed_over_scales(rd4ad: Baseline) -> None:
    loss = module_of(rd4ad).distance
    same = torch.tensor([[[[3.0, 4.0]]]])
    across = torch.tensor([[[[-4.0, 3.0]]]])
    assert float(loss([same, same], [2 * same, same])) == pytest.approx(0)
    assert float(loss([same], [-same])) == pytest.approx(2)
    assert float(loss([same, same], [across, -same])) == pytest.approx(1 + 2)


def test_only_the_student_learns(rd4ad: Baseline, training_folder: Path) -> None:
    model = rd4ad.make()
    teacher = [value.clone() for value in model.teacher.state_dict().values()]
    student = [value.clone() for value in model.student.parameters()]
    listener = Listener(model)
    model.fit(training_folder, listener)
    after = model.teacher.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(teacher, after, strict=True))
    moved = [
        not torch.equal(old, new)
        for old, new in zip(student, model.student.parameters(), strict=True)
    ]
    # conv4 and bn4 of the bottleneck have no part in its forward pass, in the official code too.
    unused = sum(
        name.split(".")[1] in {"conv4", "bn4"} for name, _ in model.student.named_parameters()
    )
    assert sum(moved) == len(moved) - unused


def test_the_students_features_mirror_the_teachers(rd4ad: Baseline) -> None:
    model = rd4ad.make()
    with torch.inference_mode():
        teacher = model.teacher(torch.rand(2, 3, 64, 64))
        student = model.student(teacher)
    assert [layer.shape for layer in teacher] == [layer.shape for layer in student]


@pytest.mark.parametrize("mode", ["add", "multiply"])
def test_the_map_joins_cosine_distances_of_all_scales(rd4ad: Baseline, mode: str) -> None:
    model, maps = rd4ad.make(map_mode=mode), module_of(rd4ad).maps
    image = slice_image(3, 64, 64)
    anomaly_map, score = model.predict(image)
    pixels = module_of(rd4ad).images.from_array(image, 64)
    with torch.inference_mode():
        teacher = model.teacher(module_of(rd4ad).images.normalise(pixels, "imagenet"))
        student = model.student(teacher)
    scales = []
    for theirs, ours in zip(teacher, student, strict=True):
        first, second = theirs[0].double().numpy(), ours[0].double().numpy()
        norms = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
        distance = torch.from_numpy(1 - (first * second).sum(axis=0) / norms)[None, None]
        scales.append(maps.resize(distance, (64, 64), align_corners=True).numpy())
    joined = np.sum(scales, axis=0) if mode == "add" else np.prod(scales, axis=0)
    expected = maps.gaussian_blur(torch.from_numpy(joined).float())[0, 0]
    np.testing.assert_allclose(anomaly_map, expected, rtol=1e-4)
    assert score == anomaly_map.max()


def test_a_size_that_the_decoder_cannot_meet_is_refused(rd4ad: Baseline) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        rd4ad.make(image_size=100)


@pytest.mark.parametrize(("is_wide", "width"), [(True, 1024), (False, 512)])
def test_the_bottleneck_of_a_wide_teacher_has_the_width_asked_for(
    rd4ad: Baseline, is_wide: bool, width: int
) -> None:
    student = module_of(rd4ad).Student("wide_resnet50_2", (256, 512, 1024), is_wide=is_wide)
    assert student.bottleneck.bn_layer[0].conv1.out_channels == width
    narrow = module_of(rd4ad).Student("resnet18", (64, 128, 256), is_wide=is_wide)
    assert narrow.bottleneck.bn_layer[0].conv1.out_channels == 512
