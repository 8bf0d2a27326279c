"""The objects in a street of toyscapes: cars, people, trees and poles."""

import numpy as np

from hfseg.data.toyscapes.canvas import (
    CAR,
    IGNORE,
    PERSON,
    POLE,
    TREE,
    Color,
    Dice,
    View,
    mix,
    words,
)

BLACK, WHITE = (24, 24, 28), (236, 236, 230)
GLASS = (62, 76, 92)
CAR_PAINTS = (
    (200, 48, 44), (40, 84, 168), (232, 232, 230), (120, 122, 126), (44, 46, 52),
    (226, 178, 48), (60, 132, 96), (150, 94, 66), (176, 186, 194), (108, 60, 120),
)  # fmt: skip
CLOTHES = (
    (208, 52, 56), (44, 88, 180), (46, 50, 60), (232, 192, 60), (84, 150, 96), (196, 84, 140),
    (226, 224, 218), (124, 64, 130), (222, 122, 52), (60, 150, 168), (94, 66, 50),
)  # fmt: skip
SKINS = ((236, 196, 164), (206, 154, 118), (150, 102, 74), (98, 66, 50))
HAIRS = ((34, 28, 26), (86, 58, 38), (190, 150, 90), (140, 140, 140))
LEAVES = (
    (74, 122, 52),
    (98, 138, 58),
    (52, 96, 56),
    (142, 140, 62),
    (176, 118, 54),
    (110, 122, 92),
)


