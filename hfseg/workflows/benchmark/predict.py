"""`hfseg benchmark predict`: `Segmenter` against transformers' pipeline and a bare forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hfseg.data.image_io import image_files, to_rgb
from hfseg.inference import Segmenter
from hfseg.inference.network import whole_image_pixel_values
from hfseg.training.precision import detect_hardware
from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare

_PIPELINE, _FORWARD = "pipeline", "forward pass, fp32"


def benchmark_predict(
    model: str, images: str, *, count: int, compile: bool, repeats: int
) -> list[Comparison]:
    """Seconds per photo, from the file to the mask, and how many pixels agree with the pipeline.

    Args:
        model: a folder or Hub id.
        images: a folder of photos.
        count: photos used.
        compile: also measure compiled models.

    Returns:
        The same measurement against the pipeline, and against a forward pass of the same model on
        pixels that lie on the device.
    """
    from transformers import pipeline
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()
    hardware = detect_hardware()
    files = image_files(images)[:count]
    theirs = pipeline("image-segmentation", model=model, device=hardware.device)
    kinds = [("fp32", False)] + [("bf16", False)] * hardware.bf16
    kinds += [(dtype, True) for dtype, _ in kinds] if compile else []
    segmenters = {
        f"Segmenter, {dtype}{', compiled' if compiled else ''}": Segmenter.from_pretrained(
            model, device=hardware.device, dtype=dtype, compile=compiled
        )
        for dtype, compiled in kinds
    }
    contenders = [
        Contender.timed(_PIPELINE, lambda: [theirs(str(path)) for path in files]),
        Contender.timed(_FORWARD, _forward(next(iter(segmenters.values())), files)),
        *(Contender.timed(name, _predict(each, files)) for name, each in segmenters.items()),
    ]
    title = f"prediction of {len(files)} photos with {Path(model).name}"
    found = compare(title, contenders, unit="image", amount=len(files), repeats=repeats)
    facts = {
        f"pixels equal to the pipeline's, {name}": f"{_agreement(theirs, each, files):.4%}"
        for name, each in segmenters.items()
    }
    found = replace(found, facts=facts)
    return [found, replace(found.against(_FORWARD), facts={})]


def _predict(segmenter: Segmenter, files: Sequence[Path]) -> Callable[[], object]:
    return lambda: [result.mask for result in segmenter(list(files))]


def _forward(segmenter: Segmenter, files: Sequence[Path]) -> Callable[[], object]:
    model, processor = segmenter.model, segmenter.image_processor
    inputs = [whole_image_pixel_values(processor, to_rgb(path)) for path in files]
    inputs = [values.to(model.device, model.dtype) for values in inputs]

    @torch.inference_mode()
    def run() -> None:
        for values in inputs:
            logits = model(pixel_values=values).logits
        logits.sum().item()  # waits for the device

    return run


def _agreement(theirs: Any, ours: Segmenter, files: Sequence[Path]) -> float:
    """Fraction of the pixels in which both give the same class."""
    same = pixels = 0
    for path in files:
        mask = ours(path).mask
        pixels += mask.size
        for part in theirs(str(path)):
            index = ours.labels.label2id[part["label"]]
            same += int(((np.asarray(part["mask"]) == 255) & (mask == index)).sum())
    return same / pixels
