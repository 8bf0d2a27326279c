"""Scores a photo with ground truth as `hfseg evaluate` does: at the mask's own size."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image

from hfseg.data.masks import MaskDecoder
from hfseg.errors import UserError
from hfseg.inference.result import Options
from hfseg.labels import LabelSet
from hfseg.metrics import confusion_matrix, scores
from hfseg.metrics.table import TITLES

from ..files import save_png
from ..limits import open_mask, open_photo, own_size
from ..tab import ON_DEVICE, Tab, photo_answer

_TOO_MANY_COLORS = 300
"""A mask has one color per class; a photo has thousands."""


class Evaluate(Tab):
    name, label = "evaluate", "Evaluate"

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        return {self.evaluate: ON_DEVICE}

    def evaluate(self, image: gr.FileData, truth: gr.FileData, model: str = "") -> dict:
        """Scores of one photo, and the predicted and true ids as pictures of values."""
        path = image["path"]
        labels = self.models.labels(model)
        photo, note = open_photo(path)
        real = read_truth(truth["path"], self.models.segmenter(model).labels)
        height, width = real.shape
        own = own_size(path)
        if (width, height) != own:
            raise UserError(
                f"The photo has {own[0]} × {own[1]} pixels, but its ground truth {width} × "
                f"{height}: they must have the same size."
            )
        found = self.models.device.run(self._predicted, model, photo, (height, width))
        scores = scored(found, real, labels)
        ious = scores["per_category_iou"]
        classes = [
            {"id": index, "name": labels.names[index], "iou": float(ious[index])}
            for index in range(len(labels))
            if not math.isnan(ious[index])
        ]

        def small(mask: np.ndarray) -> np.ndarray:
            picture = Image.fromarray(mask).resize(photo.size, Image.Resampling.NEAREST)
            return np.asarray(picture)

        return {
            **photo_answer(photo, path, note and f"{note} The scores are of the mask's own size."),
            "names": list(labels.names),
            "palette": [list(color) for color in labels.palette],
            "prediction": save_png(small(found), "prediction"),
            "truth": save_png(small(real), "truth"),
            "described": f"Overall accuracy {scores['overall_accuracy']:.3f}.",
            "classes": sorted(classes, key=lambda each: -each["iou"]),
            "wrong": 1 - float(scores["overall_accuracy"]),
            "scores": [
                {
                    "title": TITLES[name].capitalize().replace("iou", "IoU"),
                    "value": float(scores[name]),
                }
                for name in ("mean_iou", "overall_accuracy", "mean_accuracy")
            ],
        }

    def _predicted(self, model: str, photo: Image.Image, size: tuple[int, int]) -> np.ndarray:
        return self.models.segmenter(model).segment(photo, Options(), size=size).mask


def read_truth(path: str, labels: LabelSet) -> np.ndarray:
    """(H, W) uint8 ids of an uploaded mask: stored as ids, palette or the model's colors.

    Raises:
        UserError: it is a photo, or has unknown classes.
    """
    mask = open_mask(path)
    if looks_like_a_photo(mask, labels):
        raise UserError(
            "This looks like a photo, not ground truth: a mask has one value or color per class. "
            "Choose the PNG mask of the photo."
        )
    return MaskDecoder.for_labels(labels).sniff([mask])(mask, "the mask")


def looks_like_a_photo(mask: Image.Image, labels: LabelSet) -> bool:
    """Whether there are far more values or colors than a mask could have."""
    small = mask.resize((min(512, mask.width), min(512, mask.height)), Image.Resampling.NEAREST)
    if mask.mode in ("RGB", "RGBA"):
        return small.convert("RGB").getcolors(_TOO_MANY_COLORS) is None
    if mask.mode != "L":
        return False
    values = np.unique(np.asarray(small))
    return int((values >= len(labels)).sum()) > max(8, len(labels))


def scored(prediction: np.ndarray, truth: np.ndarray, labels: LabelSet) -> dict[str, Any]:
    """`hfseg.metrics.scores` of one image."""
    if not (truth < len(labels)).any():
        raise UserError("No pixel of the mask has a class of this model.")
    counts = confusion_matrix(
        torch.from_numpy(prediction.astype(np.int64)),
        torch.from_numpy(truth.astype(np.int64)),
        len(labels),
        labels.ignore_index,
    )
    return scores(counts.numpy())
