"""Scores of regions from the confusion matrix: IoU, accuracy, Dice, and their means."""

from typing import Any

import numpy as np


def region_scores(confusion: np.ndarray) -> dict[str, Any]:
    """Everything the confusion matrix of a set of images says.

    Args:
        confusion: (K, K) integer counts, rows truth and columns prediction; or (K, K + 1), the
            last column for predictions that are none of the K classes, hence wrong.

    Returns:
        `mean_iou`, `mean_accuracy`, `mean_dice` (over the classes that occur),
        `overall_accuracy` (pixel accuracy), `frequency_weighted_iou` (sum of IoU times the
        class's share of the true pixels; Long et al., CVPR 2015, section 5), and
        `per_category_iou`, `per_category_accuracy`, `per_category_dice` ((K,) float64). Dice is
        2 TP / (2 TP + FP + FN), the F1 of the pixels. IoU and Dice of a class that occurs
        neither in truth nor prediction, and accuracy of one not in the truth, are NaN and left
        out of the means.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    num_labels = len(counts)
    hits = np.diagonal(counts)
    truth, predicted = counts.sum(1), counts.sum(0)[:num_labels]
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hits / (truth + predicted - hits)
        dice = 2 * hits / (truth + predicted)
        accuracy = hits / truth
        total = truth.sum()
        return {
            "mean_iou": _mean(iou),
            "mean_accuracy": _mean(accuracy),
            "mean_dice": _mean(dice),
            "overall_accuracy": float(hits.sum() / total),
            "frequency_weighted_iou": float((np.nan_to_num(iou) * truth).sum() / total),
            "per_category_iou": iou,
            "per_category_accuracy": accuracy,
            "per_category_dice": dice,
        }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
