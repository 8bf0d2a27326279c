"""Models of transformers through `load_model`: all that `ModelTester` asks, at small sizes."""

from typing import ClassVar

import pytest
import torch
from model_tester import LABELS, ModelTester

from hfseg.models import load_model


class TestSegformer(ModelTester):
    name = "segformer-tiny"


class TestMobileNetV2(ModelTester):
    name = "deeplabv3plus-mobilenet-v2"
    model_config: ClassVar = {"depth_multiplier": 0.35, "finegrained_output": False}
    unused: ClassVar = {
        f"mobilenet_v2.conv_1x1.{part}"
        for part in ("convolution.weight", "normalization.weight", "normalization.bias")
    }
    gradient_checkpointing = False
    needs_two_images = True


class TestUperNetConvNext(ModelTester):
    name = "upernet-convnext-tiny"
    model_config: ClassVar = {
        "backbone_config.hidden_sizes": [16, 24, 32, 48],
        "backbone_config.depths": [1, 1, 2, 1],
        "hidden_size": 32,
        "auxiliary_channels": 16,
    }
    gradient_checkpointing = False
    needs_two_images = True


class TestUperNetSwin(ModelTester):
    name = "upernet-swin-tiny"
    model_config: ClassVar = {
        "backbone_config.embed_dim": 12,
        "backbone_config.depths": [1, 1, 2, 1],
        "hidden_size": 32,
        "auxiliary_channels": 16,
    }
    unused: ClassVar = {"backbone.swin.layernorm.weight", "backbone.swin.layernorm.bias"}
    needs_two_images = True


class TestUperNetResNet(ModelTester):
    name = "upernet-resnet50"
    model_config: ClassVar = {
        "backbone_config.embedding_size": 16,
        "backbone_config.hidden_sizes": [16, 32, 48, 64],
        "backbone_config.depths": [1, 1, 2, 1],
        "hidden_size": 32,
        "auxiliary_channels": 16,
    }
    gradient_checkpointing = False
    needs_two_images = True


@pytest.mark.parametrize(
    ("name", "channels"),
    [("upernet-convnext-tiny", 384), ("upernet-swin-tiny", 384), ("upernet-resnet50", 1024)],
)
def test_auxiliary_head_of_upernet_reads_the_third_stage(name: str, channels: int) -> None:
    with torch.device("meta"):
        model, _ = load_model(name, LABELS, pretrained=False)
    assert model.auxiliary_head.in_channels == channels == model.backbone.channels[2]
