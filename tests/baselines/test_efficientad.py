"""EfficientAD's traps: where the quantiles come from, the penalty's images, the teacher's file."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.kit import backbones, images
from baselines.kit.weight_files import WEIGHT_FILES
from harness.contract import NotApplicable

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image

SIZE = 128


@pytest.fixture(scope="module")
def efficientad() -> Baseline:
    return open_baseline(BASELINES / "efficientad")


@pytest.fixture(scope="module")
def split() -> images.TrainingImages:
    return images.TrainingImages(
        torch.cat([images.from_array(slice_image(each), SIZE) for each in range(10)])
    )


@pytest.fixture
def weights(efficientad: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a teacher of its own and three penalty images, under the published names."""
    monkeypatch.setattr(backbones, "problem_with", lambda *_: None)  # whatever their hashes are
    teacher = efficientad.make(seed=5).model.teacher
    written = io.BytesIO()
    torch.save(teacher.state_dict(), written)
    with zipfile.ZipFile(tmp_path / WEIGHT_FILES["efficientad_teacher"].file_name, "w") as archive:
        archive.writestr("some/folder/pretrained_teacher_small.pth", written.getvalue())
    with tarfile.open(tmp_path / WEIGHT_FILES["imagenette2"].file_name, "w:gz") as archive:
        for number in range(3):
            file = io.BytesIO()
            colour = np.full((60, 90, 3), (250, 10 * number, 5), np.uint8)
            colour[20:40, 30:60] = (5, 250, 10 * number)
            Image.fromarray(colour).save(file, "JPEG")
            info = tarfile.TarInfo(f"imagenette2/train/n{number}/image.JPEG")
            info.size = len(file.getvalue())
            archive.addfile(info, io.BytesIO(file.getvalue()))
    return tmp_path


def test_a_tenth_of_the_training_images_is_held_out_and_the_rest_trained_on(
    efficientad: Baseline, split: images.TrainingImages
) -> None:
    model = efficientad.make(held_out=0.3)
    seen = model.prepare(split)
    assert (len(seen), len(model.held_out)) == (7, 3)
    everything = torch.cat([seen.pixels, model.held_out.pixels]).flatten(1)
    assert {each.numpy().tobytes() for each in everything} == {
        each.numpy().tobytes() for each in split.pixels.flatten(1)
    }
    again = efficientad.make(held_out=0.3)
    assert torch.equal(again.prepare(split).pixels, seen.pixels)
    few = images.TrainingImages(split.pixels[:1])
    with pytest.raises(NotApplicable, match="at least 2 training images"):
        model.prepare(few)


def test_the_teachers_channels_are_standardised_over_the_images_trained_on(
    efficientad: Baseline, split: images.TrainingImages
) -> None:
    model = efficientad.make()
    seen = model.prepare(split)
    with torch.no_grad():
        features = model.model.teacher(model.normalised(seen.pixels)).double()
    found = model.model.mean_std
    torch.testing.assert_close(found["mean"].detach(), features.mean((0, 2, 3), True).float())
    deviation = features.std((0, 2, 3), correction=0, keepdim=True).float()
    torch.testing.assert_close(found["std"].detach(), deviation, rtol=1e-4, atol=1e-7)


def test_held_out_images_put_both_maps_on_one_scale(
    efficientad: Baseline, split: images.TrainingImages
) -> None:
    model = efficientad.make(held_out=0.2)
    model.prepare(split)
    before = model.predict(slice_image(50, SIZE, SIZE))
    model.before_checkpoint(split)
    with torch.no_grad():
        scaled = [
            model.model.eval().get_maps(model.normalised(pixels[None]), normalize=True)
            for pixels in model.held_out.pixels
        ]
    for both in zip(*scaled, strict=True):
        values = torch.cat(both).numpy()
        # 0 at nine tenths, 0.1 at 995 thousandths: of these images, and of no others.
        np.testing.assert_allclose(np.quantile(values, [0.9, 0.995]), [0, 0.1], atol=1e-5)
    after = model.predict(slice_image(50, SIZE, SIZE))
    assert before[1] != after[1]
    # Answers change nothing: no test image enters the scale.
    model.predict(slice_image(51, SIZE, SIZE))
    assert model.predict(slice_image(50, SIZE, SIZE))[1] == after[1]


