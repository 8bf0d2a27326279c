"""Two steps of the real script with each architecture of the mission: saved, loaded, predicted."""

import json
from pathlib import Path

import pytest
import torch
from conftest import make_folder
from launch import run_finetune
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

import hfseg.models  # noqa: F401 (registers the architectures)

MODELS = (
    "segformer-b0", "deeplabv3-resnet50", "deeplabv3plus-resnet50", "fcn-resnet50",
    "unet-resnet34", "pspnet-resnet50", "upernet-convnext-tiny", "upernet-swin-tiny",
)  # fmt: skip


def two_steps(name: str, data: Path, output: Path, *flags: str, processes: int = 1) -> None:
    run_finetune(
        "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
        "--model_name_or_path", name, "--from_scratch", "--crop_size", "64", "--max_steps", "2",
        "--per_device_train_batch_size", "2", "--per_device_eval_batch_size", "2",
        "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps",
        "--save_steps", "2", "--learning_rate", "1e-3", "--mixed_precision", "no", *flags,
        processes=processes,
    )  # fmt: skip


def check_run(output: Path) -> None:
    """The saved model loads, equals the checkpoint, and predicts."""
    last = load_file(output / "checkpoint-2" / "model.safetensors")
    final = load_file(output / "model.safetensors")
    assert last.keys() == final.keys()
    assert all(torch.equal(last[key], final[key]) for key in last)
    model = AutoModelForSemanticSegmentation.from_pretrained(output)
    processor = AutoImageProcessor.from_pretrained(output)
    image = Image.new("RGB", (70, 50), "red")
    with torch.no_grad():
        outputs = model(**processor(image, return_tensors="pt"))
    (mask,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(50, 70)])
    assert mask.shape == (50, 70) and int(mask.max()) < 3
    scores = json.loads((output / "eval_results.json").read_text())
    assert 0 <= scores["eval_mean_iou"] <= 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "data", count=8, size=(64, 80))


@pytest.mark.slow
def test_two_steps_of_an_architecture_that_is_not_in_transformers(data, tmp_path: Path) -> None:
    two_steps("fcn-resnet18", data, tmp_path / "run")
    check_run(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_two_steps_of_each_model(name: str, data: Path, tmp_path: Path) -> None:
    two_steps(name, data, tmp_path / "run")
    check_run(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upernet-swin-tiny", "fcn-resnet18", "pspnet-resnet18"])
def test_two_processes_train_heads_that_training_alone_uses(
    name: str, data: Path, tmp_path: Path
) -> None:
    two_steps(name, data, tmp_path / "run", processes=2)
    check_run(tmp_path / "run")


@pytest.mark.slow
def test_flags_freeze_and_recompute(data: Path, tmp_path: Path) -> None:
    flags = ["--freeze_encoder", "--freeze_batch_norm", "--gradient_checkpointing"]
    two_steps("deeplabv3plus-resnet18", data, tmp_path / "run", *flags)
    check_run(tmp_path / "run")
