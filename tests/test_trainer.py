"""`SegmentationTrainer` in this process: what it restores, what it holds fixed, what it accepts."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_folder
from PIL import Image
from transformers import SchedulerType, TrainerCallback, TrainingArguments

from hfseg.config.resolve import parse
from hfseg.data.samples import EvaluationSamples
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.models.batch_norm import average_over_batches
from hfseg.training.checkpoints import last_complete_checkpoint
from hfseg.training.optimization import EPOCH_SCHEDULES
from hfseg.training.preemption import Preempted
from hfseg.training.trainer import SegmentationTrainer
from hfseg.workflows.assemble import load_data, make_loss, make_model, make_trainer

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


def test_a_last_batch_of_one_image_is_dropped_only_where_there_is_one(data, tmp_path) -> None:
    pooled = ("--model_name_or_path", "deeplabv3plus-resnet18", "--crop_size", "64")
    for batch, steps in ((3, 3), (2, 5)):  # of 10 images
        flags = (*pooled, "--per_device_train_batch_size", str(batch))
        trainer = trainer_of(data, tmp_path, *flags)
        assert len(trainer.get_train_dataloader()) == steps
        assert not trainer.args.dataloader_drop_last


class SignalInEvaluation(TrainerCallback):
    """SIGTERM in the middle of the second evaluation, as a scheduler may send it."""

    def __init__(self) -> None:
        self.evaluations = 0

    def on_prediction_step(self, args, state, control, **kwargs) -> None:
        if state.global_step == 10 and self.evaluations == 1:
            self.evaluations += 1
            os.kill(os.getpid(), signal.SIGTERM)

    def on_evaluate(self, args, state, control, **kwargs) -> None:
        self.evaluations += 1


def history(trainer: SegmentationTrainer) -> list[tuple[int, float]]:
    """Step and score of every evaluation."""
    logs = trainer.state.log_history
    return [(log["step"], log["eval_mean_iou"]) for log in logs if "eval_mean_iou" in log]


def test_sigterm_in_an_evaluation_lets_it_end_and_loses_nothing(data, tmp_path) -> None:
    flags = ("--num_train_epochs", "4", "--learning_rate", "1e-3", "--save_total_limit", "9")
    whole = trainer_of(data, tmp_path / "whole", *flags)
    whole.train()
    stopped = trainer_of(data, tmp_path / "run", *flags)
    stopped.add_callback(SignalInEvaluation())
    with pytest.raises(Preempted):
        stopped.train()
    stopped.callback_handler.on_train_end(stopped.args, stopped.state, stopped.control)
    assert [step for step, _ in history(stopped)] == [5, 10]
    last = last_complete_checkpoint(tmp_path / "run")
    assert last == tmp_path / "run" / f"checkpoint-{stopped.state.global_step}"
    resumed = trainer_of(data, tmp_path / "run", *flags)
    resumed.train(resume_from_checkpoint=str(last))
    assert history(resumed) == history(whole)
    theirs = whole.model.state_dict()
    ours = resumed.model.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


SCHEDULES = {
    "linear": {},
    "cosine": {},
    "cosine_with_restarts": {"num_cycles": 2},
    "polynomial": {"power": 0.9},
    "constant": {},
    "constant_with_warmup": {},
    "inverse_sqrt": {},
    "reduce_lr_on_plateau": {"patience": 0, "factor": 0.5},
    "cosine_with_min_lr": {"min_lr": 1e-4},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-4},
    "warmup_stable_decay": {"num_decay_steps": 5},
    "greedy": {},
    "step": {"gamma": 0.5, "step_size": 1},
    "exponential": {"gamma": 0.9},
}
FAST = ("linear", "polynomial", "step")


def test_every_schedule_is_tried() -> None:
    assert SCHEDULES.keys() == {*(kind.value for kind in SchedulerType), *EPOCH_SCHEDULES}


@pytest.mark.parametrize(
    "schedule",
    [pytest.param(s, marks=() if s in FAST else pytest.mark.slow) for s in SCHEDULES],
)
def test_learning_rates_go_on_where_they_were(data, tmp_path, schedule) -> None:
    """Resumed in the middle of the second of three epochs."""
    flags = (
        "--lr_scheduler_type", schedule, "--lr_scheduler_kwargs", json.dumps(SCHEDULES[schedule]),
        "--num_train_epochs", "3", "--warmup_steps", "3", "--learning_rate", "0.01",
        "--logging_steps", "1", "--save_strategy", "steps", "--save_steps", "7",
        "--save_total_limit", "9",
        "--eval_strategy", "steps", "--eval_steps", "7", "--backbone_lr_multiplier", "0.1",
        "--save_total_limit", "9",
    )  # fmt: skip
    whole = trainer_of(data, tmp_path, *flags)
    whole.train()
    resumed = trainer_of(data, tmp_path, *flags)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))

    def rates(trainer: SegmentationTrainer) -> list[tuple[int, float]]:
        logs = trainer.state.log_history
        return [(log["step"], log["learning_rate"]) for log in logs if "learning_rate" in log]

    assert rates(resumed) == rates(whole)
    assert [step for step, _ in rates(whole)] == list(range(1, 16))
    ends = [[group["lr"] for group in each.optimizer.param_groups] for each in (whole, resumed)]
    assert ends[0] == ends[1]


def test_a_run_on_cached_pixels_ends_with_the_same_weights(data, tmp_path) -> None:
    flags = ("--image_size", "40x36", "--augmentation", "standard", "--max_steps", "4")
    states = []
    cached = "--cache_resized"  # the first such run fills the cache, the second one reads it
    for name, more in (("plain", ()), ("first", (cached,)), ("second", (cached,))):
        trainer = trainer_of(data, tmp_path / name, *flags, *more)
        trainer.train()
        states.append(trainer.model.state_dict())
    for other in states[1:]:
        assert [k for k, v in states[0].items() if not torch.equal(v, other[k])] == []


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


# ---- used from Python ----


class OwnDataset(torch.utils.data.Dataset):
    """A dataset as people write it: 7 items in the form that is asked for."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        mask = rng.integers(0, 3, (32, 48), dtype=np.uint8)
        return {
            "columns": lambda: {"image": Image.fromarray(image), "label": Image.fromarray(mask)},
            "pair": lambda: (torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)),
            "ready": lambda: {
                "pixel_values": torch.from_numpy(image).permute(2, 0, 1) / 255,
                "labels": torch.from_numpy(mask).long(),
            },
            "wrong": lambda: {"photo": image, "annotation": mask},
            "float": lambda: (image / 255, mask),
        }[self.form]()


