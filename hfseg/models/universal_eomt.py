"""EoMT's one image size: windows over larger images, and weights for another size or encoder.

EoMT takes squares of `config.image_size` pixels. Its authors resize an image to that size on its
shorter side, cut it into overlapping windows along the longer one, and average the scores where
windows overlap (Kerssies et al. 2025, https://arxiv.org/abs/2503.19108). transformers'
`EomtImageProcessor(do_split_image=True)` cuts the same windows.
"""

from math import ceil
from typing import Any

import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from hfseg.errors import UserError
from hfseg.models.logits import resize_logits

EOMT = ("eomt", "eomt_dinov3")


def side_of(config: PreTrainedConfig) -> int:
    """Pixels per side of the squares that the model takes."""
    size = config.image_size
    return size if isinstance(size, int) else size[0]


def cut(images: torch.Tensor, model: PreTrainedModel) -> torch.Tensor:
    """(B, 3, H, W) -> (N * B, 3, S, S): the first window of every image, then the second, ...

    Raises:
        UserError: in training, images that are not S x S.
    """
    height, width = images.shape[-2:]
    side = side_of(model.config)
    if (height, width) == (side, side):
        return images
    if model.training:
        raise UserError(
            f"{type(model).__name__} trains on squares of {side} pixels, not on {height} x "
            f"{width}: give --crop_size {side}, or another size with --model_config image_size"
        )
    size = scaled_size((height, width), side)
    if size != (height, width):
        images = F.interpolate(
            images, size=size, mode="bilinear", align_corners=False, antialias=True
        )
    longer = 2 if height > width else 3
    return torch.cat([images.narrow(longer, start, side) for start in _starts(max(size), side)])


def merge(scores: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
    """(N * B, C, S, S) scores of windows -> (B, C, H, W), the mean where windows overlap."""
    side = scores.shape[-1]
    if image_size == (side, side):
        return scores
    size = scaled_size(image_size, side)
    starts = _starts(max(size), side)
    longer = 2 if image_size[0] > image_size[1] else 3
    windows = scores.chunk(len(starts))
    total = scores.new_zeros(*windows[0].shape[:2], *size)
    count = scores.new_zeros(*size)
    for start, window in zip(starts, windows, strict=True):
        total.narrow(longer, start, side).add_(window)
        count.narrow(longer - 2, start, side).add_(1)
    return resize_logits(total / count, image_size)


def scaled_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(H, W) with the shorter side scaled to `side`, rounded down as transformers does."""
    height, width = size
    if height > width:
        return side * height // width, side
    return side, side * width // height


def _starts(length: int, side: int) -> list[int]:
    """Where the windows of `side` pixels start: as few as cover `length`, evenly spaced."""
    count = ceil(length / side)
    overlap = (count * side - length) / (count - 1) if count > 1 else 0
    return [int(index * (side - overlap)) for index in range(count)]


def resize_positions(model: PreTrainedModel, side: int) -> None:
    """Let a loaded EoMT take squares of another size, with its position embeddings interpolated.

    transformers would reinitialize them.

    Raises:
        UserError: a size that isn't a multiple of the patch size.
    """
    config = model.config
    patch = config.patch_size if isinstance(config.patch_size, int) else config.patch_size[0]
    if side < patch or side % patch:
        raise UserError(
            f"--model_config image_size={side}: give a multiple of the patch size, {patch}"
        )
    grid = side // patch
    positions = getattr(model.embeddings, "position_embeddings", None)
    if positions is not None:  # DINOv3 computes its positions from the image
        weight = _interpolate(positions.weight, grid)
        model.embeddings.position_embeddings = torch.nn.Embedding.from_pretrained(
            weight, freeze=False
        )
        model.embeddings.position_ids = torch.arange(grid * grid, device=weight.device)[None]
        model.embeddings.patch_embeddings.image_size = (side, side)
        model.embeddings.patch_embeddings.num_patches = grid * grid
    model.grid_size = (grid, grid)
    config.image_size = side


# keys that the configs of DINOv2 or DINOv3 and of EoMT on it share
_SHARED = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
    "num_register_tokens", "layerscale_value", "mlp_ratio", "use_swiglu_ffn", "intermediate_size",
    "query_bias", "key_bias", "value_bias", "proj_bias", "mlp_bias", "use_gated_mlp",
    "pos_embed_rescale",
)  # fmt: skip
ENCODERS = {"dinov2": "eomt", "dinov2_with_registers": "eomt", "dinov3_vit": "eomt_dinov3"}
"""Model type of a bare encoder -> model type of the EoMT that it fits."""


def encoder_options(stored: PreTrainedConfig) -> dict[str, Any]:
    """The options that an EoMT shares with its encoder."""
    values = stored.to_dict()
    options = {key: values[key] for key in _SHARED if key in values}
    if stored.model_type == "dinov2":
        options["num_register_tokens"] = 0
    return options


def load_dino(model: PreTrainedModel, encoder: PreTrainedModel) -> None:
    """Put a DINOv2 or DINOv3 encoder into an EoMT built from its `encoder_options`.

    EoMT's patches have 16 pixels; kernels of DINOv2's 14 are resampled (Beyer et al. 2023,
    https://arxiv.org/abs/2212.08013), position embeddings interpolated. EoMT has none for the
    class token, so that one is added to the token.
    """
    from timm.layers import resample_patch_embed

    renames = (
        ("encoder.layer.", "layers."),
        ("model.layer.", "layers."),
        ("norm.", "layernorm."),
    )
    tensors = {}
    for key, value in encoder.state_dict().items():
        for old, new in renames:
            if key.startswith(old):
                key = new + key.removeprefix(old)
        if model.config.model_type == "eomt":
            key = key.replace(".attention.o_proj.", ".attention.out_proj.")
        tensors[key] = value
    tensors.pop("embeddings.mask_token", None)
    tensors.pop("rope_embeddings.inv_freq", None)
    positions = tensors.pop("embeddings.position_embeddings", None)
    if positions is not None:
        tensors["embeddings.cls_token"] = tensors["embeddings.cls_token"] + positions[:, :1]
        grid = side_of(model.config) // model.config.patch_size
        tensors["embeddings.position_embeddings.weight"] = _interpolate(positions[0, 1:], grid)
        kernel = "embeddings.patch_embeddings.projection.weight"
        tensors[kernel] = resample_patch_embed(tensors[kernel], [model.config.patch_size] * 2)
        if not model.config.num_register_tokens:
            tensors["embeddings.register_tokens"] = model.embeddings.register_tokens.detach()
    state = model.state_dict()
    wanted = {
        key: state[key] for key in state if key.startswith(("embeddings.", "layers.", "layernorm."))
    }
    lost = sorted(
        key for key in wanted if key not in tensors or wanted[key].shape != tensors[key].shape
    )
    if lost:
        raise UserError(
            f"the encoder {type(encoder).__name__} doesn't fit {type(model).__name__}: "
            f"{len(lost)} of its {len(wanted)} tensors, the first {lost[0]}"
        )
    model.load_state_dict({**state, **{key: tensors[key] for key in wanted}}, strict=True)


def _interpolate(positions: torch.Tensor, grid: int) -> torch.Tensor:
    """(g * g, C) position embeddings -> (grid * grid, C), bicubic as in DINOv2."""
    before = int(len(positions) ** 0.5)
    if before == grid:
        return positions.detach()
    table = positions.detach().float().T.unflatten(1, (before, before))[None]
    table = F.interpolate(table, size=(grid, grid), mode="bicubic", antialias=True)
    return table[0].flatten(1).T.to(positions.dtype).contiguous()
