"""Draws shapes as pixels: one canvas with color and class.

Shapes are drawn at twice the final size with hard edges, color and class together. The image is the
mean of each 2 x 2 block, so its edges are smooth; the mask is one sample of each block, so it
contains no class that was not drawn.

The pixels are the same on every machine because all code uses integers and the four operations that
IEEE 754 rounds exactly: no sine, no exponential, no floating-point sum.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HEIGHT, WIDTH = 160, 256
SCALE = 2  # canvas pixels for one pixel of the image
ROWS, COLUMNS = HEIGHT * SCALE, WIDTH * SCALE

NAMES = ("sky", "building", "road", "pavement", "tree", "car", "person", "pole")
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, POLE = range(len(NAMES))
IGNORE = 255

Color = tuple[int, int, int]
Point = tuple[int, int]  # x, y in canvas pixels


class Dice:
    """Random numbers from an explicit integer seed, the same on every machine."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._pool: list[int] = []

    def _next(self) -> int:
        if not self._pool:  # in bulk: one call of numpy takes as long as 100 of these numbers
            self._pool = self._generator.integers(0, 2**31, 512).tolist()
        return self._pool.pop()

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + self._next() % (high - low + 1)

    def uniform(self, low: float, high: float) -> float:
        """A real number from low up to, not including, high."""
        return low + (high - low) * (self._next() / 2**31)

    def chance(self, percent: int) -> bool:
        """True with a probability of `percent` / 100."""
        return self._next() % 100 < percent

    def pick(self, options: Sequence):
        """One of the options."""
        return options[self._next() % len(options)]

    def grain(self, shape: tuple[int, ...]) -> np.ndarray:
        """White noise, uint8."""
        return self._generator.integers(0, 256, shape, dtype=np.uint8)

    def clouds(self, cell: int, rows: int = ROWS) -> np.ndarray:
        """Smooth noise, (rows, COLUMNS) int16 from 0 to 255, in blobs of `cell` (at most 64)."""
        lattice = self.grain((rows // cell + 2, COLUMNS // cell + 2)).astype(np.int16)
        for axis, size in ((0, rows), (1, COLUMNS)):
            position = np.arange(size, dtype=np.int16)
            left = np.take(lattice, position // cell, axis)
            right = np.take(lattice, position // cell + 1, axis)
            weight = (position % cell).reshape((-1, 1) if axis == 0 else (1, -1))
            lattice = left + (right - left) * weight // np.int16(cell)
        return lattice


def mix(first: Color, second: Color, percent: int) -> Color:
    """`first` with `percent` of `second` in it."""
    (r, g, b), (r2, g2, b2), rest = first, second, 100 - percent
    return (
        (r * rest + r2 * percent) // 100,
        (g * rest + g2 * percent) // 100,
        (b * rest + b2 * percent) // 100,
    )


def word(color: Color, label: int) -> np.uint32:
    """A color and a class as one pixel of a canvas."""
    return np.uint32(int.from_bytes((*color, label), sys.byteorder))


def words(colors: np.ndarray, label: int) -> np.ndarray:
    """Colors (..., 3), 0 to 255, and a class as pixels (...) uint32 of a canvas."""
    pixels = np.empty((*colors.shape[:-1], 4), np.uint8)
    pixels[..., :3] = colors
    pixels[..., 3] = label
    return pixels.view(np.uint32)[..., 0]


class Canvas:
    """The drawing, (320, 512): `rgb` and `ids` uint8, two views of one word for each pixel.

    The four bytes of a `words` pixel are red, green, blue and the class, so one write sets both.
    """

    def __init__(self) -> None:
        pixels = np.zeros((ROWS, COLUMNS, 4), np.uint8)
        self.words = pixels.view(np.uint32)[..., 0]
        self.rgb, self.ids = pixels[..., :3], pixels[..., 3]

    def window(self, x0: int, y0: int, x1: int, y1: int):
        """The part of a box inside the canvas: its slices, its x as a row, its y as a column.

        None if the box is outside the canvas.
        """
        x0, x1, y0, y1 = max(x0, 0), min(x1, COLUMNS), max(y0, 0), min(y1, ROWS)
        if x0 >= x1 or y0 >= y1:
            return None
        slices = (slice(y0, y1), slice(x0, x1))
        return slices, np.arange(x0, x1)[None, :], np.arange(y0, y1)[:, None]

    def stamp(self, slices, inside: np.ndarray, pixels) -> None:
        """Set what is `inside` to one word, or to a word for each pixel."""
        np.copyto(self.words[slices], pixels, where=inside)

    def rectangle(self, x0: int, y0: int, x1: int, y1: int, color: Color, label: int) -> None:
        x0, x1, y0, y1 = max(x0, 0), max(x1, 0), max(y0, 0), max(y1, 0)
        self.words[y0:y1, x0:x1] = word(color, label)

    def ellipse(self, x: int, y: int, rx: int, ry: int, color: Color, label: int) -> None:
        rx, ry = max(rx, 1), max(ry, 1)
        window = self.window(x - rx, y - ry, x + rx + 1, y + ry + 1)
        if window:
            slices, xs, ys = window
            inside = ((xs - x) * ry) ** 2 + ((ys - y) * rx) ** 2 <= (rx * ry) ** 2
            self.stamp(slices, inside, word(color, label))

    def polygon(self, points: Sequence[Point], color: Color, label: int) -> None:
        """A convex polygon, its corners in either direction."""
        columns, rows = [p[0] for p in points], [p[1] for p in points]
        window = self.window(min(columns), min(rows), max(columns) + 1, max(rows) + 1)
        if not window:
            return
        slices, xs, ys = window
        corners = np.array([*points, points[0]])
        (ax, ay), (dx, dy) = corners[:-1].T, np.diff(corners, axis=0).T
        if (dy * ax - dx * ay).sum() < 0:  # corners in the other direction
            dx, dy = -dx, -dy
        down, across = dx[:, None] * (ys.T - ay[:, None]), dy[:, None] * (xs - ax[:, None])
        inside = (down[:, :, None] >= across[:, None, :]).all(axis=0)
        self.stamp(slices, inside, word(color, label))

    def shadow(self, x: int, y: int, rx: int, ry: int, keep: int) -> None:
        """Darken the ground inside an ellipse to `keep` percent."""
        rx, ry = max(rx, 1), max(ry, 1)
        window = self.window(x - rx, y - ry, x + rx + 1, y + ry + 1)
        if window:
            slices, xs, ys = window
            inside = ((xs - x) * ry) ** 2 + ((ys - y) * rx) ** 2 <= (rx * ry) ** 2
            inside &= (self.ids[slices] == ROAD) | (self.ids[slices] == PAVEMENT)
            dark = self.rgb[slices].astype(np.uint16) * (keep * 256 // 100) >> 8
            np.copyto(self.rgb[slices], dark.astype(np.uint8), where=inside[..., None])

    def develop(self) -> tuple[np.ndarray, np.ndarray]:
        """Image, (160, 256, 3) int16 means of 2 x 2 blocks, and mask, (160, 256) uint8."""
        pairs = self.rgb[::2].astype(np.int16) + self.rgb[1::2]
        return (pairs[:, ::2] + pairs[:, 1::2]) >> 2, self.ids[1::2, 1::2].copy()


@dataclass(frozen=True)
class Light:
    """Time of day and weather."""

    zenith: Color
    horizon: Color  # the color of the sky low down, and of the haze
    tint: Color  # what is left of each channel, in percent
    haze: int  # meters at which half of a thing's color is haze
    shade: int = 100  # percent of the light that is left in a shadow
    lit: int = 0  # how many of 16 windows are lit
    noise: int = 4  # strength of the sensor's noise
    rain: bool = False


@dataclass
class View:
    """A camera in a street: meters become canvas pixels, and colors become light seen from here.

    X is meters to the right of the camera, Y meters above the ground, Z meters ahead.
    """

    canvas: Canvas
    light: Light
    center: int  # canvas column of the vanishing point
    horizon: int  # canvas row of the horizon
    focal: int  # focal length in canvas pixels
    height: float  # of the camera, in meters

    def point(self, x: float, y: float, z: float) -> Point:
        """The canvas pixel of a point in the world."""
        scale = self.focal / z
        return int(self.center + x * scale), int(self.horizon + (self.height - y) * scale)

    def size(self, meters: float, z: float) -> int:
        """How many canvas pixels a length has at a distance."""
        return int(self.focal * meters / z)

    def seen(self, color: Color, z: float, glow: bool = False) -> Color:
        """A color as it arrives: tinted by the light (unless it glows), paled by the haze."""
        if not glow:
            (r, g, b), (tr, tg, tb) = color, self.light.tint
            color = min(r * tr // 100, 255), min(g * tg // 100, 255), min(b * tb // 100, 255)
        return mix(color, self.light.horizon, int(100 * z / (z + self.light.haze)))

    def seen_tables(self, colors: Sequence[Color], z: np.ndarray, glow: int = -1) -> np.ndarray:
        """`seen` for a set of colors at many distances: (len(z), len(colors), 3) int16.

        The haze of a wall depends on the column only, that of the ground on the row only, so a
        surface is painted by looking its pixels up here. `glow` is the position of one that glows.
        """
        tinted = [self.seen(c, 0, glow=number == glow) for number, c in enumerate(colors)]
        share = (256 * z / (z + self.light.haze)).astype(np.int32)[:, None, None]
        table = np.array(tinted, np.int32) * (256 - share) + np.array(self.light.horizon) * share
        return (table >> 8).astype(np.int16)

    def quad(self, corners, z: float, color: Color, label: int, glow: bool = False) -> None:
        """A convex patch with (X, Y, Z) corners, colored as seen at distance `z`."""
        self.canvas.polygon([self.point(*c) for c in corners], self.seen(color, z, glow), label)
