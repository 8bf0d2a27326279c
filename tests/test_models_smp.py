"""segmentation_models_pytorch and FCN: all that `ModelTester` asks, and parity with the library."""

from typing import ClassVar

import pytest
import segmentation_models_pytorch as smp
import torch
from model_tester import ModelTester
from tolerance import assert_same_logits

from hfseg.models import SmpConfig, SmpForSemanticSegmentation


class SmpTester(ModelTester):
    @torch.no_grad()
    def test_logits_have_the_size_of_the_image(self, model) -> None:
        for size in ((64, 64), (65, 97)):
            assert model(pixel_values=torch.randn(1, 3, *size)).logits.shape[2:] == size


class TestUnet(SmpTester):
    name = "unet-resnet18"


@pytest.mark.slow
class TestDeepLabV3(SmpTester):
    name = "deeplabv3-resnet18"
    needs_two_images = True


class TestDeepLabV3Plus(SmpTester):
    name = "deeplabv3plus-resnet18"
    needs_two_images = True


class TestPspNet(SmpTester):
    name = "pspnet-resnet18"


class TestFcn(SmpTester):
    name = "fcn-resnet18"


@pytest.mark.slow
class TestUnetPlusPlus(SmpTester):
    name = "unetplusplus-resnet18"


@pytest.mark.slow
class TestFpn(SmpTester):
    name = "fpn-resnet18"


@pytest.mark.slow
class TestLinknet(SmpTester):
    name = "linknet-resnet18"


@pytest.mark.slow
class TestManet(SmpTester):
    name = "manet-resnet18"


@pytest.mark.slow
class TestPan(SmpTester):
    name = "pan-resnet18"
    needs_two_images = True


@pytest.mark.slow
class TestSmpUperNet(SmpTester):
    name = "upernet-efficientnet-b0"
    unused: ClassVar = {"encoder._conv_head.weight", "encoder._bn1.weight", "encoder._bn1.bias"}
    needs_two_images = True


@pytest.mark.slow
class TestSmpSegformer(SmpTester):
    name = "segformer-mit_b0"


@pytest.mark.slow
class TestDpt(SmpTester):
    name = "dpt-tu-vit_tiny_patch16_224"
    model_config: ClassVar = {
        "decoder_options": {
            "decoder_intermediate_channels": [16, 16, 32, 32],
            "decoder_fusion_channels": 16,
        }
    }
    unused: ClassVar = {
        f"encoder.model.{part}.{kind}" for part in ("norm", "head") for kind in ("weight", "bias")
    }


class TestLinear(SmpTester):
    name = "linear-tu-test_vit"
    unused: ClassVar = {
        f"encoder.model.{part}.{kind}" for part in ("norm", "head") for kind in ("weight", "bias")
    }


@pytest.mark.slow
class TestUnetOnTimm(SmpTester):
    name = "unet-tu-convnext_atto"


@pytest.mark.slow
class TestFpnOnTimm(SmpTester):
    """A timm encoder with buffers that are not saved."""

    name = "fpn-tu-resnetblur18"

    def test_buffers_that_are_not_saved_are_restored(self, model, folder) -> None:
        loaded = SmpForSemanticSegmentation.from_pretrained(folder)
        filters = [name for name, _ in model.named_buffers() if name.endswith(".filt")]
        assert filters and not set(filters) & set(model.state_dict())
        for name in filters:
            assert torch.equal(loaded.get_buffer(name), model.get_buffer(name))


SMP_ARCHITECTURES = {
    "unet": {}, "unetplusplus": {}, "fpn": {}, "linknet": {}, "manet": {}, "pan": {},
    "upernet": {}, "segformer": {}, "deeplabv3": {}, "deeplabv3plus": {},
    "pspnet": {"encoder_depth": 5, "output_stride": 8, "upsampling": 8},
}  # fmt: skip


@pytest.mark.parametrize("architecture", SMP_ARCHITECTURES)
@torch.no_grad()
def test_logits_are_those_of_segmentation_models_pytorch(architecture: str) -> None:
    torch.manual_seed(0)
    theirs = smp.create_model(
        architecture, "resnet18", encoder_weights=None, classes=3, **SMP_ARCHITECTURES[architecture]
    ).eval()
    ours = SmpForSemanticSegmentation(SmpConfig(architecture, "resnet18", num_labels=3)).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randn(1, 3, 128, 128)
    assert_same_logits(ours(image).logits, theirs(image))


@torch.no_grad()
def test_padding_reaches_to_the_bottom_and_right_and_is_cropped_off() -> None:
    model = SmpForSemanticSegmentation(SmpConfig("fpn", "resnet18", num_labels=3)).eval()
    image = torch.randn(1, 3, 40, 50)
    padded = torch.zeros(1, 3, 64, 64)
    padded[..., :40, :50] = image
    assert_same_logits(model(image).logits, model(padded).logits[..., :40, :50])


def test_labels_of_ignored_pixels_only_give_a_loss_of_zero() -> None:
    model = SmpForSemanticSegmentation(SmpConfig("unet", "resnet18", num_labels=3))
    loss = model(torch.randn(2, 3, 32, 32), labels=torch.full((2, 32, 32), 255)).loss
    assert loss.item() == 0
