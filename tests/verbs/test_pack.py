"""The verb `pack verify` and the data card: counts, leaks that we know of, trivial baselines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from harness import pack as verb
from harness.benchmarks import Pack, demo_pack, open_pack
from harness.board.data_card import DataCard, image_auroc, make_card
from harness.board.data_card_text import is_give_away, to_markdown
from harness.common.errors import DataMissing, PackInvalid


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The demo pack, generated once."""
    return demo_pack(tmp_path_factory.mktemp("demo"))


def write(root: Path, name: str, seed: int, *, mask: bool = True, size: int = 24) -> None:
    """One image by its path below the root, such as `test/Ungood/img/7_3`."""
    path = root / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (8, 8), dtype=np.uint8)
    pixels = np.kron(coarse, np.ones((size // 8, size // 8), np.uint8))
    Image.fromarray(pixels).save(path)
    if mask and "/Ungood/" in name:
        lesion = np.zeros((size, size), np.uint8)
        lesion[4:8, 4:8] = 255
        place = Path(str(path).replace("/img/", "/label/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(lesion).save(place)


def card_of(folder: Path, cache: Path, benchmark: str | None = None) -> DataCard:
    return make_card(open_pack(folder, cache, benchmark=benchmark), lambda *_: None)


def leaks_of(card: DataCard) -> dict[tuple[str, str, str], tuple[int, int]]:
    return {(leak.kind, *leak.splits): (leak.count, leak.images) for leak in card.leaks}


def released_brain(root: Path) -> Path:
    """As BMAD releases it: 10 of the 11 abnormal validation patients are in test too, with
    slice 60 byte for byte."""
    for number in range(6):
        write(root, f"train/good/img/{number:05d}_70", number)
        write(root, f"valid/good/img/{100 + number:05d}_60", 100 + number)
        write(root, f"test/good/img/{200 + number:05d}_60", 200 + number)
    for patient in range(300, 311):
        for z in (60, 70, 80, 90):
            write(root, f"valid/Ungood/img/{patient:05d}_{z}", 1000 * patient + z)
        if patient != 303:
            for z in (60, 68, 76, 84, 92):
                write(root, f"test/Ungood/img/{patient:05d}_{z}", 1000 * patient + z)
    return root


def test_the_ten_patients_of_the_released_brain_set_are_found(tmp_path: Path, cache: Path) -> None:
    card = card_of(released_brain(tmp_path / "Brain"), cache, "brain")
    leaks = leaks_of(card)
    assert leaks["patients", "valid", "test"] == (10, 50)
    assert leaks["identical images", "valid", "test"] == (10, 10)
    assert not card.problems  # a known leak of the release is a fact, not a fault
    text = to_markdown(card)
    assert "10 patients are in both valid and test, 50 images of test" in text
    assert "10 identical images are in both valid and test" in text


@pytest.mark.parametrize(("name", "folder"), [("liver", "hist_DIY"), ("resc", "RESC")])
def test_slices_of_one_volume_in_valid_and_test_are_found(
    name: str, folder: str, tmp_path: Path, cache: Path
) -> None:
    root = tmp_path / folder
    for volume in range(4):
        write(root, f"train/good/img/9{volume}_1", volume)
        for kind, shift in (("good", 100), ("Ungood", 200)):
            write(root, f"valid/{kind}/img/{volume}_{shift}", shift + volume)
            for z in range(3):
                write(
                    root, f"test/{kind}/img/{volume}_{shift + 1 + z}", 10 * shift + 10 * volume + z
                )
    card = card_of(root, cache, name)
    assert card.group_unit == "volume"
    assert leaks_of(card)["volumes", "valid", "test"] == (4, 24)


def test_near_duplicates_across_splits_are_found(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "own"
    for number in range(5):
        write(root, f"train/good/img/a{number}", number)
        write(root, f"test/good/img/b{number}", 100 + number)
        write(root, f"test/Ungood/img/c{number}", 200 + number)
    with Image.open(root / "train/good/img/a1.png") as image:
        pixels = np.array(image)
    Image.fromarray(np.minimum(pixels, 254) + 1).save(root / "test/good/img/b2.png")
    leaks = leaks_of(card_of(root, cache))
    assert leaks == {("near-identical images", "train", "test"): (1, 1)}


def test_a_pack_that_calls_itself_disjoint_and_is_not_is_a_fault(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = released_brain(tmp_path / "brain-disjoint")
    (root / "pack.toml").write_text(
        'name = "brain-disjoint"\nbase = "brain"\nvariant = "disjoint"\n'
        'shared_images = ["valid+test"]\n'
    )
    with pytest.raises(PackInvalid) as error:
        verb.main(["verify", str(root), "--results", str(tmp_path / "results")])
    assert "the pack is disjoint, and 10 patients are in valid and test" in str(error.value)
    assert "not what it claims to be" in capsys.readouterr().out
    written = json.loads((tmp_path / "results/brain-disjoint/datacard.json").read_text())
    assert len(written["problems"]) == 2


def test_a_broken_pack_lists_all_of_its_problems(tmp_path: Path) -> None:
    root = released_brain(tmp_path / "Brain")
    (root / "test/Ungood/label/00300_60.png").unlink()
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(root / "test/Ungood/label/00301_60.png")
    (root / "train/good/img/00000_70.png").write_bytes(b"half")
    with pytest.raises(PackInvalid) as error:
        verb.main(["verify", str(root)])
    assert len(error.value.problems) == 3


def test_the_card_counts_against_table_1(tmp_path: Path, cache: Path) -> None:
    card = card_of(released_brain(tmp_path / "Brain"), cache, "brain")
    assert card.expected[0].origin == "Table 1 of the paper"
    assert (card.expected[0].train, card.expected[0].test) == (7500, 3715)
    assert not card.expected[0].is_met
    facts = {(one.split, one.is_anomalous): one for one in card.splits}
    assert facts["valid", True].images == 44
    assert facts["valid", True].groups == 11
    assert facts["test", False].sizes == {"24x24": 6}
    assert facts["test", False].modes == {"L": 6}
    assert card.masks is not None
    assert card.masks.images == 44 + 50
    assert card.masks.median_share == pytest.approx(16 / 576)


def test_what_a_reader_must_know_stands_in_both_forms(tmp_path: Path, cache: Path) -> None:
    card = card_of(released_brain(tmp_path / "Brain"), cache, "brain")
    text = to_markdown(card)
    for fact in (
        "geographic bias", "CC BY-NC-SA", "may not be shown", "Baid et al.", "arXiv:2107.02314",
        "three mask rules", "| mean grey |", "| image size | 0.500 | 0.500 to 0.500 |", "Slice depth tells the label",
    ):  # fmt: skip
        assert fact in text
    again = DataCard.model_validate_json(card.model_dump_json())
    assert again == card
    assert to_markdown(again) == text


def test_trivial_baselines_are_the_metric_of_the_records(demo: Pack) -> None:
    pack = demo
    card = make_card(pack, lambda *_: None)
    samples = pack.split("test")
    labels = [sample.is_anomalous for sample in samples]
    means = [float(pack.image(sample).mean()) for sample in samples]
    found = {one.statistic: one for one in card.trivial}
    assert set(found) == {
        "mean-grey", "standard-deviation", "foreground-area", "border-share", "image-size",
    }  # fmt: skip
    mean = found["mean-grey"]
    assert mean.auroc == pytest.approx(roc_auc_score(labels, means), abs=1e-12)
    assert mean.either_way == max(mean.auroc, 1 - mean.auroc)
    assert mean.low <= mean.auroc <= mean.high
    assert mean.units == 20  # patients
    assert not any(is_give_away(one) for one in card.trivial)


def test_a_number_that_tells_the_label_is_called_a_give_away(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "own"
    for number in range(30):
        write(root, f"train/good/img/a{number}", number)
        write(root, f"test/good/img/b{number}", 100 + number, size=24)
        write(root, f"test/Ungood/img/c{number}", 200 + number, size=32)
    card = card_of(root, cache)
    size = next(one for one in card.trivial if one.statistic == "image-size")
    assert size.auroc == 1
    assert is_give_away(size)
    assert "gives the label away" in to_markdown(card)


def test_one_class_alone_is_undefined_with_a_reason(demo: Pack) -> None:
    samples = [sample for sample in demo.split("test") if sample.is_anomalous]
    found = image_auroc(samples, [1.0] * len(samples))
    assert found.value is None
    assert found.reason


def test_a_hidden_packs_card_names_no_image_and_rounds(cache: Path) -> None:
    pack = demo_pack(cache, seed="secret", name="sealed", visibility="hidden")
    card = make_card(pack, lambda *_: None)
    assert card.visibility == "hidden"
    text = card.model_dump_json() + to_markdown(card)
    assert not any(sample.key in text for sample in pack.samples)
    for one in card.trivial:
        assert one.auroc == round(one.auroc, 2)
        assert one.low == round(one.low, 2)
    assert all(not leak.examples for leak in card.leaks)


def test_the_verb_writes_both_forms_and_prints_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert verb.main(["verify", "demo", "--results", str(results), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((results / "demo/datacard.json").read_text())
    assert (results / "demo/datacard.md").read_text().startswith("# Data card: Demo")


def test_the_folder_is_left_untouched_and_its_name_tells_the_benchmark(tmp_path: Path) -> None:
    root = released_brain(tmp_path / "BraTS2021_slice")
    before = sorted(str(path) for path in root.rglob("*"))
    assert verb.main(["verify", str(root), "--results", str(tmp_path / "results")]) == 0
    assert sorted(str(path) for path in root.rglob("*")) == before
    (path,) = (tmp_path / "results").glob("brain~*/datacard.json")
    card = DataCard.model_validate_json(path.read_bytes())
    assert (card.name, card.base) == (path.parent.name, "brain")
    assert "**It is not a known release of brain**" in to_markdown(card)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        verb.main(["verify", str(tmp_path / "nowhere")])


@pytest.mark.packs
@pytest.mark.parametrize(
    ("folder", "mean", "deviation"),
    [("Brain", 0.56, 0.61), ("OCT2017", 0.53, 0.51), ("camelyon16", 0.74, 0.65)],
)
def test_real_images_give_the_numbers_of_their_own_description(
    folder: str, mean: float, deviation: float, packs_folder: Path, tmp_path: Path, cache: Path
) -> None:
    results = tmp_path / "results"
    assert verb.main(["verify", str(packs_folder / folder), "--results", str(results)]) == 0
    (path,) = results.glob(f"{folder.lower()}~*/datacard.json")
    card = json.loads(path.read_text())
    found = {one["statistic"]: one["either_way"] for one in card["trivial"]}
    assert found["mean-grey"] == pytest.approx(mean, abs=0.006)
    assert found["standard-deviation"] == pytest.approx(deviation, abs=0.006)
