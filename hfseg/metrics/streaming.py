"""`StreamingScores`: `Trainer`'s `compute_metrics`, which receives counts batch by batch."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hfseg.data.units import IMAGES, Units
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.calibration import BINS, CALIBRATION_ERROR, expected_calibration_error
from hfseg.metrics.confusion import scores
from hfseg.metrics.intervals import Interval, mean_iou_interval
from hfseg.metrics.table import TRAINING_METRICS, iou, mean_over_classes, region_counts

if TYPE_CHECKING:
    from transformers import EvalPrediction


_Value = TypeVar("_Value")


class StreamingScores:
    """Adds up confusion matrices, one per image, and turns the sum into scores.

    For `Trainer` with `batch_eval_metrics=True`: called after every batch with
    `predictions = ((B, K + 1, K + 1) int64 of count_pairs, (B, 2, 2) float32 sums and counts of
    the loss, (B, 3, BINS) of confidence_counts)` and `label_ids = (B,)` sample indices, already
    gathered over processes and trimmed of repeated samples, unless their index is -1.

    Attributes:
        confusion: (K, K) int64, rows ground truth and columns prediction, of the last evaluation.
        per_image: sample index -> mIoU of that image, to find the worst ones.
        image_counts: sample index -> (3, K) int64 `region_counts`, for `interval`.
        calibration: (3, BINS) sum of `confidence_counts`.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.reset()

    def reset(self) -> None:
        self.confusion = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        self.loss_parts = np.zeros((2, 2))
        self.calibration = np.zeros((3, BINS), dtype=np.int64)
        self.per_image: dict[int, float] = {}
        self.image_counts: dict[int, np.ndarray] = {}

    def __call__(self, batch: "EvalPrediction", compute_result: bool = True) -> dict[str, float]:
        """Count a batch; after the last one, return the scores of all.

        Raises:
            UserError: a label that is not a class id.
        """
        indices = batch.label_ids.cpu().numpy()
        counted = indices >= 0
        matrices, losses, bins = (values.cpu().numpy()[counted] for values in batch.predictions)
        self.calibration += bins.sum(0)
        for index, pairs, loss in zip(indices[counted], matrices, losses, strict=True):
            if pairs[-1].any():
                raise UserError(
                    f"sample {index}: {pairs[-1].sum()} labels are not in 0..{len(pairs) - 2}; "
                    "hfseg inspect names the file"
                )
            matrix = pairs[:-1, :-1]
            self.confusion += matrix
            self.loss_parts += loss
            counts = region_counts(matrix)
            self.image_counts[int(index)] = counts
            self.per_image[int(index)] = float(mean_over_classes(iou(counts)))
        return self.compute() if compute_result else {}

    def compute(self) -> dict[str, float]:
        """`TRAINING_METRICS` by name, `loss` and `expected_calibration_error` (over the split), and
        `CLASS_NAME_LABEL`, such as `iou_road`, for each class; NaN for a class that is absent."""
        result = scores(self.confusion)
        summary = {metric.name: result[metric.name] for metric in TRAINING_METRICS}
        sums, parts = self.loss_parts
        summary["loss"] = float((sums / np.where(parts > 0, parts, 1)).sum())
        summary[CALIBRATION_ERROR] = expected_calibration_error(self.calibration)
        for metric in TRAINING_METRICS:
            if metric.class_name:
                values = result[f"per_category_{metric.class_name}"].tolist()
                names = (f"{metric.class_name}_{label}" for label in self.labels.metric_names)
                summary |= dict(zip(names, values, strict=True))
        return summary

    def number_in_order(self) -> None:
        """Number the samples from 0, in the order of their indices."""
        self.per_image = _numbered(self.per_image)
        self.image_counts = _numbered(self.image_counts)

    def interval(self, units: Units = IMAGES) -> Interval:
        """`mean_iou_interval` of the images of the last evaluation."""
        return mean_iou_interval(self.image_counts, self.labels.names, units)

    @property
    def absent(self) -> list[str]:
        """Classes in neither the labels nor the predictions of the last evaluation."""
        seen = self.confusion.sum(0) + self.confusion.sum(1)
        return [name for name, count in zip(self.labels.names, seen, strict=True) if count == 0]


def _numbered(values: dict[int, _Value]) -> dict[int, _Value]:
    return dict(enumerate(values[index] for index in sorted(values)))


def metric_names(labels: LabelSet) -> list[str]:
    """What `StreamingScores` measures, the summary first."""
    summary = [*(metric.name for metric in TRAINING_METRICS), "loss", CALIBRATION_ERROR]
    return summary + [
        f"{metric.class_name}_{label}"
        for metric in TRAINING_METRICS
        if metric.class_name
        for label in labels.metric_names
    ]
