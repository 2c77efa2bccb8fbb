"""Galleries as the harness writes them, or with one thing changed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from harness.board.gallery import CARD
from harness.board.site_data import GalleryCard, Picture
from harness.metrics import Evidence
from harness.metrics.operating_points import operating_points
from harness.records.store import evidence_of, read_record
from tests.record_factory import record

ID = "0123456789abcdef"


def picture(**changes: object) -> Picture:
    told = {
        "role": "best", "image": ID, "is_anomalous": True, "subclass": None, "score": 0.5,
        "beyond": 0.1, "localisation": 0.9, "size": (192, 256), "shown": f"{ID}.image.webp",
        "truth": f"{ID}.truth.webp", "map": f"{ID}.map.webp", "lesion": 0.03, "is_called": True,
        "found": 0.7, "outlined": f"{ID}.outlined.webp",
    }  # fmt: skip
    return Picture(**(told | changes))


def card(*pictures: Picture, **changes: object) -> GalleryCard:
    told = {
        "run_key": record().run_key, "low": 0.0, "high": 1.0, "chosen_by": "map", "drawn": 32,
        "threshold": 0.5, "threshold_from": "test", "map_threshold": 0.4,
    }  # fmt: skip
    return GalleryCard(**(told | changes), pictures=pictures or (picture(),))


def webp(size: tuple[int, int] = (256, 192), *, mode: str = "RGB", **options: object) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], len(mode)), np.uint8)
    Image.fromarray(noise, mode).save(content, "WEBP", **options)
    return content.getvalue()


def write_files(folder: Path) -> None:
    """The files that `picture` names."""
    for kind in ("image", "truth", "map", "outlined"):
        (folder / f"{ID}.{kind}.webp").write_bytes(webp())


def write_beside(path: Path, *, is_local: bool = False) -> None:
    """A gallery beside a record, at the thresholds of its evidence."""
    made = read_record(path)
    points = operating_points(Evidence.load(evidence_of(path, made)))
    told = card(
        picture(is_called=points.image is not None and points.image <= 0.5),
        run_key=made.run_key, drawn=1, is_local=is_local,
        threshold=points.image, map_threshold=points.pixel,
    )  # fmt: skip
    folder = path.with_suffix(".gallery")
    folder.mkdir()
    write_files(folder)
    content = TypeAdapter(GalleryCard).dump_python(told, mode="json")
    (folder / CARD).write_text(json.dumps(content))
