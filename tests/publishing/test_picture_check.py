"""Curves and pictures that lie: decoded whole, and held to the record that they stand beside."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.board.curves import read_curves
from harness.board.gallery import CARD
from harness.board.site_data import GalleryCard, Picture, RunCurves
from harness.publishing.picture_check import card_problems, curve_problems, picture_problems
from harness.records.record import Record
from harness.records.store import RunName, Store, read_record
from tests.publishing.pull_requests import RECORDS, add, problems
from tests.record_factory import record
from tests.run_factory import random_scores, save_run

ID = "0123456789abcdef"


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


def picture(**changes: object) -> Picture:
    told = {
        "role": "best", "image": ID, "is_anomalous": True, "subclass": None, "score": 0.5,
        "beyond": 0.1, "localisation": 0.9, "size": (192, 256), "shown": f"{ID}.image.webp",
        "truth": f"{ID}.truth.webp", "map": f"{ID}.map.webp",
    }  # fmt: skip
    return Picture(**(told | changes))


def card(*pictures: Picture, **changes: object) -> GalleryCard:
    told = {"run_key": record().run_key, "low": 0.0, "high": 1.0, "chosen_by": "map", "drawn": 32}
    return GalleryCard(**(told | changes), pictures=pictures or (picture(),))


def webp(size: tuple[int, int] = (256, 192), *, mode: str = "RGB", **options: object) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], len(mode)), np.uint8)
    Image.fromarray(noise, mode).save(content, "WEBP", **options)
    return content.getvalue()


def other(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (256, 192)).save(content, kind)
    return content.getvalue()


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    for kind in ("image", "truth", "map"):
        (tmp_path / f"{ID}.{kind}.webp").write_bytes(webp())
    return tmp_path


def test_a_whole_gallery_has_no_problem(gallery: Path) -> None:
    assert list(card_problems(card(), record(), gallery)) == []
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
    ],
)
def test_a_card_that_the_harness_does_not_write_is_named(
    gallery: Path, change: dict, told: str
) -> None:
    found = list(card_problems(card(picture(**change)), record(), gallery))
    assert told in found[0]


def test_what_a_card_says_of_the_run_is_held_to_its_record(gallery: Path) -> None:
    assert "more anomalous images" in next(card_problems(card(drawn=9999), record(), gallery))
    assert "colours" in next(card_problems(card(low=2.0), record(), gallery))
    no_maps = record(maps=None)
    assert "its run has none" in next(card_problems(card(), no_maps, gallery))
    (gallery / f"{ID}.map.webp").unlink()
    (told,) = card_problems(card(), record(), gallery)
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
    fork: Path, run: Callable[..., Path], gallery: Path, tmp_path: Path
) -> None:
    path = run(pack__images_may_be_shown=True, pack__test_anomalous=64)
    made, store = read_record(path), Store(fork / RECORDS)
    add(fork, tmp_path / "results")
    name = RunName("brain", "patchcore", 0)
    folder = store.gallery_path(name)
    folder.mkdir()
    for each in gallery.glob("*.webp"):
        (folder / each.name).write_bytes(each.read_bytes())
    told = card(run_key=made.run_key, drawn=1)
    (folder / CARD).write_text(json.dumps(as_json(told)))
    assert problems(fork) == []
    (folder / f"{ID}.map.webp").write_bytes(webp((256, 191)))
    curves = store.curves_path(name)
    drawn = json.loads(curves.read_text())
    drawn["curves"][0].update(x=[0.0, 0.0, 1.0], y=[0.0, 1.0, 1.0], band_x=[], low=[], high=[])
    curves.write_text(json.dumps(drawn))
    row = f"{RECORDS}/brain/patchcore/seed-0"
    first, second = problems(fork)
    assert first.startswith(
        f"{row}.curves.json: roc (image): its area is 1.000, and image_auroc is"
    )
    assert second == (f"{row}.gallery/{ID}.map.webp: it is 191x256, and its card says 192x256")


def as_json(told: GalleryCard) -> object:
    from pydantic import TypeAdapter

    return TypeAdapter(GalleryCard).dump_python(told, mode="json")
