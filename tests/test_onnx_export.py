"""ONNX files answer as torch does, and refuse the sizes they would be wrong at."""

import contextlib
import subprocess
import sys
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
from hfseg.inference.onnx_export import MIN_AGREEMENT, export_onnx, parity, usage
from hfseg.labels import LabelSet

_SIZE = {"do_resize": True, "size": {"height": 128, "width": 96}}
IMAGES = [Image.fromarray(photo(80, 120, seed)) for seed in range(2)]


def run(path: Path, *shape: int) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixel_values": np.zeros((*shape[:1], 3, *shape[1:]), np.float32)})[0]


def test_a_segformer_is_exported_with_dynamic_batch_and_size(tmp_path):
    model, processor = load_trained(str(save_tiny(tmp_path / "m")))
    exported = export_onnx(model, processor, IMAGES, tmp_path / "model.onnx", (64, 96))
    assert exported.dynamic and len({each.size for each in exported.parities}) == 3
    assert all(each.agreement >= MIN_AGREEMENT for each in exported.parities)
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
    assert min(each.agreement for each in exported.parities) >= MIN_AGREEMENT


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None  # importing them fails
"""


@pytest.mark.parametrize(
    ("processor", "fixed_size"),
    [
        pytest.param({}, False, id="own size", marks=pytest.mark.slow),
        pytest.param(_SIZE, False, id="image size"),
        pytest.param({**_SIZE, "do_normalize": False}, True, id="fixed size"),
    ],
)
def test_the_lines_for_the_card_give_the_mask_of_segmenter(tmp_path, processor, fixed_size):
    """They are run where neither torch nor transformers can be imported."""
    folder = save_tiny(tmp_path / "m", **processor)
    model, image_processor = load_trained(str(folder))
    exported = export_onnx(
        model, image_processor, IMAGES, folder / "model.onnx", (128, 96), fixed_size
    )
    assert exported.dynamic != fixed_size
    Image.fromarray(photo(335, 500)).save(tmp_path / "photo.jpg")
    lines = usage("m", image_processor, (128, 96), exported.dynamic)
    code = lines.removeprefix("```python\n").removesuffix("```\n")
    subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_TORCH}{code}\nnp.save('mask.npy', mask)"],
        cwd=tmp_path,
        check=True,
    )
    theirs = np.load(tmp_path / "mask.npy")
    ours = hfseg.Segmenter(model, image_processor)(tmp_path / "photo.jpg").mask
    assert theirs.shape == ours.shape == (335, 500) and len(np.unique(ours)) > 1
    # without AVX2 torch resizes bytes by other kernels, which round some values unlike Pillow
    assert (theirs == ours).mean() >= (0.99 if processor else MIN_AGREEMENT)


@pytest.mark.slow
def test_a_processor_with_steps_of_its_own_is_used_by_the_lines_for_the_card(tmp_path):
    from transformers import MobileViTImageProcessor

    model, _ = load_trained(str(save_tiny(tmp_path / "m")))
    processor = MobileViTImageProcessor(do_resize=False, do_center_crop=False)
    processor.save_pretrained(tmp_path / "m")
    export_onnx(model, processor, IMAGES, tmp_path / "m" / "model.onnx", (64, 64))
    Image.fromarray(photo(96, 64)).save(tmp_path / "photo.jpg")
    lines = usage("m", processor, (64, 64), dynamic=True)
    code = lines.removeprefix("```python\n").removesuffix("```\n")
    found: dict = {}
    with contextlib.chdir(tmp_path):
        exec(code, found)
    ours = hfseg.Segmenter(model, processor)(tmp_path / "photo.jpg").mask
    assert (found["mask"] == ours).mean() >= MIN_AGREEMENT


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
