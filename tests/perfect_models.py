"""Models that are always right: they read the class of a pixel off its color.

Each stands behind a real image processor of the family it plays, so what can be wrong about an
answer is geometry: resizing, padding, crops, tiles, views.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

COLORS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 250))
NAMES = ("red", "green", "blue", "white")


class _Perfect(torch.nn.Module):
    def __init__(self, image_processor: Any, model_type: str) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            model_type=model_type, id2label=dict(enumerate(NAMES)), image_size=64, patch_size=16
        )
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.colors = torch.stack([_seen(image_processor, color) for color in COLORS])

    def logits_of(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) -> (N, 4, h, w), the nearest color first by far."""
        distance = (pixel_values[:, None] - self.colors[None, :, :, None, None]).abs().sum(2)
        return -20 * distance / distance.amax().clamp_min(1e-6)


class PerfectForSemanticSegmentation(_Perfect):
    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits_of(pixel_values))


class _Output(dict):
    """Items as attributes, like `ModelOutput`."""

    __getattr__ = dict.__getitem__


class PerfectForUniversalSegmentation(_Perfect):
    """One query for each class."""

    def forward(self, pixel_values: torch.Tensor, **others: Any) -> _Output:
        masks = self.logits_of(pixel_values)
        masks = torch.where(masks == masks.amax(1, keepdim=True), 10.0, -10.0)
        classes = torch.full((len(masks), len(NAMES), len(NAMES) + 1), -20.0)
        classes[:, range(len(NAMES)), range(len(NAMES))] = 20.0
        return _Output(
            class_queries_logits=classes,
            masks_queries_logits=masks,
            patch_offsets=others.get("patch_offsets"),
        )


def _seen(image_processor: Any, color: tuple[int, int, int]) -> torch.Tensor:
    """A color as the processor shows it to a model: (3,)."""
    image = Image.new("RGB", (64, 64), color)
    options = {"task_inputs": ["semantic"]} if "OneFormer" in type(image_processor).__name__ else {}
    pixels = image_processor(images=image, return_tensors="pt", **options)["pixel_values"]
    return pixels[0, :, 16, 16]


def scene(height: int, width: int, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Four rectangles that meet at (row, column): the image, and the mask of its classes."""
    mask = np.zeros((height, width), np.uint8)
    mask[:row, column:] = 1
    mask[row:, :column] = 2
    mask[row:, column:] = 3
    return np.asarray(COLORS, np.uint8)[mask], mask


def agreement(mask: np.ndarray, truth: np.ndarray, row: int, column: int, margin: float) -> float:
    """The fraction of pixels that agree, `margin` pixels around the edges left out."""
    rows, columns = np.indices(truth.shape) + 0.5
    far = (abs(rows - row) > margin) & (abs(columns - column) > margin)
    return float((mask == truth)[far].mean()) if far.any() else 1.0


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def semantic_processors() -> dict[str, Any]:
    """By family, with the sizes and the padding that its checkpoints use, only smaller."""
    return {
        "segformer": transformers.SegformerImageProcessor(do_resize=False),
        "segformer resized": transformers.SegformerImageProcessor(size=square(64)),
        "mobilenet_v2": transformers.MobileNetV2ImageProcessor(
            size={"shortest_edge": 64}, crop_size=square(56)
        ),
        "mobilevit": transformers.MobileViTImageProcessor(
            size={"shortest_edge": 64}, crop_size=square(56)
        ),
        "beit": transformers.BeitImageProcessor(size=square(64), crop_size=square(56)),
        "dpt": transformers.DPTImageProcessor(size=square(64)),
        "dpt kept aspect": transformers.DPTImageProcessor(
            size=square(64), keep_aspect_ratio=True, ensure_multiple_of=16
        ),
        "dpt padded": transformers.DPTImageProcessor(do_resize=False, do_pad=True, size_divisor=32),
    }


def universal_processors(folder: Path) -> dict[str, Any]:
    """As `semantic_processors`; OneFormer's reads a file of classes, written to `folder`."""
    classes = {str(index): {"name": name, "isthing": 0} for index, name in enumerate(NAMES)}
    (folder / "classes.json").write_text(json.dumps(classes))
    edges = {"shortest_edge": 64, "longest_edge": 128}
    return {
        "mask2former": transformers.Mask2FormerImageProcessor(size=square(64)),
        "maskformer": transformers.MaskFormerImageProcessor(size=edges, size_divisor=32),
        "oneformer": transformers.OneFormerImageProcessor(
            size=edges, repo_path=str(folder), class_info_file="classes.json"
        ),
        "eomt": transformers.EomtImageProcessor(
            size={"shortest_edge": 64, "longest_edge": None}, do_split_image=True
        ),
        "eomt padded": transformers.EomtImageProcessor(
            size={"shortest_edge": 64, "longest_edge": 64}, do_pad=True
        ),
    }
