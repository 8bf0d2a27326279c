"""The named models: architecture, sizes, and where the weights come from."""

import difflib
from dataclasses import dataclass, field
from typing import Any

from hfseg.errors import UserError
from hfseg.models.configuration_smp import ARCHITECTURES

# ImageNet statistics, as torchvision and the SegFormer authors use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# MobileNetV2's TensorFlow weights expect pixels in -1..1.
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class NamedModel:
    """A model with a short name.

    Args:
        model_type: transformers' name of the architecture, or `smp` for those of
            segmentation_models_pytorch.
        weights: Hub id of the pretrained encoder (for `smp`: the name of its weights); None: there
            are none.
        license: of these weights, as the Hub states it.
        sizes: options of the config class that the weights fix, used when training from scratch.
        options: options of the config class that apply with and without weights.
        image_mean, image_std: what the encoder was trained with.
    """

    model_type: str
    weights: str | None
    license: str | None
    sizes: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    image_mean: tuple[float, ...] = IMAGENET_MEAN
    image_std: tuple[float, ...] = IMAGENET_STD


def _segformer(size: str, hidden: list[int], depths: list[int], decoder: int) -> NamedModel:
    """SegFormer, table 6 of Xie et al. 2021 (https://arxiv.org/abs/2105.15203)."""
    sizes = {"hidden_sizes": hidden, "depths": depths}
    options = {"decoder_hidden_size": decoder}
    return NamedModel("segformer", f"nvidia/mit-{size}", "other", sizes, options)


def _upernet(backbone: str, weights: str, **sizes: Any) -> NamedModel:
    """UperNet (Xiao et al. 2018, https://arxiv.org/abs/1807.10221) on all four stages."""
    return NamedModel(
        "upernet",
        weights,
        "apache-2.0",
        {"backbone_config": {"model_type": backbone, "out_features": STAGES, **sizes}},
    )


def _mask2former(size: str, side: int, queries: int, **swin: Any) -> NamedModel:
    """Mask2Former (Cheng et al. 2022, https://arxiv.org/abs/2112.01527), trained on COCO."""
    backbone = {"model_type": "swin", "out_features": STAGES, "image_size": side}
    backbone |= {"depths": [2, 2, 18, 2], **swin}  # all but tiny
    weights = f"facebook/mask2former-swin-{size}-coco-panoptic"
    sizes = {"backbone_config": backbone, "num_queries": queries}
    return NamedModel("mask2former", weights, "other", sizes)


def _eomt(
    weights: str, license: str, size: str, blocks: int, queries: int = 100, side: int = 512
) -> NamedModel:
    """EoMT (Kerssies et al. 2025, https://arxiv.org/abs/2503.19108) on DINOv2 or DINOv3."""
    width, layers, heads = _VITS[size]
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    sizes |= {"num_blocks": blocks, "num_queries": queries, "image_size": side}
    if "dinov3" in weights:
        sizes["intermediate_size"] = 4 * width
        return NamedModel("eomt_dinov3", weights, license, sizes)
    return NamedModel("eomt", weights, license, sizes)


def _upernet_dinov3(size: str) -> NamedModel:
    """UperNet on four evenly spaced layers of DINOv3."""
    width, layers, heads = _VITS[size]
    backbone = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_register_tokens": 4,
        "out_indices": [layers * part // 4 for part in (1, 2, 3, 4)],
    }
    return NamedModel(
        "upernet",
        f"facebook/dinov3-vit{size[0]}16-pretrain-lvd1689m",
        "dinov3-license",
        {"backbone_config": {"model_type": "dinov3_vit", **backbone}},
    )


def _dino(architecture: str, encoder: str, license: str) -> NamedModel:
    """An architecture of `SmpConfig` on timm's DINOv2 or DINOv3."""
    options = {"architecture": architecture, "encoder_name": f"tu-{encoder}"}
    return NamedModel("smp", "imagenet", license, options=options)


# hidden size, layers, attention heads
_VITS = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
_WIDE = [64, 128, 320, 512]

