"""Images of sizes that transformers' models do not take as they are."""

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfseg.models.logits import resize_logits

MINIMUM = 32
"""Pixels per side; the last stage of the encoders has a stride of 32."""


_MODEL_TYPES = ("segformer", "upernet")


def accept_small_images(model: PreTrainedModel) -> None:
    """Let SegFormer and UperNet segment images below 32 x 32; other models are left as they are.

    Images are padded at the bottom and right, and their logits cropped again. UperNet on a ViT
    also gets images of whole patches: it would drop the rest. With labels nothing is padded: the
    model's own loss would not fit. `SmpForSemanticSegmentation` pads by itself. A second call
    changes nothing.
    """
    if model.config.model_type not in _MODEL_TYPES or hasattr(model, "_small_image"):
        return
    model._small_image = None
    model.register_forward_pre_hook(_pad, with_kwargs=True)
    model.register_forward_hook(_crop, with_kwargs=True)


def _pad(
    model: PreTrainedModel, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]] | None:
    images = kwargs.get("pixel_values")
    if not isinstance(images, torch.Tensor) or kwargs.get("labels") is not None:
        return None
    height, width = images.shape[-2:]
    model._small_image = None
    patch = _patch_size(model)
    right = max(MINIMUM - width, -width % patch)
    bottom = max(MINIMUM - height, -height % patch)
    if right > 0 or bottom > 0:
        model._small_image = height, width
        kwargs = {**kwargs, "pixel_values": F.pad(images, (0, right, 0, bottom))}
    return args, kwargs


def _patch_size(model: PreTrainedModel) -> int:
    """Of a ViT; the stages of other encoders round up by themselves."""
    backbone = getattr(model.config, "backbone_config", None)
    if backbone is None or backbone.model_type != "dinov3_vit":
        return 1
    return backbone.patch_size


def _crop(
    model: PreTrainedModel, args: object, kwargs: dict[str, torch.Tensor], output: ModelOutput
) -> ModelOutput:
    small = model._small_image
    if small is not None:
        padded = kwargs["pixel_values"].shape[-2:]
        output.logits = resize_logits(output.logits, padded)[..., : small[0], : small[1]]
        model._small_image = None
    return output
