"""Curves and pictures that lie: decoded whole, and held to the record that they stand beside."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.board.curves import read_curves
from harness.board.site_data import GalleryCard, RunCurves
from harness.publishing.picture_check import card_problems, curve_problems, picture_problems
from harness.records.record import Record
from harness.records.store import RunName, Store, read_record
from tests.publishing.made_galleries import ID, card, picture, webp, write_beside, write_files
from tests.publishing.pull_requests import RECORDS, add, problems
from tests.record_factory import LOCALISATION, record
from tests.run_factory import random_scores, save_run


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, RunCurves]:
    """A run and the curves that its evidence gives."""
    from harness.board import curves

    path = save_run(tmp_path_factory.mktemp("run"), random_scores())
    store, made = Store.around(path), read_record(path)
    curves.refresh(store)
    return made, read_curves(store.root, [made])[made.run_key]


def test_the_curves_that_evidence_gives_have_no_problem(known: tuple[Record, RunCurves]) -> None:
    made, curves = known
    assert {(curve.kind, curve.grid) for curve in curves.curves} >= {
        ("roc", None), ("roc", "native"), ("pro", "native"), ("precision_recall", None),
    }  # fmt: skip
    assert list(curve_problems(curves, made)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: replace(c, x=(0.0, 0.0, 1.0), y=(0.0, 1.0, 1.0)), "its area is 1.000"),
        (lambda c: replace(c, y=c.y[:-1]), "not as many x as y"),
        (lambda c: replace(c, x=(0.0,), y=(0.0,)), "fewer than two"),
        (lambda c: replace(c, y=(*c.y[:-1], 1.5)), "not from 0 to 1"),
        (lambda c: replace(c, y=(*c.y[:-1], float("nan"))), "not from 0 to 1"),
        (lambda c: replace(c, x=c.x[::-1]), "do not ascend"),
        (lambda c: replace(c, y=c.y[::-1]), "it falls"),
        (lambda c: replace(c, low=c.low[:-1]), "edges of different lengths"),
        (lambda c: replace(c, low=c.high, high=c.low), "above the upper one"),
    ],
)
def test_what_is_no_curve_of_its_metric_is_named(
    known: tuple[Record, RunCurves], change: Callable, told: str
) -> None:
    made, curves = known
    roc = next(c for c in curves.curves if (c.kind, c.grid) == ("roc", "native"))
    rest = tuple(c for c in curves.curves if c is not roc)
    forged = replace(curves, curves=(*rest, change(roc)))
    (problem,) = curve_problems(forged, made)
    assert problem.startswith("roc (native): ")
    assert told in problem


def test_a_curve_twice_or_of_a_metric_that_the_record_has_not_is_named(
    known: tuple[Record, RunCurves],
) -> None:
    made, curves = known
    twice = replace(curves, curves=(*curves.curves, curves.curves[0]))
    assert next(iter(curve_problems(twice, made))) == "a curve stands in it twice"
    bare = made.model_copy(update={"metrics": []})
    assert any("its record has no image_auroc" in told for told in curve_problems(curves, bare))


# -- pictures -----------------------------------------------------------------------------------


def other(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (256, 192)).save(content, kind)
    return content.getvalue()


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


METRICS = LOCALISATION | {("image_f1_max", None): 0.8, ("dice_at_valid", "native"): 0.5}


def masked(**changes: object) -> Record:
    """A record that has what the card's thresholds are behind."""
    return record(**({"metrics": METRICS, "pack__regions": 9} | changes))


OF_V1 = {"lesion": None, "is_called": None, "found": None, "outlined": None}


def test_a_whole_gallery_has_no_problem(gallery: Path) -> None:
    assert list(card_problems(card(), masked(), gallery)) == []
    for path in gallery.iterdir():
        assert list(picture_problems(path, card())) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": "patient-7"}, "no public id"),
        ({"shown": f"{ID}.map.webp"}, "not named after"),
        ({"map": f"{'f' * 16}.map.webp"}, "not named after"),
        ({"truth": "../seed-0.json"}, "not named after"),
        ({"size": (256, 4000)}, "its size is 256x4000"),
        ({"size": (0, 256)}, "its size is 0x256"),
        ({"is_anomalous": False}, "its image is normal"),
        ({"role": "false alarm"}, "its image is anomalous"),
        ({"beyond": 1.5}, "not from 0 to 1"),
        ({"score": float("inf")}, "no number"),
        ({"outlined": f"{ID}.map.webp"}, "not named after"),
        ({"size": (190, 255)}, "its size is 190x255"),
        ({"size": (513, 400)}, "its size is 513x400"),
        ({"lesion": 1.1}, "not from 0 to 1"),
        ({"found": -0.1}, "not from 0 to 1"),
        ({"is_called": False}, "does not follow from score and threshold"),
        ({"is_called": None}, "does not follow from score and threshold"),
        ({"score": 0.49}, "does not follow from score and threshold"),
        ({"lesion": None, "found": None}, "without its share"),
        ({"truth": None, "found": None}, "without its share"),
        ({"found": None}, "the share found"),
        ({"outlined": None}, "hits and misses"),
        ({"map": None, "outlined": None}, "the share found"),
    ],
)
def test_a_card_that_the_harness_does_not_write_is_named(
    gallery: Path, change: dict, told: str
) -> None:
    found = list(card_problems(card(picture(**change)), masked(), gallery))
    assert told in found[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": float("nan")}, "no number"),
        ({"map_threshold": float("inf")}, "no number"),
        ({"threshold_from": "validation"}, "the best F1 on the test images"),
        ({"threshold_from": None}, "the best F1 on the test images"),
        ({"threshold": None, "threshold_from": None}, "no image_f1_max, or none where"),
        ({"map_threshold": None}, "no dice_at_valid, or none where"),
        ({"is_local": True}, "may not be shown"),
        ({"low": None, "high": None}, "colours"),
        ({"schema_version": 1}, "which has no thresholds"),
    ],
)
def test_a_card_whose_thresholds_are_not_the_runs_is_named(
    gallery: Path, change: dict, told: str
) -> None:
    assert told in next(card_problems(card(**change), masked(), gallery))


