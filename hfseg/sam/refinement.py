"""Classes for SAM's masks: from a semantic prediction (two methods), or from the ground truth.

Where masks overlap, the smaller one is on top: SAM often returns an object and its parts, or an
object and its background. Refinement never changes the set of classes in an image.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from hfseg.labels import IGNORE_INDEX, LabelSet
from hfseg.sam.masks import SamMasks
from hfseg.sam.predictor import SamPredictor
from hfseg.sam.regions import FOUND_IOU, MAX_PROMPTS, MIN_AREA, Region, check_kind, regions


def refine_by_votes(masks: SamMasks, mask: np.ndarray) -> np.ndarray:
    """Every SAM mask gets the majority class of its pixels in the prediction.

    Pixels that no mask covers keep the model's class; so do all pixels of a class that would
    otherwise disappear.

    Args:
        masks: all SAM masks of the image.
        mask: (H, W) uint8, the semantic prediction.

    Returns:
        (H, W) uint8 with exactly the classes of `mask`.
    """
    classes = [_majority(mask[pixels]) for pixels in masks.masks]
    return _with_all_classes(_painted(masks.masks, classes, mask), mask)


def refine_by_prompts(
    predictor: SamPredictor,
    image: Image.Image,
    mask: np.ndarray,
    labels: LabelSet,
    kind: str = "boxes",
    min_area: float = MIN_AREA,
) -> np.ndarray:
    """Every region of the prediction gets its boundary from SAM.

    SAM is prompted with each region (`prompts_from_mask`); `with_sam_boundaries` describes how its
    masks are used.

    Args:
        predictor: a `SamPredictor`.
        image: RGB, of the mask's size.
        mask: (H, W) uint8, the semantic prediction.
        labels: its classes.

    Returns:
        (H, W) uint8 with exactly the classes of `mask`.

    Raises:
        UserError: an unknown kind.
    """
    check_kind(kind)
    prompted = regions(mask, len(labels), min_area)[:MAX_PROMPTS]
    answers = predictor.prompt_each(image, [region.prompt(kind) for region in prompted])
    return with_sam_boundaries(prompted, answers, mask)


def with_sam_boundaries(
    prompted: Sequence[Region], answers: SamMasks, mask: np.ndarray
) -> np.ndarray:
    """The regions of a prediction with SAM's boundaries.

    An answer is used if it overlaps with its region with an IoU of at least one half; it gets the
    region's class. Pixels of the region outside its answer get the nearest other class, unless the
    nearest region of that class has an answer, which excludes them too. All other pixels keep the
    model's class, and so do all pixels of a class that would otherwise disappear.

    Args:
        prompted: regions of `mask`.
        answers: one mask per region.
        mask: (H, W) uint8, the semantic prediction.

    Returns:
        (H, W) uint8 with exactly the classes of `mask`.
    """
    used = [
        index
        for index, region in enumerate(prompted)
        if _iou(region, answers.masks[index]) >= FOUND_IOU
    ]
    covered = answers.masks[used].any(axis=0)
    given_up = np.zeros(mask.shape, dtype=bool)
    for index in used:
        region = prompted[index]
        given_up[region.rows, region.columns] |= region.pixels
    given_up &= ~covered
    painted = _painted(answers.masks[used], [prompted[index].class_id for index in used], mask)
    result = painted.copy()
    unanswered = ~covered & ~given_up
    for class_id in np.unique(mask[given_up]):
        freed = given_up & (mask == class_id)
        others = painted != class_id
        if others.any():
            nearest = distance_transform_edt(~others, return_distances=False, return_indices=True)
            sources = tuple(nearest[:, freed])
            result[freed] = np.where(unanswered[sources], painted[sources], class_id)
    return _with_all_classes(result, mask)


def oracle(
    masks: SamMasks, ground_truth: np.ndarray, ignore_index: int = IGNORE_INDEX
) -> np.ndarray:
    """Every SAM mask gets the majority class of its pixels in the ground truth.

    The pixels that no mask covers count as one more mask, below the others. This is an upper bound
    on classifying SAM's masks, not a prediction.

    Args:
        masks: all SAM masks of the image.
        ground_truth: (H, W) class ids.
        ignore_index: pixels without a vote; a mask of only these is dropped.

    Returns:
        (H, W) uint8; `ignore_index` only if the ground truth has no class at all.
    """
    classes = [_majority(ground_truth[pixels], ignore_index) for pixels in masks.masks]
    named = [index for index, class_id in enumerate(classes) if class_id is not None]
    rest = _majority(ground_truth[~masks.masks[named].any(axis=0)], ignore_index)
    background = np.full(ground_truth.shape, ignore_index if rest is None else rest, dtype=np.uint8)
    return _painted(masks.masks[named], [classes[index] for index in named], background)


def _majority(ids: np.ndarray, ignore_index: int | None = None) -> int | None:
    """The most frequent id (the smallest of equals), None if there is none."""
    counts = np.bincount(ids, minlength=256)
    if ignore_index is not None:
        counts[ignore_index] = 0
    return int(counts.argmax()) if counts.any() else None


def _painted(
    masks: np.ndarray, classes: Sequence[int | None], background: np.ndarray
) -> np.ndarray:
    """The masks in their classes over a copy of `background`, small ones on top."""
    result = background.astype(np.uint8)
    areas = np.count_nonzero(masks, axis=(1, 2))
    for index in np.argsort(-areas, kind="stable"):
        if classes[index] is not None:
            result[masks[index]] = classes[index]
    return result


def _with_all_classes(result: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`result`, with all pixels of `mask` restored for every class that `result` lost.

    A restored pixel is never overwritten again, since a pixel of `mask` has one class: this ends.
    """
    result = result.copy()
    while len(lost := np.setdiff1d(mask, result)):
        result = np.where(np.isin(mask, lost), mask, result)
    return result


def _iou(region: Region, answer: np.ndarray) -> float:
    shared = np.count_nonzero(answer[region.rows, region.columns] & region.pixels)
    return shared / (region.area + np.count_nonzero(answer) - shared)
