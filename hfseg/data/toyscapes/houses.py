"""The houses of toyscapes: their appearance, and how their walls are drawn."""

from dataclasses import dataclass

import numpy as np

from hfseg.data.toyscapes.canvas import BUILDING, COLUMNS, Color, Dice, View, mix, words
from hfseg.data.toyscapes.figures import BLACK, CLOTHES, GLASS, WHITE

LAMPLIGHT = (250, 214, 140)
WALLS = (
    (186, 172, 150), (150, 92, 76), (128, 130, 132), (206, 200, 188), (112, 104, 100),
    (196, 160, 112), (142, 150, 160), (174, 126, 112), (96, 100, 108), (188, 186, 158),
)  # fmt: skip


@dataclass(frozen=True)
class House:
    """The appearance of a building, equal on all its walls; lengths in meters."""

    wall: Color
    tall: float
    storey: float
    bay: float  # from one window to the next
    glazing: float  # fraction of a bay that is window
    shop: Color | None  # the awning over a shop front
    bricks: bool
    seed: int

    @classmethod
    def roll(cls, dice: Dice, low: bool) -> "House":
        return cls(
            wall=mix(dice.pick(WALLS), dice.pick(WALLS), dice.between(0, 40)),
            tall=dice.uniform(4, 8) if low else dice.uniform(8, 21),
            storey=dice.uniform(2.7, 3.5),
            bay=dice.uniform(1.6, 3.4),
            glazing=dice.uniform(0.35, 0.7),
            shop=dice.pick(CLOTHES) if dice.chance(40) else None,
            bricks=dice.chance(40),
            seed=dice.between(0, 4095),
        )


def draw_house(
    view: View, house: House, side: int, facade: float, start: float, end: float, light: int
) -> None:
    """A house whose front is `facade` meters to the left (`side` -1) or right (1) of the camera.

    It reaches from `start` to `end` meters ahead; `light` is the percent of light on its front.
    """
    edges = sorted(view.center + side * view.focal * facade / z for z in (start, end))
    left, right = max(int(edges[0]), 0), min(int(edges[1]) + 1, COLUMNS)
    if left < right:
        columns = np.arange(left, right, dtype=np.float32) + 0.5 - view.center
        z = np.clip(view.focal * facade / np.maximum(side * columns, 1), start, end)
        _draw_wall(view, house, left, right, z, z, light)
    if start > 1.5:  # the side wall, visible if the plot before it is empty
        left, right = sorted(view.point(side * x, 0, start)[0] for x in (facade, facade + 12))
        left, right = max(left, 0), min(right, COLUMNS)
        if left < right:
            columns = np.arange(left, right, dtype=np.float32) + 0.5 - view.center
            z = np.full(right - left, start, np.float32)
            _draw_wall(view, house, left, right, z, columns * (start / view.focal), 88)


def _draw_wall(
    view: View, house: House, left: int, right: int, z: np.ndarray, along: np.ndarray, shade: int
) -> None:
    """A wall of a house over the canvas columns left to right.

    `z` is the distance of the wall at each column, `along` the meters along it; `shade` is the
    percent of light on it.
    """
    top = int(view.horizon - view.focal * (house.tall - view.height) / z.min()) - 1
    bottom = int(view.horizon + view.focal * view.height / z.min()) + 1
    window = view.canvas.window(max(left, 0), top, min(right, COLUMNS), bottom)
    if not window:
        return
    slices, _, ys = window
    scale = (z / view.focal)[None, :]
    up = view.height + (view.horizon - 0.5 - ys).astype(np.float32) * scale  # meters
    inside = (up >= 0) & (up < house.tall)

    bays, storeys = along / house.bay, up / house.storey
    bay, storey = np.floor(bays), np.floor(storeys)
    across, level = (bays - bay)[None, :], storeys - storey
    bay, storey = bay.astype(np.int32)[None, :], storey.astype(np.int32)
    margin = (1 - house.glazing) / 2
    window_columns = (across > margin) & (across < 1 - margin)
    glazed = (level > 0.28) & (level < 0.82) & (up < house.tall - 0.9) & (storey > 0)
    glazed &= window_columns
    number = ((bay * 73 + house.seed + storey * 151) * 40503 >> 5) & 15  # of 16 kinds of window
    panes = np.array([1, 6] * 8, np.uint8)
    panes[: view.light.lit] = 2
    bright = view.light.lit > 5

    rows = np.zeros((2, *up.shape), bool)
    if house.bricks:
        courses = up * 4
        rows[0] = (courses - np.floor(courses) < 0.22) & (z < 22)
    rows[1] = (level < 0.05) & (storey > 0)
    kind = np.where(glazed, panes[number], 3 * rows[0].astype(np.uint8))
    kind[glazed & (abs(across - 0.5) < 0.035)] = 3
    kind[rows[1]] = 4
    if house.shop:
        kind[(up > 0.5) & (up < 2.2) & (across > 0.08) & (across < 0.92)] = 2 if bright else 1
        awning = (up > 2.2) & (up < 2.75)
        stripes = along * 2 - np.floor(along * 2) < 0.5
        kind = np.where(awning, np.where(stripes, 3, 5).astype(np.uint8)[None, :], kind)
    else:
        kind[(up < 2.1) & ((across > 0.3) & (across < 0.62) & (bay % 3 == 0))] = 4
    kind[up < 0.4] = 4
    kind[up > house.tall - 0.45] = 3

    wall, shop, pane = house.wall, house.shop or house.wall, mix(GLASS, WHITE, 25)
    colors = [wall, GLASS, LAMPLIGHT, mix(wall, WHITE, 30), mix(wall, BLACK, 35), shop, pane]
    colors = [c if c == LAMPLIGHT else mix(BLACK, c, shade) for c in colors]
    table = words(view.seen_tables(colors, z, glow=2), BUILDING)
    flat = kind + np.arange(z.size, dtype=np.int32)[None, :] * len(colors)
    view.canvas.stamp(slices, inside, table.reshape(-1).take(flat))
