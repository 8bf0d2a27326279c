"""The flags of `scripts/finetune.py`: three small groups of ours, and those of `TrainingArguments`.

Nothing heavy is imported here, so that `--help` answers at once; `parse.py` does the parsing.
"""

from dataclasses import dataclass, field
from typing import Any


def _flag(default: object, help: str) -> object:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass
class DataArguments:
    """Which data, and what is done to it."""

    dataset_name: str | None = _flag(
        None,
        "toyscapes (drawn by the package), voc, cityscapes, pets, camseq, camvid, ade20k, coco or "
        "folder (your own data), or the id of any data set on the Hub",
    )
    dataset_path: str | None = _flag(
        None, "the folder with the data, in the data set's own layout, or another Hub id for it"
    )
    dataset_config: str | None = _flag(None, "configuration of a Hub data set that has several")
    image_column: str | None = _flag(None, "the column of a Hub data set that is the image")
    label_column: str | None = _flag(None, "the column of a Hub data set that is the mask")
    label_mode: str | None = _flag(
        None, "which classes: pets trimap or binary; camseq and camvid 32 or 11"
    )
    id2label: str | None = _flag(
        None, "a file with class names: labels.json, id2label.json or one name a line"
    )
    train_val_test_split: str = _flag(
        "0.8,0.1,0.1", "shares of train, validation and test for data without splits"
    )
    split_seed: int = _flag(42, "seed of that split")
    split_by: str | None = _flag(
        None, "time (video frames) or group (near-duplicates), instead of at random"
    )
    streaming: bool = _flag(
        False, "read the training split of a Hub data set as it comes, without downloading it"
    )
    on_bad_sample: str = _flag(
        "stop", "stop, or skip: train on the rest and list what was left out"
    )
    cache_resized: bool = _flag(
        False, "store the training samples at --image_size once, as pixels (the disk need is told)"
    )
    max_train_samples: int | None = _flag(None, "use only the first N training samples")
    max_eval_samples: int | None = _flag(None, "use only the first N samples of each other split")
    image_size: str | None = _flag(
        None, "resize in training and evaluation: HxW, or one number for a square"
    )
    crop_size: str | None = _flag(None, "training only: random crop of HxW after the random scale")
    augmentation: str = _flag(
        "standard",
        "none, light (flip), standard (scale 0.5-2, crop, flip, brightness and colour), strong, "
        "roboflow, or a YAML file of an albumentations pipeline",
    )
    normalize: str = _flag("auto", "auto: mean and std of the encoder; none: pixels / 255 only")
    eval_at_image_size: bool = _flag(
        False, "score at the resized label instead of the label's own size (reports say so)"
    )

    def dataset_options(self) -> dict[str, Any]:
        """What `hfseg.load_dataset` takes of these, by keyword."""
        names = (
            "label_mode", "train_val_test_split", "split_seed", "split_by", "id2label",
            "image_column", "label_column", "dataset_config", "streaming", "on_bad_sample",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass
class ModelArguments:
    """Which model, and where its weights come from."""

    model_name_or_path: str | None = _flag(
        None,
        "segformer-b0..b5, upernet-convnext-tiny, deeplabv3plus-resnet50, unet-resnet34, ... "
        "(`python -m hfseg.models` lists them), a Hub id or a local folder",
    )
    from_scratch: bool = _flag(False, "start from random weights")
    encoder_weights: str | None = _flag(
        None,
        "where a named model's encoder comes from: a Hub id, a folder, a .safetensors or .pth "
        "state dict, or a name of weights the encoder offers",
    )
    model_config: list[str] = _flag(
        [], "options of the architecture's config, such as output_stride=16"
    )
    trust_remote_code: bool = _flag(False, "run code that comes with a Hub checkpoint")
    freeze_encoder: bool = _flag(False, "train the head only")
    freeze_batch_norm: bool = _flag(
        False, "keep statistics, scales and shifts of batch norm (for batches of 1 to 4)"
    )


@dataclass
class RunArguments:
    """What we add to `TrainingArguments`."""

    loss: str = _flag(
        "ce", "ce, dice, focal, jaccard, lovasz, ohem, tversky, or a sum such as ce+0.5*dice"
    )
    class_weights: str = _flag(
        "none", "none, balanced, median, enet (from the training masks), or a file of weights"
    )
    lr_gamma: float | None = _flag(
        None,
        "factor of the schedules step [0.1] and exponential (every epoch) [0.98]",
    )
    lr_step_size: int | None = _flag(None, "epochs between two steps of the schedule step [10]")
    lr_power: float | None = _flag(None, "power of the schedule polynomial [1]")
    backbone_lr_multiplier: float = _flag(1.0, "factor on the learning rate of the encoder")
    head_lr_multiplier: float = _flag(1.0, "factor on the learning rate of the head")
    layer_decay: float = _flag(
        1.0,
        "factor on the learning rate from each layer of a transformer encoder to the one before",
    )
    backbone_warmup_steps: int = _flag(
        0, "the encoder starts after the warm-up of the head, with a warm-up of N steps"
    )
    early_stopping_patience: int | None = _flag(
        None, "stop after N evaluations without a better metric_for_best_model"
    )
    sync_batch_norm: bool = _flag(
        False, "normalise batches over all GPUs (for CNNs with few images a GPU)"
    )
    mixed_precision: str = _flag("auto", "auto (bf16 where the hardware has it), no, bf16 or fp16")
    overwrite_output_dir: bool = _flag(False, "replace the finished run in --output_dir")


GROUPS = {"data": DataArguments, "model": ModelArguments, "run": RunArguments}

# `TrainingArguments` as segmentation wants them; recipes and flags override.
TRAINING_DEFAULTS: dict[str, object] = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "load_best_model_at_end": True,
    "metric_for_best_model": "mean_iou",
    "save_total_limit": 2,
    "logging_steps": 10,
    "report_to": "none",
    "hub_strategy": "end",
    "seed": 42,
}

# What the trainer depends on; not a choice.
TRAINING_FIXED: dict[str, object] = {
    "remove_unused_columns": False,
    "batch_eval_metrics": True,
    "label_names": ["labels"],
}
