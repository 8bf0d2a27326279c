"""`TrainingArguments` with the names it refuses: Adam, and the step and exponential schedules."""

from dataclasses import dataclass, field
from typing import Any

from transformers import SchedulerType, TrainingArguments

from hfseg.errors import UserError
from hfseg.training.optimization import ADAM, EPOCH_SCHEDULES

# our flag -> key of `lr_scheduler_kwargs`, and the schedules that have it
_SCHEDULE_FLAGS = {
    "lr_gamma": ("gamma", EPOCH_SCHEDULES),
    "lr_step_size": ("step_size", ("step",)),
    "lr_power": ("power", ("polynomial",)),
}


@dataclass
class SegmentationTrainingArguments(TrainingArguments):
    """As `TrainingArguments`, with `optim="adam"` and `lr_scheduler_type="step"|"exponential"`.

    The numbers of a schedule are in `lr_scheduler_kwargs`, as for the other schedules.
    """

    lr_scheduler_type: str = field(
        default="linear",
        metadata={"help": "linear, cosine, polynomial, constant, step, exponential, ..."},
    )
    optim: str = field(
        default="adamw_torch", metadata={"help": "adamw_torch, adam, sgd, adafactor, ..."}
    )

    def __post_init__(self) -> None:
        schedule, optimizer = _name(self.lr_scheduler_type), _name(self.optim)
        if schedule not in (*EPOCH_SCHEDULES, *(kind.value for kind in SchedulerType)):
            raise UserError(
                f"--lr_scheduler_type {schedule!r}: choose from {', '.join(EPOCH_SCHEDULES)}, "
                + ", ".join(kind.value for kind in SchedulerType)
            )
        if schedule in EPOCH_SCHEDULES:
            self.lr_scheduler_type = "constant"
        if optimizer == ADAM:
            self.optim = "adamw_torch"
        super().__post_init__()
        # it prefers the variable of `accelerate launch`, which `choose_precision` has weighed
        self.mixed_precision = "bf16" if self.bf16 else "fp16" if self.fp16 else "no"
        if schedule in EPOCH_SCHEDULES:
            self.lr_scheduler_type = schedule
        if optimizer == ADAM:
            self.optim = ADAM

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Leaves at least one step to decay over: some schedules divide by their number."""
        return min(super().get_warmup_steps(num_training_steps), max(num_training_steps - 1, 0))


def schedule_options(schedule: Any, given: Any, flags: dict[str, float | None]) -> dict[str, Any]:
    """`lr_scheduler_kwargs`, with `--lr_gamma`, `--lr_step_size` and `--lr_power` put in.

    Raises:
        UserError: a flag that this schedule has no use for.
    """
    options = dict(given or {})
    for flag, value in flags.items():
        key, schedules = _SCHEDULE_FLAGS[flag]
        if value is None:
            continue
        if _name(schedule) not in schedules:
            raise UserError(
                f"--{flag} belongs to --lr_scheduler_type {' or '.join(schedules)}, "
                f"not to {_name(schedule)}"
            )
        if value <= 0:
            raise UserError(f"--{flag} must be more than 0, not {value}")
        options[key] = value
    return options


def _name(value: Any) -> str:
    return str(getattr(value, "value", value))
