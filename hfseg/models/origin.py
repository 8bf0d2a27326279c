"""Where weights come from and what a model is called, for the card."""

from pathlib import Path

from transformers import PreTrainedConfig

from hfseg.models.catalog import NAMED_MODELS, find_model
from hfseg.models.encoder_weights import smp_repository

_TYPES = {
    "segformer": "SegFormer",
    "upernet": "UperNet",
    "mobilenet_v2": "DeepLabV3+",
    "dpt": "DPT",
    "beit": "BEiT",
    "data2vec-vision": "Data2Vec",
    "mobilevit": "MobileViT",
    "mobilevitv2": "MobileViTV2",
    "mask2former": "Mask2Former",
    "eomt": "EoMT on DINOv2",
    "eomt_dinov3": "EoMT on DINOv3",
}
_BACKBONES = {
    "convnext": "ConvNeXt",
    "swin": "Swin Transformer",
    "resnet": "ResNet",
    "dinov3_vit": "DINOv3",
}
_SMP = {
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3+",
    "dpt": "DPT",
    "fcn": "FCN",
    "fpn": "FPN",
    "linear": "A linear classifier",
    "linknet": "LinkNet",
    "manet": "MA-Net",
    "pan": "PAN",
    "pspnet": "PSPNet",
    "segformer": "SegFormer",
    "unet": "U-Net",
    "unetplusplus": "U-Net++",
    "upernet": "UperNet",
}


def weights_repository(name: str, encoder_weights: str | None = None) -> str | None:
    """Hub id of the weights that `load_model(name, encoder_weights=...)` starts from.

    None for a local file or folder, or without weights.
    """
    named = None if name not in NAMED_MODELS and Path(name).is_dir() else find_model(name)
    source = encoder_weights or (named.weights if named else name)
    if source is None or Path(source).exists():
        return None
    if named is not None and named.model_type == "smp":
        return smp_repository(named.options["encoder_name"], source)[0]
    return source


def architecture_in_words(config: PreTrainedConfig) -> str:
    """For example "SegFormer", "UperNet with a ConvNeXt backbone" or "U-Net with a resnet34
    encoder"; the model type if it is not known here."""
    if config.model_type == "smp":
        return f"{_SMP[config.architecture]} with a {config.encoder_name} encoder"
    words = _TYPES.get(config.model_type, config.model_type)
    if config.model_type == "mobilenet_v2":
        return f"{words} with a MobileNetV2 encoder"
    backbone = getattr(config, "backbone_config", None)
    if backbone is not None:
        kind = backbone.model_type
        return f"{words} with a {_BACKBONES.get(kind, kind)} backbone"
    return words
