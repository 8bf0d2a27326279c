"""A SegFormer small enough for every test, and pictures for it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

NAMES = ("sky", "road", "tree", "car", "pole")
TINY = {
    "hidden_sizes": [8, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 1, 1],
    "decoder_hidden_size": 8,
    "id2label": dict(enumerate(NAMES)),
    "label2id": {name: index for index, name in enumerate(NAMES)},
}


def save_tiny(folder: Path, **processor) -> Path:
    """A random SegFormer whose answers vary over an image."""
    torch.manual_seed(0)
    model = SegformerForSemanticSegmentation(SegformerConfig(**TINY))
    with torch.no_grad():  # with the initial range of 0.02 one class would win everywhere
        for parameter in model.decode_head.parameters():
            parameter.normal_()
    model.save_pretrained(folder)
    SegformerImageProcessor(**{"do_resize": False, **processor}).save_pretrained(folder)
    return folder


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs of color: (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
