"""The architectures of segmentation_models_pytorch, and FCN, as transformers models.

This file is uploaded with the model, so it stands alone: it needs torch, transformers,
segmentation_models_pytorch and the configuration beside it.
"""

import contextlib
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.utils import ModelOutput

from .configuration_smp import ARCHITECTURES, SmpConfig


@dataclass
class AuxiliarySegmenterOutput(SemanticSegmenterOutput):
    """`SemanticSegmenterOutput` and, in training, the logits of the auxiliary head.

    Args:
        auxiliary_logits: (B, C, H, W), None in evaluation or without such a head.
    """

    auxiliary_logits: torch.Tensor | None = None


class FcnDecoder(nn.Sequential):
    """The hidden layer of an FCN head (torchvision's `FCNHead` without its classifier)."""

    def __init__(self, in_channels: int, index: int = -1) -> None:
        self.out_channels = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, self.out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.out_channels),
            nn.ReLU(),
            nn.Dropout(0.1),
        )
        self.index = index

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return super().forward(features[self.index])


class FcnHead(nn.Module):
    """An FCN head on one feature map: the auxiliary head."""

    def __init__(self, in_channels: int, num_labels: int, index: int) -> None:
        super().__init__()
        self.decoder = FcnDecoder(in_channels, index)
        self.classifier = nn.Conv2d(self.decoder.out_channels, num_labels, 1)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return self.classifier(self.decoder(features))


class Fcn(nn.Module):
    """Fully convolutional network (Long et al. 2015) on a dilated encoder, as in torchvision."""

    requires_divisible_input_shape = False

    def __init__(
        self, encoder_name: str, encoder_depth: int = 5, output_stride: int = 8, classes: int = 2
    ) -> None:
        from segmentation_models_pytorch.encoders import get_encoder

        super().__init__()
        self.encoder = get_encoder(encoder_name, depth=encoder_depth, output_stride=output_stride)
        self.decoder = FcnDecoder(self.encoder.out_channels[-1])
        self.segmentation_head = nn.Conv2d(self.decoder.out_channels, classes, 1)


class LinearDecoder(nn.Module):
    """Batch norm of the last feature map, as before the classifier of DINOv2's linear probe."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(
        self, features: list[torch.Tensor], prefix_tokens: list[torch.Tensor | None]
    ) -> torch.Tensor:
        return self.norm(features[-1])


class Linear(nn.Module):
    """A linear classifier on a ViT's patches (Oquab et al. 2023, arXiv 2304.07193, section 7.4)."""

    requires_divisible_input_shape = True

    def __init__(self, encoder_name: str, encoder_depth: int = 4, classes: int = 2) -> None:
        from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder

        super().__init__()
        self.encoder = TimmViTEncoder(
            encoder_name.removeprefix("tu-"),
            pretrained=False,
            depth=encoder_depth,
            dynamic_img_size=True,
        )
        channels = self.encoder.out_channels[-1]
        self.decoder = LinearDecoder(channels)
        self.segmentation_head = nn.Conv2d(channels, classes, 1)


