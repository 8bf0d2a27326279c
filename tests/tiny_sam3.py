"""The smallest SAM 3, with random weights and a tokenizer made of letters."""

import torch
from transformers import (
    CLIPTokenizer,
    PreTrainedModel,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3LiteTextConfig,
    Sam3LiteTextModel,
    Sam3Model,
    Sam3Processor,
)

SIDE = 56
_HEAD = {"hidden_size": 32, "num_attention_heads": 2}
_LAYERS = {**_HEAD, "num_layers": 1, "intermediate_size": 32}
_TEXT = {
    **_HEAD, "vocab_size": 600, "intermediate_size": 32, "num_hidden_layers": 1,
    "projection_dim": 32, "max_position_embeddings": 32,
}  # fmt: skip


def tiny_sam3(lite: bool = False) -> tuple[PreTrainedModel, Sam3Processor]:
    """SAM 3 at 56 x 56 pixels, with masks at 16 x 16; `lite`: the one with a smaller text part."""
    kind, options = (Sam3LiteTextModel, Sam3LiteTextConfig) if lite else (Sam3Model, Sam3Config)
    text = "sam3_lite_text_text_model" if lite else "clip_text_model"
    config = options(
        vision_config={
            "model_type": "sam3_vision_model",
            "backbone_config": {
                "model_type": "sam3_vit_model", **_HEAD, "intermediate_size": 32,
                "num_hidden_layers": 2, "image_size": SIDE, "patch_size": 14, "window_size": 2,
                "global_attn_indexes": [1], "pretrain_image_size": 28,
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={"model_type": text, **_TEXT},
        geometry_encoder_config={**_LAYERS},
        detr_encoder_config={**_LAYERS},
        detr_decoder_config={**_LAYERS, "num_queries": 5},
        mask_decoder_config={**_HEAD},
    )  # fmt: skip
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():  # with the initial range of 0.02 every prompt would find the same
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    size = {"height": SIDE, "width": SIDE}
    return model, Sam3Processor(Sam3ImageProcessor(size=size), tiny_tokenizer())


def tiny_tokenizer() -> CLIPTokenizer:
    """Every letter, alone and at the end of a word, is a token."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
