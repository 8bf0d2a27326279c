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


@dataclass(frozen=True)
class Metric:
    """What is measured and what it is called.

    Attributes:
        name: key in results and for `--metric_for_best_model`.
        title: in words.
        formula: (C, K) counts -> one value, or (K,) values whose mean over the classes where they
            are defined is the metric.
        class_name: key of a single class's value: `iou` in `iou_road`, `per_category_iou`; empty
            where the formula gives one value.
        class_title: in words.
        count: None: the formula takes region counts, so it is measured at every evaluation of a
            training. Else the counts come from the masks, which is too slow for that.
        greater_is_better: which of two models is chosen.
    """

    name: str
    title: str
    formula: Callable[[np.ndarray], np.ndarray]
    class_name: str = ""
    class_title: str = ""
    count: Count | None = None
    greater_is_better: bool = True


def region_counts(confusion: np.ndarray) -> np.ndarray:
    """(3, K) pixels that are right, true, predicted, of a (K, K) or (K, K + 1) confusion matrix.

    The last of K + 1 columns is for predictions of other classes. 24 bytes per class, so that
    it can be kept for every image.
    """
    number = len(confusion)
    return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)[:number]])


# ---- formulas: (C, ..., K) counts -> (..., K); NaN where nothing is counted ----


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
    """The fraction of all pixels that are right."""
    hits, truth, _ = np.asarray(counts, dtype=np.float64)
    return _ratio(hits.sum(-1), truth.sum(-1))


def frequency_weighted_iou(counts: np.ndarray) -> np.ndarray:
    """Sum of IoU times the class's fraction of the true pixels (Long et al., CVPR 2015)."""
    truth = np.asarray(counts[1], dtype=np.float64)
    return _ratio((np.nan_to_num(iou(counts)) * truth).sum(-1), truth.sum(-1))


def boundary_f(counts: np.ndarray) -> np.ndarray:
    """F-score of `boundary_f_counts`; 0 for a contour in only one of truth and prediction."""
    matched, predicted, found, truth = np.asarray(counts, dtype=np.float64)
    precision = np.nan_to_num(_ratio(matched, predicted))
    recall = np.nan_to_num(_ratio(found, truth))
    score = np.nan_to_num(_ratio(2 * precision * recall, precision + recall))
    return np.where(predicted + truth > 0, score, np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return part / whole


# ---- counts of masks; torch is imported when the first one is counted ----


def _boundary_iou_counts(*masks: Any) -> "Tensor":
    from hfseg.metrics.boundary import boundary_iou_counts

    return boundary_iou_counts(*masks)


def _boundary_f_counts(*masks: Any) -> "Tensor":
    from hfseg.metrics.boundary import boundary_f_counts

    return boundary_f_counts(*masks)


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
"""Those that every evaluation of a training measures."""
TITLES = {metric.name: metric.title for metric in METRICS}


def score(
    counts: Mapping[Count | None, np.ndarray], metrics: Sequence[Metric] = TRAINING_METRICS
) -> dict[str, Any]:
    """All metrics of some images.

    Args:
        counts: by the metrics' `count`; None: region counts.

    Returns:
        `NAME` (float) of every metric, and `per_category_CLASS_NAME` ((K,) float64) of those that
        have values per class. NaN: not defined, such as the IoU of a class in neither labels nor
        predictions; means leave it out.
    """
    result: dict[str, Any] = {}
    for metric in metrics:
        values = metric.formula(counts[metric.count])
        result[metric.name] = float(mean_over_classes(values) if metric.class_name else values)
        if metric.class_name:
            result[f"per_category_{metric.class_name}"] = values
    return result


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """(..., K) -> (...) mean of what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    # the sum of np.nanmean: its order decides the last digit, which others have too
    total, number = np.where(known, values, 0).sum(-1), known.sum(-1)
    return _ratio(total, number)


def metric_of(name: str) -> Metric | None:
    """The metric that a name belongs to: its own, or that of a class such as `iou_road`."""
    for metric in METRICS:
        if name == metric.name or (metric.class_name and name.startswith(f"{metric.class_name}_")):
            return metric
    return None
