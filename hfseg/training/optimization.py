"""Parameter groups (head and backbone learning rates, no decay on norms and biases), and the
learning-rate schedules that change by the epoch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hfseg.models.loading import backbone_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAM = "adam"
"""`torch.optim.Adam`: weight decay is a part of the gradient (L2), unlike in AdamW."""

EPOCH_SCHEDULES = ("step", "exponential")
_GAMMA = {"step": 0.1, "exponential": 0.98}
_STEP_SIZE = 10


def parameter_groups(
    model: "PreTrainedModel",
    learning_rate: float,
    weight_decay: float,
    backbone_lr_multiplier: float = 1.0,
    head_lr_multiplier: float = 1.0,
) -> list[dict[str, Any]]:
    """Up to four groups: backbone and head, each with and without weight decay.

    A parameter with one dimension is a bias or the scale of a norm, and is never decayed.
    """
    prefix = backbone_name(model) + "."
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith(prefix), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (backbone_lr_multiplier if in_backbone else head_lr_multiplier),
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (in_backbone, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def epoch_schedule(
    name: str,
    steps_per_epoch: int,
    warmup_steps: int = 0,
    gamma: float | None = None,
    step_size: int | None = None,
) -> Callable[[int], float]:
    """Factor on the learning rate at an optimiser step, as torch's `StepLR` and `ExponentialLR`.

    Args:
        name: `step`: times `gamma` (0.1) every `step_size` (10) epochs; `exponential`: times
            `gamma` (0.98) every epoch.
        steps_per_epoch: optimiser steps of an epoch.
        warmup_steps: steps of a linear start, laid over the schedule.
    """
    rate = _GAMMA[name] if gamma is None else gamma
    epochs = 1 if name == "exponential" else step_size or _STEP_SIZE

    def factor(step: int) -> float:
        warmup = min(1.0, (step + 1) / (warmup_steps + 1))
        return warmup * rate ** (step // steps_per_epoch // epochs)

    return factor
