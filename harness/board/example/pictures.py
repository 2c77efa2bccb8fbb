"""The invented pictures of the example: generated slices, and blurred lesions as heat maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.board import pictures
from harness.board.example.methods import Method, generator
from harness.board.example.runs import PICTURED, WITH_MASKS
from harness.board.site_data import Gallery, GalleryCard, Picture, Role
from harness.records.record import Record, content_hash

ENTRIES_WITH_PICTURES = 8
LESIONS, NORMAL, HARD = 9, 4, 4
LOW, HIGH = 0.0, 1.2


@dataclass(frozen=True)
class _Slice:
    """One generated image, and its files that are the same for every method."""

    name: str
    """Public id."""
    mask: NDArray[np.bool_]
    """Its lesion."""
    files: Mapping[str, bytes]
    """The image, and the image with its contour."""

    @property
    def has_lesion(self) -> bool:
        return bool(self.mask.any())


def galleries(
    records: Sequence[Record], methods: Sequence[Method], cache: Path
) -> Iterator[tuple[str, Gallery]]:
    """By run key, the pictures of the first methods; clearer maps the better the method."""
    slices = _slices(cache)
    lesions, normal = slices[:LESIONS], slices[LESIONS:]
    roles: list[tuple[Role, _Slice]] = [
        ("best", lesions[0]), ("median", lesions[1]), ("worst", lesions[2]), ("false alarm", normal[0]),
        *(("same", each) for each in (*lesions[3:8], *normal[1:3])),
    ]  # fmt: skip
    by_name = {method.name: method for method in methods[:ENTRIES_WITH_PICTURES]}
    for record in records:
        benchmark, method = record.pack.benchmark, by_name.get(record.entry.name)
        if method is None or benchmark not in PICTURED or record.seed or not record.is_ok:
            continue
        order = generator(method.name, benchmark).permutation(LESIONS)[:HARD]
        mine = [*roles, *(("hard", lesions[k]) for k in order)]
        yield record.run_key, _gallery(record, method, mine, has_masks=benchmark in WITH_MASKS)


def _slices(cache: Path) -> list[_Slice]:
    """Lesions first, then normal images."""
    from harness.benchmarks import demo_pack

    pack = demo_pack(cache)
    test = sorted(pack.split("test"), key=lambda sample: content_hash(sample.key))
    chosen = [sample for sample in test if sample.is_anomalous][:LESIONS]
    chosen += [sample for sample in test if not sample.is_anomalous][:NORMAL]
    found = []
    for sample in chosen:
        name, mask = content_hash(sample.key)[7:23], pack.mask(sample)
        image = pictures.shown_image(pack.image(sample))
        files = {f"{name}.image.webp": pictures.webp(image)}
        if sample.is_anomalous:
            marked = pictures.with_contour(image, mask, pictures.ON_IMAGE)
            files[f"{name}.truth.webp"] = pictures.webp(marked)
        found.append(_Slice(name, mask, files))
    return found


def _gallery(
    record: Record, method: Method, roles: Sequence[tuple[Role, _Slice]], *, has_masks: bool
) -> Gallery:
    files: dict[str, bytes] = {}
    shown = []
    for role, each in roles:
        files |= each.files
        map_name = None
        draw = generator(record.run_key, each.name, role)
        heat = _heat(each.mask, method.quality - 0.5 * (role == "worst"), draw)
        if has_masks and method.has_maps and role != "hard":
            map_name = f"{each.name}.map.webp"
            files[map_name] = _drawn(heat, each)
        shown.append(_picture(role, each, heat, map_name, draw, has_masks=has_masks))
    card = GalleryCard(
        run_key=record.run_key,
        low=LOW if has_masks else None,
        high=HIGH if has_masks else None,
        chosen_by="map" if has_masks else "score",
        drawn=32,
        pictures=tuple(shown),
    )
    return Gallery(card, files)


def _picture(
    role: Role,
    each: _Slice,
    heat: NDArray[np.float32],
    map_name: str | None,
    draw: np.random.Generator,
    *,
    has_masks: bool,
) -> Picture:
    from harness.board.gallery import within_image

    return Picture(
        role=role,
        image=each.name,
        is_anomalous=each.has_lesion,
        subclass=None,
        score=float(heat.max()),
        beyond=float(draw.uniform(0, 0.7)),
        localisation=within_image(heat, each.mask) if map_name else None,
        size=pictures.fitted_size(*each.mask.shape),
        shown=f"{each.name}.image.webp",
        truth=f"{each.name}.truth.webp" if has_masks and each.has_lesion else None,
        map=map_name,
    )


def _drawn(heat: NDArray[np.float32], each: _Slice) -> bytes:
    coloured = pictures.heat_map(pictures.reduced(heat), LOW, HIGH)
    if each.has_lesion:
        coloured = pictures.with_contour(coloured, each.mask, pictures.ON_MAP)
    return pictures.webp(coloured)


def _heat(
    mask: NDArray[np.bool_], quality: float, draw: np.random.Generator
) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(mask.astype(np.float32), 3.0)
    noise = gaussian_filter(draw.normal(0, 1, mask.shape), 5.0)
    noise *= 0.35 / max(float(noise.std()), 1e-6)
    heat = max(quality, 0.1) * blurred + (1.15 - quality) * np.abs(noise)
    return np.asarray(heat, np.float32)
