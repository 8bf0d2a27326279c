"""Fine-tuning starts from the pixels that the pretrained weights were trained with."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_segformer import photo, save_tiny
from transformers import (
    MobileViTConfig,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
    SegformerImageProcessor,
)

from hfseg.inference import Segmenter
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.models.loading import backbone_name

LABELS = LabelSet(("sky", "road", "tree", "car", "pole"))


def agreement_before_training(folder: Path) -> float:
    """Of the checkpoint itself with the model that fine-tuning would start from."""
    before = Segmenter.from_pretrained(folder, device="cpu")
    after = Segmenter(*load_model(str(folder), LABELS))
    assert type(after.image_processor) is SegformerImageProcessor
    image = photo(64, 96)
    mask = before(image).mask
    assert len(np.unique(mask)) > 1
    return float((after(image).mask == mask).mean())


@pytest.mark.parametrize(
    "options",
    [
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"do_rescale": False, "image_mean": [100.0, 110.0, 120.0], "image_std": [50.0] * 3},
        {"image_mean": [0.5] * 3, "image_std": [0.25] * 3},
    ],
    ids=lambda options: ", ".join(options),
)
def test_a_checkpoint_starts_with_the_pixels_of_its_own_processor(tmp_path, options) -> None:
    assert agreement_before_training(save_tiny(tmp_path, **options)) == 1


def test_a_checkpoint_trained_on_bgr_reads_rgb_with_the_same_features(tmp_path) -> None:
    torch.manual_seed(0)
    config = MobileViTConfig(
        image_size=64, hidden_sizes=[8, 8, 8], neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16],
        num_labels=len(LABELS), aspp_out_channels=16, id2label=LABELS.id2label,
        label2id=LABELS.label2id,
    )  # fmt: skip
    model = MobileViTForSemanticSegmentation(config)
    with torch.no_grad():
        for parameter in model.segmentation_head.parameters():
            parameter.normal_()
    processor = MobileViTImageProcessor(do_resize=False, do_center_crop=False)
    with torch.no_grad():  # no class ahead of the others, so that the pixels decide
        logits = model.eval()(**processor(photo(64, 96), return_tensors="pt")).logits
        model.segmentation_head.classifier.convolution.bias -= logits.mean((0, 2, 3))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert agreement_before_training(tmp_path) > 0.999


def encoder_file(name: str, folder: Path, config: dict | None = None) -> Path:
    """Weights of a model's encoder as a folder of their own."""
    model, _ = load_model(name, LABELS, pretrained=False)
    folder.mkdir()
    save_file(getattr(model, backbone_name(model)).state_dict(), folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("name", "config", "mean"),
    [
        ("unet-inceptionv4", None, 0.5),
        ("unet-dpn68", None, 124 / 255),
        ("unet-resnet18", None, 0.485),
        ("unet-resnet18", {"mean": [0.5] * 3, "std": [0.5] * 3}, 0.5),
        ("unet-resnet18", {"pretrained_cfg": {"mean": [0.4] * 3, "std": [0.2] * 3}}, 0.4),
    ],
)
def test_weights_in_a_folder_are_fed_what_they_were_trained_with(
    tmp_path, name, config, mean
) -> None:
    weights = encoder_file(name, tmp_path / "weights", config)
    _, processor = load_model(name, LABELS, encoder_weights=str(weights))
    assert processor.image_mean[0] == pytest.approx(mean)


def test_a_backbone_in_a_folder_brings_its_own_processor(tmp_path) -> None:
    folder = save_tiny(tmp_path / "backbone", image_mean=[0.3] * 3, image_std=[0.6] * 3)
    sizes = json.loads((folder / "config.json").read_text())
    _, processor = load_model("segformer-tiny", LABELS, encoder_weights=str(folder))
    assert sizes["hidden_sizes"] == [8, 8, 8, 8]
    assert list(processor.image_mean) == [0.3] * 3
    assert list(processor.image_std) == [0.6] * 3
