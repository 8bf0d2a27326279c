"""Connected regions of a label map: what SAM is asked for, and what it should find."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam.masks import Prompt

KINDS = ("boxes", "points", "both")
MIN_AREA = 1e-4
"""Share of the image below which a region is a speck: neither asked for nor expected."""
MAX_PROMPTS = 256
"""A torn prediction may have thousands of regions; the largest are asked for."""
FOUND_IOU = 0.5
"""A mask that overlaps with a region by more than this IoU has found it."""


@dataclass(frozen=True, eq=False)
class Region:
    """Touching pixels (4 neighbours) of one class.

    Attributes:
        class_id: their class.
        rows, columns: the rectangle around them.
        pixels: (h, w) bool within it.
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
        whole = np.zeros(shape, dtype=bool)
        whole[self.rows, self.columns] = self.pixels
        return whole

    def prompt(self, kind: str) -> Prompt:
        """What SAM is told about the region; see `prompts_from_mask`."""
        box, points = None, ()
        if kind != "points":
            box = (self.columns.start, self.rows.start, self.columns.stop - 1, self.rows.stop - 1)
        if kind != "boxes":
            points = (self._innermost(),)
        return Prompt(points, box=box, class_id=self.class_id)

    def _innermost(self) -> tuple[int, int]:
        from scipy.ndimage import distance_transform_edt

        # the frame makes the image's border an edge too
        depth = distance_transform_edt(np.pad(self.pixels, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        return self.columns.start + int(column), self.rows.start + int(row)


def regions(mask: np.ndarray, num_labels: int, min_area: float = MIN_AREA) -> list[Region]:
    """The connected regions of every class, the largest first.

    Args:
        mask: (H, W) class ids; ids from `num_labels` on belong to no class.
        num_labels: number of classes.
        min_area: smaller regions are left out; share of the image.
    """
    smallest = max(1.0, min_area * mask.size)
    found = [region for region in _all_regions(mask, num_labels) if region.area >= smallest]
    return sorted(found, key=lambda region: -region.area)


def _all_regions(mask: np.ndarray, num_labels: int) -> Iterator[Region]:
    from scipy.ndimage import find_objects, label

    for class_id in np.unique(mask[mask < num_labels]).tolist():
        numbered, _ = label(mask == class_id)
        for number, (rows, columns) in enumerate(find_objects(numbered), start=1):
            yield Region(class_id, rows, columns, numbered[rows, columns] == number)


def prompts_from_mask(
    mask: np.ndarray, labels: LabelSet, kind: str = "boxes", min_area: float = MIN_AREA
) -> list[Prompt]:
    """What to ask SAM, given a semantic prediction: one prompt for each connected region.

    Args:
        mask: (H, W) uint8 class ids.
        labels: which ids are classes; others are not asked for.
        kind: `boxes` (the rectangle around the region, its outermost pixels included), `points`
            (the pixel deepest inside it), or `both`.
        min_area: smaller regions are left out; share of the image.

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
    truth: np.ndarray,
    labels: LabelSet,
    min_area: float = MIN_AREA,
) -> tuple[int, int]:
    """How many true regions some mask covers with an IoU above one half, whatever its class.

    Objects of one class that touch are one region, since a label map doesn't part them.

    Args:
        masks: (N, H, W) bool, or an iterable of (H, W).
        truth: (H, W) true class ids; pixels without a class count for nothing.
        labels: which ids are classes.
        min_area: smaller regions are not counted; share of the image.

    Returns:
        (regions found, all regions); sums over a data set divide to its recall.
    """
    expected = regions(truth, len(labels), min_area)
    numbers = np.zeros(truth.shape, dtype=np.int64)
    for number, region in enumerate(expected, start=1):
        numbers[region.rows, region.columns][region.pixels] = number
    areas = np.array([region.area for region in expected], dtype=np.int64)
    found = np.zeros(len(expected), dtype=bool)
    scored = truth < len(labels)
    for mask in masks:
        mask = mask & scored
        shared = np.bincount(numbers[mask], minlength=len(expected) + 1)[1:]
        found |= shared > FOUND_IOU * (areas + np.count_nonzero(mask) - shared)
    return int(found.sum()), len(expected)