def draw_car(view: View, dice: Dice, x: float, z: float, oncoming: bool) -> None:
    """A car that drives or parks along the street; `x` its middle, `z` its near end."""
    paint = dice.pick(CAR_PAINTS)
    van = dice.chance(18)
    half, length = (1.0, 5.0) if van else (0.9, 4.2)
    belt, roof = (1.15, dice.uniform(2.0, 2.4)) if van else (0.92, dice.uniform(1.4, 1.6))
    far = z + length
    side, end = mix(paint, BLACK, 28), mix(paint, WHITE, 4)
    inner = x - half if x > 0 else x + half  # the flank that faces the camera
    flank = 1 if x > 0 else -1

    for wheel in (z + 0.8, far - 0.9):
        a, b = view.point(inner, 0.62, wheel - 0.33), view.point(inner, 0.0, wheel + 0.33)
        middle, radius = ((a[0] + b[0]) // 2, (a[1] + b[1]) // 2), abs(b[1] - a[1]) // 2
        view.canvas.ellipse(*middle, abs(a[0] - b[0]) // 2, radius, view.seen(BLACK, wheel), CAR)
    for sign in (-1, 1):
        left, right = sorted((x + sign * half, x + sign * (half - 0.24)))
        (ax, ay), (bx, by) = view.point(left, 0.5, z), view.point(right, 0.0, z)
        view.canvas.rectangle(ax, ay, bx, by, view.seen(BLACK, z), CAR)
    # the body, and on it the cabin, narrower towards the roof
    view.quad(
        [(inner, 0.3, z), (inner, belt, z), (inner, belt, far), (inner, 0.3, far)], z, side, CAR
    )
    view.quad(
        [(x - half, belt, z), (x + half, belt, z), (x + half, belt, far), (x - half, belt, far)],
        z, mix(paint, WHITE, 22), CAR,
    )  # fmt: skip
    view.quad(
        [(x - half, 0.28, z), (x - half, belt, z), (x + half, belt, z), (x + half, 0.28, z)],
        z, end, CAR,
    )  # fmt: skip
    front, back = (z + 0.1, far - 0.2) if van else (z + (1.2 if oncoming else 0.5), far - 1.1)
    top = half - (0.1 if van else 0.22)
    near_roof, far_roof = front + (0.05 if van else 0.5), back - 0.4
    base, edge = inner + flank * 0.05, x - top if x > 0 else x + top
    view.quad(
        [(base, belt, front), (edge, roof, near_roof), (edge, roof, far_roof), (base, belt, back)],
        z, side if van else GLASS, CAR,
    )  # fmt: skip
    view.quad(
        [(x - top, roof, near_roof), (x + top, roof, near_roof), (x + top, roof, far_roof),
         (x - top, roof, far_roof)], z, mix(paint, WHITE, 12), CAR,
    )  # fmt: skip
    pillar = half - 0.05
    view.quad(
        [(x - pillar, belt, front), (x - top, roof, near_roof), (x + top, roof, near_roof),
         (x + pillar, belt, front)], z, paint, CAR,
    )  # fmt: skip
    glass, low = (0.12, belt + (0.25 if van else 0.06))
    high = roof - 0.12
    view.quad(
        [(x - pillar + glass, low, front), (x - top + glass, high, near_roof),
         (x + top - glass, high, near_roof), (x + pillar - glass, low, front)], z, GLASS, CAR,
    )  # fmt: skip
    _draw_lamps(view, x, z, half, belt, paint, oncoming)


def _draw_lamps(
    view: View, x: float, z: float, half: float, belt: float, paint: Color, oncoming: bool
) -> None:
    """Lamps, bumper and number plate of a car."""
    lamp = (255, 246, 206) if oncoming else (214, 34, 30)
    for sign in (-1, 1):
        left, right = sorted((x + sign * (half - 0.06), x + sign * (half - 0.38)))
        (ax, ay), (bx, by) = view.point(left, belt - 0.1, z), view.point(right, belt - 0.3, z)
        glow = view.light.lit > 5
        view.canvas.rectangle(ax, ay, bx + 1, by + 1, view.seen(lamp, z, glow), CAR)
    (ax, ay), (bx, by) = view.point(x - half, 0.42, z), view.point(x + half, 0.26, z)
    view.canvas.rectangle(ax, ay, bx, by, view.seen(mix(paint, BLACK, 60), z), CAR)
    (ax, ay), (bx, by) = view.point(x - 0.26, 0.6, z), view.point(x + 0.26, 0.46, z)
    view.canvas.rectangle(ax, ay, bx, by, view.seen(WHITE, z), CAR)


def draw_crossing_car(view: View, dice: Dice, x: float, z: float) -> None:
    """A car seen from its side."""
    paint, way = dice.pick(CAR_PAINTS), dice.pick((-1, 1))
    flat = [
        ([(-2.1, 0.3), (-2.1, 0.8), (-1.9, 0.95), (1.3, 0.92), (2.0, 0.78), (2.1, 0.3)], paint),
        ([(-1.7, 0.92), (-1.25, 1.45), (0.45, 1.47), (1.2, 0.92)], paint),
        ([(-1.45, 0.95), (-1.12, 1.36), (-0.4, 1.37), (-0.4, 0.95)], GLASS),
        ([(-0.3, 0.95), (-0.3, 1.37), (0.38, 1.37), (0.95, 0.95)], GLASS),
        ([(-2.1, 0.3), (-2.1, 0.42), (2.1, 0.42), (2.1, 0.3)], mix(paint, BLACK, 45)),
        ([(1.8, 0.62), (1.8, 0.76), (2.05, 0.76), (2.08, 0.62)], (255, 240, 190)),
    ]
    for corners, color in flat:
        view.quad([(x + way * u, v, z) for u, v in corners], z, color, CAR)
    for wheel in (-1.3, 1.3):
        middle, radius = view.point(x + way * wheel, 0.32, z), view.size(0.34, z)
        view.canvas.ellipse(*middle, radius, radius, view.seen(BLACK, z), CAR)
        view.canvas.ellipse(*middle, radius // 2, radius // 2, view.seen((150, 150, 154), z), CAR)


def draw_person(view: View, dice: Dice, x: float, z: float) -> None:
    """A person who stands or walks, sometimes with an umbrella."""
    tall = dice.uniform(1.5, 1.9)
    shirt, trousers = dice.pick(CLOTHES), mix(dice.pick(CLOTHES), BLACK, 40)
    skin, hair = dice.pick(SKINS), dice.pick(HAIRS)
    stride, lean = dice.uniform(0.02, 0.26), dice.uniform(-0.05, 0.05)
    unit = tall / 1.75
    hip, shoulder = 0.86 * unit, 1.46 * unit
    skirt = dice.chance(25)

    def patch(corners, color: Color) -> None:
        view.quad([(x + u * unit, v, z) for u, v in corners], z, color, PERSON)

    for sign in (-1, 1):
        foot = sign * stride
        patch([(sign * 0.2, hip), (0, hip), (foot - 0.05, 0.0), (foot + 0.11, 0.0)], trousers)
    if skirt:
        patch([(-0.2, hip + 0.1), (0.2, hip + 0.1), (0.3, 0.45), (-0.3, 0.45)], shirt)
    for sign in (-1, 1):
        hand = sign * (0.3 + stride / 3)
        patch(
            [(sign * 0.24, shoulder), (sign * 0.14, shoulder - 0.1), (hand - sign * 0.1, hip),
             (hand + sign * 0.02, hip - 0.04)], mix(shirt, BLACK, 22),
        )  # fmt: skip
    patch([(-0.2, hip), (-0.26, shoulder), (0.26, shoulder), (0.2, hip)], shirt)
    if dice.chance(30):  # a bag
        bag = dice.pick(CLOTHES)
        side = dice.pick((-0.24, 0.24))
        patch([(side - 0.12, hip + 0.2), (side + 0.12, hip + 0.2), (side + 0.14, hip - 0.15),
               (side - 0.14, hip - 0.15)], bag)  # fmt: skip
    head = view.point(x + lean, shoulder + 0.17 * unit, z)
    radius = max(view.size(0.13 * unit, z), 2)
    view.canvas.ellipse(
        head[0], head[1] - radius // 3, radius + 1, radius + 1, view.seen(hair, z), PERSON
    )
    view.canvas.ellipse(head[0], head[1] + radius // 4, radius, radius, view.seen(skin, z), PERSON)
    if view.light.rain and dice.chance(55):
        color, top = dice.pick(CLOTHES), tall + 0.42
        patch([(0.26, hip + 0.3), (0.3, hip + 0.3), (0.04, top), (0.0, top)], BLACK)
        patch([(-0.62, top - 0.3), (-0.36, top - 0.06), (0.0, top), (0.36, top - 0.06),
               (0.62, top - 0.3)], color)  # fmt: skip


def draw_tree(view: View, dice: Dice, x: float, z: float, leaves: np.ndarray) -> None:
    """A tree with a ragged crown; the outermost fringe of leaves is ignored in the mask.

    `leaves` is noise over the canvas, 0 to 255.
    """
    leaf, bark = dice.pick(LEAVES), dice.pick(((84, 64, 48), (104, 92, 80), (66, 56, 50)))
    tall, wide = dice.uniform(4.5, 8.5), dice.uniform(1.2, 2.2)
    trunk = dice.uniform(0.14, 0.22)
    crown = dice.uniform(1.9, 2.7)
    middle = (crown + tall) / 2
    for left, color in (
        (x - trunk, bark),
        (x, mix(bark, BLACK, 35)),
    ):  # its right half lies in shade
        foot = left - trunk * 0.3 if left < x else x
        view.quad(
            [(foot, 0, z), (x + trunk * 1.3, 0, z), (x + trunk, middle, z), (left, middle, z)],
            z, color, TREE,
        )  # fmt: skip
    # the crown is a union of balls: `depth` says how deep inside it a pixel is, in canvas pixels
    balls = [(0.0, middle, 1.0)]
    for _ in range(dice.between(4, 7)):
        u, v = dice.uniform(-0.62, 0.62) * wide, middle + dice.uniform(-0.8, 1.0) * wide
        balls.append((u, v, dice.uniform(0.5, 0.85)))
    left, top = view.point(x - 1.75 * wide, middle + 2.2 * wide, z)
    right, bottom = view.point(x + 1.75 * wide, middle - 2 * wide, z)
    window = view.canvas.window(left, top, right, bottom)
    if not window:
        return
    slices, xs, ys = window
    xs, ys = xs.astype(np.float32), ys.astype(np.float32)
    depth = np.full((ys.size, xs.size), -1000, np.float32)
    for u, v, share in balls:
        (bx, by), radius = view.point(x + u, v, z), max(view.size(share * wide, z), 3)
        across, down = (xs - bx) ** 2 / (2 * radius), (ys - by) ** 2 / (2 * radius)
        np.maximum(depth, (radius / 2 - down) - across, out=depth)
    twig = max(view.size(0.5, z), 4)
    ragged = depth + (leaves[slices] * np.float32(twig / 256) - twig / 2)
    (bx, by), radius = view.point(x, balls[0][1], z), max(view.size(wide, z), 3)
    sun = ((by - ys) * 2 + (bx - xs)) * (22 / radius)  # brighter at the upper left
    shade = sun + (leaves[slices] * np.float32(0.45) + 118) + np.minimum(depth, 12) * 2
    shade = np.clip(shade, 40, 255).astype(np.uint16)
    colors = np.array(view.seen(leaf, z), np.uint16) * shade[..., None] >> 8
    view.canvas.stamp(slices, ragged > 0, words(colors, TREE))
    view.canvas.ids[slices][(ragged > 0) & (ragged < 2.2)] = IGNORE


def draw_pole(view: View, dice: Dice, x: float, z: float, kind: str) -> None:
    """A street lamp, a traffic light or a sign on its pole; all of it is the class pole."""
    metal = dice.pick(((66, 70, 76), (78, 84, 88), (54, 84, 74), (116, 120, 122)))
    tall = {"lamp": dice.uniform(4.6, 6.2), "signal": 3.1, "sign": 2.4}[kind]
    half = min(max(view.size(0.13, z), 5), 8)  # thin things would be lost in the mask
    foot, head = view.point(x, 0, z), view.point(x, tall, z)
    dark = mix(metal, BLACK, 35)
    paint = view.canvas.rectangle
    paint(foot[0] - half, head[1], foot[0] + half, foot[1], view.seen(metal, z), POLE)
    paint(foot[0] + half // 2, head[1], foot[0] + half, foot[1], view.seen(dark, z), POLE)
    shine = view.seen(mix(metal, WHITE, 60), z)
    paint(foot[0] - half // 2, head[1], foot[0], foot[1], shine, POLE)
    paint(foot[0] - half - 2, foot[1] - view.size(0.3, z), foot[0] + half + 2, foot[1],
          view.seen(dark, z), POLE)  # fmt: skip
    unit = max(view.size(0.11, z), 3)
    if kind == "lamp":
        way = -1 if x > 0 else 1  # the arm reaches over the road
        ends = sorted((head[0], head[0] + way * 13 * unit))
        paint(ends[0], head[1] - half, ends[1], head[1] + half, view.seen(metal, z), POLE)
        bulb = head[0] + way * 13 * unit
        on = view.light.lit > 5
        color = (255, 232, 170) if on else (214, 214, 206)
        view.canvas.ellipse(bulb, head[1] + unit, 4 * unit, 2 * unit, view.seen(color, z, on), POLE)
    elif kind == "signal":
        paint(head[0] - 3 * unit, head[1] - 9 * unit, head[0] + 3 * unit, head[1],
              view.seen((40, 44, 44), z), POLE)  # fmt: skip
        glowing = dice.between(0, 2)
        for number, color in enumerate(((230, 50, 40), (240, 180, 40), (60, 210, 110))):
            color = color if number == glowing else mix(color, BLACK, 75)
            bulb = head[1] - unit * (7 - 3 * number) - unit // 2
            view.canvas.ellipse(head[0], bulb, unit + 1, unit + 1, view.seen(color, z, True), POLE)
    else:
        rim = dice.pick(((196, 40, 40), (40, 90, 170), (226, 190, 60)))
        view.canvas.ellipse(*head, 4 * unit, 4 * unit, view.seen(rim, z), POLE)
        view.canvas.ellipse(*head, 5 * unit // 2, 5 * unit // 2, view.seen(WHITE, z), POLE)
