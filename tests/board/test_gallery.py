"""Which pictures a run leaves: by rule, whatever the order, and only where they may be shown."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import default_cache, demo_pack
from harness.board.gallery import (
    CARD,
    GalleryMaker,
    open_gallery,
    public_id,
    read_galleries,
)
from harness.board.picture_choice import MOST_MAPS, PictureChoice, same_images, within_image
from harness.common.errors import StoreUnusable
from harness.metrics.operating_points import OperatingPoints
from harness.records.store import RunName, Store
from harness.session.scoring import ground_truth


@pytest.fixture(scope="module")
def pack():
    return demo_pack(default_cache())


@pytest.fixture(scope="module")
def truth(pack):
    return ground_truth(pack, "test", default_cache(), lambda *_: None)


def answers(pack, *, maps=True, seed=0):
    """Maps that mark the lesion by chance, and scores by chance."""
    draw = np.random.default_rng(seed)
    found = []
    for sample in pack.split("test"):
        noise = draw.normal(0, 1, (sample.height, sample.width)).astype(np.float16)
        marked = noise + np.float16(draw.uniform(-1, 2)) * pack.mask(sample)
        found.append((sample, float(draw.normal()), marked if maps else None))
    return found


POINTS = OperatingPoints(image=0.25, pixel=1.0)


def written(pack, truth, folder, given, points=POINTS, *, is_local=False):
    maker = GalleryMaker(pack, truth, is_local=is_local)
    for sample, score, anomaly_map in given:
        maker.offer(sample, score, anomaly_map)
    folder.mkdir()
    maker.write(folder, "sha256:" + "0" * 64, points)
    return json.loads((folder / CARD).read_text())


def roles(card, role):
    return [picture for picture in card["pictures"] if picture["role"] == role]


def slow_auroc(values, mask):
    lesion, normal = values[mask].astype(float), values[~mask].astype(float)
    above = (lesion[:, None] > normal[None, :]).mean()
    return above + 0.5 * (lesion[:, None] == normal[None, :]).mean()


def test_best_worst_and_false_alarm_are_those_of_a_slow_search(pack, truth, tmp_path):
    given = answers(pack)
    card = written(pack, truth, tmp_path / "g", given)
    quality = {s.key: slow_auroc(m, pack.mask(s)) for s, _, m in given if s.is_anomalous}
    best, worst = max(quality, key=quality.get), min(quality, key=quality.get)
    alarm = max((score, s.key) for s, score, _ in given if not s.is_anomalous)[1]
    for role, key in (("best", best), ("worst", worst), ("false alarm", alarm)):
        [picture] = roles(card, role)
        assert picture["image"] == public_id(pack.version, key)
    assert roles(card, "best")[0]["localisation"] == pytest.approx(quality[best], abs=1e-6)


def test_the_median_is_near_the_middle_of_the_field(pack, truth, tmp_path):
    given = answers(pack)
    [picture] = roles(written(pack, truth, tmp_path / "g", given), "median")
    quality = sorted(slow_auroc(m, pack.mask(s)) for s, _, m in given if s.is_anomalous)
    place = np.searchsorted(quality, picture["localisation"])
    assert len(quality) * 0.4 <= place <= len(quality) * 0.6


def test_the_order_of_the_answers_changes_no_byte(pack, truth, tmp_path):
    given = answers(pack)
    first = tmp_path / "first"
    written(pack, truth, first, given)
    written(pack, truth, tmp_path / "second", random.Random(1).sample(given, len(given)))
    for path in first.iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_every_run_shows_the_same_images_lesions_from_small_to_large(pack, truth, tmp_path):
    cards = [written(pack, truth, tmp_path / str(n), answers(pack, seed=n)) for n in (1, 2)]
    shown = [[picture["image"] for picture in roles(card, "same")] for card in cards]
    assert shown[0] == shown[1]
    samples = {sample.key: sample for sample in pack.split("test")}
    areas = [int(pack.mask(samples[key]).sum()) for key in same_images(truth)]
    assert areas[:5] == sorted(areas[:5])
    assert areas[5:] == [0, 0]


def test_a_run_without_maps_is_shown_by_its_scores(pack, truth, tmp_path):
    given = answers(pack, maps=False)
    card = written(pack, truth, tmp_path / "g", given)
    ranked = sorted((score, s.key) for s, score, _ in given if s.is_anomalous)
    assert card["chosen_by"] == "score"
    assert card["low"] is None
    assert roles(card, "best")[0]["image"] == public_id(pack.version, ranked[-1][1])
    assert roles(card, "worst")[0]["image"] == public_id(pack.version, ranked[0][1])
    assert all(picture["map"] is None for picture in card["pictures"])


def test_the_hardest_are_the_lowest_lesions_and_the_highest_normals(pack, truth, tmp_path):
    given = answers(pack)
    hard = roles(written(pack, truth, tmp_path / "g", given), "hard")
    low = sorted((score, s.key) for s, score, _ in given if s.is_anomalous)[:4]
    high = sorted(((score, s.key) for s, score, _ in given if not s.is_anomalous), reverse=True)[:2]
    assert [p["image"] for p in hard] == [public_id(pack.version, key) for _, key in (*low, *high)]
    normal = [score for s, score, _ in given if not s.is_anomalous]
    assert hard[0]["beyond"] == np.mean([score > low[0][0] for score in normal])
    assert all(picture["map"] for picture in hard)


def test_the_scale_is_that_of_the_whole_run(pack, truth, tmp_path):
    given = answers(pack)
    card = written(pack, truth, tmp_path / "g", given)
    assert card["low"] == min(float(m.min()) for _, _, m in given)
    assert card["high"] == max(float(m.max()) for _, _, m in given)


def test_the_card_tells_the_size_of_its_pictures(pack, truth, tmp_path):
    card = written(pack, truth, tmp_path / "g", answers(pack))
    for picture in card["pictures"]:
        for name in filter(None, map(picture.get, ("shown", "truth", "map", "outlined"))):
            with Image.open(tmp_path / "g" / name) as image:
                assert [image.height, image.width] == picture["size"]


def test_few_maps_are_kept_while_all_pass_through(pack, truth):
    choice = PictureChoice(truth)
    for sample, score, anomaly_map in sorted(answers(pack), key=lambda one: one[1]):
        mask = pack.mask(sample) if sample.is_anomalous else None
        choice.offer(sample, score, anomaly_map, mask)
        assert len(choice.maps()) <= MOST_MAPS
    assert len(choice.maps()) > 32


def test_every_chosen_image_of_a_run_with_maps_has_its_map(pack, truth, tmp_path):
    card = written(pack, truth, tmp_path / "g", answers(pack))
    assert len(card["pictures"]) == 17
    assert all(picture["map"] for picture in card["pictures"])


def test_what_is_called_and_found_follows_from_the_thresholds(pack, truth, tmp_path):
    given = answers(pack)
    card = written(pack, truth, tmp_path / "g", given)
    by_id = {public_id(pack.version, s.key): (s, score, m) for s, score, m in given}
    assert (card["threshold"], card["threshold_from"], card["map_threshold"]) == (0.25, "test", 1.0)
    for picture in card["pictures"]:
        sample, score, anomaly_map = by_id[picture["image"]]
        mask = pack.mask(sample)
        assert picture["is_called"] == (score >= 0.25)
        assert picture["lesion"] == (mask.mean() if mask.any() else None)
        assert picture["found"] == ((anomaly_map[mask] >= 1.0).mean() if mask.any() else None)
        assert picture["outlined"] == f"{picture['image']}.outlined.webp"


def test_without_thresholds_nothing_is_called_found_or_outlined(pack, truth, tmp_path):
    card = written(pack, truth, tmp_path / "g", answers(pack), OperatingPoints())
    assert card["threshold_from"] is card["threshold"] is card["map_threshold"] is None
    for picture in card["pictures"]:
        assert picture["is_called"] is picture["found"] is picture["outlined"] is None
        assert (picture["lesion"] is None) != picture["is_anomalous"]


@pytest.fixture
def unmasked(pack):
    """The same images, had nobody marked the lesions."""
    samples = tuple(replace(sample, mask_path=None) for sample in pack.samples)
    return replace(pack, version="unmasked-1", samples=samples, has_masks=False)


def test_maps_are_shown_where_there_are_no_masks(unmasked, tmp_path):
    truth = ground_truth(unmasked, "test", tmp_path, lambda *_: None)
    draw = np.random.default_rng(0)
    given = [
        (s, float(draw.normal()), draw.normal(size=(s.height, s.width)).astype(np.float32))
        for s in unmasked.split("test")
    ]
    card = written(unmasked, truth, tmp_path / "g", given, OperatingPoints(image=0.25))
    ranked = sorted((score, s.key) for s, score, _ in given if s.is_anomalous)
    assert (card["chosen_by"], card["drawn"], card["map_threshold"]) == ("score", 32, None)
    assert roles(card, "best")[0]["image"] == public_id(unmasked.version, ranked[-1][1])
    for picture in card["pictures"]:
        assert picture["map"]
        assert picture["is_called"] == (picture["score"] >= 0.25)
        fields = ("truth", "lesion", "found", "localisation", "outlined")
        assert [picture[name] for name in fields] == [None] * 5


def test_no_file_name_of_the_pack_is_told(pack, truth, tmp_path):
    written(pack, truth, tmp_path / "g", answers(pack))
    told = (tmp_path / "g" / CARD).read_text() + " ".join(
        p.name for p in (tmp_path / "g").iterdir()
    )
    assert [s.key for s in pack.split("test") if s.image_path.stem in told] == []


@pytest.mark.parametrize("may_be_shown", [True, False])
def test_of_a_hidden_pack_there_is_no_gallery(pack, may_be_shown):
    change = {"visibility": "hidden", "images_may_be_shown": may_be_shown}
    card = pack.card.model_copy(update=change)
    assert open_gallery(replace(pack, card=card), default_cache(), lambda *_: None) is None
    assert open_gallery(pack, default_cache(), lambda *_: None) is not None


def test_where_images_may_not_be_shown_every_file_is_marked_as_local(pack, truth, tmp_path):
    given = answers(pack)
    shown = written(pack, truth, tmp_path / "shown", given)
    closed = pack.card.model_copy(update={"images_may_be_shown": False})
    maker = open_gallery(replace(pack, card=closed), default_cache(), lambda *_: None)
    for answer in given:
        maker.offer(*answer)
    (tmp_path / "local").mkdir()
    maker.write(tmp_path / "local", shown["run_key"], POINTS)
    local = json.loads((tmp_path / "local" / CARD).read_text())
    assert local == shown | {"is_local": True}
    files = sorted(path.name for path in (tmp_path / "shown").glob("*.webp"))
    assert files == sorted(path.name for path in (tmp_path / "local").glob("*.webp"))
    for name in files:
        plain, marked = (
            np.asarray(Image.open(tmp_path / folder / name), np.int16)
            for folder in ("shown", "local")
        )
        changed = np.abs(plain - marked).max(axis=2) > 40
        quarters = [
            part for half in np.array_split(changed, 2) for part in np.array_split(half, 2, 1)
        ]
        assert all(0.01 < quarter.mean() < 0.4 for quarter in quarters), name


def test_a_gallery_is_read_for_its_own_record_alone(pack, truth, tmp_path, make_record):
    shown = {"pack__images_may_be_shown": True, "benchmark": "demo"}
    record = make_record(**shown)
    store = Store(tmp_path)
    name = RunName("demo", "patchcore", 0)
    store.save(name, record)
    written(pack, truth, store.gallery_path(name), answers(pack))
    assert read_galleries(tmp_path, [record]) == {}  # of another run
    path = store.gallery_path(name) / CARD
    path.write_text(path.read_text().replace("sha256:" + "0" * 64, record.run_key))
    assert list(read_galleries(tmp_path, [record])) == [record.run_key]
    for change in ({"pack__images_may_be_shown": False}, {"visibility": "hidden"}):
        other = make_record(**(shown | change))
        for with_local in (False, True):  # what is not marked as local is no local picture
            assert read_galleries(tmp_path, [other], with_local=with_local) == {}


def test_a_local_gallery_is_read_where_it_is_asked_for_and_of_a_pack_that_may_be_shown_never(
    pack, truth, tmp_path, make_record
):
    closed = make_record(pack__images_may_be_shown=False, benchmark="demo")
    store, name = Store(tmp_path), RunName("demo", "patchcore", 0)
    store.save(name, closed)
    written(pack, truth, store.gallery_path(name), answers(pack), is_local=True)
    path = store.gallery_path(name) / CARD
    path.write_text(path.read_text().replace("sha256:" + "0" * 64, closed.run_key))
    assert read_galleries(tmp_path, [closed]) == {}
    [found] = read_galleries(tmp_path, [closed], with_local=True).values()
    assert found.card.is_local
    for change in ({"pack__images_may_be_shown": True}, {"visibility": "hidden"}):
        other = make_record(**({"pack__images_may_be_shown": False, "benchmark": "demo"} | change))
        assert read_galleries(tmp_path, [other], with_local=True) == {}


def test_a_card_of_the_first_version_is_still_read(pack, truth, tmp_path, make_record):
    record = make_record(pack__images_may_be_shown=True, benchmark="demo")
    store, name = Store(tmp_path), RunName("demo", "patchcore", 0)
    store.save(name, record)
    card = written(pack, truth, store.gallery_path(name), answers(pack))
    for field in ("threshold", "threshold_from", "map_threshold", "is_local"):
        del card[field]
    for picture in card["pictures"]:
        for field in ("lesion", "is_called", "found", "outlined"):
            del picture[field]
    card |= {"run_key": record.run_key, "schema_version": 1}
    (store.gallery_path(name) / CARD).write_text(json.dumps(card))
    [found] = read_galleries(tmp_path, [record]).values()
    assert found.card.threshold is found.card.pictures[0].is_called is None


@pytest.mark.parametrize("name", ["../outside.webp", "/etc/passwd", "missing.webp", "link.webp"])
def test_a_gallery_that_points_outside_its_folder_is_not_read(
    pack, truth, tmp_path, make_record, name
):
    record = make_record(pack__images_may_be_shown=True, benchmark="demo")
    store = Store(tmp_path)
    folder = store.gallery_path(RunName("demo", "patchcore", 0))
    folder.parent.mkdir(parents=True)
    card = written(pack, truth, folder, answers(pack))
    (folder.parent / "outside.webp").write_bytes(b"secret")
    (folder / "link.webp").symlink_to(folder.parent / "outside.webp")
    card["run_key"] = record.run_key
    card["pictures"][0]["shown"] = name
    (folder / CARD).write_text(json.dumps(card))
    assert read_galleries(tmp_path, [record]) == {}


def test_within_an_image_ties_count_as_half():
    mask = np.array([[True, True, False, False]])
    assert within_image(np.array([[1.0, 0.0, 0.0, 0.0]]), mask) == 0.75
    assert within_image(np.zeros((1, 4)), mask) == 0.5
    assert within_image(np.zeros((1, 4)), np.zeros((1, 4), np.bool_)) is None


def test_a_replaced_run_takes_its_pictures_and_curves_along(tmp_path, make_record):
    store, name = Store(tmp_path), RunName("brain", "patchcore", 0)
    record = store.save(
        name, make_record(), write_gallery=lambda folder: (folder / CARD).write_text("{}")
    )
    store.curves_path(name).write_text("{}")
    kept = store.retire(name, record)
    assert sorted(path.name for path in kept.iterdir()) == [
        "seed-0.curves.json", "seed-0.gallery", "seed-0.json",
    ]  # fmt: skip
    assert not store.gallery_path(name).exists()
    assert store.records() == []


def test_pictures_that_cannot_be_written_leave_neither_half_a_folder_nor_a_record(
    tmp_path, make_record
):
    store, name = Store(tmp_path), RunName("brain", "patchcore", 0)

    def fail(folder):
        (folder / "half.webp").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreUnusable, match="disk is full"):
        store.save(name, make_record(), write_gallery=fail)
    assert list((tmp_path / "brain/patchcore").iterdir()) == []


def test_a_second_run_of_the_same_name_replaces_the_pictures_whole(tmp_path, make_record):
    store, name = Store(tmp_path), RunName("brain", "patchcore", 0)
    for file in ("old.webp", "new.webp"):
        store.save(name, make_record(), write_gallery=lambda f, n=file: (f / n).write_text("x"))
    assert [path.name for path in store.gallery_path(name).iterdir()] == ["new.webp"]
