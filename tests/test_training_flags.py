"""What the training flags turn into: optimisers, schedules, class weights, checks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_folder

from hfseg.config.resolve import parse
from hfseg.config.training import SegmentationTrainingArguments
from hfseg.data import load_dataset
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.training.checks import check_device, check_metric
from hfseg.training.class_weights import class_weights, count_classes
from hfseg.training.losses import SegmentationLoss
from hfseg.training.optimization import epoch_schedule

FLAGS = ["--dataset_name", "folder", "--dataset_path", "somewhere", "--mixed_precision", "no"]
LABELS = LabelSet(("ground", "wall", "roof"))


def training(*flags: str):
    return parse([*FLAGS, *flags]).training


# ---- optimisers and schedules ----


def torch_rates(schedule, optimizer, epochs: int, steps: int) -> list[float]:
    rates = []
    for _ in range(epochs):
        rates += [optimizer.param_groups[0]["lr"]] * steps
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("name", ["step", "exponential"])
def test_epoch_schedules_are_those_of_torch(name: str) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedules = torch.optim.lr_scheduler
    if name == "step":
        theirs = schedules.StepLR(optimizer, step_size=3, gamma=0.2)
        factor = epoch_schedule("step", steps_per_epoch=4, gamma=0.2, step_size=3)
    else:
        theirs = schedules.ExponentialLR(optimizer, gamma=0.98)
        factor = epoch_schedule("exponential", steps_per_epoch=4)
    expected = torch_rates(theirs, optimizer, epochs=8, steps=4)
    assert [0.5 * factor(step) for step in range(32)] == pytest.approx(expected)


def test_warmup_rises_to_the_schedule() -> None:
    factor = epoch_schedule("exponential", steps_per_epoch=100, warmup_steps=4)
    assert [factor(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_names_that_transformers_rejects_are_accepted() -> None:
    args = training("--optim", "adam", "--lr_scheduler_type", "step", "--lr_gamma", "0.3")
    assert (args.optim, args.lr_scheduler_type) == ("adam", "step")
    assert args.lr_scheduler_kwargs == {"gamma": 0.3}


@pytest.mark.parametrize(
    ("flags", "evaluations", "checkpoints"),
    [
        ("", "epoch", "epoch"),
        ("--eval_strategy steps", 10, 10),
        ("--eval_strategy steps --eval_steps 7", 7, 7),
        ("--eval_steps 7", 7, 7),
        ("--save_steps 7", 7, 7),
        ("--save_strategy steps --save_steps 7", 7, 7),
        ("--eval_steps 7 --save_steps 14", 7, 14),
        ("--config quickstart --save_steps 7", 7, 7),
        ("--save_steps 7 --load_best_model_at_end false", "epoch", 7),
        ("--save_steps 7 --eval_strategy no", "no", 7),
        ("--eval_strategy no", "no", "epoch"),
        ("--save_strategy no", "epoch", "no"),
        ("--save_strategy best", "epoch", "best"),
    ],
)
def test_checkpoints_are_evaluated_unless_asked_otherwise(flags, evaluations, checkpoints) -> None:
    args = training(*flags.split())
    found = [
        steps if strategy.value == "steps" else strategy.value
        for strategy, steps in (
            (args.eval_strategy, args.eval_steps), (args.save_strategy, args.save_steps),
        )
    ]  # fmt: skip
    assert found == [evaluations, checkpoints]


@pytest.mark.parametrize(
    ("flags", "crop"),
    [
        ([], (512, 512)),
        (["--image_size", "64"], None),  # instead of 64 x 64 pixels in a frame of ignored ones
        (["--image_size", "1024x256"], None),
        (["--image_size", "1024"], (512, 512)),
        (["--image_size", "64", "--crop_size", "96"], (96, 96)),
    ],
)
def test_a_crop_of_the_recipe_never_exceeds_the_size_asked_for(flags, crop) -> None:
    assert parse([*FLAGS, *flags]).data.crop_size == crop


def test_recipe_of_a_run_keeps_optimizer_and_schedule() -> None:
    flags = ("--optim", "adam", "--lr_scheduler_type", "step", "--lr_step_size", "5")
    recipe = parse([*FLAGS, *flags, "--loss", "ce+dice"]).recipe
    said = {key: recipe[key] for key in ("optim", "lr_scheduler_type", "lr_step_size", "loss")}
    assert said == {
        "optim": "adam", "lr_scheduler_type": "step", "lr_step_size": 5, "loss": "ce+dice",
    }  # fmt: skip


def test_power_of_the_polynomial_schedule_is_a_flag() -> None:
    args = training("--lr_scheduler_type", "polynomial", "--lr_power", "0.9")
    assert args.lr_scheduler_kwargs == {"power": 0.9}


def test_another_schedule_drops_the_schedule_options_of_the_recipe() -> None:
    flags = ["--config", "camseq-segformer-b0", "--lr_scheduler_type", "cosine"]
    assert not parse(flags).training.lr_scheduler_kwargs


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lr_gamma", "0.5", "--lr_scheduler_type", "cosine"), "needs --lr_scheduler_type"),
        (("--lr_scheduler_type", "stairs"), "choose from step, exponential, linear"),
        (("--lr_scheduler_type", "step", "--lr_gamma", "0"), "must be greater than 0"),
        (("--lr_scheduler_type", "polynomial", "--learning_rate", "1e-8"), "not above 1e-07"),
        (("--optim", "adamx"), "adamx"),
        (("--eval_strategy", "epoch", "--save_steps", "7"), "--eval_strategy steps --eval_steps 7"),
        (("--eval_steps", "5", "--save_steps", "7"), "must be a multiple of --eval_steps 5"),
    ],
)
def test_options_that_do_not_fit_are_reported_in_one_sentence(flags, message: str) -> None:
    with pytest.raises(UserError, match=message):
        training(*flags)


# ---- checks ----


def test_an_unknown_metric_is_reported_before_the_run() -> None:
    args = training("--metric_for_best_model", "mIoU")
    with pytest.raises(
        UserError, match="'mIoU' is not measured; choose from mean_iou, mean_accuracy"
    ):
        check_metric(args, LABELS, None)
    args = training("--metric_for_best_model", "eval_iou_wal")
    with pytest.raises(UserError, match="did you mean iou_wall"):
        check_metric(args, LABELS, None)


@pytest.mark.parametrize(
    "metric", ["eval_loss", "loss", "mean_iou", "iou_roof", "mean_dice", "eval_dice_roof"]
)
def test_every_measured_metric_can_choose_the_best_checkpoint(metric: str) -> None:
    args = training("--metric_for_best_model", metric)
    check_metric(args, LABELS, 3)
    assert args.greater_is_better == (not metric.endswith("loss"))


def test_early_stopping_without_evaluation_is_reported() -> None:
    with pytest.raises(UserError, match="needs --eval_strategy"):
        check_metric(training("--eval_strategy", "no"), LABELS, 3)


def test_an_unsupported_precision_on_a_cpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    args = training()
    check_device(args, sync_batch_norm=False)
    with pytest.raises(UserError, match="--sync_batch_norm needs GPUs"):
        check_device(args, sync_batch_norm=True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="FSDP needs GPUs"):
        check_device(args, sync_batch_norm=False)


# ---- class weights ----


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory):
    folder = make_folder(tmp_path_factory.mktemp("weights") / "data", count=8)
    data, labels = load_dataset("folder", str(folder))
    arrays = [np.asarray(row["label"]) for row in data["train"]]
    return data["train"], labels, arrays


def test_classes_are_counted_without_ignored_pixels(masks) -> None:
    data, labels, arrays = masks
    counts = count_classes(data, len(labels))
    assert counts.pixels.tolist() == [sum((a == c).sum() for a in arrays) for c in range(3)]
    assert counts.in_images.tolist() == [
        sum((a != 255).sum() for a in arrays if (a == c).any()) for c in range(3)
    ]


def test_second_count_comes_from_the_cache(masks, monkeypatch: pytest.MonkeyPatch) -> None:
    data, labels, _ = masks
    first = count_classes(data, len(labels))
    monkeypatch.setattr(np, "bincount", None)
    assert (count_classes(data, len(labels)).pixels == first.pixels).all()


def test_balanced_weights_are_those_of_scikit_learn(masks) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    data, labels, arrays = masks
    pixels = np.concatenate([array[array != 255] for array in arrays])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=pixels)
    assert class_weights("balanced", data, labels) == pytest.approx(expected)


def test_median_and_enet_weights_follow_their_formulas(masks) -> None:
    data, labels, arrays = masks
    pixels = [sum((a == c).sum() for a in arrays) for c in range(3)]
    frequency = [
        pixels[c] / sum((a != 255).sum() for a in arrays if (a == c).any()) for c in range(3)
    ]
    median = sorted(frequency)[1]
    assert class_weights("median", data, labels) == pytest.approx([median / f for f in frequency])
    enet = [1 / np.log(1.02 + count / sum(pixels)) for count in pixels]
    assert class_weights("enet", data, labels) == pytest.approx(enet)


def test_a_class_that_does_not_occur_has_a_finite_weight(masks) -> None:
    data, _, _ = masks
    labels = LabelSet(("ground", "wall", "roof", "river"))
    assert class_weights("balanced", data, labels)[3] == 0
    assert class_weights("median", data, labels)[3] == 0
    assert class_weights("enet", data, labels)[3] == pytest.approx(1 / np.log(1.02))


@pytest.mark.parametrize("content", [[3, 1, 2], {"wall": 1, "roof": 2, "ground": 3}])
def test_weights_are_read_from_a_file(tmp_path: Path, content) -> None:
    (tmp_path / "w.json").write_text(json.dumps(content))
    assert class_weights(str(tmp_path / "w.json"), None, LABELS) == (3, 1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "2 weights, but the dataset has 3 classes"),
        ("{ground: 1, wall: 1}", "the class 'roof' has no weight"),
        ("{ground: 1, wall: 1, roof: 1, sea: 1}", "'sea' is not a class of the dataset"),
        ("[1, 2, x]", "expected a list of numbers"),
        ("[1, 2, -1]", "not negative"),
    ],
)
def test_an_invalid_file_of_weights_is_reported(tmp_path: Path, content, message) -> None:
    (tmp_path / "w.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        class_weights(str(tmp_path / "w.yaml"), None, LABELS)
    with pytest.raises(UserError, match="no such scheme or file; choose from none, balanced"):
        class_weights("blanced", None, LABELS)


def test_a_warmup_leaves_a_step_for_the_decay() -> None:
    from hfseg.config.training import SegmentationTrainingArguments

    args = SegmentationTrainingArguments(output_dir="unused", warmup_steps=0.05)
    assert args.get_warmup_steps(1) == 0
    assert args.get_warmup_steps(100) == 5


# ---- evaluation ----


def test_dropping_the_last_training_batch_does_not_affect_evaluation(tmp_path: Path) -> None:
    from hfseg.models import load_model
    from hfseg.workflows.assemble import make_trainer

    folder = make_folder(tmp_path / "data", count=14)
    data, labels = load_dataset("folder", str(folder), train_val_test_split=(0.5, 0.5))
    flags = ["--output_dir", str(tmp_path / "run"), "--dataloader_drop_last", "true"]
    arguments = parse([*FLAGS, *flags, "--per_device_eval_batch_size", "4"])
    model, processor = load_model("segformer-tiny", labels, pretrained=False)
    trainer = make_trainer(arguments, model, processor, data, labels, SegmentationLoss())
    assert "eval_mean_iou" in trainer.evaluate()
    assert len(trainer.scores.per_image) == 7
    assert len(trainer.get_train_dataloader()) == 0  # 7 images are no whole batch of 8


def test_one_process_uses_one_gpu_of_several(tmp_path: Path) -> None:
    args = SegmentationTrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=4)
    args._n_gpu = 2  # what transformers finds on a machine with two
    assert args.n_gpu == 1 and args.train_batch_size == 4