NAMED_MODELS: dict[str, NamedModel] = {
    "segformer-tiny": NamedModel(
        "segformer",
        None,
        None,
        {
            "hidden_sizes": [32, 64, 128, 192],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 4, 8],
            "decoder_hidden_size": 64,
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
    **{
        f"upernet-convnext-{size}": _upernet(
            "convnext", f"facebook/convnext-{size}-224", hidden_sizes=hidden, depths=depths
        )
        for size, hidden, depths in (
            ("tiny", [96, 192, 384, 768], [3, 3, 9, 3]),
            ("small", [96, 192, 384, 768], [3, 3, 27, 3]),
            ("base", [128, 256, 512, 1024], [3, 3, 27, 3]),
        )
    },
    **{
        f"upernet-swin-{size}": _upernet(
            "swin",
            f"microsoft/swin-{size}-patch4-window7-224",
            embed_dim=width,
            depths=depths,
            num_heads=heads,
        )
        for size, width, depths, heads in (
            ("tiny", 96, [2, 2, 6, 2], [3, 6, 12, 24]),
            ("small", 96, [2, 2, 18, 2], [3, 6, 12, 24]),
            ("base", 128, [2, 2, 18, 2], [4, 8, 16, 32]),
        )
    },
    **{
        f"upernet-resnet{layers}": _upernet(
            "resnet",
            f"microsoft/resnet-{layers}",
            hidden_sizes=hidden,
            depths=depths,
            layer_type=layer_type,
        )
        for layers, hidden, depths, layer_type in (
            (18, [64, 128, 256, 512], [2, 2, 2, 2], "basic"),
            (34, [64, 128, 256, 512], [3, 4, 6, 3], "basic"),
            (50, [256, 512, 1024, 2048], [3, 4, 6, 3], "bottleneck"),
            (101, [256, 512, 1024, 2048], [3, 4, 23, 3], "bottleneck"),
            (152, [256, 512, 1024, 2048], [3, 8, 36, 3], "bottleneck"),
        )
    },
    "mask2former-swin-tiny": _mask2former("tiny", 224, 100, depths=[2, 2, 6, 2]),
    "mask2former-swin-small": _mask2former("small", 224, 100),
    "mask2former-swin-base": _mask2former(
        "base", 384, 100, embed_dim=128, num_heads=[4, 8, 16, 32], window_size=12
    ),
    "mask2former-swin-large": _mask2former(
        "large", 384, 200, embed_dim=192, num_heads=[6, 12, 24, 48], window_size=12
    ),
    # trained on COCO or Cityscapes; their sizes are those of the weights
    "eomt-vit-small": _eomt("tue-mps/coco_panoptic_eomt_small_640_2x", "mit", "small", 3, 200, 640),
    "eomt-vit-base": _eomt("tue-mps/coco_panoptic_eomt_base_640_2x", "mit", "base", 3, 200, 640),
    "eomt-vit-large": _eomt(
        "tue-mps/cityscapes_semantic_eomt_large_1024", "mit", "large", 4, 100, 1024
    ),
    **{f"upernet-dinov3-vit{size[0]}": _upernet_dinov3(size) for size in _VITS},
    **{
        f"dpt-dinov3-vit{size[0]}": _dino("dpt", f"vit_{size}_patch16_dinov3", "dinov3-license")
        for size in _VITS
    },
    **{
        f"linear-dinov2-vit{size[0]}": _dino(
            "linear", f"vit_{size}_patch14_reg4_dinov2", "apache-2.0"
        )
        for size in _VITS
    },
    # from the bare encoder
    **{
        f"eomt-dinov2-vit{size[0]}": _eomt(
            f"facebook/dinov2-with-registers-{size}", "apache-2.0", size, blocks
        )
        for size, blocks in (("small", 3), ("base", 3), ("large", 4))
    },
    **{
        f"eomt-dinov3-vit{size[0]}": _eomt(
            f"facebook/dinov3-vit{size[0]}16-pretrain-lvd1689m", "dinov3-license", size, blocks
        )
        for size, blocks in (("small", 3), ("base", 3), ("large", 4))
    },
}


# encoder of segmentation_models_pytorch -> timm's name for the same weights
_NOT_IMAGENET = {
    "inceptionv4": "inception_v4",
    "inceptionresnetv2": "inception_resnet_v2",
    "xception": "legacy_xception",
}


def find_model(name: str) -> NamedModel | None:
    """The model of a short name, or None if it is not one.

    Names are those of `NAMED_MODELS`, and `<architecture>-<encoder>` with an architecture and an
    encoder of segmentation_models_pytorch (`fcn` included).

    Raises:
        UserError: a known architecture with an unknown encoder.
    """
    if name in NAMED_MODELS:
        return NAMED_MODELS[name]
    architecture, _, encoder = name.partition("-")
    if architecture not in ARCHITECTURES or not encoder:
        return None
    names = encoder_names()
    if encoder in names or _is_timm_model(encoder):
        weights = "imagenet" if encoder.startswith("tu-") else names[encoder]
        options = {"architecture": architecture, "encoder_name": encoder}
        mean, std = _statistics(encoder)
        return NamedModel("smp", weights, None, options=options, image_mean=mean, image_std=std)
    full = [f"{architecture}-{each}" for each in names] + list(NAMED_MODELS)
    hint = nearest(name, full)
    if _is_timm_model(f"tu-{encoder}"):
        hint = f"timm has it: {architecture}-tu-{encoder}"
    raise UserError(f"{name!r}: segmentation_models_pytorch has no encoder {encoder!r}; {hint}")


def encoder_names() -> dict[str, str | None]:
    """Encoder of segmentation_models_pytorch -> name of its usual weights."""
    from segmentation_models_pytorch.encoders import encoders

    def usual(names: list[str]) -> str | None:
        return "imagenet" if "imagenet" in names else next(iter(names), None)

    return {name: usual(list(entry["pretrained_settings"])) for name, entry in encoders.items()}


def unknown_model(name: str) -> UserError:
    """The error for a name that is not a model, with the most similar names."""
    architecture, _, encoder = name.partition("-")
    close = difflib.get_close_matches(architecture, ARCHITECTURES, n=3, cutoff=0.6)
    names = [f"{each}-{encoder}" for each in close if encoder] + list(NAMED_MODELS)
    return UserError(
        f"{name!r} is not a model name, a local folder or a Hub id (owner/name); "
        f"{nearest(name, names)}"
    )


def nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, list(dict.fromkeys(names)), n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "`hfseg models` lists the names"


def _is_timm_model(encoder: str) -> bool:
    import timm

    return encoder.startswith("tu-") and timm.is_model(encoder.removeprefix("tu-"))


def _statistics(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that an encoder's ImageNet weights were trained with."""
    import timm

    name = encoder.removeprefix("tu-")
    if name == encoder:  # those of segmentation_models_pytorch: ImageNet's, but for a few
        name = "dpn68" if encoder.startswith("dpn") else _NOT_IMAGENET.get(encoder, "")
    pretrained = timm.models.get_pretrained_cfg(name) if name else None
    if pretrained is None:
        return IMAGENET_MEAN, IMAGENET_STD
    return tuple(pretrained.mean), tuple(pretrained.std)
