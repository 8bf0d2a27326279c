"""ONNX files answer as torch does, and refuse the sizes they would be wrong at."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_segformer import photo, save_tiny

import hfseg
from hfseg.errors import UserError
from hfseg.inference.load_checkpoint import load_trained
from hfseg.inference.onnx_export import WANTED_AGREEMENT, export_onnx, parity
from hfseg.labels import LabelSet

IMAGES = [Image.fromarray(photo(80, 120, seed)) for seed in range(2)]


def run(path: Path, *shape: int) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixel_values": np.zeros((*shape[:1], 3, *shape[1:]), np.float32)})[0]


def test_a_segformer_is_exported_with_dynamic_batch_and_size(tmp_path):
    model, processor = load_trained(str(save_tiny(tmp_path / "m")))
    exported = export_onnx(model, processor, IMAGES, tmp_path / "model.onnx", (64, 96))
    assert exported.dynamic and len({each.size for each in exported.parities}) == 3
    assert all(each.agreement >= WANTED_AGREEMENT for each in exported.parities)
    assert run(tmp_path / "model.onnx", 3, 128, 64).shape[:2] == (3, 5)
    assert [each.name for each in tmp_path.iterdir() if each.suffix] == ["model.onnx"]


def test_a_fixed_size_refuses_other_sizes(tmp_path):
    model, processor = load_trained(str(save_tiny(tmp_path / "m")))
    exported = export_onnx(
        model, processor, IMAGES, tmp_path / "model.onnx", (64, 64), fixed_size=True
    )
    assert not exported.dynamic
    run(tmp_path / "model.onnx", 1, 64, 64)
    with pytest.raises(Exception, match="invalid dimensions"):
        run(tmp_path / "model.onnx", 1, 96, 64)


def test_parity_sees_another_models_file(tmp_path):
    model, processor = load_trained(str(save_tiny(tmp_path / "m")))
    export_onnx(model, processor, IMAGES, tmp_path / "model.onnx", (64, 64), fixed_size=True)
    with torch.no_grad():
        for parameter in model.decode_head.parameters():
            parameter.normal_()
    assert parity(model, processor, tmp_path / "model.onnx", IMAGES, (64, 64)).agreement < 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dynamic"),
    [
        ("segformer-b0", True),
        ("deeplabv3plus-resnet50", True),
        ("unet-resnet34", True),
        ("upernet-convnext-tiny", False),
        ("upernet-swin-tiny", False),
    ],
)
def test_named_models_agree_in_onnxruntime(tmp_path, name, dynamic):
    torch.manual_seed(0)
    labels = LabelSet(tuple(f"class {index}" for index in range(21)))
    model, processor = hfseg.load_model(name, labels, pretrained=False)
    exported = export_onnx(model, processor, IMAGES, tmp_path / "model.onnx", (256, 320))
    print(name, exported)
    assert exported.dynamic == dynamic
    assert min(each.agreement for each in exported.parities) >= WANTED_AGREEMENT


class ModelWithABranch(torch.nn.Module):
    """Its way through the code depends on the pixels, which no exporter can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="branching")
        self.layer = torch.nn.Conv2d(3, 2, 1)

    def forward(self, pixel_values):
        logits = self.layer(pixel_values)
        return SimpleNamespace(logits=-logits if logits.sum() > 0 else logits)


def test_what_cannot_be_exported_is_one_sentence_and_leaves_no_file(tmp_path):
    _, processor = hfseg.load_model("segformer-tiny", LabelSet(("a", "b")), pretrained=False)
    with pytest.raises(UserError, match=r"\(branching\) can't be exported to ONNX") as caught:
        export_onnx(ModelWithABranch(), processor, IMAGES, tmp_path / "model.onnx", (64, 96))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
