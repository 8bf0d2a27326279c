"""Connected regions of a mask: prompts for SAM, and the targets of mask recall."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, label

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam.masks import Box, Point, Prompt

KINDS = ("boxes", "points", "both")
MIN_AREA = 1e-4
"""Fraction of the image; smaller regions are specks: neither prompted nor expected."""
MAX_PROMPTS = 256
"""A noisy prediction may have thousands of regions; only the largest are prompted."""
FOUND_IOU = 0.5
"""A mask has found a region if their IoU is above this."""


@dataclass(frozen=True, eq=False)
class Region:
    """Connected pixels (4 neighbors) of one class.

    Attributes:
        class_id: their class.
        rows, columns: its bounding rectangle.
        pixels: (h, w) bool within the rectangle.
    """

    class_id: int
    rows: slice
    columns: slice
    pixels: np.ndarray

    @property
    def area(self) -> int:
        return int(self.pixels.sum())

    def mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """(H, W) bool, the region in an image of this shape."""
        mask = np.zeros(shape, dtype=bool)
        mask[self.rows, self.columns] = self.pixels
        return mask

    def prompt(self, kind: str) -> Prompt:
        """The prompt for the region; see `prompts_from_mask`."""
        box: Box | None = None
        points: tuple[Point, ...] = ()
        if kind != "points":
            box = (self.columns.start, self.rows.start, self.columns.stop - 1, self.rows.stop - 1)
        if kind != "boxes":
            points = (self._innermost(),)
        return Prompt(points, box=box, class_id=self.class_id)

    def _innermost(self) -> tuple[int, int]:
        # padded, so that the border of the image counts as an edge
        depth = distance_transform_edt(np.pad(self.pixels, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        return self.columns.start + int(column), self.rows.start + int(row)


def regions(mask: np.ndarray, num_labels: int, min_area: float = MIN_AREA) -> list[Region]:
    """The connected regions of every class, the largest first.

    Args:
        mask: (H, W) class ids; ids from `num_labels` on are not classes.
        num_labels: number of classes.
        min_area: fraction of the image; smaller regions are left out.
    """
    smallest = max(1.0, min_area * mask.size)
    found = [region for region in _all_regions(mask, num_labels) if region.area >= smallest]
    return sorted(found, key=lambda region: -region.area)


def _all_regions(mask: np.ndarray, num_labels: int) -> Iterator[Region]:
    for class_id in np.unique(mask[mask < num_labels]).tolist():
        numbered, _ = label(mask == class_id)
        for number, (rows, columns) in enumerate(find_objects(numbered), start=1):
            yield Region(class_id, rows, columns, numbered[rows, columns] == number)


def prompts_from_mask(
    mask: np.ndarray, labels: LabelSet, kind: str = "boxes", min_area: float = MIN_AREA
) -> list[Prompt]:
    """Prompts for SAM from a semantic prediction, one per connected region.

    Args:
        mask: (H, W) uint8 class ids.
        labels: defines which ids are classes; others are not prompted.
        kind: `boxes` (the bounding rectangle of the region, outermost pixels included), `points`
            (the pixel furthest from the boundary), or `both`.
        min_area: fraction of the image; smaller regions are left out.

    Returns:
        Prompts with `class_id`, the largest region first, at most `MAX_PROMPTS`.

    Raises:
        UserError: an unknown kind.
    """
    check_kind(kind)
    return [region.prompt(kind) for region in regions(mask, len(labels), min_area)[:MAX_PROMPTS]]


def check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"prompts {kind!r}: choose from {', '.join(KINDS)}")


def mask_recall(
    masks: Iterable[np.ndarray],
    ground_truth: np.ndarray,
    labels: LabelSet,
    min_area: float = MIN_AREA,
) -> tuple[int, int]:
    """How many ground-truth regions some mask covers with an IoU above one half, in any class.

    Touching objects of one class are one region, since the labels don't separate them.

    Args:
        masks: (N, H, W) bool, or an iterable of (H, W).
        ground_truth: (H, W) class ids; pixels without a class are ignored.
        labels: defines which ids are classes.
        min_area: fraction of the image; smaller regions are not counted.

    Returns:
        (regions found, all regions); the recall of a dataset is the ratio of their sums.
    """
    expected = regions(ground_truth, len(labels), min_area)
    numbers = np.zeros(ground_truth.shape, dtype=np.int64)
    for number, region in enumerate(expected, start=1):
        numbers[region.rows, region.columns][region.pixels] = number
    areas = np.array([region.area for region in expected], dtype=np.int64)
    found = np.zeros(len(expected), dtype=bool)
    scored = ground_truth < len(labels)
    for mask in masks:
        mask = mask & scored
        shared = np.bincount(numbers[mask], minlength=len(expected) + 1)[1:]
        found |= shared > FOUND_IOU * (areas + np.count_nonzero(mask) - shared)
    return int(found.sum()), len(expected)
