"""Prompts for SAM, and the masks it returns."""

import math
from dataclasses import dataclass

import numpy as np

from hfseg.errors import UserError, counted

POINTS_PER_SIDE, POINTS_PER_BATCH = 32, 64
PRED_IOU_THRESH, STABILITY_SCORE_THRESH = 0.88, 0.95
"""Defaults of SAM's mask generator (Kirillov et al. 2023)."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class SamMasks:
    """Masks of one image, without classes.

    Attributes:
        masks: (N, H, W) bool, at the size of the image; they may overlap. N may be 0.
        scores: (N,) float32, SAM's estimate of the IoU of each mask with the prompted object.
    """

    masks: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.masks)

    @classmethod
    def empty(cls, height: int, width: int) -> "SamMasks":
        return cls(np.zeros((0, height, width), dtype=bool), np.zeros(0, dtype=np.float32))


@dataclass(frozen=True)
class Prompt:
    """One prompted object: points on it, points outside it, a box around it.

    Coordinates are in pixels of the image, x to the right and y down, (0, 0) the top left pixel.

    Args:
        points: (x, y) pairs.
        point_labels: 1 for a point on the object, 0 for one outside it; empty: all 1.
        box: (left, top, right, bottom), or None.
        class_id: the class of the object, not passed to SAM.

    Raises:
        UserError: neither a point on the object nor a box, labels that don't match the points, or
            invalid coordinates.
    """

    points: tuple[Point, ...] = ()
    point_labels: tuple[int, ...] = ()
    box: Box | None = None
    class_id: int | None = None

    def __post_init__(self) -> None:
        points = tuple(_numbers(point, 2, "a point must be (x, y)") for point in self.points)
        box = None
        if self.box is not None:
            box = _numbers(self.box, 4, "a box must be (left, top, right, bottom)")
            if box[0] > box[2] or box[1] > box[3]:
                raise UserError(
                    f"the corners of box {box} are swapped: give (left, top, right, bottom)"
                )
        labels = tuple(self.point_labels) or (1,) * len(points)
        if len(labels) != len(points):
            raise UserError(
                f"{counted(len(points), 'point')}, but {counted(len(labels), 'point label')}: give "
                "one label per point"
            )
        if any(label not in (0, 1) for label in labels):
            raise UserError("point labels must be 1 (on the object) or 0 (outside it)")
        if box is None and 1 not in labels:
            raise UserError("a prompt needs a point on the object (label 1) or a box around it")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "point_labels", tuple(int(label) for label in labels))
        object.__setattr__(self, "box", box)

    def check_inside(self, height: int, width: int) -> None:
        """Check that all coordinates are inside an image of this size.

        Raises:
            UserError: one is not.
        """
        corners = [] if self.box is None else [self.box[:2], self.box[2:]]
        for x, y in (*self.points, *corners):
            if not (0 <= x <= width and 0 <= y <= height):
                raise UserError(
                    f"({x:g}, {y:g}) is outside the image, which is {width} pixels wide and "
                    f"{height} high: give (x, y) in pixels"
                )


def _numbers(values: object, count: int, meaning: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise UserError(f"{meaning}, all finite numbers, not {values!r}")
    return numbers
