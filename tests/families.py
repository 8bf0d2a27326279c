"""One small model of each family: name and `model_config` for `hfseg.load_model`."""

from typing import Any

_UPERNET = {
    "backbone_config.depths": [1, 1, 2, 1],
    "hidden_size": 32,
    "auxiliary_channels": 16,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "segformer-tiny": {},
    "deeplabv3plus-mobilenet-v2": {"depth_multiplier": 0.35, "finegrained_output": False},
    "upernet-convnext-tiny": {**_UPERNET, "backbone_config.hidden_sizes": [16, 24, 32, 48]},
    "upernet-swin-tiny": {**_UPERNET, "backbone_config.embed_dim": 12},
    "upernet-resnet50": {
        **_UPERNET,
        "backbone_config.embedding_size": 16,
        "backbone_config.hidden_sizes": [16, 32, 48, 64],
    },
    "unet-resnet18": {},
    "deeplabv3plus-resnet18": {},
    "pspnet-resnet18": {},
    "fcn-resnet18": {"use_auxiliary_head": True},
}
