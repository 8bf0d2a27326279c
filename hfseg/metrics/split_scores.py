"""`SplitScores`: all metrics of a split, counted image by image in little memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hfseg.data.units import IMAGES, Units
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.calibration import BINS, confidence_counts, expected_calibration_error
from hfseg.metrics.confusion import count_pairs
from hfseg.metrics.intervals import Interval, mean_iou_interval
from hfseg.metrics.table import (
    METRICS,
    Count,
    Metric,
    Scores,
    iou,
    mean_over_classes,
    region_counts,
    score,
)


class SplitScores:
    """Adds up the counts of images; those of several processes can be merged (`SharedWork`).

    Of each image only its true positives, true and predicted pixels per class are kept (24 bytes
    per class), for the ranking and for the confidence interval.

    Args:
        labels: the classes that are scored. A prediction may also be `len(labels)`, for a class
            that is not one of them and is always wrong.
        metrics: what is measured.

    Attributes:
        confusion: (K, K + 1) int64, rows ground truth; the last column is for the other classes.
        mask_counts: sums of what the metrics' `count` functions return.
        per_image: sample index -> (3, K) int64 `region_counts`.
        calibration: (3, BINS) sum of `confidence_counts`, where confidences were given.
    """

    def __init__(self, labels: LabelSet, metrics: Sequence[Metric] = METRICS) -> None:
        self.labels = labels
        self.metrics = tuple(metrics)
        self.confusion = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
        self.mask_counts: dict[Count | None, np.ndarray] = {}
        self.per_image: dict[int, np.ndarray] = {}
        self.calibration = np.zeros((3, BINS), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.per_image)

    def add(
        self,
        index: int,
        prediction: torch.Tensor,
        label: torch.Tensor,
        confidence: torch.Tensor | None = None,
    ) -> None:
        """Count one image: (H, W) integer ids on any device, and the sample's index.

        Args:
            confidence: (H, W) probability of the prediction.

        Raises:
            UserError: ids out of range, or shapes that differ.
        """
        count, ignored = len(self.labels), self.labels.ignore_index
        # K + 1 classes, the last for other predictions; and one more for ids out of range
        pairs = count_pairs(prediction, label, count + 1, ignored)[0].cpu().numpy()
        if pairs[count:].any() or pairs[:, -1].any():
            raise UserError(
                f"sample {index}: {pairs[count:].sum()} labels are not in 0..{count - 1}, and "
                f"{pairs[:, -1].sum()} predictions not in 0..{count}"
            )
        confusion = pairs[:count, :-1]
        self.confusion += confusion
        self.per_image[index] = region_counts(confusion)
        if confidence is not None:
            counted = (label != ignored) & (label >= 0)
            counts = confidence_counts(confidence, prediction == label, counted)
            self.calibration += counts.cpu().numpy()
        for function in self._mask_functions():
            self._add_mask_counts(
                function, function(prediction, label, count, ignored).cpu().numpy()
            )

    def _add_mask_counts(self, function: Count | None, counts: np.ndarray) -> None:
        known = self.mask_counts.get(function)
        self.mask_counts[function] = counts if known is None else known + counts

    def merge(self, other: "SplitScores") -> None:
        """Add what another process counted.

        Raises:
            ValueError: both counted the same image.
        """
        repeated = self.per_image.keys() & other.per_image.keys()
        if repeated:
            raise ValueError(f"sample {min(repeated)} was counted by two processes")
        self.confusion += other.confusion
        for function, counts in other.mask_counts.items():
            self._add_mask_counts(function, counts)
        self.per_image |= other.per_image
        self.calibration += other.calibration

    def state_dict(self) -> dict[str, Any]:
        """The counts as tensors; `load_state_dict` restores them in other scores of the kind."""
        images = list(self.per_image)
        counts = [self.per_image[index] for index in images]
        return {
            "confusion": torch.from_numpy(self.confusion),
            "mask_counts": [
                torch.from_numpy(self.mask_counts[function])
                for function in self._mask_functions()
                if function in self.mask_counts
            ],
            "images": images,
            "per_image": torch.from_numpy(np.stack(counts)) if counts else torch.empty(0),
            "calibration": torch.from_numpy(self.calibration),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.confusion = state["confusion"].numpy()
        counts = (each.numpy() for each in state["mask_counts"])
        self.mask_counts = dict(zip(self._mask_functions(), counts, strict=False))
        self.per_image = dict(zip(state["images"], state["per_image"].numpy(), strict=True))
        self.calibration = state["calibration"].numpy()

    def _mask_functions(self) -> list[Count]:
        """What counts masks, each once, in the order of the metrics."""
        return list(dict.fromkeys(metric.count for metric in self.metrics if metric.count))

    def compute(self) -> Scores:
        """`hfseg.metrics.table.score` of all images, for the chosen metrics."""
        return score({None: region_counts(self.confusion), **self.mask_counts}, self.metrics)

    @property
    def calibration_error(self) -> float:
        """`expected_calibration_error` of all images; NaN without confidences."""
        return expected_calibration_error(self.calibration)

    def image_scores(self) -> dict[int, float]:
        """Sample index -> mIoU of that image alone (NaN without a labeled pixel), by index."""
        return {
            index: float(mean_over_classes(iou(self.per_image[index])))
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
