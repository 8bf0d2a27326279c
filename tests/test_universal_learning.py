"""Small EoMT and Mask2Former learn eight images by heart."""

from typing import Any

import numpy as np
import pytest
import torch
from model_tester import LABELS
from tiny_universal import TINY

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.data.samples import EvaluationSamples, TrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.training.trainer import SegmentationTrainer

SIDE = 128
STEPS = 200


def draw(index: int) -> dict[str, np.ndarray]:
    """A rectangle and a disc of changing colors and sizes on noise, and ignored rows at the top.

    Large ones: the masks of both models have a quarter of the image's side.
    """
    rng = np.random.default_rng(index)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    label = np.zeros((SIDE, SIDE), dtype=np.uint8)
    top, left = rng.integers(8, 70, 2)
    height, width = rng.integers(36, 56, 2)
    y, x = rng.integers(34, SIDE - 34, 2)
    radius = rng.integers(20, 32)
    shapes = (
        (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width),
        (rows - y) ** 2 + (columns - x) ** 2 < radius**2,
    )
    for name, shape in enumerate(shapes, 1):
        image[shape] = rng.integers(100, 256, 3)
        label[shape] = name
    label[: 2 * index] = 255
    return {"image": image, "label": label}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eomt-vit-small", "mask2former-swin-tiny"])
def test_eight_images_are_learned_by_heart(name: str, tmp_path) -> None:
    images = [draw(index) for index in range(8)]
    torch.manual_seed(0)
    options: dict[str, Any] = dict(TINY[name])
    if name.startswith("eomt"):
        options["image_size"] = SIDE
    model, processor = load_model(name, LABELS, pretrained=False, **options)
    args = SegmentationTrainingArguments(
        output_dir=str(tmp_path), report_to="none", dataloader_pin_memory=False,
        max_steps=STEPS, per_device_train_batch_size=8, learning_rate=2e-3, weight_decay=0.0,
        lr_scheduler_type="polynomial", warmup_steps=20, logging_steps=25, save_strategy="no",
        eval_strategy="no", disable_tqdm=True, seed=0, mixed_precision="no",
    )  # fmt: skip
    trainer = SegmentationTrainer(
        model=model,
        args=args,
        train_dataset=TrainingSamples(images, TrainingTransform("none", None, 0)),
        eval_dataset=EvaluationSamples(images),
        image_processor=processor,
        scores=StreamingScores(LABELS),
    )
    trainer.train()
    found = trainer.evaluate()["eval_mean_iou"]
    print(f"{name}: mean IoU {found:.4f} on the eight images, after {STEPS} steps of 8")
    assert found > 0.95
