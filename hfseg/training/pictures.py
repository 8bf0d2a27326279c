"""Predictions on a few validation images in TensorBoard and trackio, for `--report_to`."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    BaseImageProcessor,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback, TrackioCallback

from hfseg.labels import LabelSet
from hfseg.models.logits import resize_logits

_PICTURES = 4
_LONGER_SIDE = 640
TRACKERS = ("tensorboard", "trackio")


class PredictionPictures(TrainerCallback):
    """After every evaluation: image | ground truth | prediction, for the first validation images.

    Args:
        trackers: the callbacks of `Trainer` that hold the writers.
        samples: the validation split.
        processor: the model's image processor.
        labels: names and colors.
    """

    def __init__(
        self,
        trackers: Sequence[TrainerCallback],
        samples: datasets.Dataset,
        processor: BaseImageProcessor,
        labels: LabelSet,
    ) -> None:
        self.trackers = [
            each for each in trackers if isinstance(each, TensorBoardCallback | TrackioCallback)
        ]
        self.samples = list(islice(samples, _PICTURES))
        self.processor = processor
        self.labels = labels

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module,
        **kwargs: object,
    ) -> None:
        if not state.is_world_process_zero or not self.trackers:
            return
        pictures = [self._picture(model, row) for row in self.samples]
        for tracker in self.trackers:
            if isinstance(tracker, TensorBoardCallback):
                for number, picture in enumerate(pictures if tracker.tb_writer else ()):
                    tracker.tb_writer.add_image(
                        f"predictions/{number}", picture, state.global_step, dataformats="HWC"
                    )
            elif tracker._initialized:
                images = [tracker._trackio.Image(picture) for picture in pictures]
                named = {f"predictions/{number}": image for number, image in enumerate(images)}
                tracker._trackio.log(named, step=state.global_step)

    def _picture(self, model: torch.nn.Module, row: dict[str, Any]) -> np.ndarray:
        """(H, 3 W, 3) uint8, the longer side of each part at most 640."""
        image, label = np.asarray(row["image"].convert("RGB")), np.asarray(row["label"])
        pixels = self.processor(image, return_tensors="pt")["pixel_values"]
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            logits = model(pixel_values=pixels.to(next(model.parameters()).device)).logits
        model.train(was_training)
        prediction = resize_logits(logits.float(), label.shape).argmax(1)[0].cpu().numpy()
        table = self.labels.color_table()
        step = -(-max(label.shape) // _LONGER_SIDE)
        parts = [image, table[label], table[prediction.astype(np.uint8)]]
        return np.concatenate([part[::step, ::step] for part in parts], axis=1)
