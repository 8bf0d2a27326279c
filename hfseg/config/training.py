"""Training options: `TrainingArguments` with defaults for segmentation, and our own options."""

import json
import os
from dataclasses import dataclass, field
from typing import Literal

from transformers import SchedulerType, TrainingArguments

from hfseg.config.values import OptionValues, at_least, check_values
from hfseg.data.workers import default_workers, usable_cores
from hfseg.errors import UNREADABLE, UserError
from hfseg.metrics.table import metric_of
from hfseg.training.losses import parse_terms
from hfseg.training.optimization import ADAM, EPOCH_SCHEDULES
from hfseg.training.precision import choose_precision, detect_hardware, launcher_precision
from hfseg.training.time_budget import parse_duration

POLYNOMIAL_END = 1e-7
"""The learning rate at the end of transformers' polynomial schedule."""
SCHEDULE_FLAGS = {
    "lr_gamma": ("gamma", EPOCH_SCHEDULES),
    "lr_step_size": ("step_size", ("step",)),
    "lr_power": ("power", ("polynomial",)),
}
"""Flag -> its key in `lr_scheduler_kwargs`, and the schedules that have it."""

_COMPILER_VARIABLES = ("ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_DYNAMO_MODE")
"""`TrainingArguments` sets them for `--torch_compile`; `Trainer` has no need of them."""


