"""Generated head slices: anatomy that varies by patient and depth, and lesions with exact masks.

Only operations that IEEE 754 rounds exactly are used (+ - * / sqrt, comparisons, floor, whole
numbers), one element at a time: never a sum over an array, a transcendental function, a library
filter or numpy's random distributions. Random bits come from SHAKE-256. So neither the platform,
nor its SIMD width, nor the numpy version can change a pixel.

Coordinates run from -1 to 1 over the image, x to the right, y down; grey values from 0 to 255.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

SIZE = 128
# A pixel is lesion where the lesion changes its value by at least this, before noise.
MASK_LEVELS = 4.0
_MIN_LESION_PIXELS = 16

Field = npt.NDArray[np.float64]
_Number = TypeVar("_Number", float, Field)

_AXIS = (2.0 * np.arange(SIZE) + 1.0) / SIZE - 1.0
_X = np.repeat(_AXIS[np.newaxis, :], SIZE, axis=0)  # (H, W)
_Y = np.repeat(_AXIS[:, np.newaxis], SIZE, axis=1)  # (H, W)


@dataclass(frozen=True)
class Drawing:
    """One generated slice."""

    pixels: npt.NDArray[np.uint8]
    """[128, 128] grey values."""
    mask: npt.NDArray[np.bool_]
    """[128, 128], True where a lesion changes the image by `MASK_LEVELS` or more."""


class Draws:
    """Random numbers by name: the same name always gives the same numbers.

    Args:
        seed: any text.
    """

    def __init__(self, seed: str) -> None:
        self.name = seed

    def uniform(self, name: str, low: float, high: float) -> float:
        """One number in [low, high)."""
        return low + (high - low) * float(self._unit(name, 1)[0])

    def chance(self, name: str, probability: float) -> bool:
        """True with this probability."""
        return self.uniform(name, 0.0, 1.0) < probability

    def field(self, name: str, *shape: int) -> Field:
        """Independent numbers in [-1, 1)."""
        count = 1
        for side in shape:
            count *= side
        return (2.0 * self._unit(name, count) - 1.0).reshape(shape)

    def bell(self, name: str) -> Field:
        """[128, 128] numbers of about normal distribution, mean 0, variance 1."""
        parts = self.field(name, 4, SIZE, SIZE)
        # A uniform on [-1, 1) has variance 1/3, four of them 4/3.
        total: Field = (parts[0] + parts[1]) + (parts[2] + parts[3])
        return 0.8660254037844386 * total

    def _unit(self, name: str, count: int) -> Field:
        """Numbers in [0, 1), multiples of 2**-16."""
        raw = hashlib.shake_256(f"{self.name}/{name}".encode()).digest(2 * count)
        return np.frombuffer(raw, dtype="<u2").astype(np.float64) / 65536.0


def clouds(draws: Draws, name: str, cells: int, depth: float = 0.0) -> Field:
    """Smooth noise in about [-1, 1] of `cells` humps across; morphs as `depth` grows."""
    layer = math.floor(depth)
    near = _cloud(draws.field(f"{name}.{layer}", cells + 2, cells + 2), cells)
    far = _cloud(draws.field(f"{name}.{layer + 1}", cells + 2, cells + 2), cells)
    weight = _fade(depth - layer)
    return near + (far - near) * weight


def _cloud(lattice: Field, cells: int) -> Field:
    position = (_AXIS + 1.0) * (0.5 * cells)
    low = np.floor(position).astype(np.intp)
    weight = _fade(position - low)
    rows = lattice[low] + (lattice[low + 1] - lattice[low]) * weight[:, np.newaxis]
    return rows[:, low] + (rows[:, low + 1] - rows[:, low]) * weight[np.newaxis, :]


def _fade(t: _Number) -> _Number:
    """Perlin's quintic: 0 to 1 with flat ends."""
    return t * t * t * (t * (t * 6.0 - 15.0) + 10.0)


def _ramp(distance: Field, width: float) -> Field:
    """0 where `distance` < -width/2, 1 where it is > width/2, smooth between."""
    return _fade(np.clip(distance / width + 0.5, 0.0, 1.0))


def _near_middle(depth: float, reach: float) -> float:
    """1 for slices around the middle of the head, 0 beyond `reach`."""
    return _fade(min(max((reach - abs(depth)) / 0.3 + 0.5, 0.0), 1.0))


