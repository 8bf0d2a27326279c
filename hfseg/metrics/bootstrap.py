"""How sure a mean IoU is: what it would be for other images of the same kind."""

from collections.abc import Mapping

import numpy as np

RESAMPLES = 1000
_RESAMPLES_AT_ONCE = 50


def mean_iou_interval(
    per_image: Mapping[int, np.ndarray], level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean IoU over images (Efron 1979).

    Draws as many images as there are, with replacement, 1000 times. The order in which the images
    were counted, and by which process, makes no difference.

    Args:
        per_image: sample index -> (3, K) int64 from `image_counts`.
        level: share of the draws that the interval holds.
        seed: of the draws.

    Returns:
        The lower and the upper bound, 0-1; NaN where nothing is labelled.
    """
    if not per_image:
        return float("nan"), float("nan")
    counts = np.stack([per_image[index] for index in sorted(per_image)])
    number = len(counts)
    generator = np.random.default_rng(seed)
    flat = counts.reshape(number, -1).astype(np.float64)
    means = []
    for _ in range(0, RESAMPLES, _RESAMPLES_AT_ONCE):
        times = generator.multinomial(number, np.full(number, 1 / number), _RESAMPLES_AT_ONCE)
        means.append(mean_iou_of(*np.moveaxis((times @ flat).reshape(-1, *counts.shape[1:]), 1, 0)))
    values = np.concatenate(means)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def image_counts(confusion: np.ndarray) -> np.ndarray:
    """(3, K) pixels that are right, true, predicted, of a (K, K) or (K, K + 1) confusion matrix.

    24 bytes a class, so that it can be kept for every image.
    """
    number = len(confusion)
    return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)[:number]])


def mean_iou_of(hits: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N, K) right, true and predicted pixels -> (N,) mean IoU over the classes that occur."""
    hits, truth, predicted = (
        np.asarray(part, dtype=np.float64) for part in (hits, truth, predicted)
    )
    union = truth + predicted - hits
    occurs = union > 0
    iou = np.divide(hits, union, out=np.zeros_like(hits), where=occurs)
    number = occurs.sum(1)
    return np.divide(iou.sum(1), number, out=np.full(len(iou), np.nan), where=number > 0)