@dataclass
class SegmentationTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the options of hfseg, and defaults for segmentation.

    `optim` may also be `adam`, and `lr_scheduler_type` `step` or `exponential`. Device and
    precision are chosen on construction, in `use_cpu`, `bf16` and `fp16`.

    Raises:
        UserError: an invalid value; the message names the flag.
    """

    _argument_group_name = "training"

    global_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "images per optimizer step on all devices together; sets the accumulation"
        },
    )
    loss: str = field(
        default="ce",
        metadata={
            "help": "ce, dice, focal, jaccard, lovasz, ohem, tversky, or a sum such as ce+0.5*dice"
        },
    )
    class_weights: str = field(
        default="none",
        metadata={
            "help": "none, balanced, median, enet (from the training masks), or a file of weights"
        },
    )
    backbone_lr_multiplier: float = field(
        default=1.0, metadata={"help": "factor on the learning rate of the encoder"}
    )
    head_lr_multiplier: float = field(
        default=1.0, metadata={"help": "factor on the learning rate of the head"}
    )
    layer_decay: float = field(
        default=1.0,
        metadata={"help": "learning rate of each transformer layer relative to the next one"},
    )
    backbone_warmup_steps: int = field(
        default=0,
        metadata={"help": "start the encoder after the head's warm-up, with N steps of its own"},
    )
    lr_gamma: float | None = field(
        default=None,
        metadata={"help": "factor of the step (0.1) and exponential (0.98, per epoch) schedules"},
    )
    lr_step_size: int | None = field(
        default=None, metadata={"help": "epochs between steps of the step schedule (10)"}
    )
    lr_power: float | None = field(
        default=None, metadata={"help": "power of the polynomial schedule (1)"}
    )
    time_budget: str | None = field(
        default=None,
        metadata={
            "help": "train for as many steps as fit into this time, such as 1h30m; sets the steps, "
            "the schedule and the evaluation interval"
        },
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "stop after N evaluations without a better metric_for_best_model"},
    )
    calibrate: bool = field(
        default=False,
        metadata={"help": "fit a temperature on the validation split, for calibrated confidences"},
    )
    sync_batch_norm: bool = field(
        default=False,
        metadata={"help": "normalize batches over all GPUs (for CNNs with few images per GPU)"},
    )
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = field(
        default="auto", metadata={"help": "auto: bf16 where the hardware supports it"}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "replace the finished run in --output_dir"}
    )

    # ---- defaults that differ from transformers' ----

    lr_scheduler_type: str = field(
        default="linear",
        metadata={"help": "linear, cosine, polynomial, constant, step, exponential, ..."},
    )
    optim: str = field(
        default="adamw_torch", metadata={"help": "adamw_torch, adam, sgd, adafactor, ..."}
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "epoch, steps or no"})
    save_strategy: str = field(default="epoch", metadata={"help": "epoch, steps or no"})
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "keep the checkpoint with the best metric_for_best_model"}
    )
    metric_for_best_model: str | None = field(
        default="mean_iou", metadata={"help": "mean_iou, loss, iou_<class>, ..."}
    )
    save_total_limit: int | None = field(default=2, metadata={"help": "checkpoints kept"})
    dataloader_num_workers: int | None = field(
        default=None,
        metadata={"help": "processes that read images (default: one per spare core, at most 4)"},
    )
    dataloader_persistent_workers: bool = field(
        default=True, metadata={"help": "keep the workers from one epoch to the next"}
    )
    logging_steps: float = field(default=10, metadata={"help": "steps between log lines"})
    report_to: list[str] | str = field(
        default="none", metadata={"help": "none, tensorboard, trackio, wandb, ..."}
    )
    hub_strategy: str = field(
        default="end", metadata={"help": "end, every_save, checkpoint or all_checkpoints"}
    )

    def __post_init__(self) -> None:
        check_values(self)
        parse_terms(self.loss)
        if self.time_budget is not None:
            parse_duration(self.time_budget)
        at_least(1, self, "per_device_train_batch_size", "per_device_eval_batch_size")
        at_least(1, self, "gradient_accumulation_steps", "early_stopping_patience")
        at_least(1, self, "global_batch_size")
        self.lr_scheduler_kwargs = self._schedule_options()
        self._choose_the_best_by_its_metric()
        self._check_checkpoints()
        choice = choose_precision(
            self.mixed_precision,
            detect_hardware(self.use_cpu),
            bf16=bool(self.bf16),
            fp16=bool(self.fp16),
            launcher=launcher_precision(),
        )
        if self.dataloader_num_workers is None:
            processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            self.dataloader_num_workers = default_workers(usable_cores(), processes)
        # annotated, since `TrainingArguments` counts as untyped
        self.use_cpu: bool = choice.use_cpu
        self.bf16: bool = choice.bf16
        self.fp16: bool = choice.fp16
        self.dataloader_pin_memory: bool = self.dataloader_pin_memory and not choice.use_cpu
        schedule, optimizer = _name(self.lr_scheduler_type), _name(self.optim)
        # `TrainingArguments` would reject these names
        self.lr_scheduler_type = "constant" if schedule in EPOCH_SCHEDULES else schedule
        self.optim = "adamw_torch" if optimizer == ADAM else optimizer
        environment = {name: os.environ.get(name) for name in _COMPILER_VARIABLES}
        try:
            super().__post_init__()
        except (ValueError, TypeError, ImportError) as error:
            raise UserError(" ".join(str(error).split())) from error
        finally:  # else the next run of this process would be compiled too
            for name, value in environment.items():
                os.environ.pop(name, None)
                os.environ |= {} if value is None else {name: value}
        if self.global_batch_size is not None:
            self._divide_global_batch(self.global_batch_size)
        # transformers prefers the variable of `accelerate launch`, which is taken into account
        self.mixed_precision = "bf16" if self.bf16 else "fp16" if self.fp16 else "no"
        if schedule in EPOCH_SCHEDULES:
            self.lr_scheduler_type = schedule
        if optimizer == ADAM:
            self.optim = ADAM

    @property
    def n_gpu(self) -> int:
        """At most 1: one process drives one GPU, and `accelerate launch` starts one for each.

        With more, `Trainer` would wrap the model in `nn.DataParallel`: batches would grow with the
        number of GPUs, and all replicas would share the hooks of the auxiliary head.
        """
        return min(super().n_gpu, 1)

    def _divide_global_batch(self, images: int) -> None:
        """Set the accumulation, so that all devices together see `images` in a step."""
        if self.gradient_accumulation_steps != 1:
            raise UserError(
                "--gradient_accumulation_steps follows from --global_batch_size: leave it out"
            )
        batch, steps = divided_batch(images, self.world_size, self.per_device_train_batch_size)
        self.per_device_train_batch_size: int = batch
        self.gradient_accumulation_steps: int = steps

    def _choose_the_best_by_its_metric(self) -> None:
        """Without evaluations or checkpoints there is no best one; the metric has a direction."""
        if "no" in (_name(self.eval_strategy), _name(self.save_strategy)):
            self.load_best_model_at_end = False
        if self.greater_is_better is None:
            metric = metric_of(str(self.metric_for_best_model).removeprefix("eval_"))
            self.greater_is_better: bool | None = (
                metric is not None and metric.greater_is_better  # None for the loss
            )

    def _check_checkpoints(self) -> None:
        """The best checkpoint can only be one that was evaluated."""
        evaluated, saved = _name(self.eval_strategy), _name(self.save_strategy)
        if not self.load_best_model_at_end or not {evaluated, saved} <= {"epoch", "steps"}:
            return
        if evaluated != saved:
            save_steps = f" --eval_steps {self.save_steps:g}" if saved == "steps" else ""
            raise UserError(
                f"checkpoints are saved every {_interval(saved, self.save_steps)}, but evaluated "
                f"every {_interval(evaluated, self.eval_steps)}: give --eval_strategy "
                f"{saved}{save_steps}, or --load_best_model_at_end false to keep the last one"
            )
        eval_steps = self.eval_steps or self.logging_steps
        whole = saved == "steps" and min(self.save_steps, eval_steps) >= 1
        if whole and self.save_steps % eval_steps:
            raise UserError(
                f"--save_steps {self.save_steps:g} must be a multiple of --eval_steps "
                f"{eval_steps:g}, since the best checkpoint is one that was evaluated"
            )

    def _schedule_options(self) -> OptionValues:
        """`lr_scheduler_kwargs` with `lr_gamma`, `lr_step_size` and `lr_power` filled in."""
        schedule = _name(self.lr_scheduler_type)
        known = (*EPOCH_SCHEDULES, *(kind.value for kind in SchedulerType))
        if schedule not in known:
            raise UserError(f"--lr_scheduler_type {schedule!r}: choose from {', '.join(known)}")
        options = _mapping("--lr_scheduler_kwargs", self.lr_scheduler_kwargs)
        for flag, (key, schedules) in SCHEDULE_FLAGS.items():
            value = getattr(self, flag)
            if value is None:
                continue
            if schedule not in schedules:
                raise UserError(
                    f"--{flag} needs --lr_scheduler_type {' or '.join(schedules)}, not {schedule}"
                )
            if value <= 0:
                raise UserError(f"--{flag} must be greater than 0, not {value}")
            options[key] = value
        end = options.get("lr_end", POLYNOMIAL_END)
        if schedule == "polynomial" and isinstance(end, float | int) and self.learning_rate <= end:
            raise UserError(
                f"--learning_rate {self.learning_rate:g} is not above {end:g}, where the "
                "polynomial schedule ends; give a larger rate or another --lr_scheduler_type"
            )
        return options

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Leaves at least one step for the decay: some schedules divide by their number."""
        return min(super().get_warmup_steps(num_training_steps), max(num_training_steps - 1, 0))


