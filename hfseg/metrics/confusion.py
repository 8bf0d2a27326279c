"""Confusion matrices with torch, on the device of the tensors, and their scores.

Everything a segmentation metric needs is in the (K, K) matrix of counts, rows ground truth and
columns prediction; the sum of two matrices is the matrix of both sets. So no pixels are kept or
gathered, whatever the number of images.
"""

import numpy as np
import torch
from torch import Tensor

from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, UNLABELED
from hfseg.metrics.table import Scores, region_counts, score


def confusion_matrix(
    predictions: Tensor, labels: Tensor, num_labels: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Count the pixels of every (ground truth, prediction) pair over one image or a batch.

    Args:
        predictions: predicted class ids, (H, W) or (B, H, W), any integer dtype.
        labels: true class ids, the same shape and device.
        num_labels: K, the number of classes.
        ignore_index: pixels with this label, or with -100, do not count.

    Returns:
        (K, K) int64 on the device of the inputs; rows are the ground truth, columns the prediction.

    Raises:
        UserError: shapes that differ, tensors that are not integers, or a label or prediction
            outside 0..K-1 at a pixel that counts; the message names the value.
    """
    return confusion_matrix_per_image(predictions, labels, num_labels, ignore_index).sum(0)


def confusion_matrix_per_image(
    predictions: Tensor, labels: Tensor, num_labels: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """As `confusion_matrix`, but one matrix per image: (B, K, K) int64, B = 1 for (H, W) inputs.

    Counts per image, unlike counts per batch, survive the gathering of an uneven last batch across
    processes: the repeated images are trimmed off by their position.
    """
    counts = count_pairs(predictions, labels, num_labels, ignore_index)
    if bool((counts[:, -1].any() | counts[:, :, -1].any()).item()):
        raise UserError(_what_is_outside(predictions, labels, num_labels, ignore_index))
    return counts[:, :-1, :-1]


def count_pairs(
    predictions: Tensor, labels: Tensor, num_labels: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """As `confusion_matrix_per_image`, but ids outside 0..K-1 are counted instead of rejected.

    Nothing is copied to the host, so a GPU does not have to wait. The caller checks that nothing is
    outside, once the counts are on the host.

    Returns:
        (B, K + 1, K + 1) int64: the last row counts labels outside 0..K-1, the last column
        predictions outside it.

    Raises:
        UserError: shapes that differ, or tensors that are not integers.
    """
    if predictions.shape != labels.shape or labels.ndim not in (2, 3):
        raise UserError(
            "predictions and labels must both be (H, W) or (B, H, W), but they are "
            f"{tuple(predictions.shape)} and {tuple(labels.shape)}"
        )
    for name, tensor in (("predictions", predictions), ("labels", labels)):
        if tensor.is_floating_point() or tensor.is_complex():
            raise UserError(f"{name} must be integer class ids, but their dtype is {tensor.dtype}")
    if labels.ndim == 2:
        predictions, labels = predictions[None], labels[None]
    truth = labels.flatten(1).long()  # not uint8, which has no -100 to compare with
    predicted = predictions.flatten(1).long()

    # one histogram per image: (K + 1)^2 cells, and one more for pixels that don't count
    side = num_labels + 1
    cell = _or_outside(truth, num_labels) * side + _or_outside(predicted, num_labels)
    cell = cell.where(_is_counted(truth, ignore_index), side * side)
    counts = count_ids(cell, side * side + 1)
    return counts[:, :-1].reshape(-1, side, side)


def count_ids(ids: Tensor, num_ids: int) -> Tensor:
    """(B, P) int64 ids in 0..num_ids-1 -> (B, num_ids) int64: how often each occurs in its row.

    `torch.bincount` would first wait for a GPU to find the smallest and the largest id.
    """
    one = torch.ones((), dtype=torch.int64, device=ids.device)
    return ids.new_zeros(len(ids), num_ids).scatter_add_(1, ids, one.expand_as(ids))


def _is_counted(labels: Tensor, ignore_index: int) -> Tensor:
    return (labels != ignore_index) & (labels != UNLABELED)


def _or_outside(ids: Tensor, num_labels: int) -> Tensor:
    """The ids, and `num_labels` in place of those outside 0..num_labels-1."""
    return ids.where((ids >= 0) & (ids < num_labels), num_labels)


def _what_is_outside(
    predictions: Tensor, labels: Tensor, num_labels: int, ignore_index: int
) -> str:
    """The error message, which names a label that is not a class, or else a prediction."""
    counted = _is_counted(labels.long(), ignore_index)
    name, ids = "label", labels.long()[counted]
    outside = ids[_or_outside(ids, num_labels) == num_labels]
    if not len(outside):
        name, ids = "prediction", predictions.long()[counted]
        outside = ids[_or_outside(ids, num_labels) == num_labels]
    return (
        f"{name} {outside[0].item()} is not in 0..{num_labels - 1} "
        f"({len(outside)} pixels have such ids); "
        f"num_labels is {num_labels}, ignore_index {ignore_index}"
    )


def scores(confusion: np.ndarray | Tensor) -> Scores:
    """The scores of a confusion matrix: `hfseg.metrics.table.score` of its counts.

    Args:
        confusion: (K, K) counts, rows ground truth and columns prediction; or (K, K + 1), the last
            column for predictions of other classes, hence wrong.

    Raises:
        ValueError: another shape, or negative counts.
    """
    matrix = confusion.cpu().numpy() if isinstance(confusion, Tensor) else np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[1] - matrix.shape[0] not in (0, 1):
        raise ValueError(f"a confusion matrix is (K, K) or (K, K + 1), not {matrix.shape}")
    if (matrix < 0).any():
        raise ValueError(
            f"a confusion matrix can't have negative counts, but this one has {matrix.min()}"
        )
    return score({None: region_counts(matrix)})
