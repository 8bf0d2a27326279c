"""Scores a photo with ground truth as `hfseg evaluate` does: at the mask's own size."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image

from hfseg.errors import UserError
from hfseg.inference.result import Options
from hfseg.labels import LabelSet
from hfseg.metrics import confusion_matrix, scores
from hfseg.metrics.table import TITLES

from ..files import save_png
from ..limits import open_photo
from ..masks import read_mask, resized_ids
from ..tab import ON_DEVICE, Tab, photo_answer


class Evaluate(Tab):
    name, label = "evaluate", "Evaluate"

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        return {self.evaluate: ON_DEVICE}

    def evaluate(self, image: gr.FileData, truth: gr.FileData, model: str = "") -> dict:
        """Scores of one photo, and the predicted and true ids as pictures of values."""
        path = image["path"]
        labels = self.models.labels(model)
        photo, note = open_photo(path)
        real = read_mask(truth["path"], path, self.models.segmenter(model).labels)
        found = self.models.device.run(self._predicted, model, photo, real.shape)
        scores = scored(found, real, labels)
        ious = scores["per_category_iou"]
        classes = [
            {"id": index, "name": labels.names[index], "iou": float(ious[index])}
            for index in range(len(labels))
            if not math.isnan(ious[index])
        ]
        return {
            **photo_answer(photo, path, note and f"{note} The scores are at the mask's own size."),
            "names": list(labels.names),
            "palette": [list(color) for color in labels.palette],
            "prediction": save_png(resized_ids(found, photo.size), "prediction"),
            "truth": save_png(resized_ids(real, photo.size), "truth"),
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
