"""SAM on the page: objects at points, and masks of everything."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import LabelSet, default_palette
from hfseg.sam import SamMasks, SamPredictor, refine_by_votes

from .limits import MAX_POINTS_PER_SIDE
from .shown_models import ShownModels

_T = TypeVar("_T")


def timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """The result of `work()`, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def object_at(
    models: ShownModels, photo: Image.Image, points: Sequence[Sequence[float]]
) -> tuple[np.ndarray, float]:
    """SAM's mask at points (x, y as fractions of the size; 1 on it or 0 beside it), and its score.

    Raises:
        UserError: SAM is not available.
    """
    at = [(x * photo.width, y * photo.height) for x, y, _ in points]
    found = models.sam().prompt(photo, points=at, point_labels=[int(each[2]) for each in points])
    return found.masks[0], float(found.scores[0])


def with_object(mask: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, int]:
    """The model's mask with an object of SAM, which gets the class of most of its pixels.

    No class of the image is lost (see `hfseg.sam.refine_by_votes`).

    Raises:
        UserError: the object is empty.
    """
    if not found.any():
        raise UserError("SAM finds nothing there: move the point or add another one.")
    class_id = int(np.bincount(mask[found]).argmax())
    return refine_by_votes(SamMasks(found[None], np.ones(1, np.float32)), mask), class_id


def everything(predictor: SamPredictor, photo: Image.Image, density: int) -> SamMasks:
    """SAM's masks of the complete photo, prompted by a grid of points.

    Raises:
        UserError: the grid is too dense.
    """
    if not 1 <= density <= MAX_POINTS_PER_SIDE:
        raise UserError(f"The number of points per side must be from 1 to {MAX_POINTS_PER_SIDE}.")
    return predictor.segment_everything(photo, points_per_side=density)


def pictures_of_masks(masks: SamMasks) -> tuple[np.ndarray, LabelSet]:
    """SAM's masks as one map: small ones on top, the 254 largest if there are more.

    Returns:
        (H, W) uint8 numbers of masks, 255 without a mask, and their names and colors.
    """
    areas = masks.masks.sum(axis=(1, 2))
    order = np.argsort(-areas, kind="stable")[:254]
    numbers = np.full(masks.masks.shape[1:], 255, dtype=np.uint8)
    names = []
    for number, index in enumerate(order):
        numbers[masks.masks[index]] = number
        names.append(f"mask {number + 1}, predicted IoU {masks.scores[index]:.2f}")
    names = names or ["no mask"]
    return numbers, LabelSet(tuple(names), default_palette(len(names)))
