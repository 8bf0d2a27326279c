"""SAM's outlines with classes: from a semantic prediction (two ways), or from the truth.

Where masks overlap, the smaller one lies on top: SAM often gives a thing and its parts, or a
thing and the ground it stands on. Neither way of refining changes which classes an image has.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from hfseg.labels import IGNORE_INDEX, LabelSet
from hfseg.sam.masks import SamMasks
from hfseg.sam.regions import FOUND_IOU, MAX_PROMPTS, MIN_AREA, Region, check_kind, regions


def refine_by_votes(masks: SamMasks, mask: np.ndarray) -> np.ndarray:
    """Every SAM mask takes the class that most of its pixels are predicted as.

    Pixels that no mask covers keep the model's class; so does every pixel of a class that would
    vanish from the image.

    Args:
        masks: of everything in the image.
        mask: (H, W) uint8, the semantic prediction.

    Returns:
        (H, W) uint8 with exactly the classes of `mask`.
    """
    classes = [_majority(mask[pixels]) for pixels in masks.masks]
    return _with_all_classes(_painted(masks.masks, classes, mask), mask)


def refine_by_prompts(
    predictor: Any,
    image: Image.Image,
    mask: np.ndarray,
    labels: LabelSet,
    kind: str = "boxes",
    min_area: float = MIN_AREA,
) -> np.ndarray:
    """Every region of the prediction gets the outline that SAM gives it.

    SAM is asked for each region (see `prompts_from_mask`), and `outlined` says what becomes of
    its answers.

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
    asked = regions(mask, len(labels), min_area)[:MAX_PROMPTS]
    answers = predictor.prompt_each(image, [region.prompt(kind) for region in asked])
    return outlined(asked, answers, mask)


def outlined(asked: Sequence[Region], answers: SamMasks, mask: np.ndarray) -> np.ndarray:
    """The regions of a prediction with SAM's outlines.

    An answer counts if it is about the region that was asked for (IoU of one half or more); it
    takes the region's class. What the region had beyond its answer goes to the nearest other
    class, if that has no answer of its own there to say that it isn't its either. Everything
    else keeps the model's class, and so does every pixel of a class that would vanish from the
    image.

    Args:
        asked: regions of `mask`.
        answers: one mask for each of them.
        mask: (H, W) uint8, the semantic prediction.

    Returns:
        (H, W) uint8 with exactly the classes of `mask`.
    """
    from scipy.ndimage import distance_transform_edt

    used = [
        index
        for index, region in enumerate(asked)
        if _iou(region, answers.masks[index]) >= FOUND_IOU
    ]
    covered = answers.masks[used].any(axis=0)
    given_up = np.zeros(mask.shape, dtype=bool)
    for index in used:
        region = asked[index]
        given_up[region.rows, region.columns] |= region.pixels
    given_up &= ~covered
    painted = _painted(answers.masks[used], [asked[index].class_id for index in used], mask)
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


def oracle(masks: SamMasks, truth: np.ndarray, ignore_index: int = IGNORE_INDEX) -> np.ndarray:
    """Every SAM mask takes the class that most of its pixels truly have.

    What is left over between the masks counts as one more mask below the others. This uses the
    truth: it bounds from above what naming SAM's masks can give, and is no prediction.

    Args:
        masks: of everything in the image.
        truth: (H, W) true class ids.
        ignore_index: pixels that have no say; a mask of these alone is left out.

    Returns:
        (H, W) uint8; `ignore_index` only where the truth says nothing.
    """
    classes = [_majority(truth[pixels], ignore_index) for pixels in masks.masks]
    named = [index for index, class_id in enumerate(classes) if class_id is not None]
    rest = _majority(truth[~masks.masks[named].any(axis=0)], ignore_index)
    ground = np.full(truth.shape, ignore_index if rest is None else rest, dtype=np.uint8)
    return _painted(masks.masks[named], [classes[index] for index in named], ground)


def _majority(ids: np.ndarray, ignore_index: int | None = None) -> int | None:
    """The most frequent id (of equals the smallest), None if there is none."""
    counts = np.bincount(ids, minlength=256)
    if ignore_index is not None:
        counts[ignore_index] = 0
    return int(counts.argmax()) if counts.any() else None


def _painted(masks: np.ndarray, classes: Sequence[int | None], ground: np.ndarray) -> np.ndarray:
    """The masks in their classes over a copy of `ground`, the small ones on top."""
    result = ground.astype(np.uint8)
    areas = np.count_nonzero(masks, axis=(1, 2))
    for index in np.argsort(-areas, kind="stable"):
        if classes[index] is not None:
            result[masks[index]] = classes[index]
    return result


def _with_all_classes(result: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`result`, with all pixels of `mask` of every class that it would lose otherwise.

    What is put back for one class can't be taken away for another, since a pixel of `mask` has
    one class; so this ends.
    """
    result = result.copy()
    while len(lost := np.setdiff1d(mask, result)):
        result = np.where(np.isin(mask, lost), mask, result)
    return result


def _iou(region: Region, answer: np.ndarray) -> float:
    shared = np.count_nonzero(answer[region.rows, region.columns] & region.pixels)
    return shared / (region.area + np.count_nonzero(answer) - shared)
