"""What a card states about the model: its name in words, its initial weights, their license."""

from pathlib import Path

import pytest

from hfseg.cards.licenses import license_of_data, license_of_weights
from hfseg.models.origin import architecture_in_words, weights_repository


@pytest.mark.parametrize(
    ("name", "encoder_weights", "repository"),
    [
        ("segformer-b0", None, "nvidia/mit-b0"),
        ("segformer-b0", "me/own-mit", "me/own-mit"),
        ("segformer-tiny", None, None),
        ("unet-resnet34", None, "smp-hub/resnet34.imagenet"),
        ("unet-efficientnet-b0", "advprop", "smp-hub/efficientnet-b0.advprop"),
        ("fcn-resnet50", "me/resnet50", "me/resnet50"),
        ("them/segformer", None, "them/segformer"),
        ("weights", None, None),
        ("unet-resnet34", "weights/resnet34.pth", None),
    ],
)
def test_only_weights_of_the_hub_are_a_base_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    encoder_weights: str | None,
    repository: str | None,
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet34.pth").touch()
    monkeypatch.chdir(tmp_path)
    assert weights_repository(name, encoder_weights) == repository


def test_architectures_are_named_as_people_do() -> None:
    from transformers import ConvNextConfig, MobileNetV2Config, SegformerConfig, UperNetConfig

    from hfseg.models import SmpConfig

    configs = [
        SegformerConfig(),
        UperNetConfig(backbone_config=ConvNextConfig()),
        MobileNetV2Config(),
        SmpConfig(architecture="unetplusplus", encoder_name="resnet34"),
    ]
    assert [architecture_in_words(config) for config in configs] == [
        "SegFormer",
        "UperNet with a ConvNeXt backbone",
        "DeepLabV3+ with a MobileNetV2 encoder",
        "U-Net++ with a resnet34 encoder",
    ]


def test_every_architecture_of_ours_has_a_name() -> None:
    from hfseg.models import SmpConfig
    from hfseg.models.configuration_smp import ARCHITECTURES

    for architecture in ARCHITECTURES:
        config = SmpConfig(architecture=architecture, encoder_name="resnet18")
        assert architecture_in_words(config).endswith(" with a resnet18 encoder")


def test_nvidia_weights_are_not_for_sale() -> None:
    for repo_id in ("nvidia/mit-b3", "nvidia/segformer-b0-finetuned-ade-512-512"):
        license = license_of_weights(repo_id)
        assert license is not None and "non-commercial" in str(license.terms)
    mit_of_others = license_of_weights("facebook/convnext-tiny-224")
    assert mit_of_others is not None and mit_of_others.name == "apache-2.0"


def test_an_unknown_license_is_none_offline() -> None:
    assert license_of_weights("me/none") is None  # the tests are offline
    assert license_of_data("me/none", "me/none") is None
    assert license_of_data("folder", None) is None
    toyscapes = license_of_data("toyscapes", None)
    assert toyscapes is not None and toyscapes.name == "apache-2.0"