def divided_batch(images: int, devices: int, largest: int) -> tuple[int, int]:
    """The batch of each device and the number of batches it accumulates.

    Args:
        images: per optimizer step, on all devices.
        largest: images that a device takes at once; fewer if its part is smaller.

    Raises:
        UserError: the images can't be divided evenly.
    """
    if images % devices:
        raise UserError(
            f"--global_batch_size {images} can't be divided among {devices} devices; give a "
            f"multiple of {devices}, or another number of devices"
        )
    part = images // devices
    batch = min(largest, part)
    if part % batch:
        fitting = next(size for size in range(batch, 0, -1) if part % size == 0)
        raise UserError(
            f"--global_batch_size {images} is {part} images per device, which is not a "
            f"multiple of --per_device_train_batch_size {largest}; give {fitting}"
        )
    return batch, part // batch


def _mapping(flag: str, value: dict | str | None) -> OptionValues:
    """A dictionary from one, or from JSON text."""
    try:
        return dict(json.loads(value) if isinstance(value, str) else value or {})
    except (*UNREADABLE, TypeError) as error:
        raise UserError(f'{flag} {value}: expected JSON such as {{"power": 0.9}}') from error


def _interval(strategy: str, steps: float | None) -> str:
    return f"{steps:g} steps" if strategy == "steps" and steps else strategy.removesuffix("s")


def _name(value: object) -> str:
    return str(getattr(value, "value", value))
