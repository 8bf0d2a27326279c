"""Scores a `Segmenter` on a labeled split, in one process or several."""

import zlib
from collections.abc import Callable, Sequence

import datasets
import numpy as np
import torch
from PIL import Image

from hfseg.data.image_io import read_ahead
from hfseg.data.samples import EvaluationSamples, Sample
from hfseg.data.transforms import Size
from hfseg.inference.result import Options, Segmentation
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.table import METRICS, Metric
from hfseg.shared_work import SharedWork


def score_split(
    segmenter: Segmenter,
    data: datasets.Dataset,
    labels: LabelSet,
    table: np.ndarray,
    options: Options,
    label_size: Size | None = None,
    work: SharedWork[SplitScores] | None = None,
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
        work: which images this process scores; None: all.
        done: called after each image.
        metrics: the metrics to compute, without `work`.

    Returns:
        The counts of all images.
    """
    samples = EvaluationSamples(data, label_size)
    work = work or SharedWork(len(samples), lambda: SplitScores(labels, metrics))
    device = segmenter.model.device
    for index, sample in read_ahead(work.waiting, samples.__getitem__):
        label = sample()["label"]
        found = predict_sample(segmenter, sample(), options)
        sure = found.confidence
        work.part.add(
            index,
            torch.from_numpy(table[found.mask]).to(device),
            torch.from_numpy(label.astype(np.int64)).to(device),
            None if sure is None else torch.from_numpy(sure).to(device),
        )
        work.done(index)
        done()
    return work.merged()


def predict_sample(segmenter: Segmenter, sample: Sample, options: Options) -> Segmentation:
    """The answer for a sample of `EvaluationSamples`, at the size of its label."""
    image, label = Image.fromarray(sample["image"]), sample["label"]
    return segmenter.segment(image, options, size=label.shape)


def weights_checksum(model: torch.nn.Module) -> int:
    """Of all parameters and buffers: partial results of other weights are not continued."""
    checksum = 0
    for value in model.state_dict().values():
        stored = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        checksum = zlib.crc32(stored.numpy().data, checksum)
    return checksum
