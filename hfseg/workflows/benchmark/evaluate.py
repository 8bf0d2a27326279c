"""`hfseg benchmark evaluate`: an evaluation against a plain forward pass, and the metric alone."""

import contextlib
import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from hfseg.config.data import DatasetArguments
from hfseg.data.samples import EvaluationSamples, Sample
from hfseg.evaluation.class_map import prediction_table
from hfseg.evaluation.scoring import score_split
from hfseg.inference.network import whole_image_pixel_values
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.metrics import MEAN_IOU
from hfseg.metrics.confusion import confusion_matrix
from hfseg.metrics.table import METRICS, TRAINING_METRICS
from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare
from hfseg.workflows.evaluate import load_split, set_image_size

logger = logging.getLogger("hfseg")

_METRIC_IMAGES, _METRIC_SIDE, _METRIC_CLASSES = 16, 512, 21


def benchmark_evaluate(
    model: str, wanted: DatasetArguments, *, split: str, repeats: int
) -> list[Comparison]:
    """A forward pass over the split, scoring it from the files, and the metrics by themselves.

    Args:
        model: a folder or Hub id.
    """
    rows, labels = load_split(split, wanted)
    segmenter = Segmenter.from_pretrained(model)
    set_image_size(segmenter, wanted)
    table = prediction_table(segmenter.labels, labels)
    samples = [EvaluationSamples(rows)[index] for index in range(len(rows))]

    def scoring(metrics: Any) -> Callable[[], object]:
        return lambda: score_split(segmenter, rows, labels, table, Options(), metrics=metrics)

    contenders = [
        Contender.timed("forward pass", _forward_pass(segmenter, samples)),
        Contender.timed("evaluation, mean IoU", scoring(TRAINING_METRICS)),
        Contender.timed("evaluation, all metrics", scoring(METRICS)),
    ]
    title = f"evaluation of {len(rows)} images"
    passes = compare(title, contenders, unit="image", amount=len(rows), repeats=repeats)
    return [passes, compare_metrics(repeats)]


def _forward_pass(segmenter: Segmenter, samples: list[Sample]) -> Callable[[], object]:
    """From decoded images to the class of each pixel: what no evaluation can do without."""
    model, processor = segmenter.model, segmenter.image_processor

    @torch.inference_mode()
    def run() -> None:
        for sample in samples:
            values = whole_image_pixel_values(processor, Image.fromarray(sample["image"]))
            logits = model(pixel_values=values.to(model.device, model.dtype)).logits
            size = sample["label"].shape
            resized = torch.nn.functional.interpolate(logits, size=size, mode="bilinear")
            resized.argmax(1).cpu()

    return run


def compare_metrics(repeats: int) -> Comparison:
    """Mean IoU of the same masks: the Hub's metric and torchmetrics, where they can be had, the
    module of hfseg, and the counts that its trainer uses."""
    random = np.random.default_rng(0)
    shape = (_METRIC_IMAGES, _METRIC_SIDE // 8, _METRIC_SIDE // 8)
    small = random.integers(0, _METRIC_CLASSES, shape)
    labels = small.repeat(8, 1).repeat(8, 2)
    wrong = random.random(labels.shape) < 0.1
    predictions = np.where(wrong, (labels + 1) % _METRIC_CLASSES, labels)
    contenders = [
        *_hub_metric(predictions, labels),
        *_torchmetrics(predictions, labels),
        Contender.timed("evaluate.load(hfseg.MEAN_IOU)", _module(MEAN_IOU, predictions, labels)),
        Contender.timed("hfseg's counts", _counts(predictions, labels)),
    ]
    title = f"mean IoU of masks of {_METRIC_SIDE} x {_METRIC_SIDE}, {_METRIC_CLASSES} classes"
    return compare(title, contenders, unit="image", amount=_METRIC_IMAGES, repeats=repeats)


def _hub_metric(predictions: np.ndarray, labels: np.ndarray) -> list[Contender]:
    with contextlib.suppress(Exception):  # without a network, whatever its client raises
        return [Contender.timed("the Hub's mean_iou", _module("mean_iou", predictions, labels))]
    logger.warning("the Hub's mean_iou can't be downloaded: not measured")
    return []


def _module(name: str, predictions: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    import evaluate

    metric = evaluate.load(name)

    def run() -> None:
        for prediction, label in zip(predictions, labels, strict=True):
            metric.add_batch(predictions=prediction[None], references=label[None])
        metric.compute(num_labels=_METRIC_CLASSES, ignore_index=255)

    return run


def _torchmetrics(predictions: np.ndarray, labels: np.ndarray) -> list[Contender]:
    if importlib.util.find_spec("torchmetrics") is None:
        logger.warning("torchmetrics is not installed: not measured")
        return []
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(_METRIC_CLASSES, ignore_index=255)

    def run() -> None:
        for prediction, label in zip(predictions, labels, strict=True):
            metric.update(torch.from_numpy(prediction), torch.from_numpy(label))
        metric.compute()
        metric.reset()

    return [Contender.timed("torchmetrics", run)]


def _counts(predictions: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    pairs = [
        (torch.from_numpy(prediction), torch.from_numpy(label))
        for prediction, label in zip(predictions, labels, strict=True)
    ]
    return lambda: sum(confusion_matrix(*pair, num_labels=_METRIC_CLASSES) for pair in pairs)
