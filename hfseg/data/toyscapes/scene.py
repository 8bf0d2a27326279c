"""Composes a scene of toyscapes: light and camera, the street, its objects, and the sensor."""

from collections.abc import Callable
from functools import partial

import numpy as np

from hfseg.data.toyscapes.canvas import (
    BUILDING,
    COLUMNS,
    IGNORE,
    PAVEMENT,
    ROAD,
    ROWS,
    SKY,
    Canvas,
    Dice,
    Light,
    View,
    mix,
    words,
)
from hfseg.data.toyscapes.figures import (
    BLACK,
    CAR_PAINTS,
    WHITE,
    draw_car,
    draw_crossing_car,
    draw_person,
    draw_pole,
    draw_tree,
)
from hfseg.data.toyscapes.houses import LAMPLIGHT, WALLS, House, draw_house

LIGHTS = (
    Light((88, 148, 214), (196, 218, 236), (100, 100, 98), haze=260, shade=58),  # noon
    Light((110, 160, 214), (226, 222, 206), (102, 97, 88), haze=160, shade=62),  # morning
    Light((92, 96, 146), (246, 176, 116), (98, 80, 70), haze=180, shade=64, lit=4),  # evening
    Light((30, 36, 74), (122, 92, 118), (60, 60, 76), haze=200, lit=9, noise=7),  # dusk
    Light((168, 174, 182), (206, 208, 210), (88, 90, 93), haze=150, lit=1),  # overcast
    Light((186, 190, 192), (198, 202, 204), (86, 88, 90), haze=42, lit=3, noise=6),  # fog
    Light((116, 124, 136), (164, 172, 180), (68, 72, 78), haze=70, lit=6, noise=7, rain=True),
)
ASPHALTS = ((86, 86, 92), (102, 100, 100), (72, 74, 80), (110, 107, 102))
SLABS = ((184, 168, 148), (174, 144, 122), (190, 184, 170))
FAR = 75.0  # meters to the end of the street


def _fraction(values: np.ndarray) -> np.ndarray:
    """The fractional part of each value."""
    return values - np.floor(values)


