"""The smallest models of the SAM family that still do all that the real ones do."""

from typing import Any

import torch
from transformers import (
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
)

SIDE = 64
_DECODER = {
    "hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
}  # fmt: skip


def tiny_sam() -> tuple[SamModel, SamProcessor]:
    """SAM at 64 x 64 pixels, the longer side scaled and the rest padded."""
    config = SamConfig(
        vision_config={
            "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8, "window_size": 4,
            "global_attn_indexes": [1], "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 8,
                               "mask_input_channels": 4},
        mask_decoder_config=_DECODER,
    )  # fmt: skip
    processor = SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    return _random(SamModel(config)), SamProcessor(processor)


def tiny_sam2() -> tuple[Sam2Model, Sam2Processor]:
    """SAM 2 at 64 x 64 pixels, into which every image is squashed."""
    processor = Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})
    return _random(Sam2Model(Sam2Config(**sam2_parts()))), Sam2Processor(processor)


def sam2_parts() -> dict[str, Any]:
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
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.25, generator=generator)
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.proj_out.weight.mul_(20)  # else no mask is stable
    return model.eval()
