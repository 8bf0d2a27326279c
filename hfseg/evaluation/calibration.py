"""Fits a model's temperature on a labeled split."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hfseg.data.image_io import read_ahead
from hfseg.data.samples import EvaluationSamples
from hfseg.data.transforms import Size
from hfseg.evaluation.scoring import predict_sample
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.calibration import (
    BINS,
    CALIBRATION_ERROR,
    confidence_counts,
    expected_calibration_error,
    fit_temperature,
)
from hfseg.models.confidence import log_of, set_temperature
from hfseg.progress import track

_VALUES = 2**23
"""Probabilities that are kept, for example those of 400,000 pixels of 21 classes."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted.

    Attributes:
        temperature: of the model, from now on.
        before: (3, BINS) `confidence_counts` of the split at a temperature of 1.
    """

    temperature: float
    before: np.ndarray

    def scores(self, prefix: str = "") -> dict[str, float]:
        """The temperature, and the calibration error without it."""
        return {
            f"{prefix}temperature": self.temperature,
            f"{prefix}{CALIBRATION_ERROR}_before": expected_calibration_error(self.before),
        }


def calibrate(
    segmenter: Segmenter,
    data: Any,
    labels: LabelSet,
    table: np.ndarray,
    options: Options | None = None,
    label_size: Size | None = None,
) -> Calibration:
    """Fit the temperature of a `Segmenter`, which uses it from now on.

    Of each image the same number of pixels is drawn, by a fixed seed. Pixels that are ignored, and
    those whose true class the model doesn't have, are left out.

    Args:
        data: columns `image` and `label`.
        labels: of the dataset.
        table: predicted id -> dataset id (`prediction_table`).
        options: how to predict.
        label_size: use the label at this (height, width) instead of its own.

    Raises:
        UserError: there is no labeled pixel.
    """
    set_temperature(segmenter.model, 1.0)
    options = replace(options or Options(), probabilities=True, confidence=True)
    samples = EvaluationSamples(data, label_size)
    generator = np.random.default_rng(0)
    classes = len(segmenter.labels)
    most = max(1, _VALUES // (classes * max(len(samples), 1)))
    own_ids = _own_ids(table[:classes], len(labels))
    before = np.zeros((3, BINS), dtype=np.int64)
    chosen, truths = [], []
    reading = read_ahead(range(len(samples)), samples.__getitem__)
    for _, read in track(reading, "calibrating", len(samples)):
        sample = read()
        label = sample["label"]
        found = predict_sample(segmenter, sample, options)
        assert found.probabilities is not None and found.confidence is not None
        before += confidence_counts(
            torch.from_numpy(found.confidence),
            torch.from_numpy(table[found.mask] == label),
            torch.from_numpy(label != labels.ignore_index),
        ).numpy()
        truth = own_ids[label.ravel()]
        pixels = generator.permutation(np.flatnonzero(truth < classes))[:most]
        chosen.append(found.probabilities.reshape(classes, -1)[:, pixels].T)
        truths.append(truth[pixels])
    log_probabilities = log_of(torch.from_numpy(np.concatenate(chosen)))
    temperature = fit_temperature(log_probabilities, torch.from_numpy(np.concatenate(truths)))
    set_temperature(segmenter.model, temperature)
    return Calibration(temperature, before)


def _own_ids(table: np.ndarray, num_labels: int) -> np.ndarray:
    """(256,) int64: dataset id -> the model's id, or the number of its classes for none."""
    own_ids = np.full(256, len(table), dtype=np.int64)
    for own, target in enumerate(table):
        if target < num_labels:
            own_ids[target] = own
    return own_ids