def own_trainer(form: str, output: Path) -> SegmentationTrainer:
    labels = LabelSet(("ground", "wall", "roof"))
    torch.manual_seed(0)
    model, processor = load_model("segformer-tiny", labels, pretrained=False)
    return SegmentationTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(output), per_device_train_batch_size=3, num_train_epochs=1,
            report_to="none", disable_tqdm=True, use_cpu=True, save_strategy="no",
        ),
        train_dataset=OwnDataset(form),
        eval_dataset=OwnDataset(form),
        image_processor=processor,
        scores=StreamingScores(labels),
    )  # fmt: skip


@pytest.mark.parametrize("form", ["columns", "pair", "ready"])
def test_plain_arguments_and_a_dataset_of_ones_own_train_and_evaluate(form, tmp_path) -> None:
    trainer = own_trainer(form, tmp_path)
    assert trainer.train().global_step == 3
    assert 0 <= trainer.evaluate()["eval_mean_iou"] <= 1
    assert sorted(trainer.scores.per_image) == list(range(7))


@pytest.mark.parametrize(
    ("form", "message"),
    [("wrong", "sample .: expected an image and a mask"), ("float", "the image is float64")],
)
def test_items_that_are_not_an_image_and_a_mask_are_named(form, message, tmp_path) -> None:
    with pytest.raises(UserError, match=message):
        own_trainer(form, tmp_path).train()


def test_the_arguments_given_are_not_changed(tmp_path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    before = args.to_dict()
    labels = LabelSet(("ground", "wall"))
    model, processor = load_model("segformer-tiny", labels, pretrained=False)
    scores = StreamingScores(labels)
    trainer = SegmentationTrainer(model=model, args=args, image_processor=processor, scores=scores)
    trainer.get_eval_dataloader(OwnDataset("pair"))
    assert args.to_dict() == before


def test_with_persistent_workers_every_split_is_read_by_a_loader_of_its_own(data, tmp_path) -> None:
    """`Trainer` keeps the first evaluation's loader, and would score its images again."""
    flags = ("--dataloader_num_workers", "1", "--dataloader_persistent_workers", "true")
    trainer = trainer_of(data, tmp_path, *flags)
    assert trainer.get_train_dataloader().persistent_workers
    lengths = [len(trainer.get_eval_dataloader(trainer.eval_dataset).dataset)]
    other = EvaluationSamples(trainer.train_dataset.data)
    lengths.append(len(trainer.get_eval_dataloader(other).dataset))
    assert lengths == [2, 10]


# ---- batch norm ----


def test_running_statistics_average_over_several_batches(data, tmp_path) -> None:
    trainer = trainer_of(data, tmp_path, "--model_name_or_path", "deeplabv3plus-mobilenet-v2")
    norms = [m for m in trainer.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}


def test_a_momentum_that_averages_is_kept(data, tmp_path) -> None:
    given = torch.nn.BatchNorm2d(3, momentum=0.01)
    assert average_over_batches(given) == 0
    assert given.momentum == 0.01
