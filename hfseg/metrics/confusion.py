"""Confusion counts with torch, on the device of the tensors, and the scores they give.

Everything a segmentation metric needs is in the (K, K) matrix of counts, rows truth and columns
prediction; the sum of two matrices is the matrix of both sets. So nothing else is kept or
gathered: no pixels, whatever the number of images.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, UNLABELED
from hfseg.metrics.table import region_counts, score


def confusion_matrix(
    predictions: Tensor, labels: Tensor, num_labels: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Count the pixels of every (truth, prediction) pair over one image or a batch.

    Args:
        predictions: predicted class ids, (H, W) or (B, H, W), any integer dtype.
        labels: true class ids, the same shape and device.
        num_labels: K, the number of classes.
        ignore_index: pixels with this label, or with -100, do not count.

    Returns:
        (K, K) int64 on the device of the inputs; rows are the truth, columns the prediction.

    Raises:
        UserError: shapes that differ, tensors that are not integers, or a label or prediction
            outside 0..K-1 at a pixel that counts; the message names the value.
    """
    return confusion_matrix_per_image(predictions, labels, num_labels, ignore_index).sum(0)


def confusion_matrix_per_image(
    predictions: Tensor, labels: Tensor, num_labels: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """As `confusion_matrix`, but one matrix an image: (B, K, K) int64, B = 1 for (H, W) inputs.

    Counts an image, unlike counts a batch, survive the gathering of an uneven last batch across
    processes: the repeated images are trimmed off by their position.
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
    num_images = len(labels)
    truth = labels.flatten(1).long()  # not uint8, which has no -100 to compare with
    predicted = predictions.flatten(1).long()

    counts = (truth != ignore_index) & (truth != UNLABELED)
    for name, ids in (("label", truth), ("prediction", predicted)):
        outside = counts & ((ids < 0) | (ids >= num_labels))
        if outside.any():
            raise UserError(
                f"{name} {ids[outside][0].item()} is not in 0..{num_labels - 1} "
                f"({outside.sum().item()} pixels have such ids); "
                f"num_labels is {num_labels}, ignore_index {ignore_index}"
            )

    # one bincount for all: each image has K * K cells, and one more for pixels that do not count
    cells = num_labels * num_labels
    cell = torch.where(counts, truth * num_labels + predicted, cells)
    cell += torch.arange(num_images, device=cell.device)[:, None] * (cells + 1)
    matrix = torch.bincount(cell.flatten(), minlength=num_images * (cells + 1))
    return matrix.view(num_images, cells + 1)[:, :cells].reshape(num_images, num_labels, num_labels)


def scores(confusion: np.ndarray | Tensor) -> dict[str, Any]:
    """Everything that a confusion matrix says: `hfseg.metrics.table.score` of its counts.

    Args:
        confusion: (K, K) counts, rows are the truth and columns the prediction; or (K, K + 1), the
            last column for predictions of other classes, hence wrong.

    Raises:
        ValueError: another shape, or negative counts.
    """
    matrix = confusion.cpu().numpy() if isinstance(confusion, Tensor) else np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[1] - matrix.shape[0] not in (0, 1):
        raise ValueError(f"a confusion matrix is (K, K) or (K, K + 1), not {matrix.shape}")
    if (matrix < 0).any():
        raise ValueError(f"a confusion matrix holds counts, but {matrix.min()} is in this one")
    return score({None: region_counts(matrix)})