def test_a_threshold_of_a_metric_that_the_record_has_not_is_named(gallery: Path) -> None:
    bare = masked(metrics={("image_auroc", None): 0.9})
    first, second, *_ = card_problems(card(), bare, gallery)
    assert "no image_f1_max, or none where" in first
    assert "no dice_at_valid, or none where" in second


def test_maps_without_masks_are_as_the_harness_draws_them_and_lesions_there_are_none(
    gallery: Path,
) -> None:
    scored = {("image_auroc", None): 0.9, ("image_f1_max", None): 0.8}
    unmarked = masked(metrics=scored, maps=None, pack__regions=None)
    plain = {"truth": None, "lesion": None, "found": None, "outlined": None, "localisation": None}
    of_scores = card(picture(**plain), map_threshold=None, chosen_by="score")
    assert list(card_problems(of_scores, unmarked, gallery)) == []
    lie = card(picture(found=None, outlined=None), map_threshold=None)
    assert list(card_problems(lie, unmarked, gallery)) == [
        "best: it shows a lesion, and its pack has no masks"
    ]


def test_a_card_of_the_first_version_is_held_to_what_that_had(gallery: Path) -> None:
    def first(**changes: object) -> GalleryCard:
        bare = {"threshold": None, "threshold_from": None, "map_threshold": None}
        return card(picture(**(OF_V1 | changes)), schema_version=1, **bare)

    assert list(card_problems(first(), record(), gallery)) == []
    assert "its size is" in next(card_problems(first(size=(300, 400)), record(), gallery))
    assert "first version" in next(card_problems(first(found=0.4), record(), gallery))


def test_what_a_card_says_of_the_run_is_held_to_its_record(gallery: Path) -> None:
    assert "more anomalous images" in next(card_problems(card(drawn=9999), masked(), gallery))
    assert "colours" in next(card_problems(card(low=2.0), masked(), gallery))
    no_maps = masked(entry__maps=False)
    assert "its run has none" in next(card_problems(card(), no_maps, gallery))
    (gallery / f"{ID}.map.webp").unlink()
    (told,) = card_problems(card(), masked(), gallery)
    assert told == f"best: {ID}.map.webp is not there"


EXIF = Image.Exif()
EXIF[0x010E] = "normal, anomalous, anomalous"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (webp((192, 256)), "it is 256x192, and its card says 192x256"),
        (webp()[:-4000], "nothing else"),
        (webp() + b"labels: 0 1 1 0", "nothing else"),
        (webp()[:22] + bytes(len(webp()) - 22), "cannot be decoded"),
        (webp(exif=EXIF.tobytes()), "nothing else"),
        (webp(mode="RGBA"), "nothing else"),
        (webp(save_all=True, append_images=[Image.new("RGB", (256, 192))]), "nothing else"),
        (other("PNG"), "nothing else"),
        (b"", "nothing else"),
        (b"RIFF\x0c\0\0\0WEBPVP8 \0\0\0\0", "cannot be decoded"),
    ],
    ids=["size", "cut", "tail", "broken", "exif", "alpha", "animated", "png", "empty", "head"],
)
def test_a_file_that_is_not_the_picture_of_its_card_is_named(
    gallery: Path, content: bytes, told: str
) -> None:
    path = gallery / f"{ID}.image.webp"
    path.write_bytes(content)
    assert told in next(picture_problems(path, card()))


def test_a_file_that_the_card_does_not_name_is_no_picture(gallery: Path) -> None:
    (gallery / "labels.webp").write_bytes(webp())
    assert "does not name it" in next(picture_problems(gallery / "labels.webp", card()))


def test_a_pull_requests_pictures_and_curves_are_looked_into(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    write_beside(run(pack__images_may_be_shown=True, pack__regions=9))
    add(fork, tmp_path / "results")
    store, name = Store(fork / RECORDS), RunName("brain", "patchcore", 0)
    assert len(list(store.gallery_path(name).iterdir())) == 5
    assert problems(fork) == []
    (store.gallery_path(name) / f"{ID}.map.webp").write_bytes(webp((256, 191)))
    curves = store.curves_path(name)
    forged = json.loads(curves.read_text())
    forged["curves"][0].update(x=[0.0, 0.0, 1.0], y=[0.0, 1.0, 1.0], band_x=[], low=[], high=[])
    curves.write_text(json.dumps(forged))
    row = f"{RECORDS}/brain/patchcore/seed-0"
    first, second = problems(fork)
    assert first.startswith(
        f"{row}.curves.json: roc (image): its area is 1.000, and image_auroc is"
    )
    assert second == (f"{row}.gallery/{ID}.map.webp: it is 191x256, and its card says 192x256")
