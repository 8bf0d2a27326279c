"""The smallest models of the SAM family that still do all that the real ones do."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    EdgeTamConfig,
    EdgeTamModel,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
    SamConfig,
    SamHQConfig,
    SamHQModel,
    SamHQProcessor,
    SamImageProcessor,
    SamModel,
    SamProcessor,
    TimmWrapperConfig,
)

SIDE = 64
_DECODER = {
    "hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
}  # fmt: skip


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def tiny_sam() -> tuple[SamModel, SamProcessor]:
    """SAM at 64 x 64 pixels, the longer side scaled and the rest padded."""
    return _random(SamModel(SamConfig(**_sam_parts()))), SamProcessor(_padding())


def tiny_sam_hq() -> tuple[SamHQModel, SamHQProcessor]:
    parts = _sam_parts()
    parts["mask_decoder_config"] = {**_DECODER, "vit_dim": 16}
    return _random(SamHQModel(SamHQConfig(**parts))), SamHQProcessor(_padding())


def tiny_sam2() -> tuple[Sam2Model, Sam2Processor]:
    """SAM 2 at 64 x 64 pixels, into which every image is squashed."""
    return _random(Sam2Model(Sam2Config(**_sam2_parts()))), Sam2Processor(_squashing())


def tiny_sam2_video() -> tuple[Sam2VideoModel, Sam2Processor]:
    """The image model and a memory of earlier frames, as SAM 2 is published."""
    config = Sam2VideoConfig(
        **_sam2_parts(), memory_attention_hidden_size=16,
        memory_attention_feed_forward_hidden_size=16, memory_attention_num_attention_heads=2,
        memory_encoder_hidden_size=16, memory_encoder_output_channels=8,
        memory_attention_num_layers=1, memory_fuser_embed_dim=16,
        memory_fuser_intermediate_dim=16, mask_downsampler_embed_dim=16,
        memory_attention_rope_feat_sizes=[4, 4], image_size=SIDE,
    )  # fmt: skip
    return _random(Sam2VideoModel(config)), Sam2Processor(_squashing())


def tiny_edgetam() -> tuple[EdgeTamModel, Sam2Processor]:
    parts = _sam2_parts()
    vision = parts["vision_config"]
    vision["backbone_config"] = TimmWrapperConfig(
        architecture="resnet10t",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [1, 2, 3, 4]},
    )
    vision["backbone_channel_list"] = [512, 256, 128, 64]
    return _random(EdgeTamModel(EdgeTamConfig(**parts))), Sam2Processor(_squashing())


FAMILY = {"SAM": tiny_sam, "SAM-HQ": tiny_sam_hq, "SAM 2": tiny_sam2, "EdgeTAM": tiny_edgetam}


def _padding() -> SamImageProcessor:
    return SamImageProcessor(size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE})


def _squashing() -> Sam2ImageProcessor:
    return Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})


def _sam_parts() -> dict[str, Any]:
    return {
        "vision_config": {
            "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8, "window_size": 4,
            "global_attn_indexes": [1], "num_pos_feats": 8,
        },
        "prompt_encoder_config": {"hidden_size": 16, "image_size": SIDE, "patch_size": 8,
                                  "mask_input_channels": 4},
        "mask_decoder_config": _DECODER,
    }  # fmt: skip


def _sam2_parts() -> dict[str, Any]:
    return {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model", "hidden_size": 8,
                "image_size": [SIDE, SIDE], "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 4, 4, 2], "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 16,
        },
        "prompt_encoder_config": {"hidden_size": 16, "image_size": SIDE, "patch_size": 16,
                                  "mask_input_channels": 4},
        "mask_decoder_config": _DECODER,
    }  # fmt: skip


def _random(model: Any) -> Any:
    """Weights large enough that masks depend on the image and on every prompt."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "timm_model" not in name:
                parameter.normal_(std=0.25, generator=generator)
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.proj_out.weight.mul_(20)  # else no mask is stable
    return model.eval()
