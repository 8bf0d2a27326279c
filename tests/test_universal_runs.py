"""EoMT and Mask2Former in runs: the scale they train at, resuming, and what they refuse."""

from pathlib import Path

import pytest
import torch
from conftest import make_folder
from model_tester import LABELS, assert_same_state
from tiny_universal import EOMT, TINY
from transformers import TrainerCallback, set_seed

from hfseg.config.resolve import parse
from hfseg.data.samples import EvaluationSamples
from hfseg.errors import UserError
from hfseg.models import load_model
from hfseg.training.trainer import SegmentationTrainer
from hfseg.workflows.assemble import load_data, make_loss, make_model, make_trainer
from hfseg.workflows.export import export


def trainer_of(name: str, data: Path, output: Path, *flags: str) -> SegmentationTrainer:
    arguments = parse(
        [
            "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
            "--model_name_or_path", name, "--from_scratch", "--crop_size", "64",
            "--model_config", *(f"{key}={value}" for key, value in TINY[name].items()),
            "--dataloader_num_workers", "0", "--mixed_precision", "no", "--disable_tqdm", "true",
            *flags,
        ]
    )  # fmt: skip
    rows, labels = load_data(arguments)
    loss = make_loss(arguments, rows["train"], labels)
    return make_trainer(arguments, *make_model(arguments, labels), rows, labels, loss)


@pytest.mark.parametrize("size", [(150, 200), (40, 50)])
def test_eomt_trains_on_images_scaled_as_in_evaluation(size, tmp_path: Path) -> None:
    """Else objects in photos larger than the squares would be larger in training."""
    data = make_folder(tmp_path / "data", count=5, size=size)
    trainer = trainer_of("eomt-vit-small", data, tmp_path / "run")
    samples = trainer.train_dataset
    samples.transform = lambda image, label, epoch, index: (image, label)
    trained = trainer.data_collator([samples[0, 0]])
    evaluated = trainer._evaluation_collator([EvaluationSamples(samples.data)[0]])
    assert min(trained["labels"].shape[1:]) == 64
    assert torch.equal(trained["pixel_values"], evaluated["pixel_values"])


class StopAt(TrainerCallback):
    """Ends the training after a step, as a killed run ends."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_training_stop = state.global_step >= self.step


@pytest.mark.parametrize(
    "name", ["eomt-vit-small", pytest.param("mask2former-swin-tiny", marks=pytest.mark.slow)]
)
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(name, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=5, size=(64, 64))
    flags = (
        "--max_steps", "4", "--per_device_train_batch_size", "2", "--learning_rate", "1e-3",
        "--eval_strategy", "no", "--load_best_model_at_end", "false", "--save_strategy", "steps",
        "--save_steps", "2",
    )  # fmt: skip
    set_seed(0)
    whole = trainer_of(name, data, tmp_path / "whole", *flags)
    whole.train()
    set_seed(0)
    interrupted = trainer_of(name, data, tmp_path / "run", *flags)
    interrupted.add_callback(StopAt(2))
    interrupted.train()
    set_seed(1)
    resumed = trainer_of(name, data, tmp_path / "run", *flags)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert (interrupted.state.global_step, resumed.state.global_step) == (2, 4)
    assert_same_state(resumed.model, whole.model)


def test_a_run_samples_other_points_at_every_step(tmp_path: Path) -> None:
    """Without augmentation, and with nothing learned between the steps."""
    data = make_folder(tmp_path / "data", count=2, size=(64, 64))
    flags = (
        "--train_val_test_split", "0.5,0.5", "--augmentation", "none", "--learning_rate", "0",
        "--lr_scheduler_type", "constant", "--warmup_steps", "0",
        "--max_steps", "2", "--logging_steps", "1", "--eval_strategy", "no",
        "--load_best_model_at_end", "false", "--save_strategy", "no",
    )  # fmt: skip
    trainer = trainer_of("mask2former-swin-tiny", data, tmp_path / "run", *flags)
    trainer.train()
    first, second = (log["loss"] for log in trainer.state.log_history if "loss" in log)
    assert first != second


def test_export_to_onnx_is_refused(tmp_path: Path) -> None:
    for part in load_model("eomt-vit-small", LABELS, pretrained=False, **EOMT):
        part.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="can't be exported to ONNX: its class scores"):
        export(str(tmp_path))
    assert not (tmp_path / "model.onnx").exists()
