"""`SplitScores`: a whole split, image by image, in memory that hardly grows with it."""

from typing import Any

import numpy as np
import torch

from hfseg.data.units import IMAGES, Units
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.boundary import (
    boundary_f_counts,
    boundary_f_score,
    boundary_iou,
    boundary_iou_counts,
)
from hfseg.metrics.confusion import confusion_matrix
from hfseg.metrics.intervals import Interval, image_counts, mean_iou_interval, mean_iou_of
from hfseg.metrics.region import region_scores


class SplitScores:
    """Adds up the counts of images; what several processes added can be merged.

    Of each image only its true positives, true and predicted pixels per class are kept (24 bytes
    a class), for the ranking and for the confidence interval.

    Args:
        labels: the classes that are scored. A prediction may also be `len(labels)`, which stands
            for a class that is none of them and is always wrong.
        boundaries: also measure Boundary IoU and the boundary F-score.

    Attributes:
        confusion: (K, K + 1) int64, rows truth; the last column is for the other classes.
        per_image: sample index -> (3, K) int64: pixels that are right, true, predicted.
    """

    def __init__(self, labels: LabelSet, boundaries: bool = True) -> None:
        self.labels = labels
        self.boundaries = boundaries
        count = len(labels)
        self.confusion = np.zeros((count, count + 1), dtype=np.int64)
        self.boundary_iou_counts = np.zeros((3, count), dtype=np.int64)
        self.boundary_f_counts = np.zeros((4, count), dtype=np.int64)
        self.per_image: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.per_image)

    def add(self, index: int, prediction: torch.Tensor, label: torch.Tensor) -> None:
        """Count one image: (H, W) integer ids on any device, and the sample's index.

        Raises:
            UserError: ids out of range, or two shapes.
        """
        count, ignored = len(self.labels), self.labels.ignore_index
        if ignored != count and (label == count).any():
            raise UserError(f"label {count} of sample {index} is not in 0..{count - 1}")
        # K + 1 classes, so that a prediction may be "another one"
        confusion = confusion_matrix(prediction, label, count + 1, ignored).cpu().numpy()[:count]
        self.confusion += confusion
        self.per_image[index] = image_counts(confusion)
        if self.boundaries:
            ids = (prediction, label, count, ignored)
            self.boundary_iou_counts += boundary_iou_counts(*ids).cpu().numpy()
            self.boundary_f_counts += boundary_f_counts(*ids).cpu().numpy()

    def merge(self, other: "SplitScores") -> None:
        """Take in what another process counted; an image that both have counts once."""
        repeated = self.per_image.keys() & other.per_image.keys()
        if repeated:
            raise ValueError(f"sample {min(repeated)} was counted by two processes")
        self.confusion += other.confusion
        self.boundary_iou_counts += other.boundary_iou_counts
        self.boundary_f_counts += other.boundary_f_counts
        self.per_image |= other.per_image

    def compute(self) -> dict[str, Any]:
        """`region_scores`, and with boundaries `mean_boundary_iou`, `mean_boundary_f` and
        `per_category_boundary_iou`, `per_category_boundary_f`."""
        result = region_scores(self.confusion)
        if self.boundaries:
            for name, values in (
                ("boundary_iou", boundary_iou(self.boundary_iou_counts)),
                ("boundary_f", boundary_f_score(self.boundary_f_counts)),
            ):
                known = values[~np.isnan(values)]
                result[f"mean_{name}"] = float(known.mean()) if len(known) else float("nan")
                result[f"per_category_{name}"] = values
        return result

    def image_scores(self) -> dict[int, float]:
        """Sample index -> mIoU of that image alone (NaN without a labelled pixel), by index."""
        return {
            index: float(mean_iou_of(*self.per_image[index][:, None])[0])
            for index in sorted(self.per_image)
        }

    def interval(self, units: Units = IMAGES) -> Interval:
        """`mean_iou_interval` of the images that were added."""
        return mean_iou_interval(self.per_image, self.labels.names, units)

    @property
    def absent(self) -> list[str]:
        """Classes in neither the labels nor the predictions."""
        seen = self.confusion.sum(1) + self.confusion.sum(0)[:-1]
        return [name for name, count in zip(self.labels.names, seen, strict=True) if count == 0]
