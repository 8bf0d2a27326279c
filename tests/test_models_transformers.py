"""Models of transformers through `load_model`: all that `ModelTester` asks, at small sizes."""

from typing import ClassVar

import pytest
import torch
from families import FAMILIES
from model_tester import LABELS, ModelTester

from hfseg.models import load_model


class TestSegformer(ModelTester):
    name = "segformer-tiny"


class TestMobileNetV2(ModelTester):
    name = "deeplabv3plus-mobilenet-v2"
    model_config: ClassVar = FAMILIES[name]
    unused: ClassVar = {
        f"mobilenet_v2.conv_1x1.{part}"
        for part in ("convolution.weight", "normalization.weight", "normalization.bias")
    }
    gradient_checkpointing = False
    needs_two_images = True


class TestUperNetConvNext(ModelTester):
    name = "upernet-convnext-tiny"
    model_config: ClassVar = FAMILIES[name]
    gradient_checkpointing = False
    needs_two_images = True


class TestUperNetSwin(ModelTester):
    name = "upernet-swin-tiny"
    model_config: ClassVar = FAMILIES[name]
    unused: ClassVar = {"backbone.swin.layernorm.weight", "backbone.swin.layernorm.bias"}
    needs_two_images = True


class TestUperNetResNet(ModelTester):
    name = "upernet-resnet50"
    model_config: ClassVar = FAMILIES[name]
    gradient_checkpointing = False
    needs_two_images = True


class TestUperNetDinov3(ModelTester):
    name = "upernet-dinov3-vits"
    model_config: ClassVar = {
        "backbone_config.hidden_size": 24,
        "backbone_config.intermediate_size": 48,
        "backbone_config.num_attention_heads": 2,
        "hidden_size": 32,
        "auxiliary_channels": 16,
    }
    unused: ClassVar = {"backbone.embeddings.mask_token"}
    needs_two_images = True


def test_upernet_takes_a_dinov3_encoder_from_its_folder(tmp_path) -> None:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=12, num_attention_heads=2,
        num_register_tokens=4,
    )  # fmt: skip
    encoder = DINOv3ViTModel(config)
    encoder.save_pretrained(tmp_path)
    options = {"hidden_size": 32, "auxiliary_channels": 16}
    model, _ = load_model("upernet-dinov3-vits", LABELS, encoder_weights=str(tmp_path), **options)
    assert model.config.backbone_config.out_indices == [3, 6, 9, 12]
    loaded = dict(model.backbone.named_parameters())
    for name, parameter in encoder.named_parameters():
        assert torch.equal(loaded[name], parameter), name


@pytest.mark.parametrize(
    ("name", "channels"),
    [("upernet-convnext-tiny", 384), ("upernet-swin-tiny", 384), ("upernet-resnet50", 1024)],
)
def test_auxiliary_head_of_upernet_reads_the_third_stage(name: str, channels: int) -> None:
    with torch.device("meta"):
        model, _ = load_model(name, LABELS, pretrained=False)
    assert model.auxiliary_head.in_channels == channels == model.backbone.channels[2]


def tiny_config(kind: str):
    from transformers import BeitConfig, DPTConfig, MobileViTConfig

    small = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    small |= {"intermediate_size": 64, "image_size": 64, "patch_size": 16}
    if kind == "beit":
        return BeitConfig(**small, out_indices=[1, 2, 3, 4], auxiliary_channels=16)
    if kind == "dpt":
        return DPTConfig(
            **small, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 16, 24, 32],
            fusion_hidden_size=16, is_hybrid=False,
        )  # fmt: skip
    return MobileViTConfig(
        hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 24, 32, 32, 48],
        aspp_out_channels=16, num_attention_heads=2, image_size=64, output_stride=16,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["beit", "dpt", "mobilevit"])
def test_other_semantic_models_train_through_the_same_call(kind: str, tmp_path) -> None:
    from transformers import AutoModelForSemanticSegmentation

    from hfseg.models.auxiliary import expose_auxiliary_logits
    from hfseg.models.freezing import Probe

    AutoModelForSemanticSegmentation.from_config(tiny_config(kind)).save_pretrained(tmp_path)
    model, processor = load_model(str(tmp_path), LABELS)
    assert model.config.semantic_loss_ignore_index == model.config.loss_ignore_index == 255
    assert processor.do_resize is False
    for name in Probe(model).unused:
        model.get_parameter(name).requires_grad_(False)
    expose_auxiliary_logits(model)
    output = model.train()(pixel_values=torch.randn(2, 3, 64, 64))
    assert output.logits.shape[1] == 3
    assert ("auxiliary_logits" in output) == hasattr(model, "auxiliary_head")
    sum(value.mean() for value in output.values()).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
