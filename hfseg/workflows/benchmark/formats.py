"""`hfseg benchmark formats`: a training step in both memory formats and precisions.

It checks the rule in `hfseg.training.precision` on the machine at hand.
"""

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel, set_seed

from hfseg.data.transforms import Size
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.training.precision import Precision, detect_hardware, memory_format
from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare

MODELS = (
    "segformer-b0", "upernet-swin-tiny", "upernet-convnext-tiny", "deeplabv3plus-mobilenet-v2",
    "unet-tu-efficientnet_lite0", "deeplabv3plus-efficientnet-b0", "unet-resnet34",
    "fpn-resnet34", "deeplabv3-resnet50", "deeplabv3plus-resnet50", "fcn-resnet50",
    "pspnet-resnet50",
)  # fmt: skip
"""One or two of each family."""
_CLASSES = LabelSet(tuple(f"class {index}" for index in range(21)))
_FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def benchmark_formats(
    models: Sequence[str], *, batch_size: int, size: Size, repeats: int
) -> list[Comparison]:
    """Forward and backward pass of each model, and which format a run would choose.

    Args:
        models: names, built with random weights.
        size: (height, width) of the images.
    """
    hardware = detect_hardware()
    precisions = {"fp32": Precision(hardware.device == "cpu", bf16=False, fp16=False)}
    if hardware.bf16:
        precisions["bf16"] = Precision(hardware.device == "cpu", bf16=True, fp16=False)
    found = []
    for name in models:
        set_seed(0)
        model, _ = load_model(name, _CLASSES, pretrained=False)
        chosen = {label: memory_format(model, each) for label, each in precisions.items()}
        contenders = [
            Contender.timed(
                f"{label}, {format_name}",
                _step(copy.deepcopy(model), format_, each, hardware.device, batch_size, size),
            )
            for label, each in precisions.items()
            for format_name, format_ in _FORMATS.items()
        ]
        title = f"a training step of {name}, batches of {batch_size} x {size[0]} x {size[1]}"
        names = {format_: format_name for format_name, format_ in _FORMATS.items()}
        comparison = compare(title, contenders, unit="step", amount=1, repeats=repeats)
        facts = {f"chosen in {label}": names[format_] for label, format_ in chosen.items()}
        found.append(replace(comparison, facts=facts))
    return found


def _step(
    model: PreTrainedModel,
    format_: torch.memory_format,
    precision: Precision,
    device: str,
    batch_size: int,
    size: Size,
) -> Callable[[], object]:
    model.to(device=device, memory_format=format_).train()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch_size, 3, *size, generator=generator).to(device)
    labels = torch.randint(0, len(_CLASSES.names), (batch_size, *size), generator=generator)
    labels = labels.to(device)
    autocast = (
        torch.autocast(device, torch.bfloat16) if precision.bf16 else contextlib.nullcontext()
    )

    def run() -> None:
        model.zero_grad()
        with autocast:
            loss = model(pixel_values=pixels, labels=labels).loss
        loss.backward()
        loss.item()  # waits for the device

    return run
