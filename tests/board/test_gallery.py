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
    same_images,
    within_image,
)
from harness.common.errors import StoreUnusable
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


def written(pack, truth, folder, given):
    maker = GalleryMaker(pack, truth)
    for sample, score, anomaly_map in given:
        maker.offer(sample, score, anomaly_map)
    folder.mkdir()
    maker.write(folder, "sha256:" + "0" * 64)
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


def test_the_scale_is_that_of_the_whole_run(pack, truth, tmp_path):
    given = answers(pack)
    card = written(pack, truth, tmp_path / "g", given)
    assert card["low"] == min(float(m.min()) for _, _, m in given)
    assert card["high"] == max(float(m.max()) for _, _, m in given)


def test_the_card_tells_the_size_of_its_pictures(pack, truth, tmp_path):
    card = written(pack, truth, tmp_path / "g", answers(pack))
    for picture in card["pictures"]:
        for name in filter(None, (picture["shown"], picture["truth"], picture["map"])):
            with Image.open(tmp_path / "g" / name) as image:
                assert [image.height, image.width] == picture["size"]


def test_few_maps_are_kept_while_all_pass_through(pack, truth):
    maker = GalleryMaker(pack, truth)
    for sample, score, anomaly_map in answers(pack):
        maker.offer(sample, score, anomaly_map)
        assert len(maker._maps) + len(maker._extremes) <= 42


def test_no_file_name_of_the_pack_is_told(pack, truth, tmp_path):
    written(pack, truth, tmp_path / "g", answers(pack))
    told = (tmp_path / "g" / CARD).read_text() + " ".join(
        p.name for p in (tmp_path / "g").iterdir()
    )
    assert [s.key for s in pack.split("test") if s.image_path.stem in told] == []


@pytest.mark.parametrize("change", [{"images_may_be_shown": False}, {"visibility": "hidden"}])
def test_where_images_may_not_be_shown_there_is_no_gallery(pack, tmp_path, change):
    card = pack.card.model_copy(update=change)
    assert open_gallery(replace(pack, card=card), default_cache(), lambda *_: None) is None
    assert open_gallery(pack, default_cache(), lambda *_: None) is not None


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
        assert read_galleries(tmp_path, [make_record(**(shown | change))]) == {}


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
