"""Size and cost of a model, counted without loading or computing anything."""

import warnings
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from hfseg.labels import LabelSet
from hfseg.models.build import load_model

SIZE = 512


@dataclass(frozen=True)
class ModelCost:
    """Size and cost of a model.

    Attributes:
        parameters: how many.
        macs: multiply-accumulates of one forward pass on a 512 x 512 image.
    """

    parameters: int
    macs: int


def measure(name: str) -> ModelCost:
    """Count on the `meta` device, with the 19 classes of Cityscapes."""
    labels = LabelSet(tuple(f"class {index}" for index in range(19)))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _ = load_model(name, labels, pretrained=False)
    model = model.to("meta").eval()
    if hasattr(model, "attn_mask_probs"):  # EoMT reads their values: 0, as after the training
        model.attn_mask_probs = torch.zeros(model.attn_mask_probs.shape)
    image = torch.zeros(1, 3, SIZE, SIZE, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(pixel_values=image)
    return ModelCost(
        sum(each.numel() for each in model.parameters()), counter.get_total_flops() // 2
    )
