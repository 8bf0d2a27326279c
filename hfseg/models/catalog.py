"""The names a user can say: architecture, sizes, and where the weights come from."""

from dataclasses import dataclass, field
from typing import Any

# ImageNet statistics, as torchvision and the SegFormer authors use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# MobileNetV2's TensorFlow weights expect pixels in -1..1.
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class NamedModel:
    """A model with a short name.

    Args:
        model_type: transformers' name of the architecture.
        weights: Hub id of the pretrained encoder, None where there are none.
        license: of these weights, as the Hub states it.
        sizes: options of the config class that weights fix, used when training from scratch.
        options: options of the config class that hold with and without weights.
        image_mean, image_std: what the encoder was trained with.
    """

    model_type: str
    weights: str | None
    license: str | None
    sizes: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD


def _segformer(size: str, hidden: list[int], depths: list[int], decoder: int) -> NamedModel:
    """SegFormer, table 6 of Xie et al. 2021 (https://arxiv.org/abs/2105.15203)."""
    sizes = {"hidden_sizes": hidden, "depths": depths}
    options = {"decoder_hidden_size": decoder}
    return NamedModel("segformer", f"nvidia/mit-{size}", "other", sizes, options)


_WIDE = [64, 128, 320, 512]

NAMED_MODELS: dict[str, NamedModel] = {
    "segformer-tiny": NamedModel(
        "segformer",
        None,
        None,
        {
            "hidden_sizes": [32, 64, 96, 128],
            "depths": [1, 1, 2, 1],
            "num_attention_heads": [1, 2, 3, 4],
            "decoder_hidden_size": 128,
            "drop_path_rate": 0.0,
            "classifier_dropout_prob": 0.0,
        },
    ),
    "segformer-b0": _segformer("b0", [32, 64, 160, 256], [2, 2, 2, 2], 256),
    "segformer-b1": _segformer("b1", _WIDE, [2, 2, 2, 2], 256),
    "segformer-b2": _segformer("b2", _WIDE, [3, 4, 6, 3], 768),
    "segformer-b3": _segformer("b3", _WIDE, [3, 4, 18, 3], 768),
    "segformer-b4": _segformer("b4", _WIDE, [3, 8, 27, 3], 768),
    "segformer-b5": _segformer("b5", _WIDE, [3, 6, 40, 3], 768),
    # transformers' MobileNetV2ForSemanticSegmentation: DeepLabV3+ as in Chen et al. 2018
    "deeplabv3plus-mobilenet-v2": NamedModel(
        "mobilenet_v2",
        "google/mobilenet_v2_1.0_224",
        "other",
        options={"output_stride": 16},
        image_mean=HALF,
        image_std=HALF,
    ),
}