def test_the_teacher_is_the_published_one_and_stays_it(
    efficientad: Baseline, weights: Path, training_folder: Path
) -> None:
    model = efficientad.model("cpu", 0, efficientad.params(weights="imagenet", epochs=1), weights)
    published = efficientad.make(seed=5).model.teacher.state_dict()
    model.fit(training_folder, Listener())
    for name, value in model.model.teacher.state_dict().items():
        assert torch.equal(value, published[name])
    assert model.frozen.identity.startswith("sha256:")
    assert not any(name.startswith("teacher.") for name in model.learned())
    with pytest.raises(ValueError, match=r"holds no pretrained_teacher_medium\.pth"):
        module_of(efficientad).read_teacher(
            weights / WEIGHT_FILES["efficientad_teacher"].file_name, "medium"
        )


def test_the_penalty_wants_its_images_and_draws_from_them(
    efficientad: Baseline, weights: Path
) -> None:
    params = efficientad.params(penalty="imagenet")
    with pytest.raises(backbones.WeightsNotFound, match=r"harness\.weights fetch imagenette2"):
        efficientad.model("cpu", 0, params, None)
    found = module_of(efficientad).read_penalty_images(
        weights / WEIGHT_FILES["imagenette2"].file_name, SIZE
    )
    assert found.shape == (3, SIZE, SIZE, 3)
    # Resized to twice the size, then the middle half: the rectangle fills two thirds of it.
    assert (found[0, SIZE // 2, SIZE // 2].int() - torch.tensor([5, 250, 0])).abs().max() < 12
    assert (found[0, 0, 0].int() - torch.tensor([250, 0, 5])).abs().max() < 12
    model = efficientad.model("cpu", 0, params, weights)
    model.penalty_images = found
    torch.manual_seed(0)
    drawn = [model._penalty_image(model.device) for _ in range(60)]
    is_grey = [bool(torch.equal(each[:, 0], each[:, 1])) for each in drawn]
    assert 8 < sum(is_grey) < 30
    assert all(each.min() >= 0 and each.max() <= 1 for each in drawn)


def test_the_penalty_is_what_the_student_says_of_a_foreign_image(
    efficientad: Baseline, weights: Path, split: images.TrainingImages
) -> None:
    losses = []
    for penalty in ("none", "imagenet"):
        model = efficientad.model("cpu", 0, efficientad.params(penalty=penalty), weights)
        model.prepare(split)
        torch.manual_seed(1)
        losses.append(float(model.loss_of(split.pixels[:1]).detach()))
    torch.manual_seed(1)
    model.model.choose_random_aug_image(model.normalised(split.pixels[:1]))
    model.model.ae.train()(model.normalised(split.pixels[:1]), (SIZE, SIZE))  # its dropout
    with torch.no_grad():
        said = model.model.student(model._penalty_image(model.device))[:, :8]
    assert losses[1] - losses[0] == pytest.approx(float(said.square().mean()), rel=1e-3)


def test_the_rate_falls_after_95_per_cent_of_the_steps(efficientad: Baseline) -> None:
    model = efficientad.make()
    optimiser = model.optimiser([])
    rates, seen = model.rates(optimiser, epochs=20, steps_per_epoch=5), []
    for _ in range(100):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        rates.step()
    np.testing.assert_allclose(np.array(seen[:95]) / seen[0], 1)
    np.testing.assert_allclose(np.array(seen[95:]) / seen[0], 0.1)


@pytest.mark.parametrize("size", [96, 130])
def test_a_size_that_the_autoencoder_cannot_take_is_told_of(
    efficientad: Baseline, size: int
) -> None:
    with pytest.raises(ValueError, match="must be a multiple of 32 from 128 on"):
        efficientad.make(image_size=size)
