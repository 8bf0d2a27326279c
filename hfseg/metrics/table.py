"""The metrics, one entry each: training, evaluation, comparison, tables, cards and demo read them.

To add one, write its formula and its entry in `METRICS`. A formula takes counts that add up over
images: region counts from the confusion matrix, or what the entry's `count` makes of two masks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Count = Callable[["Tensor", "Tensor", int, int], "Tensor"]
"""(H, W) predicted ids, (H, W) true ids, K, ignored id -> (C, K) counts of one image."""

Scores = dict[str, Any]
"""Metric -> float, and `per_category_CLASS_NAME` -> (K,) float64."""


@dataclass(frozen=True)
class Metric:
    """What is measured and what it is called.

    Attributes:
        name: key in results and for `--metric_for_best_model`.
        title: for tables and figures.
        formula: (C, K) counts -> one value, or (K,) values whose mean over the classes where they
            are defined is the metric.
        class_name: key of a single class's value: `iou` in `iou_road`, `per_category_iou`; empty
            where the formula gives one value.
        class_title: for tables and figures.
        count: None: the formula takes region counts, so it is measured at every evaluation during
            training. Otherwise the counts come from the masks, which is too slow for that.
        greater_is_better: whether the model with the larger value is better.
    """

    name: str
    title: str
    formula: Callable[[np.ndarray], np.ndarray]
    class_name: str = ""
    class_title: str = ""
    count: Count | None = None
    greater_is_better: bool = True


def region_counts(confusion: np.ndarray) -> np.ndarray:
    """(3, K) correct, ground-truth and predicted pixels of a (K, K) or (K, K + 1) confusion matrix.

    The last of K + 1 columns is for predictions of other classes. 24 bytes per class are little
    enough to keep them for every image.
    """
    number = len(confusion)
    return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)[:number]])


# ---- formulas: (C, ..., K) counts -> (..., K); NaN where nothing was counted ----


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union (Jaccard)."""
    hits, truth, predicted = np.asarray(counts, dtype=np.float64)
    return _ratio(hits, truth + predicted - hits)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Recall: the fraction of a class's true pixels that are found."""
    hits, truth, _ = np.asarray(counts, dtype=np.float64)
    return _ratio(hits, truth)


def dice(counts: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN), the F1 score of the pixels."""
    hits, truth, predicted = np.asarray(counts, dtype=np.float64)
    return _ratio(2 * hits, truth + predicted)


def overall_accuracy(counts: np.ndarray) -> np.ndarray:
    """The fraction of all pixels that are correct."""
    hits, truth, _ = np.asarray(counts, dtype=np.float64)
    return _ratio(hits.sum(-1), truth.sum(-1))


def frequency_weighted_iou(counts: np.ndarray) -> np.ndarray:
    """Sum of IoU times the class's fraction of the true pixels (Long et al., CVPR 2015)."""
    truth = np.asarray(counts[1], dtype=np.float64)
    return _ratio((np.nan_to_num(iou(counts)) * truth).sum(-1), truth.sum(-1))


def boundary_f(counts: np.ndarray) -> np.ndarray:
    """F-score of `boundary_f_counts`; 0 if only one of the two masks has a contour."""
    matched, predicted, found, truth = np.asarray(counts, dtype=np.float64)
    precision = np.nan_to_num(_ratio(matched, predicted))
    recall = np.nan_to_num(_ratio(found, truth))
    score = np.nan_to_num(_ratio(2 * precision * recall, precision + recall))
    return np.where(predicted + truth > 0, score, np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return part / whole


# ---- counts of masks; torch is imported when the first one is counted ----


def _boundary_iou_counts(
    prediction: "Tensor", label: "Tensor", num_labels: int, ignore_index: int
) -> "Tensor":
    from hfseg.metrics.boundary import boundary_iou_counts

    return boundary_iou_counts(prediction, label, num_labels, ignore_index)


def _boundary_f_counts(
    prediction: "Tensor", label: "Tensor", num_labels: int, ignore_index: int
) -> "Tensor":
    from hfseg.metrics.boundary import boundary_f_counts

    return boundary_f_counts(prediction, label, num_labels, ignore_index)


METRICS = (
    Metric("mean_iou", "mean IoU", iou, "iou", "IoU"),
    Metric("mean_accuracy", "mean accuracy", accuracy, "accuracy", "accuracy"),
    Metric("overall_accuracy", "overall accuracy", overall_accuracy),
    Metric("frequency_weighted_iou", "frequency-weighted IoU", frequency_weighted_iou),
    Metric("mean_dice", "mean Dice (F1)", dice, "dice", "Dice"),
    Metric(
        "mean_boundary_iou",
        "mean Boundary IoU",
        iou,
        "boundary_iou",
        "Boundary IoU",
        _boundary_iou_counts,
    ),
    Metric(
        "mean_boundary_f",
        "mean boundary F-score",
        boundary_f,
        "boundary_f",
        "boundary F",
        _boundary_f_counts,
    ),
)
TRAINING_METRICS = tuple(metric for metric in METRICS if metric.count is None)
"""The metrics that every evaluation during training measures."""
TITLES = {metric.name: metric.title for metric in METRICS}


def score(
    counts: Mapping[Count | None, np.ndarray], metrics: Sequence[Metric] = TRAINING_METRICS
) -> Scores:
    """All metrics of some images.

    Args:
        counts: by `Metric.count`; None: region counts.

    Returns:
        `NAME` (float) of every metric, and `per_category_CLASS_NAME` ((K,) float64) of those that
        have values per class. NaN: undefined, such as the IoU of a class in neither labels nor
        predictions; means ignore it.
    """
    result: Scores = {}
    for metric in metrics:
        values = metric.formula(counts[metric.count])
        result[metric.name] = float(mean_over_classes(values) if metric.class_name else values)
        if metric.class_name:
            result[f"per_category_{metric.class_name}"] = values
    return result


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """(..., K) -> (...) mean of the values that are not NaN; NaN where all are."""
    known = ~np.isnan(values)
    # summed in the order of np.nanmean, so that the last digit agrees with other libraries
    total, number = np.where(known, values, 0).sum(-1), known.sum(-1)
    return _ratio(total, number)


def metric_of(name: str) -> Metric | None:
    """The metric of that name, or that a score per class such as `iou_road` belongs to."""
    for metric in METRICS:
        if name == metric.name or (metric.class_name and name.startswith(f"{metric.class_name}_")):
            return metric
    return None
