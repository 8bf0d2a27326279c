"""Masks damaged as annotators damage them, so that it is known which labels are wrong."""

from collections import Counter

import cv2
import numpy as np
from scipy.ndimage import binary_dilation

from hfseg.labels import LabelSet
from hfseg.sam.regions import Region, regions

KINDS = ("swapped", "dropped", "shifted", "simplified")
SHIFT = 15 / 500
"""Of the width: 15 pixels of a photo of 500, such as VOC's."""
_OBJECT = (0.005, 0.25)
"""An object covers this fraction of the image; larger regions are background."""
_CHANGED = 0.003
"""Less than this fraction of the pixels is no damage."""


def damage(
    mask: np.ndarray, kind: str, labels: LabelSet, rng: np.random.Generator
) -> np.ndarray | None:
    """A damaged copy of (H, W) uint8 ids; None where the kind is impossible.

    Args:
        mask: class ids.
        kind: `swapped`: one object has another class; `dropped`: one object has the class around
            it; `shifted`: the mask lies `SHIFT` off in some direction; `simplified`: every region
            is the polygon that is nowhere more than half of `SHIFT` off.
        labels: their meaning.
        rng: chooses.
    """
    if kind in ("swapped", "dropped"):
        changed = _object_changed(mask, kind, labels, rng)
    else:
        changed = _shifted(mask, rng) if kind == "shifted" else _simplified(mask, labels)
    if changed is None or (changed != mask).mean() < _CHANGED:
        return None
    return changed


def damaged_masks(
    masks: list[np.ndarray], fraction: float, labels: LabelSet, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[str]]:
    """The masks with a fraction of them damaged, all kinds equally often.

    Returns:
        The masks, and the kind of damage of each, "" for none.
    """
    changed, kinds = list(masks), [""] * len(masks)
    wanted = [KINDS[number % len(KINDS)] for number in range(round(fraction * len(masks)))]
    for index in rng.permutation(len(masks)).tolist():
        if not wanted:
            break
        found = damage(masks[index], wanted[-1], labels, rng)
        if found is not None:
            changed[index], kinds[index] = found, wanted.pop()
    return changed, kinds


def _object_changed(
    mask: np.ndarray, kind: str, labels: LabelSet, rng: np.random.Generator
) -> np.ndarray | None:
    found = [each for each in regions(mask, len(labels), _OBJECT[0])
             if each.area <= _OBJECT[1] * mask.size]  # fmt: skip
    if not found:
        return None
    region = found[rng.integers(len(found))]
    around = _around(mask, region, labels)
    if kind == "dropped":
        new = around
    else:  # not the class around it: the object would be dropped
        others = [each for each in range(len(labels)) if each not in (region.class_id, around)]
        new = int(rng.choice(others)) if others else None
    if new is None:
        return None
    changed = mask.copy()
    changed[region.mask(mask.shape)] = new
    return changed


def _around(mask: np.ndarray, region: Region, labels: LabelSet) -> int | None:
    """The most frequent class along the edge of a region."""
    inside = region.mask(mask.shape)
    edge = mask[binary_dilation(inside) & ~inside]
    counts = Counter(edge[edge < len(labels)].tolist())
    return counts.most_common(1)[0][0] if counts else None


def _shifted(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What comes in at the border repeats what was there."""
    angle, reach = rng.uniform(0, 2 * np.pi), SHIFT * mask.shape[1]
    down, right = round(reach * np.sin(angle)), round(reach * np.cos(angle))
    rows = (np.arange(mask.shape[0]) - down).clip(0, mask.shape[0] - 1)
    columns = (np.arange(mask.shape[1]) - right).clip(0, mask.shape[1] - 1)
    return mask[rows][:, columns]


def _simplified(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Small regions lie over large ones; specks and ignored pixels stay as they are."""
    changed = mask.copy()
    for region in regions(mask, len(labels), 0):
        inside = region.mask(mask.shape)
        if region.area < _OBJECT[0] * mask.size:
            changed[inside] = region.class_id
            continue
        outlines, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        polygons = [cv2.approxPolyDP(each, SHIFT * mask.shape[1] / 2, True) for each in outlines]
        cv2.fillPoly(changed, polygons, region.class_id)
    return np.where(mask < len(labels), changed, mask)
