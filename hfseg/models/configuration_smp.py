"""Configuration of the segmentation_models_pytorch architectures and FCN.

This file is uploaded with the model, so it imports nothing but transformers.
"""

from typing import Any

from transformers import PretrainedConfig

ARCHITECTURES = (
    "deeplabv3", "deeplabv3plus", "dpt", "fcn", "fpn", "linear", "linknet", "manet", "pan",
    "pspnet", "segformer", "unet", "unetplusplus", "upernet",
)  # fmt: skip


class SmpConfig(PretrainedConfig):
    """What `SmpForSemanticSegmentation` is built from.

    Args:
        architecture: one of `ARCHITECTURES`.
        encoder_name: any encoder of segmentation_models_pytorch: `resnet50`, `mit_b0`,
            `efficientnet-b0`, ..., or a timm model as `tu-NAME`.
        encoder_depth: number of stages of the encoder; None is the architecture's default.
        encoder_output_stride: 8 or 16 dilates the last stages instead of striding; None is the
            architecture's default (8 for deeplabv3, fcn and pspnet, 16 for deeplabv3plus and pan).
        decoder_options: arguments of the architecture's class in segmentation_models_pytorch,
            such as `{"decoder_attention_type": "scse"}`.
        torchvision_style: compute what torchvision's segmentation models compute, so that their
            weights fit: the first block of a dilated stage keeps the dilation of the stage before,
            logits are resized with `align_corners=False`, no padding. FCN always does.
        use_auxiliary_head: an FCN head on the second-to-last stage, used in training only; None is
            the architecture's default (True for fcn).
        auxiliary_loss_weight: its weight in the loss.
        loss_ignore_index: the label that is ignored.
    """

    model_type = "smp"

    def __init__(
        self,
        architecture: str = "unet",
        encoder_name: str = "resnet34",
        encoder_depth: int | None = None,
        encoder_output_stride: int | None = None,
        decoder_options: dict[str, Any] | None = None,
        torchvision_style: bool = False,
        use_auxiliary_head: bool | None = None,
        auxiliary_loss_weight: float = 0.4,
        loss_ignore_index: int = 255,
        **kwargs: Any,
    ) -> None:
        self.architecture = architecture
        self.encoder_name = encoder_name
        self.encoder_depth = encoder_depth
        self.encoder_output_stride = encoder_output_stride
        self.decoder_options = dict(decoder_options or {})
        self.torchvision_style = torchvision_style or architecture == "fcn"
        self.use_auxiliary_head = (
            architecture == "fcn" if use_auxiliary_head is None else use_auxiliary_head
        )
        self.auxiliary_loss_weight = auxiliary_loss_weight
        self.loss_ignore_index = loss_ignore_index
        super().__init__(**kwargs)


SmpConfig.register_for_auto_class()
