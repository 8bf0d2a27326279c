"""What the GPU tests compute, one task per process: `tasks.py NAME DEVICE ARGUMENT...`.

The last line that is printed is the report, as JSON.
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from launch import SCRIPT
from PIL import Image
from tiny_sams import FAMILY
from tiny_segformer import photo

from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.models.auxiliary import auxiliary_loss_weight, expose_auxiliary_logits
from hfseg.sam import Prompt, SamPredictor
from hfseg.training.losses import SegmentationLoss


def peak_memory(device: str) -> int:
    """Bytes that tensors took on the GPU; 0 on a CPU."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else 0


def finetune(device: str, *flags: str) -> dict[str, Any]:
    """`scripts/finetune.py`, and whether it was the GPU that trained."""
    sys.argv = [str(SCRIPT), *flags]
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
    return {"peak_memory": peak_memory(device)}


def training_step(device: str, name: str, side: str, loss: str) -> dict[str, Any]:
    """Forward and backward in bf16 of two images, and its peak of memory."""
    labels = LabelSet(tuple(f"class {index}" for index in range(21)))
    model, _ = load_model(name, labels, pretrained=False)
    expose_auxiliary_logits(model)
    model.to(device).train()
    terms = SegmentationLoss(loss, class_weights=[1.0] * 20 + [2.0])
    pixels = torch.randn(2, 3, int(side), int(side), device=device)
    truth = torch.randint(0, 21, (2, int(side), int(side)), device=device)
    truth[:, :9] = 255
    with torch.autocast(device, torch.bfloat16):
        outputs = model(pixel_values=pixels)
    total = terms(outputs.logits, truth)
    if outputs.get("auxiliary_logits") is not None:
        total = total + auxiliary_loss_weight(model) * terms(outputs.auxiliary_logits, truth)
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return {
        "loss": total.item(),
        "finite": all(bool(gradient.isfinite().all()) for gradient in gradients),
        "devices": sorted({gradient.device.type for gradient in gradients}),
        "peak_memory": peak_memory(device),
    }


def losses(device: str) -> dict[str, Any]:
    """Each loss and the size of its gradient, on the device and on the CPU."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 40, 56, generator=generator) * 3
    truth = torch.randint(0, 5, (2, 40, 56), generator=generator)
    truth[:, :7] = 255
    report = {}
    for name in ("ce", "focal", "dice", "jaccard", "tversky", "lovasz", "ohem"):
        found = []
        for place in ("cpu", device):
            moved = logits.clone().to(place).requires_grad_()
            loss = SegmentationLoss(name, class_weights=[1, 2, 3, 1, 0.5])
            value = loss(moved, truth.to(place))
            value.backward()
            found.append([value.item(), moved.grad.abs().sum().item()])
        report[name] = found
    return report


def segment(device: str, folder: str, way: str) -> dict[str, Any]:
    """The fraction of pixels on which `way` agrees with float32 on the CPU."""
    images = [photo(96, 128, seed) for seed in range(8)]
    expected = Segmenter.from_pretrained(folder, device="cpu")(images)
    if way == "bf16":
        segmenter = Segmenter.from_pretrained(folder, device=device, dtype="bf16")
        found = segmenter(images, batch_size=8)
    elif way == "compiled":
        found = Segmenter.from_pretrained(folder, device=device, compile=True)(images)
    elif way == "tiles":
        expected = Segmenter.from_pretrained(folder, device="cpu")(
            images, sliding_window=64, tta="flip"
        )
        found = Segmenter.from_pretrained(folder, device=device)(
            images, sliding_window=64, tta="flip"
        )
    else:
        found = Segmenter.from_pretrained(folder, device=device)(images)
    pairs = zip(expected, found, strict=True)
    return {
        "agreement": float(np.mean([(one.mask == two.mask).mean() for one, two in pairs])),
        "classes": len(np.unique([one.mask for one in expected])),
        "peak_memory": peak_memory(device),
    }


def sam(device: str, kind: str) -> dict[str, Any]:
    """Prompts and everything, on the device and on the CPU."""
    image = Image.fromarray(photo(48, 64))
    prompts = [Prompt(points=((10, 20),)), Prompt(box=(5, 5, 40, 30))]
    answers = []
    model, processor = FAMILY[kind]()
    for place in ("cpu", device):
        predictor = SamPredictor(model.to(place), processor)
        everything = predictor.segment_everything(
            image, points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0
        )
        answers.append((predictor.prompt_each(image, prompts), len(everything)))
    (expected, _), (found, masks) = answers
    return {
        "agreement": float((expected.masks == found.masks).mean()),
        "score_difference": float(np.abs(expected.scores - found.scores).max()),
        "masks": masks,
        "peak_memory": peak_memory(device),
    }


if __name__ == "__main__":
    task, place, *rest = sys.argv[1:]
    print(json.dumps(globals()[task](place, *rest)))
