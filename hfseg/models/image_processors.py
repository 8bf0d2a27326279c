"""The image processor of a model in training: the pixels its pretrained weights expect."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from hfseg.errors import UserError
from hfseg.models.loading import quiet_transformers
from hfseg.models.universal_eomt import EOMT, side_of

if TYPE_CHECKING:
    from transformers.image_processing_utils import BaseImageProcessor

logger = logging.getLogger("hfseg")

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels from 0 to 1."""


def make_processor(
    config: PreTrainedConfig, statistics: Statistics, **options: Any
) -> "BaseImageProcessor":
    """A processor that normalizes by `statistics`: SegFormer's, or the universal model's own, which
    can read queries."""
    from transformers import (
        EomtImageProcessor,
        Mask2FormerImageProcessor,
        SegformerImageProcessor,
    )

    options |= {"image_mean": list(statistics[0]), "image_std": list(statistics[1])}
    if config.model_type in EOMT:
        size = {"shortest_edge": side_of(config), "longest_edge": None}
        return EomtImageProcessor(size=size, do_split_image=True, **options)
    options |= {"do_resize": False, "do_reduce_labels": False}
    if config.model_type == "mask2former":
        return Mask2FormerImageProcessor(size_divisor=0, ignore_index=255, **options)
    return SegformerImageProcessor(**options)


def stored_statistics(folder: str | Path) -> Statistics | None:
    """Those in a `config.json` of timm or segmentation_models_pytorch; None if it has none."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    config = config.get("pretrained_cfg", config)
    if not (config.get("mean") and config.get("std")):
        return None
    return tuple(config["mean"]), tuple(config["std"])


def stored_processor(source: str, hub: Mapping[str, bool]) -> "BaseImageProcessor | None":
    """The image processor saved with a checkpoint, of any class; None if there is none."""
    from transformers import AutoImageProcessor

    try:
        with quiet_transformers():
            return AutoImageProcessor.from_pretrained(source, **hub)
    except (OSError, ValueError):
        return None


def carry_over(
    theirs: "BaseImageProcessor", model: PreTrainedModel, default: Statistics
) -> "BaseImageProcessor":
    """A processor from `make_processor` that computes the same pixels as `theirs`, sizes aside.

    It does not flip channels. The first convolution of a model that was trained on BGR (MobileViT)
    is changed to read RGB instead, which gives the same features.

    Args:
        theirs: the processor of the checkpoint that `model` was loaded from.
        default: mean and std for a processor that normalizes without stating them.

    Raises:
        UserError: the first convolution of a model that reads BGR can't be found.
    """
    mean = tuple(getattr(theirs, "image_mean", None) or default[0])
    std = tuple(getattr(theirs, "image_std", None) or default[1])
    if getattr(theirs, "do_flip_channel_order", None):
        _read_rgb(model)
        mean, std = mean[::-1], std[::-1]
    return make_processor(
        model.config,
        (mean, std),
        do_rescale=bool(getattr(theirs, "do_rescale", True)),
        rescale_factor=getattr(theirs, "rescale_factor", None) or 1 / 255,
        # MobileViT's class has no such step
        do_normalize=bool(getattr(theirs, "do_normalize", None)),
    )


def _read_rgb(model: PreTrainedModel) -> None:
    """Swap the first and the last input channel of the only convolution on pixels."""
    stems = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Conv2d) and module.in_channels == 3 and module.groups == 1
    ]
    if len(stems) != 1:
        raise UserError(
            f"{type(model).__name__} was trained on BGR images, and its first convolution was not "
            "found; start from another checkpoint"
        )
    with torch.no_grad():
        stems[0].weight.copy_(stems[0].weight.flip(1))
    logger.info("the first convolution now reads RGB; the checkpoint was trained on BGR")
