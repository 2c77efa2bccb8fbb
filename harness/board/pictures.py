"""Pictures of images, lesion contours and heat maps, of one image all in one size, as WebP.

The colour scale is viridis (S. van der Walt and N. Smith, CC0), which stays in order for
colour-blind eyes and in grey. Trap: a heat map's scale is that of the whole run, never of
one image, or a quiet image would look like an alarmed one.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from harness.benchmarks.pixels import Mask
from harness.board.outlines import outlined
from harness.metrics.scorer import Map

Rgb = NDArray[np.uint8]

LEAST_SIDE, MOST_SIDE = 256, 512
"""The longer side of a picture: the image's own, but no less and no more."""
QUALITY = 85
# viridis at 0, 1/8, … 1; in between it is linear. The site's colour bar has the same stops.
SCALE = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
    (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
)  # fmt: skip
ON_IMAGE = (255, 176, 0)
ON_MAP = (255, 255, 255)
HALO = (0, 0, 0)


def fitted_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture of this image is shown."""
    longer = max(height, width)
    scale = min(max(longer, LEAST_SIDE), MOST_SIDE) / longer
    return max(1, round(height * scale)), max(1, round(width * scale))


def reduced(anomaly_map: Map) -> NDArray[np.float32]:
    """A map at the size of its picture: float32, each value the mean of the area that it covers."""
    from PIL import Image

    height, width = fitted_size(*anomaly_map.shape)
    image = Image.fromarray(np.ascontiguousarray(anomaly_map, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32)


def shown_image(image: Rgb) -> Rgb:
    """An image ([H, W] or [H, W, 3]) at the size of its picture, uint8 [h, w, 3]."""
    from PIL import Image

    height, width = fitted_size(*image.shape[:2])
    picture = Image.fromarray(image).convert("RGB")
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), np.uint8)


def shown_mask(mask: Mask) -> Mask:
    """A native mask [H, W] at the size of its picture; a lesion stays, however small."""
    from PIL import Image

    height, width = fitted_size(*mask.shape)
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    inside: Mask = resized >= 128
    if mask.any() and not inside.any():  # a lesion of less than half a shown pixel
        inside = resized > 0
    return inside


def heat_map(values: Map, low: float, high: float) -> Rgb:
    """A map at its picture's size in colours: `low` is the dark end, `high` the bright one."""
    span = high - low
    share = (
        np.clip((values.astype(np.float64) - low) / span, 0.0, 1.0) if span > 0 else values * 0.0
    )
    stops = np.linspace(0.0, 1.0, len(SCALE))
    channels = [np.interp(share, stops, [stop[c] for stop in SCALE]) for c in range(3)]
    colours: Rgb = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def with_contour(picture: Rgb, mask: Mask, colour: tuple[int, int, int]) -> Rgb:
    """A picture with the outline of its image's native mask, with a dark halo so that it shows on
    any ground."""
    inside = left = shown_mask(mask)
    for _ in range(max(3, round(max(inside.shape) / 128))):
        left = _eroded(left)
    line = inside & ~left
    halo = _grown(line) & ~line
    drawn = picture.copy()
    drawn[halo] = HALO
    drawn[line] = colour
    return drawn


def of_one_image(
    image: NDArray[np.uint8],
    mask: Mask | None,
    values: NDArray[np.float32] | None,
    scale: tuple[float, float],
    threshold: float | None,
) -> dict[str, Rgb]:
    """Every picture of one image by what it shows: `image`, `truth`, `map` and `outlined`.

    Args:
        image: uint8 [H, W] or [H, W, 3].
        mask: [H, W], empty for a normal image; None where the pack has no masks.
        values: its map at the size of its picture, as `reduced` gives it; None without one.
        scale: smallest and largest value of the run's maps.
        threshold: map value from which a pixel counts as found; None without one.
    """
    shown = shown_image(image)
    drawn = {"image": shown}
    has_lesion = mask is not None and bool(mask.any())
    if mask is not None and has_lesion:
        drawn["truth"] = with_contour(shown, mask, ON_IMAGE)
    if values is not None:
        heat = heat_map(values, *scale)
        drawn["map"] = with_contour(heat, mask, ON_MAP) if mask is not None and has_lesion else heat
        if mask is not None and threshold is not None:
            drawn["outlined"] = outlined(shown, shown_mask(mask), values >= threshold)
    return drawn


def webp(picture: Rgb) -> bytes:
    """The picture as a WebP file."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", quality=QUALITY, method=4)
    return content.getvalue()


def _eroded(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    return (
        mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    )  # fmt: skip


def _grown(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    return (
        mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    )  # fmt: skip