class Scene:
    """The random choices of a scene; `draw` draws it from far to near."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        # every second scene has plain daylight
        self.light = dice.pick(LIGHTS[:2] if dice.chance(35) else LIGHTS)
        self.canvas = Canvas()
        self.view = View(
            self.canvas,
            self.light,
            center=dice.between(176, 336),
            horizon=dice.between(104, 172),
            focal=dice.between(330, 500),
            height=dice.uniform(1.35, 2.7),
        )
        self.grain = dice.grain((ROWS, COLUMNS)).astype(np.int16)
        self.leaves = (dice.clouds(8) + dice.clouds(4)) >> 1
        self.blobs = dice.clouds(32)
        # the street, in meters from the camera: the road runs from -left to right
        self.driving = dice.chance(78)
        lanes = dice.between(1, 3)
        width = lanes * dice.uniform(2.9, 3.6) + dice.pick((0.0, 0.0, 2.2))
        keep = dice.uniform(1.6, 2.2) if self.driving else -dice.uniform(0.6, 1.8)
        near, far = keep, max(width - keep, 2.4)
        self.left: float
        self.right: float
        self.left, self.right = (far, near) if dice.chance(75) else (near, far)
        self.walk = dice.uniform(1.8, 4.6)  # width of the sidewalk
        self.crossing = dice.uniform(10, 20) if dice.chance(45) else None  # where a street crosses
        self.sun = dice.pick((-1, 1))  # the side whose houses cast a shadow on the street
        self.taken: list[tuple[float, float, float]] = []  # z, x, half width
        self.things: list[tuple[float, Callable[[], None]]] = []  # z, how to draw it

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Image, (160, 256, 3) uint8, and mask, (160, 256) uint8."""
        self._sky()
        self._ground()
        for side in (-1, 1):
            self._houses(side)
        self._traffic()
        self._street_furniture()
        self._people()
        for _, draw in sorted(self.things, key=lambda thing: -thing[0]):
            draw()
        if self.light.rain:
            self._wet_road()
        if self.driving and self.dice.chance(75):
            self._hood()
        return self._photograph()

    def _sky(self) -> None:
        view, light = self.view, self.light
        rows = view.horizon + 8
        down = np.clip(np.arange(rows) * 256 // view.horizon, 0, 256)[:, None]
        sky = (
            np.array(light.zenith, np.int64) * (256 - down)
            + np.array(light.horizon, np.int64) * down
        ) >> 8
        cover = self.blobs[:rows] * 2 + self.dice.clouds(16, rows) - self.dice.between(330, 560)
        cover = (np.clip(cover, 0, 255) * 3 >> 2).astype(np.uint16)[..., None]
        cloud = np.array(mix(light.horizon, WHITE, 0 if light.lit > 5 else 55), np.uint16)
        sky = sky.astype(np.uint16)[:, None] * (256 - cover) + cloud * cover
        self.canvas.rgb[:rows] = sky >> 8
        self.canvas.ids[:] = SKY
        # the town behind the street
        column = 0
        while column < COLUMNS:
            wide, tall = self.dice.between(14, 52), self.dice.between(6, 38)
            wall = view.seen(mix(self.dice.pick(WALLS), BLACK, 15), 110)
            top = view.horizon - tall
            self.canvas.rectangle(column, top, column + wide, view.horizon + 4, wall, BUILDING)
            if tall > 14:
                pane = (
                    view.seen(LAMPLIGHT, 110, True) if self.light.lit > 2 else mix(wall, BLACK, 22)
                )
                block = self.canvas.rgb[
                    max(top + 3, 0) : view.horizon, column + 3 : column + wide - 3
                ]
                block[::5, ::5] = block[1::5, ::5] = pane
            column += wide

    def _ground(self) -> None:
        view, dice = self.view, self.dice
        first = view.horizon + 1
        below = np.arange(first, ROWS, dtype=np.float32) + 0.5 - view.horizon
        z = (view.focal * view.height / below)[:, None]
        beside = np.arange(COLUMNS, dtype=np.float32) + 0.5 - view.center
        x = beside[None, :] * (z / view.focal)
        from_left, from_right = x + self.left, self.right - x  # meters onto the road
        onto = np.minimum(from_left, from_right)
        own = onto > 0
        if self.crossing:
            onto = np.maximum(onto, np.minimum(z - self.crossing, self.crossing + 6.5 - z))
        road = onto > 0
        blobs, grain = self.blobs[first:], self.grain[first:]

        # materials of the ground, as positions in `colors`
        asphalt, slab = dice.pick(ASPHALTS), dice.pick(SLABS)
        patch = mix(asphalt, BLACK, dice.between(8, 20))
        colors = [slab, mix(slab, BLACK, 20), mix(slab, WHITE, 24), asphalt, patch, (222, 220, 208)]
        size = dice.uniform(0.6, 1.6)
        joints = ((_fraction(z / size) < 0.09) | (_fraction(x / size) < 0.08)) & (z < 22)
        kind = np.where(road, np.where(blobs > 168, np.uint8(4), np.uint8(3)), joints)
        kind[~road & (onto > -0.3)] = 2
        dash = dice.uniform(5, 8)
        middle = (self.right - self.left) / 2 if dice.chance(60) else self.right - 3.3
        marks = (abs(x - middle) < 0.08) & (_fraction(z / dash) < 0.5)
        if dice.chance(50):
            marks |= abs(onto - 0.35) < 0.06
        stripes = dice.uniform(8, 18)
        if self.crossing:
            marks &= (z < self.crossing - 0.5) | (z > self.crossing + 7)
            marks |= (abs(z - self.crossing + 0.4) < 0.15) & (x > middle)
            stripes = self.crossing - 3.6
        if dice.chance(50):
            marks |= (z > stripes) & (z < stripes + 2.6) & (_fraction(x) < 0.5)
        kind[marks & own & (grain > dice.between(10, 90))] = 5

        # the houses on the sunny side cast a shadow: the same materials, darker
        dark = [mix(BLACK, c, self.light.shade) for c in colors]
        reach = dice.uniform(-1, 1) * (self.left + self.right) / 2
        edge = (x - middle) * self.sun + (blobs - 128) * np.float32(1 / 160)
        if self.light.shade < 100:
            kind = kind + np.uint8(len(colors)) * (edge > reach)
        table = view.seen_tables(colors + dark, z[:, 0]).reshape(-1, 3)
        flat = kind + np.arange(len(z), dtype=np.int32)[:, None] * (2 * len(colors))
        rough = ((grain - 128) * 7 >> 6) + ((blobs - 128) >> 4)
        ground = table.take(flat, axis=0) + rough[..., None]
        self.canvas.rgb[first:] = np.clip(ground, 0, 255)
        self.canvas.ids[first:] = np.where(road, ROAD, PAVEMENT)

    def _houses(self, side: int) -> None:
        """A row of houses along one side, and trees where a house is missing."""
        dice, view = self.dice, self.view
        facade = (self.right if side > 0 else self.left) + self.walk
        facade = max(facade, 1.2)
        low, open_country = dice.chance(35), dice.chance(18)
        light = 74 if side == self.sun else 100
        z = dice.uniform(-6, 2)
        while z < FAR:
            end = z + dice.uniform(6, 18)
            inside = self.crossing and z < self.crossing + 8 and end > self.crossing - 2
            house = House.roll(dice, low)
            if not inside and not dice.chance(70 if open_country else 16):
                place = (view, house, side, facade, max(z, 0.8), end, light)
                # by its far end, so that objects before it in the street are drawn after it
                self.things.append((end, partial(draw_house, *place)))
            elif not inside:
                self._park(side, facade, max(z, 7), end)
            z = end + (0 if dice.chance(70) else dice.uniform(1, 4))

    def _add(self, z: float, x: float, half: float, draw: Callable[[], None]) -> None:
        """Add an object and cast its shadow, unless the place is taken."""
        for other, at, width in self.taken:
            if abs(z - other) < 1.2 and abs(x - at) < half + width:
                return
        self.taken.append((z, x, half))
        self.things.append((z, draw))
        foot, size = self.view.point(x, 0, z), self.view.size(half, z)
        self.canvas.shadow(*foot, size * 5 // 4, size // 3 + 1, min(self.light.shade + 5, 80))

    def _park(self, side: int, facade: float, start: float, end: float) -> None:
        """Trees on an empty plot."""
        dice, view = self.dice, self.view
        for _ in range(dice.between(1, 3)):
            z, x = dice.uniform(start, end), side * (facade + dice.uniform(0, 5))
            if 7 <= z < 45:
                self._add(z, x, 1.5, partial(draw_tree, view, dice, x, z, self.leaves))

    def _traffic(self) -> None:
        dice, view = self.dice, self.view
        busy = dice.pick((15, 40, 65, 85))
        parked = dice.pick((0, 0, 30, 75))
        for side, edge in ((-1, self.left), (1, self.right)):
            z = dice.uniform(4.5, 9)
            while z < 18:
                x = side * (edge - 1.0)
                if abs(x) > 1.9 and edge > 0 and dice.chance(parked) and self._free(z, z + 5):
                    self._add(z, x, 1.0, partial(draw_car, view, dice, x, z, side < 0))
                z += dice.uniform(5.5, 8)
        for lane in (-1, 1):
            z = dice.uniform(6, 14)
            while z < 19:
                x = (self.right - 1.7 if lane > 0 else 1.7 - self.left) + dice.uniform(-0.3, 0.3)
                if dice.chance(busy):
                    self._add(z, x, 1.0, partial(draw_car, view, dice, x, z, lane < 0))
                z += dice.uniform(7, 18)
        if self.crossing and dice.chance(60):
            z = self.crossing + dice.uniform(1.5, 5)
            x = dice.uniform(-8, 8)
            self._add(z, x, 2.1, partial(draw_crossing_car, view, dice, x, z))

    def _free(self, start: float, end: float) -> bool:
        """Whether a stretch is clear of the crossing street."""
        return not self.crossing or end < self.crossing - 3 or start > self.crossing + 8

    def _street_furniture(self) -> None:
        dice, view = self.dice, self.view
        avenue = dice.pick((0, 0, 45, 90))
        for side, edge in ((-1, self.left), (1, self.right)):
            z = dice.uniform(4.5, 8)
            while z < 34:
                x = side * (edge + 0.5)
                if self._free(z, z):
                    if z > 7 and dice.chance(avenue):
                        self._add(z, x, 0.6, partial(draw_tree, view, dice, x, z, self.leaves))
                    elif dice.chance(65) and z < 13:
                        kind = dice.pick(("lamp", "lamp", "sign"))
                        self._add(z, x, 0.3, partial(draw_pole, view, dice, x, z, kind))
                z += dice.uniform(4, 8)
            if self.crossing and dice.chance(70):
                z, x = self.crossing - 1.2, side * (edge + 0.4)
                self._add(z, x, 0.3, partial(draw_pole, view, dice, x, z, "signal"))

    def _people(self) -> None:
        dice, view = self.dice, self.view
        for _ in range(dice.pick((2, 4, 6, 8, 12))):
            side = dice.pick((-1, 1))
            edge = self.right if side > 0 else self.left
            z = dice.uniform(4.5, 9)
            x = side * (edge + dice.uniform(0.9, max(self.walk - 0.3, 1.2)))
            if dice.chance(15):  # crosses the road
                x = dice.uniform(-self.left, self.right)
            self._add(z, x, 0.35, partial(draw_person, view, dice, x, z))

    def _wet_road(self) -> None:
        """The wet street reflects what is above the horizon, and rain streaks the air."""
        horizon, rgb = self.view.horizon, self.canvas.rgb
        rows = np.arange(horizon + 1, min(2 * horizon, ROWS))
        wet = self.canvas.ids[rows] == ROAD
        wetness = np.where(wet, 45 + (self.blobs[rows] >> 2), 0).astype(np.uint16)
        fading = (2 * horizon - rows) * 256 // horizon  # towards our feet the road reflects less
        share = (wetness * fading[:, None].astype(np.uint16) >> 8)[..., None]
        mirrored = rgb[2 * horizon - rows] * share
        rgb[rows] = (rgb[rows] * (256 - share) + mirrored) >> 8
        for _ in range(90):
            x, y = self.dice.between(0, COLUMNS - 1), self.dice.between(0, ROWS - 1)
            streak = rgb[y : y + self.dice.between(8, 24), x]
            streak += (255 - streak) // 8

    def _hood(self) -> None:
        """The camera's own car at the lower edge, which is ignored in the mask."""
        paint = np.array(self.dice.pick(CAR_PAINTS)) * np.array(self.light.tint) // 100
        rise, middle = self.dice.between(16, 40), COLUMNS // 2 + self.dice.between(-30, 30)
        window = self.canvas.window(0, ROWS - rise, COLUMNS, ROWS)
        slices, xs, ys = window
        offset = (xs - middle) ** 2 // 24
        edge = ROWS - rise + offset * rise // 2600
        gloss = np.clip(48 - (ys - edge) * 3, -20, 48)
        colors = paint[None, None, :] + gloss[..., None] * np.array(self.light.horizon) // 140
        self.canvas.stamp(slices, ys >= edge, words(np.clip(colors, 0, 255), IGNORE))

    def _photograph(self) -> tuple[np.ndarray, np.ndarray]:
        """The effects of the sensor: exposure and noise."""
        image, mask = self.canvas.develop()
        image = image * self.dice.between(110, 128) >> 7
        strength = self.light.noise + self.dice.between(0, 4)
        noise = self.dice.grain(image.shape).astype(np.int16) + self.dice.grain(image.shape)
        image += (noise - 255) * strength >> 8
        return np.clip(image, 0, 255).astype(np.uint8), mask
