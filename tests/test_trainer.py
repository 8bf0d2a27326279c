"""`SegmentationTrainer` in this process: what it restores, what it holds fixed, what it accepts."""

from pathlib import Path

import pytest
import torch
from conftest import make_folder
from transformers import TrainerCallback

from hfseg.assemble import load_data, make_loss, make_model, make_trainer
from hfseg.training.parse import parse
from hfseg.training.trainer import SegmentationTrainer

STEPS_PER_EPOCH = 5  # 10 training images in batches of 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("trainer") / "data", count=13, size=(32, 32))


def trainer_of(data: Path, output: Path, *flags: str) -> SegmentationTrainer:
    arguments = parse(
        [
            "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
            "--model_name_or_path", "segformer-tiny", "--from_scratch", "--augmentation", "none",
            "--crop_size", "32", "--lr_scheduler_type", "constant", "--head_lr_multiplier", "1",
            "--per_device_train_batch_size", "2", "--dataloader_num_workers", "0",
            "--mixed_precision", "no", "--disable_tqdm", "true", *flags,
        ]
    )  # fmt: skip
    rows, labels = load_data(arguments)
    loss = make_loss(arguments, rows["train"], labels)
    return make_trainer(arguments, *make_model(arguments, labels), rows, labels, loss)


class StopAt(TrainerCallback):
    """Ends the training after an epoch, as a killed run ends."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, args, state, control, **kwargs) -> None:
        control.should_training_stop = state.epoch >= self.epoch


# ---- resuming ----

# weights that never change never improve the score: the best one is that of epoch 1
PATIENT = (
    "--learning_rate", "0", "--freeze_batch_norm", "--num_train_epochs", "8",
    "--early_stopping_patience", "3",
)  # fmt: skip


def test_a_resumed_run_stops_early_where_the_uninterrupted_one_does(data, tmp_path) -> None:
    whole = trainer_of(data, tmp_path / "whole", *PATIENT)
    whole.train()
    interrupted = trainer_of(data, tmp_path / "run", *PATIENT)
    interrupted.add_callback(StopAt(3))
    interrupted.train()
    resumed = trainer_of(data, tmp_path / "run", *PATIENT)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-15"))
    assert (whole.state.epoch, interrupted.state.epoch, resumed.state.epoch) == (4, 3, 4)


def test_a_run_that_stopped_early_trains_no_further_when_resumed(data, tmp_path) -> None:
    trainer_of(data, tmp_path, *PATIENT).train()
    resumed = trainer_of(data, tmp_path, *PATIENT)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-20"))
    assert resumed.state.global_step == 20


@pytest.mark.parametrize("length", [("--max_steps", "7"), ("--num_train_epochs", "2")])
def test_a_finished_run_trains_no_further_when_resumed(data, tmp_path, length) -> None:
    flags = (*length, "--save_strategy", "steps", "--eval_strategy", "steps", "--eval_steps", "5")
    flags += ("--save_steps", "5")
    trainer_of(data, tmp_path, *flags).train()
    (last,) = tmp_path.glob(f"checkpoint-{7 if '--max_steps' in length else 10}")
    resumed = trainer_of(data, tmp_path, *flags)
    before = resumed.train(resume_from_checkpoint=str(last)).global_step
    assert before == int(last.name.split("-")[1])


# ---- the optimizer ----


@pytest.mark.parametrize("optim", ["adam", "adamw_torch", "sgd"])
def test_a_polynomial_schedule_ends_at_its_end_rate_with_every_optimizer(
    data, tmp_path, optim
) -> None:
    flags = ("--lr_scheduler_type", "polynomial", "--learning_rate", "0.1", "--optim", optim)
    trainer = trainer_of(data, tmp_path, *flags)
    trainer.create_optimizer()
    schedule = trainer.create_scheduler(num_training_steps=10)
    for _ in range(10):
        trainer.optimizer.step()
        schedule.step()
    assert schedule.get_last_lr()[0] == pytest.approx(1e-7, rel=1e-6)


# ---- batch norm ----


def test_frozen_batch_norms_stay_frozen_when_they_are_synchronized(data) -> None:
    arguments = parse(
        [
            "--dataset_name", "folder", "--dataset_path", str(data), "--from_scratch",
            "--model_name_or_path", "unet-resnet18", "--freeze_batch_norm", "--sync_batch_norm",
            "--crop_size", "64", "--mixed_precision", "no",
        ]
    )  # fmt: skip
    rows, labels = load_data(arguments)
    model, processor = make_model(arguments, labels)
    loss = make_loss(arguments, rows["train"], labels)
    model = make_trainer(arguments, model, processor, rows, labels, loss).model
    norms = [m for m in model.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    before = [norm.running_mean.clone() for norm in norms]
    model.train()(pixel_values=torch.randn(2, 3, 64, 64))
    assert len(norms) > 20
    assert all(torch.equal(n.running_mean, mean) for n, mean in zip(norms, before, strict=True))
