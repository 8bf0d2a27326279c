"""How well boundaries match: Boundary IoU and the boundary F-score, as counts that add up.

Both are sums over pixels, so the counts of two sets of images add up to the counts of both.
Everything runs on the device of the label maps.

Boundary IoU: Cheng, Girshick, Dollár, Berg & Kirillov, "Boundary IoU: Improving Object-Centric
Image Segmentation Evaluation", CVPR 2021. The boundary region of a class is its pixels at most
`d` away (in a square) from a pixel that is not of the class, d = 2 % of the image's diagonal; the
image's border is an edge. A pixel of the label map is in the boundary region of its own class
exactly if the smallest and the largest id around it differ: one minimum and one maximum filter
are enough for all classes.

Boundary F-score: Csurka, Larlus & Perronnin, "What is a good evaluation measure for semantic
segmentation?", BMVC 2013. Precision is the fraction of predicted contour pixels with a true contour
pixel of the class within 0.75 % of the diagonal (in a disc), recall the reverse. Where that paper
averages over images, counts are summed over the dataset here, as they are for IoU.

Where labels are ignored:
- a contour may run under an ignored band, as nearly all of VOC's do: as in the paper, the edge of
  the band is true contour, but only where another class begins across it, within twice the
  tolerance. The edge of a wide ignored region (a car's hood) and the image's border are not;
- a predicted contour among ignored pixels, or next to them only, counts where a true contour of any
  class is within the tolerance, and is neither right nor wrong elsewhere.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from hfseg.labels import IGNORE_INDEX, UNLABELED
from hfseg.metrics.confusion import count_ids

BOUNDARY_WIDTH = 0.02
"""d of Boundary IoU, as a fraction of the image's diagonal."""
CONTOUR_TOLERANCE = 0.0075
"""How far apart matching contours may be, as a fraction of the image's diagonal."""

_NOTHING = 255  # above every class id


def boundary_iou_counts(
    predictions: Tensor,
    labels: Tensor,
    num_labels: int,
    ignore_index: int = IGNORE_INDEX,
    width: int | None = None,
) -> Tensor:
    """The counts of Boundary IoU, for one image.

    Args:
        predictions: (H, W) predicted ids, any integer dtype; ids past the last class count for
            no class.
        labels: (H, W) true ids. Ignored pixels belong to no class, in both maps.
        num_labels: K, at most 255.
        ignore_index: pixels with this label, or with -100, are ignored.
        width: d in pixels; 2 % of the diagonal, rounded, at least 1, if None.

    Returns:
        (3, K) int64: pixels in both boundary regions of a class, in the true one, in the
        predicted one.
    """
    truth, predicted = _label_maps(predictions, labels, ignore_index)
    if width is None:
        width = _pixels(BOUNDARY_WIDTH, truth)
    true_region = truth.where(_near_an_edge(truth, width), _NOTHING)
    predicted_region = predicted.where(_near_an_edge(predicted, width), _NOTHING)
    both = true_region.where(true_region == predicted_region, _NOTHING)
    return torch.stack([_count(ids, num_labels) for ids in (both, true_region, predicted_region)])


def boundary_f_counts(
    predictions: Tensor,
    labels: Tensor,
    num_labels: int,
    ignore_index: int = IGNORE_INDEX,
    tolerance: int | None = None,
) -> Tensor:
    """The counts of the boundary F-score, for one image; arguments as `boundary_iou_counts`.

    Args:
        tolerance: radius in pixels; 0.75 % of the diagonal, rounded, at least 1, if None.

    Returns:
        (4, K) int64: predicted contour pixels that match, all of them, true contour pixels that
        match, all of them.
    """
    truth, predicted = _label_maps(predictions, labels, ignore_index)
    if tolerance is None:
        tolerance = _pixels(CONTOUR_TOLERANCE, truth)
    at_edge = _differs_around(truth, 1, ignored_too=True)
    true_contour = truth.where(at_edge & _differs_around(truth, 2 * tolerance), _NOTHING)
    guessed = predictions.to(torch.uint8)  # under the ignored pixels too
    judged = _differs_around(predicted, 1)
    judged |= _differs_around(guessed, 1) & _grown(true_contour != _NOTHING, tolerance)
    predicted_contour = guessed.where(judged, _NOTHING)
    counts = torch.zeros(4, num_labels, dtype=torch.int64, device=truth.device)
    counts[1] = _count(predicted_contour, num_labels)
    counts[3] = _count(true_contour, num_labels)
    # one copy to the host per image: dilating contours that don't occur would cost more
    both = (counts[1] * counts[3]).tolist()
    for index in (index for index, pixels in enumerate(both) if pixels):
        theirs, ours = true_contour == index, predicted_contour == index
        counts[0, index] = (ours & _grown(theirs, tolerance)).sum()
        counts[2, index] = (theirs & _grown(ours, tolerance)).sum()
    return counts


def _label_maps(predictions: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """(H, W) uint8 truth and prediction, without the ignored pixels."""
    ignored = (labels == ignore_index) | (labels == UNLABELED)
    truth = labels.masked_fill(ignored, _NOTHING).to(torch.uint8)
    return truth, predictions.masked_fill(ignored, _NOTHING).to(torch.uint8)


def _pixels(fraction: float, label_map: Tensor) -> int:
    height, width = label_map.shape
    return max(1, round(fraction * (height**2 + width**2) ** 0.5))


def _near_an_edge(ids: Tensor, distance: int) -> Tensor:
    """Whether another id, or the outside of the image, is within the square around a pixel."""
    window = 2 * distance + 1
    padded = F.pad(ids, (distance,) * 4, value=_NOTHING)
    smallest = _filter(padded, window, window, torch.minimum)
    return smallest != _filter(padded, window, window, torch.maximum)


def _differs_around(ids: Tensor, distance: int, ignored_too: bool = False) -> Tensor:
    """Whether another class is within the square around a pixel that has one itself.

    Args:
        ignored_too: whether pixels without a class count as another; those outside never do.
    """
    window = 2 * distance + 1
    smallest = _filter(F.pad(ids, (distance,) * 4, value=_NOTHING), window, window, torch.minimum)
    classes = ids if ignored_too else ids.masked_fill(ids == _NOTHING, 0)
    largest = _filter(F.pad(classes, (distance,) * 4, value=0), window, window, torch.maximum)
    return (smallest != largest) & (ids != _NOTHING)


def _grown(pixels: Tensor, radius: int) -> Tensor:
    """Dilation of a (H, W) bool map by a disc."""
    height, width = pixels.shape
    padded = F.pad(pixels.to(torch.uint8), (radius,) * 4)
    result = torch.zeros_like(pixels)
    for row in range(2 * radius + 1):
        half = int((radius**2 - (row - radius) ** 2) ** 0.5)
        strip = padded[row : row + height, radius - half : radius + half + width]
        result |= _filter(strip, 1, 2 * half + 1, torch.maximum).bool()
    return result


def _filter(
    ids: Tensor, height: int, width: int, pick: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Minimum or maximum over every window that fits, in a logarithmic number of passes."""
    for dim, window in ((0, height), (1, width)):
        reach = 1  # `ids` holds the pick of this many rows or columns
        while reach < window:
            step = min(reach, window - reach)
            length = ids.shape[dim] - step
            ids = pick(ids.narrow(dim, 0, length), ids.narrow(dim, step, length))
            reach += step
    return ids


def _count(ids: Tensor, num_labels: int) -> Tensor:
    return count_ids(ids.flatten()[None].long(), _NOTHING + 1)[0, :num_labels]
