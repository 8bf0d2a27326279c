"""The kind of convolutional network a model is, which decides its memory format."""

from torch import nn


def is_convolutional(model: nn.Module) -> bool:
    """Whether no layer takes features as rows, which would need a permutation each time.

    Transformers have such layers, and so does ConvNeXt.
    """
    return not any(isinstance(module, (nn.Linear, nn.LayerNorm)) for module in model.modules())


def is_depthwise(model: nn.Module) -> bool:
    """Whether it is convolutional, and most of its spatial convolutions are depthwise.

    MobileNet and EfficientNet are; ResNet is not, even with the depthwise ASPP of DeepLabV3+.
    """
    spatial = [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
    ]
    depthwise = [module for module in spatial if module.groups == module.in_channels > 1]
    return is_convolutional(model) and 2 * len(depthwise) > len(spatial)