class SmpForSemanticSegmentation(PreTrainedModel):
    """Semantic segmentation with an architecture and encoder of segmentation_models_pytorch.

    The weights have that library's names (`encoder.*`, `decoder.*`, `segmentation_head.*`). Images
    of any size are accepted: they are padded at the bottom and right to what the architecture
    needs, and the logits cropped again. `pan` works on at least 128 x 128 pixels (at output stride
    16) and pads smaller images to that; `dpt` on an encoder of a fixed size takes that size only.
    """

    config_class = SmpConfig
    config: SmpConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True

    def __init__(self, config: SmpConfig) -> None:
        super().__init__(config)
        # On the CPU even where transformers builds models on "meta": timm's encoders compute
        # constants from real tensors while they are built.
        with torch.device("cpu"):
            network = build_network(config)
            channels = network.encoder.out_channels
            self.auxiliary_head = (
                FcnHead(channels[-2], config.num_labels, -2) if config.use_auxiliary_head else None
            )
        self.encoder = network.encoder
        self.decoder = network.decoder
        self.segmentation_head = network.segmentation_head
        if config.torchvision_style:
            _dilate_as_torchvision(self.encoder)
        self.size_multiple, self.minimum_size = _size_rule(config, network)
        for module in self.modules():
            # buffers that are not saved; `from_pretrained` empties them, see `_init_weights`
            names = module._non_persistent_buffers_set
            if names:
                module._constants = {n: b for n in names if (b := getattr(module, n)) is not None}
        self._no_split_modules = sorted({type(self.encoder).__name__, type(self.decoder).__name__})
        self.post_init()

    def init_weights(self) -> None:
        """Nothing: segmentation_models_pytorch has initialized what it built."""

    def _init_weights(self, module: nn.Module) -> None:
        """Initialize what a checkpoint lacked, such as a head for another number of labels.

        Tensors that were loaded are protected by transformers while this runs.
        """
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            if module.weight is not None:
                nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.BatchNorm2d):
                for initialize, buffer in (
                    (nn.init.zeros_, module.running_mean),
                    (nn.init.ones_, module.running_var),
                    (nn.init.zeros_, module.num_batches_tracked),
                ):
                    if buffer is not None:
                        initialize(buffer)
        for name, value in getattr(module, "_constants", {}).items():
            getattr(module, name).copy_(value)

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
    ) -> ModelOutput | tuple[torch.Tensor, ...]:
        """Logits at the size of the image, and the loss if labels are given.

        Args:
            pixel_values: (B, 3, H, W), normalized; any size.
            labels: (B, H, W) int64; `config.loss_ignore_index` is ignored.
        """
        height, width = pixel_values.shape[-2:]
        padded = F.pad(pixel_values, (0, self._missing(width), 0, self._missing(height)))
        size = padded.shape[-2:]

        features = self.encoder(padded)
        # the encoders of dpt return feature maps and class tokens
        decoded = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        logits = _resize(self.segmentation_head(decoded), size)[..., :height, :width]
        auxiliary_logits = None
        if self.auxiliary_head is not None and self.training:
            auxiliary_logits = _resize(self.auxiliary_head(features), size)[..., :height, :width]

        loss = None
        if labels is not None:
            loss = self._loss(logits, labels)
            if auxiliary_logits is not None:
                loss = loss + self.config.auxiliary_loss_weight * self._loss(
                    auxiliary_logits, labels
                )
        output = AuxiliarySegmenterOutput(
            loss=loss, logits=logits, auxiliary_logits=auxiliary_logits
        )
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return output if use_dict else output.to_tuple()

    def _missing(self, length: int) -> int:
        """How many pixels a height or width must be padded by for the architecture."""
        missing = -length % self.size_multiple
        if self.minimum_size > self.size_multiple:  # a comparison would tie exports to one size
            missing = max(missing, self.minimum_size - length)
        return missing

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over the labeled pixels; 0 if there are none."""
        ignore_index = self.config.loss_ignore_index
        logits = _resize(logits.float(), labels.shape[-2:])
        total = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="sum")
        return total / (labels != ignore_index).sum().clamp(min=1)

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Any = None, every_n_layers: int = 1
    ) -> None:
        """Recompute every block of the encoder in the backward pass instead of storing it."""
        self.gradient_checkpointing = enable
        for index, block in enumerate(_blocks(self.encoder)):
            block.__dict__.pop("forward", None)
            if enable and index % every_n_layers == 0:
                # a partial, so that deep copies of the model refer to their own blocks
                block.forward = functools.partial(_recomputed, block, gradient_checkpointing_func)


def build_network(config: SmpConfig) -> Any:
    """The network with random weights, as segmentation_models_pytorch builds it.

    Raises:
        ValueError: an unknown architecture, encoder or option, or ones that can't be combined.
    """
    import segmentation_models_pytorch as smp

    if config.architecture not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {config.architecture!r}; known: {', '.join(ARCHITECTURES)}"
        )
    options: dict[str, Any] = {"classes": config.num_labels}
    if config.encoder_depth is not None:
        options["encoder_depth"] = config.encoder_depth
    stride = config.encoder_output_stride
    if config.architecture == "fcn":
        return Fcn(config.encoder_name, output_stride=stride or 8, **options)
    if config.architecture == "linear":
        return Linear(config.encoder_name, **options)
    if config.architecture in ("deeplabv3", "deeplabv3plus", "pan"):
        if stride is not None:
            options["encoder_output_stride"] = stride
        if config.architecture == "deeplabv3" and config.torchvision_style:
            options["upsampling"] = 1
    elif config.architecture == "pspnet":
        # Zhao et al. 2017: all stages, dilated to stride 8; the library's own default stops
        # after the third stage
        depth = options.setdefault("encoder_depth", 5)
        stride = stride or 8
        options |= {"output_stride": stride, "upsampling": min(stride, 2**depth)}
    elif stride is not None:
        options["output_stride"] = stride
    if config.architecture == "dpt":
        options["dynamic_img_size"] = True
    known = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[config.architecture]).parameters
    for option in config.decoder_options:
        # unknown options go to a timm encoder; any other encoder would silently drop them
        if option not in known and not config.encoder_name.startswith("tu-"):
            raise ValueError(
                f"decoder_options: {config.architecture} has no option {option!r}; it has "
                + ", ".join(name for name in known if name.startswith(("decoder_", "psp_")))
            )
    options |= config.decoder_options
    build = functools.partial(
        smp.create_model, config.architecture, config.encoder_name, encoder_weights=None
    )
    try:
        return build(**options)
    except TypeError:
        if options.pop("dynamic_img_size", None) is None:
            raise
        return build(**options)  # a ViT of one fixed size
    except KeyError as error:
        raise ValueError(str(error).strip("\"'")) from error


def _size_rule(config: SmpConfig, network: Any) -> tuple[int, int]:
    """(multiple, minimum) of height and width that the architecture needs."""
    multiple = int(network.encoder.output_stride)
    if config.torchvision_style or not network.requires_divisible_input_shape:
        return 1, multiple
    if config.architecture == "dpt":
        fixed = not getattr(network.encoder.model, "dynamic_img_size", False)
        # its coarsest map has half the resolution of the patches
        return 2 * multiple, network.encoder.input_size[-1] if fixed else multiple
    # pan halves its last feature map three times
    return multiple, 8 * multiple if config.architecture == "pan" else multiple


def _dilate_as_torchvision(encoder: nn.Module) -> None:
    """Let the first block of each dilated ResNet stage keep the dilation of the previous stage.

    As `replace_stride_with_dilation` does in torchvision's ResNet.
    """
    dilation = 1
    for name in ("layer1", "layer2", "layer3", "layer4"):
        stage = getattr(encoder, name, None)
        if not isinstance(stage, nn.Sequential):
            return
        first, second = (cast(nn.Conv2d, block.conv2) for block in (stage[0], stage[-1]))
        if second.dilation[0] > dilation:
            first.dilation = first.padding = (dilation, dilation)
            dilation = second.dilation[0]
        for module in stage.modules():
            # the same values, computed by the same kernel
            if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                module.dilation = (1, 1)


def _resize(logits: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The repeated parts of an encoder: the items of its sequences and lists of modules."""
    for child in module.children():
        if isinstance(module, nn.Sequential | nn.ModuleList) and not isinstance(
            child, nn.Sequential | nn.ModuleList
        ):
            if any(True for _ in child.children()):
                yield child
        else:
            yield from _blocks(child)


def _recomputed(block: nn.Module, checkpoint: Any, *args: Any, **kwargs: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return type(block).forward(block, *args, **kwargs)
    return checkpoint(
        functools.partial(type(block).forward, block, **kwargs),
        *args,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _untracked(block)),
    )


@contextlib.contextmanager
def _untracked(block: nn.Module) -> Iterator[None]:
    """Let batch norm count every batch once, not again when it is recomputed."""
    before = [
        (norm, norm.momentum, count, count.clone())
        for norm in block.modules()
        if isinstance(norm, nn.modules.batchnorm._BatchNorm)
        and (count := norm.num_batches_tracked) is not None
    ]
    for norm, *_ in before:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count, earlier in before:
            norm.momentum = momentum
            count.copy_(earlier)


SmpForSemanticSegmentation.register_for_auto_class("AutoModelForSemanticSegmentation")
