"""Scores a `Segmenter` on a labeled split, in one process or several."""

from collections.abc import Callable, Sequence

import datasets
import numpy as np
import torch
from accelerate.utils import gather_object
from PIL import Image

from hfseg.data.image_io import read_ahead
from hfseg.data.samples import EvaluationSamples, Sample
from hfseg.data.transforms import Size
from hfseg.inference.result import Options, Segmentation
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.table import METRICS, Metric


def score_split(
    segmenter: Segmenter,
    data: datasets.Dataset,
    labels: LabelSet,
    table: np.ndarray,
    options: Options,
    label_size: Size | None = None,
    process: tuple[int, int] = (0, 1),
    done: Callable[[], object] = lambda: None,
    metrics: Sequence[Metric] = METRICS,
) -> SplitScores:
    """Predict every image with the `Segmenter`, and score at the label's own size.

    With `options.confidence` the scores have a calibration error too.

    Args:
        data: columns `image` and `label`.
        labels: of the dataset.
        table: predicted id -> dataset id (`prediction_table`).
        label_size: score at this (height, width) instead.
        process: (rank, number of processes); each scores its part of the images.
        done: called after each image.
        metrics: the metrics to compute.

    Returns:
        The counts of this process; `gathered` merges them.
    """
    samples = EvaluationSamples(data, label_size)
    scores = SplitScores(labels, metrics)
    device = segmenter.model.device
    for index, sample in read_ahead(
        range(process[0], len(samples), process[1]), samples.__getitem__
    ):
        label = sample()["label"]
        found = predict_sample(segmenter, sample(), options)
        sure = found.confidence
        scores.add(
            index,
            torch.from_numpy(table[found.mask]).to(device),
            torch.from_numpy(label.astype(np.int64)).to(device),
            None if sure is None else torch.from_numpy(sure).to(device),
        )
        done()
    return scores


def predict_sample(segmenter: Segmenter, sample: Sample, options: Options) -> Segmentation:
    """The answer for a sample of `EvaluationSamples`, at the size of its label."""
    image, label = Image.fromarray(sample["image"]), sample["label"]
    return segmenter.segment(image, options, size=label.shape)


def gathered(scores: SplitScores) -> SplitScores:
    """The merged counts of all processes, on each of them."""
    parts = gather_object([scores])
    merged = SplitScores(scores.labels, scores.metrics)
    for part in parts:
        merged.merge(part)
    return merged
