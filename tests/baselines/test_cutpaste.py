"""CutPaste's own arithmetic against closed forms and the plainest way to compute the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.covariance import LedoitWolf

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image

SIZE = 64


@pytest.fixture(scope="module")
def cutpaste() -> Baseline:
    return open_baseline(BASELINES / "cutpaste")


@pytest.fixture(scope="module")
def fitted(cutpaste: Baseline, training_folder: Path) -> Any:
    model = cutpaste.make(native_map=True)
    model.fit(training_folder, Listener())
    return model


def views(cutpaste: Baseline, seed: int = 0, **changes: Any) -> Any:
    module = sys.modules[cutpaste.model.__module__]
    draw = torch.Generator().manual_seed(seed)
    return module.Views(cutpaste.params(**changes), np.random.default_rng(seed), draw)


def numbered() -> torch.Tensor:
    """Every pixel another value, so that a pasted one tells where it was cut."""
    return torch.arange(float(SIZE * SIZE)).view(1, SIZE, SIZE) / 16


def test_a_patch_is_a_rectangle_of_the_image_itself(cutpaste: Baseline) -> None:
    image = numbered()
    sides = []
    for seed in range(200):
        pasted = views(cutpaste, seed, jitter=0.0).paste_patch(image)[0]
        changed = (pasted != image[0]).nonzero()
        top, left = changed.amin(dim=0).tolist()
        height, width = (changed.amax(dim=0) + 1 - changed.amin(dim=0)).tolist()
        region = pasted[top : top + height, left : left + width]
        source = int(region[0, 0] * 16)
        cut = image[0, source // SIZE :, source % SIZE :][:height, :width]
        assert torch.equal(region, cut)
        sides.append((height, width))
    heights, widths = np.array(sides).T
    areas, aspects = heights * widths / SIZE**2, widths / heights
    # A side of at least 4.96 pixels is rounded by half a pixel.
    assert areas.max() < 0.15 * 1.1
    assert areas.min() > 0.02 * 0.8
    assert aspects.max() < 3.33 * 1.15
    assert aspects.min() > 0.3 / 1.15
    assert abs(np.log(aspects).mean()) < 0.15


def test_a_scar_is_thin_and_turned_within_its_mask(cutpaste: Baseline) -> None:
    image = torch.zeros(1, SIZE, SIZE)
    image[:, :, :] = 7.0
    image[:, ::2] = 9.0
    for seed in range(100):
        pasted = views(cutpaste, seed, jitter=0.0).paste_scar(image)
        assert set(pasted.unique().tolist()) <= {7.0, 9.0}  # no black corner of the turned box
        changed = (pasted != image)[0].nonzero()
        if len(changed):
            box = changed.amax(dim=0) + 1 - changed.amin(dim=0)
            assert box.max() <= 30
    ends = [views(cutpaste, seed, jitter=0.0).paste_scar(numbered()) for seed in range(50)]
    areas = [int((end != numbered()).sum()) for end in ends]
    assert 10 < min(areas) < max(areas) < 16 * 25 + 60


@pytest.mark.parametrize("channels", [1, 3])
def test_views_come_one_kind_after_the_other(cutpaste: Baseline, channels: int) -> None:
    slices = np.stack([slice_image(number, SIZE, SIZE) for number in range(3)])
    pixels = torch.from_numpy(slices)[:, None].repeat(1, channels, 1, 1)
    made = views(cutpaste, jitter=0.0).of(pixels)
    assert made.shape == (9, channels, SIZE, SIZE)
    assert torch.equal(made[:3], pixels.float())
    assert all(not torch.equal(made[3 + number], made[number]) for number in range(6))
    assert len(views(cutpaste, anomalies=["scar"]).of(pixels)) == 6
    again = views(cutpaste).of(pixels)
    assert torch.equal(again, views(cutpaste).of(pixels))


def test_the_score_is_the_distance_to_sklearns_gaussian(fitted: Any, training_folder: Path) -> None:
    def embed(image: np.ndarray) -> np.ndarray:
        pixels = (np.stack([image] * 3) / 255 - MEAN) / DEVIATION
        with torch.no_grad():
            features = fitted.network.features(torch.from_numpy(pixels).float()[None])
        vector = features.mean(dim=(2, 3))[0].double().numpy()
        return vector / np.linalg.norm(vector)

    files = sorted(training_folder.iterdir())
    train = [np.asarray(Image.open(path).resize((SIZE, SIZE), 2)) for path in files]
    density = LedoitWolf().fit(np.stack([embed(image) for image in train]))
    image = slice_image(50, SIZE, SIZE)
    expected = np.sqrt(density.mahalanobis(embed(image)[None])[0])
    assert fitted.predict(image)[1] == pytest.approx(expected, rel=1e-4)


MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
DEVIATION = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def test_grad_cam_weighs_channels_by_the_distances_slope(fitted: Any) -> None:
    features = torch.rand(1, 512, 2, 2, generator=torch.Generator().manual_seed(0))
    heat = fitted._grad_cam(features)
    vector = features.mean(dim=(2, 3))[0].double()
    length = vector.norm()
    unit = vector / length
    outer = 2 * fitted.inverse @ (unit - fitted.mean)
    slope = (outer - unit * (unit @ outer)) / length / 4  # a mean over four positions
    expected = (slope.view(1, 512, 1, 1) * features).sum(dim=1, keepdim=True).relu()
    torch.testing.assert_close(heat.double(), expected, rtol=1e-3, atol=1e-5)


def test_the_backbone_learns_only_after_its_frozen_epochs(
    cutpaste: Baseline, training_folder: Path
) -> None:
    def moved(**changes: Any) -> tuple[bool, bool]:
        model = cutpaste.make(checkpoint_every_epochs=0, **changes)
        before = {name: value.clone() for name, value in model.network.state_dict().items()}
        model.fit(training_folder, Listener())
        after = model.network.state_dict()
        names = [name for name in before if name.startswith("backbone") and "num_batch" not in name]
        is_statistic = {name: "running" in name for name in names}
        differ = {name: not torch.equal(before[name], after[name]) for name in names}
        assert not torch.equal(before["head.0.0.weight"], after["head.0.0.weight"])
        return (
            any(differ[name] for name in names if not is_statistic[name]),
            any(differ[name] for name in names if is_statistic[name]),
        )

    assert moved(frozen_epochs=2) == (False, False)
    assert moved(frozen_epochs=2, frozen_statistics_move=True) == (False, True)
    assert moved(frozen_epochs=1) == (True, True)


def test_the_head_has_the_widths_of_the_setting(cutpaste: Baseline) -> None:
    for layers, widths in ((1, [512, 128]), (2, [512, 512, 128])):
        *blocks, last = cutpaste.make(head_layers=layers).network.head
        assert [block[0].out_features for block in blocks] == widths
        assert last.out_features == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anomalies": []}, "anomalies is"),
        ({"anomalies": ["cut"]}, "it can hold patch and scar"),
        ({"image_size": 24}, "a turned scar needs 31 or more"),
        ({"backbone": "vgg16"}, "has no layer 'layer4'"),
    ],
)
def test_a_wrong_setting_says_what_is_possible(
    cutpaste: Baseline, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cutpaste.make(**change)