def _blurred(image: Field) -> Field:
    """One pass of the kernel 1/4 1/2 1/4 along both axes, edges repeated."""
    padded = np.pad(image, 1, mode="edge")
    rows = (padded[:-2] + padded[2:]) * 0.25 + padded[1:-1] * 0.5
    return (rows[:, :-2] + rows[:, 2:]) * 0.25 + rows[:, 1:-1] * 0.5


def _ellipse(x: Field, y: Field, half_width: float | Field, half_height: float) -> Field:
    """Distance from the centre, 1 on the outline."""
    u, v = x / half_width, y / half_height
    return np.sqrt(u * u + v * v)


@dataclass(frozen=True)
class _Frame:
    """A slice's own coordinates and what lies where."""

    x: Field
    """To the right of the midline, warped."""
    y: Field
    """Towards the back, warped."""
    radius: Field
    """0 at the centre, 1 on the skin."""
    thickness: Field
    """Of the skull, varying along it."""
    depth_in_brain: Field
    """Positive inside the brain."""
    folds: Field
    """Distance to the nearest sulcus, in noise units."""
    relief: Field
    """Coarse noise that lets sulci be long here and short there."""


class Head:
    """One patient: the anatomy that all slices share.

    Args:
        seed: names the patient.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._draws = draws = Draws(seed)
        one = draws.uniform
        self._half_width, self._half_height = one("width", 0.76, 0.83), one("height", 0.90, 0.97)
        self._centre = one("centre x", -0.03, 0.03), one("centre y", -0.02, 0.02)
        self._tilt = one("tilt", -0.045, 0.045)  # tangent of half the angle: at most 5 degrees
        self._white = one("white matter", 112.0, 132.0)
        self._grey = self._white - one("grey matter", 20.0, 34.0)
        self._fluid = one("fluid", 26.0, 40.0)
        self._scalp, self._marrow = one("scalp", 58.0, 84.0), one("marrow", 10.0, 26.0)
        self._ventricle = one("ventricle x", 0.045, 0.085), one("ventricle y", 0.17, 0.27)
        self._ventricle_apart = one("ventricle apart", 0.085, 0.12)
        self._asymmetry = one("asymmetry", 0.8, 1.25)
        self._shift = one("shift", -0.06, 0.02)
        self._atrophy = one("atrophy", 0.0, 1.0)
        self._gain, self._noise = one("gain", 0.92, 1.08), one("noise", 2.0, 3.2)
        self._phase = one("phase", 0.0, 1.0)

    def draw(self, number: int, depth: float, *, is_anomalous: bool) -> Drawing:
        """Draw a slice.

        Args:
            number: names the slice's own noise, vessels and lesions.
            depth: -1 to 1, from the skull base to the vertex.
            is_anomalous: whether it has lesions.
        """
        draws = Draws(f"{self._seed}:{number}")
        frame = self._frame(depth)
        ventricles = self._ventricles(frame, depth)
        tissue, brain, fluid = self._brain(frame, depth, ventricles)
        healthy = self._with_spots(self._with_skull(frame, tissue), frame, brain, draws)
        image = healthy
        mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
        if is_anomalous:
            room = brain * (1.0 - fluid) * _ramp(frame.depth_in_brain - 0.03, 0.06)
            change = draw_lesions(draws, room, frame.x, frame.y)
            image = healthy + change
            mask = np.abs(change) >= MASK_LEVELS
        return Drawing(self._acquired(image, draws), mask)

    def _clouds(self, name: str, cells: int, depth: float, speed: float = 1.0) -> Field:
        return clouds(self._draws, name, cells, (depth + 2.0 + self._phase) * speed)

    def _frame(self, depth: float) -> _Frame:
        scale = 1.0 - 0.13 * depth * depth
        norm = 1.0 + self._tilt * self._tilt
        cosine, sine = (1.0 - self._tilt * self._tilt) / norm, 2.0 * self._tilt / norm
        right, down = _X - self._centre[0], _Y - self._centre[1]
        x = (right * cosine - down * sine) / scale + 0.035 * self._clouds("warp x", 4, depth)
        y = (right * sine + down * cosine) / scale + 0.035 * self._clouds("warp y", 4, depth)
        # Wider at the back than at the front.
        radius = _ellipse(x, y, self._half_width, self._half_height) / (1.0 + 0.06 * y)
        thickness = 0.0135 + 0.0045 * self._clouds("skull", 5, depth)
        relief = self._clouds("relief", 9, depth, 1.2)
        lines = self._clouds("folds", 15, depth, 1.5) + 0.5 * self._clouds(
            "fine folds", 26, depth, 2.0
        )
        return _Frame(
            x=x,
            y=y,
            radius=radius,
            thickness=thickness,
            depth_in_brain=0.843 - thickness - radius,
            folds=np.abs(lines + 0.35 * relief),
            relief=relief,
        )

    def _ventricles(self, frame: _Frame, depth: float) -> Field:
        """How much of each pixel is ventricle: two horns, and the third between them."""
        size = 1.0 - 0.35 * abs(depth) + 0.15 * self._atrophy
        y = frame.y - self._shift
        away = self._ventricle_apart + 0.9 * y * y + 0.1 * np.maximum(y, 0.0) + 0.02 * depth
        taper = 1.0 - 0.45 * np.minimum(np.abs(y) / 0.3, 1.0)
        filled = np.zeros_like(y)
        for side, width in ((-1.0, 1.0), (1.0, self._asymmetry)):
            wobble = 0.18 * self._clouds(f"horn {side}", 8, depth)
            half_width = self._ventricle[0] * size * width * taper
            distance = _ellipse(frame.x - side * away, y, half_width, self._ventricle[1] * size)
            filled = np.maximum(filled, _ramp(1.0 + wobble - distance, 0.45))
        third = _ellipse(frame.x, frame.y - 0.17 - self._shift, 0.022, 0.09)
        return np.maximum(filled, 0.9 * _ramp(1.0 - third, 0.5) * _near_middle(depth, 0.5))

    def _brain(self, frame: _Frame, depth: float, ventricles: Field) -> tuple[Field, Field, Field]:
        """Grey values inside the skull; how much of each pixel is brain; how much of it fluid."""
        brain = _ramp(frame.depth_in_brain, 0.035)
        wiggle = 0.012 * self._clouds("midline", 7, depth) + 0.006 * self._clouds(
            "midline 2", 15, depth
        )
        off_midline = np.abs(frame.x + wiggle)
        ends = _ramp(np.abs(frame.y + 0.02) - 0.26, 0.08)  # the fissure is open at front and back
        fissure = _ramp(0.010 + 0.006 * self._atrophy - off_midline, 0.018) * ends
        reach = _ramp(0.17 + 0.06 * frame.relief - frame.depth_in_brain, 0.06)
        sulci = _ramp(0.09 + 0.09 * self._atrophy - frame.folds, 0.16) * reach
        fluid = np.maximum(ventricles * brain, 0.6 * np.maximum(fissure, sulci))

        grey = self._grey_matter(frame, depth, off_midline)
        tissue = self._white + (self._grey - self._white) * grey
        tissue = tissue + 2.5 * self._clouds("grain", 30, depth, 2.0)
        tissue = tissue + 3.0 * self._clouds("patches", 12, depth)
        inside = tissue + (self._fluid - tissue) * fluid
        around = 0.75 * self._fluid + 6.0 * self._clouds("subdural", 14, depth)
        return around + (inside - around) * brain, brain, fluid

    def _grey_matter(self, frame: _Frame, depth: float, off_midline: Field) -> Field:
        """How much of each pixel is grey matter: the ribbon along all surfaces, and the nuclei."""
        deep = np.maximum(frame.depth_in_brain - 0.17, 0.0)
        ribbon = np.minimum(frame.depth_in_brain, 0.02 + 0.16 * frame.folds + 1.6 * deep)
        closed = _ramp(0.28 - np.abs(frame.y + 0.02), 0.1)
        ribbon = np.minimum(ribbon, 1.1 * np.maximum(off_midline - 0.008, 0.0) + 0.3 * closed)
        grey = _ramp(0.070 + 0.012 * self._clouds("ribbon", 7, depth) - ribbon, 0.05)
        seen_basal = 0.85 * _near_middle(depth, 0.75)
        seen_thalamus = 0.8 * _near_middle(depth, 0.6)
        for side in (-1.0, 1.0):
            y = (frame.y + 0.03 - 0.5 * self._shift) / 0.15
            x = (frame.x - side * (0.235 + 0.01 * depth)) / 0.085 + side * 0.35 * y
            basal = _ramp(1.0 + 0.25 * frame.relief - _ellipse(x, y, 1.0, 1.0), 0.5)
            x, y = frame.x - side * 0.085, frame.y - 0.17 - self._shift
            thalamus = _ramp(1.0 - _ellipse(x, y, 0.07, 0.10), 0.4)
            grey = np.maximum(grey, np.maximum(basal * seen_basal, thalamus * seen_thalamus))
        return grey

    def _with_skull(self, frame: _Frame, inside: Field) -> Field:
        """The slice with bone, marrow, scalp and air around the brain."""
        edge = 0.035
        marrow = self._marrow * _ramp(0.016 - np.abs(frame.radius - 0.915 + frame.thickness), 0.03)
        bone = 9.0 + marrow
        image = bone + (inside - bone) * _ramp(0.875 - frame.thickness - frame.radius, edge)
        scalp = self._scalp * (0.8 + 0.3 * self._clouds("scalp", 10, 0.0))
        image = scalp + (image - scalp) * _ramp(0.955 - frame.thickness - frame.radius, edge)
        return 3.0 + (image - 3.0) * _ramp(1.0 - frame.radius, edge)

    def _with_spots(self, image: Field, frame: _Frame, brain: Field, draws: Draws) -> Field:
        """Small vessels: bright spots that are normal, so that a bright spot proves nothing."""
        for number in range(6):
            if draws.chance(f"vessel {number}", 0.6):
                x = frame.x - draws.uniform(f"vessel x {number}", -0.5, 0.5)
                y = frame.y - draws.uniform(f"vessel y {number}", -0.6, 0.6)
                radius = draws.uniform(f"vessel size {number}", 0.012, 0.028)
                spot = _ramp(radius - _ellipse(x, y, 1.0, 1.0), 0.02)
                image = image + draws.uniform(f"vessel value {number}", 25.0, 60.0) * spot * brain
        return image

    def _acquired(self, image: Field, draws: Draws) -> npt.NDArray[np.uint8]:
        """What the scanner makes of it: coil shading, blur, noise (white and correlated), bytes."""
        shading = (
            1.0 + 0.10 * clouds(self._draws, "coil", 2) + 0.06 * clouds(self._draws, "coil 2", 3)
        )
        image = image * shading * self._gain
        image = 0.5 * image + 0.5 * _blurred(image)
        noise = 0.6 * draws.bell("noise") + 1.1 * _blurred(draws.bell("soft noise"))
        # A magnitude image: noise never goes below zero.
        levels = np.floor(np.abs(image + self._noise * noise) + 0.5)
        return np.minimum(levels, 255.0).astype(np.uint8)


def draw_lesions(draws: Draws, room: Field, x: Field, y: Field) -> Field:
    """What one to three lesions add to the grey values, [128, 128].

    Each has an irregular outline, an edge from sharp to soft and an inner texture; it is brighter
    or darker than the tissue all over (so its mask has no holes), half of them with a paler core.

    Args:
        draws: the slice's own random numbers.
        room: how much of each pixel a lesion may take, 0 to 1.
        x: the slice's coordinates, [128, 128].
        y: the same.
    """
    places = np.flatnonzero((room > 0.95).ravel())
    count = 1 + int(draws.chance("second lesion", 0.35)) + int(draws.chance("third lesion", 0.2))
    change = np.zeros_like(room)
    for number in range(count):
        for attempt in range(20):
            one = Draws(f"{draws.name}/lesion {number}.{attempt}")
            added = _lesion(one, places, x, y) * room
            if np.count_nonzero(np.abs(added) >= MASK_LEVELS) >= _MIN_LESION_PIXELS:
                change = np.where(np.abs(added) > np.abs(change), added, change)
                break
    return change


def _lesion(draws: Draws, places: npt.NDArray[np.intp], x: Field, y: Field) -> Field:
    place = places[int(draws.uniform("place", 0.0, 1.0) * len(places))]
    across, down = x - x.ravel()[place], y - y.ravel()[place]
    # The square of a uniform: many small lesions, few large ones.
    size = draws.uniform("size", 0.0, 1.0)
    radius = 0.10 + 0.22 * size * size
    stretch = draws.uniform("stretch", 0.75, 1.33)
    ragged = 0.45 * clouds(draws, "outline", 9) + 0.2 * clouds(draws, "fine outline", 20)
    distance = _ellipse(across, down, stretch, 1.0 / stretch) / radius + ragged
    softness = draws.uniform("softness", 0.25, 0.9)
    cover = _ramp(1.0 - distance, softness)
    if draws.chance("core", 0.5):
        cover = cover * (1.0 - draws.uniform("pale", 0.3, 0.6) * _ramp(0.55 - distance, 0.4))
    texture = 1.0 + 0.25 * clouds(draws, "texture", 22)
    strength = draws.uniform("strength", 26.0, 62.0)
    sign = 1.0 if draws.chance("bright", 0.5) else -1.0
    return sign * strength * texture * cover
